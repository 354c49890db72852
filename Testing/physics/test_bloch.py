"""The Bloch simulator against textbook limits: rotations, relaxation, echoes, gradients, slice selection."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.bloch import (
    GAMMA_BAR_HZ_PER_T,
    Delay,
    Isochromats,
    Magnetisation,
    Pulse,
    Spoiler,
    play,
    shaped_pulse,
    steady_state,
)

NO_RELAXATION = Isochromats(1e12, 1e12)


def test_a_pulse_of_phase_zero_tips_z_towards_x() -> None:
    state = play(NO_RELAXATION, [Pulse(90.0, 0.0)])
    assert complex(state.transverse) == pytest.approx(1.0)


@pytest.mark.parametrize("phase", [0.0, 33.0, 90.0, 180.0, 270.0])
def test_a_pulse_tips_z_towards_its_phase(phase: float) -> None:
    state = play(NO_RELAXATION, [Pulse(90.0, phase)])
    assert complex(state.transverse) == pytest.approx(np.exp(1j * np.radians(phase)))


def test_a_pulse_is_the_rotation_matrix_about_its_axis() -> None:
    rng = np.random.default_rng(0)
    from scipy.spatial.transform import Rotation

    for flip, phase in rng.uniform(0, 360, (20, 2)):
        start = rng.standard_normal(3)
        axis = np.radians(phase + 90.0)
        expected = Rotation.from_rotvec(np.radians(flip) * np.array([np.cos(axis), np.sin(axis), 0.0])).apply(start)
        got = Pulse(flip, phase).apply(Magnetisation(start[0] + 1j * start[1], start[2]), NO_RELAXATION)
        found = [got.transverse.real, got.transverse.imag, got.longitudinal]
        np.testing.assert_allclose(found, expected, atol=1e-14)


def test_pulses_keep_the_length_of_the_magnetisation() -> None:
    events = [Pulse(37.0, 10.0), Pulse(121.0, 200.0), Pulse(9.0, 300.0)]
    state = play(NO_RELAXATION, events)
    assert abs(complex(state.transverse)) ** 2 + float(state.longitudinal) ** 2 == pytest.approx(1.0, abs=1e-14)


def test_transverse_magnetisation_decays_by_t2_and_longitudinal_recovers_by_t1() -> None:
    state = play(Isochromats(800.0, 50.0), [Pulse(90.0), Delay(100.0)])
    assert abs(complex(state.transverse)) == pytest.approx(np.exp(-2.0))
    assert float(state.longitudinal) == pytest.approx(1 - np.exp(-0.125))


def test_inversion_recovery_passes_zero_at_t1_times_log_two() -> None:
    state = play(Isochromats(1000.0, 50.0), [Pulse(180.0), Spoiler(), Delay(1000.0 * np.log(2.0))])
    assert float(state.longitudinal) == pytest.approx(0.0, abs=1e-15)


def test_free_precession_turns_counterclockwise_for_positive_frequency() -> None:
    state = play(Isochromats(1e12, 1e12, 1.0, 250.0), [Pulse(90.0), Delay(1.0)])
    assert complex(state.transverse) == pytest.approx(1j)


def test_a_spin_echo_refocuses_every_frequency() -> None:
    iso = Isochromats(1e12, 1e12, 1.0, np.linspace(-300.0, 300.0, 51))
    state = play(iso, [Pulse(90.0), Delay(7.0), Pulse(180.0, 90.0), Delay(7.0)])
    # The axis of a pulse of phase 90 is -x, along which the spins started: they all come back to it.
    np.testing.assert_allclose(state.transverse, 1.0, atol=1e-10)


def test_a_stimulated_echo_keeps_half_of_the_magnetisation() -> None:
    frequency = (np.arange(4000) + 0.5) / 4000 * 1000.0
    iso = Isochromats(1e12, 1e12, 1.0, frequency)
    state = play(iso, [Pulse(90.0), Delay(5.0), Pulse(90.0), Spoiler(), Delay(100.0), Pulse(90.0), Delay(5.0)])
    assert abs(np.mean(state.transverse)) == pytest.approx(0.5, abs=1e-10)


def test_seven_millimetre_tags_need_the_gradient_area_of_the_textbook() -> None:
    area = 1e9 / (GAMMA_BAR_HZ_PER_T * 7.0)
    assert area == pytest.approx(3.355, abs=5e-4)
    position = np.array([[0.0], [3.5], [7.0]])
    iso = Isochromats(1e12, 1e12, 1.0, 0.0, position)
    state = play(iso, [Pulse(45.0), Delay(0.0, [area]), Pulse(45.0)])
    # A 1-1 train of 45 degrees each: 90 degrees where both add up, none where they cancel, alike one period on.
    np.testing.assert_allclose(state.longitudinal, [0.0, 1.0, 0.0], atol=1e-9)


def test_gradients_act_along_their_own_axes() -> None:
    position = np.array([[3.0, 0.0], [0.0, 3.0]])
    state = play(Isochromats(1e12, 1e12, 1.0, 0.0, position), [Pulse(90.0), Delay(0.0, [0.0, 1.0])])
    cycles = GAMMA_BAR_HZ_PER_T * 1e-9 * 3.0
    np.testing.assert_allclose(state.transverse, [1.0, np.exp(2j * np.pi * cycles)], atol=1e-12)


def test_the_steady_state_is_unchanged_by_its_period() -> None:
    iso = Isochromats(np.array([300.0, 1500.0]), np.array([40.0, 280.0]), 0.8, np.array([30.0, -210.0]))
    period = [Pulse(60.0), Delay(1.2), Pulse(20.0, 77.0), Delay(2.0)]
    before = steady_state(iso, period)
    after = play(iso, period, before)
    np.testing.assert_allclose(after.transverse, before.transverse, atol=1e-13)
    np.testing.assert_allclose(after.longitudinal, before.longitudinal, atol=1e-13)


def test_without_time_there_is_no_steady_state() -> None:
    with pytest.raises(InputError, match="Delay"):
        steady_state(Isochromats(1000.0, 50.0), [Pulse(30.0)])


def test_a_gradient_without_positions_is_turned_down() -> None:
    with pytest.raises(InputError, match="position_mm"):
        play(Isochromats(1000.0, 50.0), [Delay(1.0, [1.0])])


def test_a_shaped_pulse_excites_the_slice_that_its_bandwidth_and_gradient_set() -> None:
    duration, time_bandwidth, gradient = 1.0, 6.0, 20.0
    time = (np.arange(256) + 0.5) / 256 - 0.5
    envelope = np.sinc(time_bandwidth * time) * np.cos(np.pi * time) ** 2
    position = np.linspace(-20.0, 20.0, 801)[:, None]
    iso = Isochromats(1e12, 1e12, 1.0, 0.0, position)
    excite = shaped_pulse(envelope, 10.0, duration, gradient_mt_per_m=[gradient])
    profile = np.abs(play(iso, excite).transverse)
    above = position[profile > 0.5 * profile.max(), 0]
    # Thickness = bandwidth / (gamma gradient); the Hann window and small-tip theory agree with it to 5 %.
    expected = time_bandwidth / (duration * 1e-3) / (GAMMA_BAR_HZ_PER_T * gradient * 1e-6)
    assert above.max() - above.min() == pytest.approx(expected, rel=0.05)


def test_a_shaped_pulse_on_resonance_turns_by_its_flip_angle() -> None:
    state = play(NO_RELAXATION, shaped_pulse([1.0, 2.0, 1.0], 72.0, 1.0))
    assert float(state.longitudinal) == pytest.approx(np.cos(np.radians(72.0)))
