"""The bSSFP equation against the Bloch simulator, textbook limits and its own symmetries."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.bloch import Delay, Isochromats, Pulse, bssfp_reference, play
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.physics.fat import FAT_PEAKS

# Agreement asked for by the specification; what is reached is about 1e-13.
OF_M0 = 1e-6


def clinical_range(count: int, tr: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    t1 = rng.uniform(150.0, 4000.0, count)
    off_resonance = rng.uniform(-600.0, 600.0, count)
    # The bands of both signs, their neighbours, and resonance itself.
    band = 500.0 / tr
    off_resonance[:7] = [band, -band, 3 * band, band + 1e-6, -band - 1e-6, 0.0, 2 * band]
    return {
        "t1_ms": t1,
        "t2_ms": np.minimum(t1, 10 ** rng.uniform(np.log10(3.0), np.log10(1500.0), count)),
        "proton_density": rng.uniform(0.1, 1.0, count),
        "off_resonance_hz": off_resonance,
    }


@pytest.mark.parametrize("tr", [2.4, 3.0, 5.0])
@pytest.mark.parametrize("echo", [0.5, 0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("flip", [10.0, 60.0, 90.0, 120.0])
def test_the_equation_equals_the_bloch_simulator_in_complex_value(tr: float, echo: float, flip: float) -> None:
    tissue = clinical_range(2000, tr)
    sequence = {"repetition_time_ms": tr, "echo_time_ms": echo * tr, "flip_angle_deg": flip}
    difference = bssfp_signal(**tissue, **sequence) - bssfp_reference(Isochromats(**tissue), **sequence)
    assert np.abs(difference / tissue["proton_density"]).max() < OF_M0


def test_the_steady_state_is_what_a_long_train_of_pulses_settles_to() -> None:
    iso = Isochromats(np.array([300.0, 500.0]), np.array([60.0, 250.0]), 1.0, np.array([-40.0, 130.0]))
    state = play(iso, [Pulse(25.0, 180.0), Delay(1.5)])
    # 20 T1 of the slower tissue settle it to 1e-8; an even number of pulses ends on phase 180.
    for index in range(3334):
        state = play(iso, [Pulse(50.0, 180.0 * (index % 2)), Delay(3.0)], state)
    signal = play(iso, [Pulse(50.0, 0.0), Delay(0.8)], state).transverse
    expected = bssfp_signal(
        iso.t1_ms, iso.t2_ms, 1.0, iso.off_resonance_hz, repetition_time_ms=3.0, echo_time_ms=0.8, flip_angle_deg=50.0
    )
    np.testing.assert_allclose(signal, expected, atol=1e-7)


def test_on_resonance_it_is_the_textbook_formula() -> None:
    tr, te, t1, t2, flip = 3.0, 1.5, 1000.0, 55.0, np.radians(60.0)
    e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)
    textbook = np.sin(flip) * (1 - e1) / (1 - (e1 - e2) * np.cos(flip) - e1 * e2) * np.exp(-te / t2)
    signal = bssfp_signal(t1, t2, 1.0, 0.0, repetition_time_ms=tr, echo_time_ms=te, flip_angle_deg=60.0)
    assert complex(signal) == pytest.approx(textbook, rel=1e-12)


def test_the_band_lies_at_half_the_inverse_repetition_time() -> None:
    frequency = np.linspace(0.0, 330.0, 3301)
    signal = np.abs(
        bssfp_signal(1000.0, 55.0, 1.0, frequency, repetition_time_ms=3.0, echo_time_ms=1.5, flip_angle_deg=60.0)
    )
    assert frequency[np.argmin(signal)] == pytest.approx(500.0 / 3.0, abs=0.1)


def test_in_the_band_myocardium_keeps_three_to_four_percent_of_its_signal() -> None:
    sequence = {"repetition_time_ms": 3.0, "echo_time_ms": 1.5, "flip_angle_deg": 60.0}
    ratio = abs(bssfp_signal(950.0, 55.8, 1.0, 500.0 / 3.0, **sequence)) / abs(
        bssfp_signal(950.0, 55.8, 1.0, 0.0, **sequence)
    )
    assert 0.03 < ratio < 0.04


def test_the_phase_jumps_by_pi_across_the_band() -> None:
    sequence = {"repetition_time_ms": 3.0, "echo_time_ms": 1.5, "flip_angle_deg": 60.0}
    below, above = bssfp_signal(950.0, 500.0, 1.0, np.array([146.7, 186.7]), **sequence)
    # 20 Hz to either side of the band; residual magnetisation rounds the jump by less than 0.2 rad.
    assert abs(np.angle(above / below)) == pytest.approx(np.pi, abs=0.2)


def test_opposite_off_resonance_gives_the_conjugate() -> None:
    frequency = np.linspace(-500.0, 500.0, 101)
    sequence = {"repetition_time_ms": 3.0, "echo_time_ms": 1.1, "flip_angle_deg": 45.0}
    signal = bssfp_signal(950.0, 55.0, 1.0, frequency, **sequence)
    np.testing.assert_allclose(signal[::-1], np.conj(signal), atol=1e-14)


def test_fat_and_water_are_in_opposed_phase_at_the_middle_of_the_repetition() -> None:
    # -217 Hz lies beyond the band at -166.7 Hz and before -333 Hz, so fat refocuses upside down (Scheffler
    # and Hennig, Magn Reson Med 2003;49:395).
    sequence = {"repetition_time_ms": 3.0, "echo_time_ms": 1.5, "flip_angle_deg": 60.0}
    fat = bssfp_signal(288.0, 165.0, 1.0, -217.0, **sequence)
    water = bssfp_signal(950.0, 55.0, 1.0, 0.0, **sequence)
    assert np.real(fat * np.conj(water)) < 0


def test_all_arguments_broadcast() -> None:
    signal = bssfp_signal(
        np.full((4, 1, 1), 900.0), 50.0, np.ones((5, 1)), np.zeros(6), repetition_time_ms=np.full((2, 1, 1, 1), 3.0),
        echo_time_ms=1.5, flip_angle_deg=60.0,
    )  # fmt: skip
    assert signal.shape == (2, 4, 5, 6)


def test_single_precision_in_gives_single_precision_out() -> None:
    signal = bssfp_signal(
        np.float32([900.0]), 50.0, 1.0, 0.0, repetition_time_ms=3.0, echo_time_ms=1.5, flip_angle_deg=60.0
    )
    assert signal.dtype == np.complex64


def test_no_protons_give_no_signal() -> None:
    assert bssfp_signal(1e3, 1e2, 0.0, 30.0, repetition_time_ms=3.0, echo_time_ms=1.5, flip_angle_deg=60.0) == 0


def test_an_echo_after_the_repetition_is_turned_down_with_its_cure() -> None:
    with pytest.raises(InputError, match="4.0.*repetition time of 3.0 ms; shorten"):
        bssfp_signal(900.0, 50.0, 1.0, 0.0, repetition_time_ms=3.0, echo_time_ms=4.0, flip_angle_deg=60.0)


def test_the_shares_of_the_peaks_of_fat_add_up_to_one() -> None:
    assert sum(share for share, _ in FAT_PEAKS) == pytest.approx(1.0)
