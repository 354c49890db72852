"""The spoiled gradient echo against the Bloch simulator and Ernst's limits."""

import numpy as np
import pytest

from CMRSimExtension.physics.bloch import Delay, Isochromats, Pulse, play, spoiled_gre_reference
from CMRSimExtension.physics.gre import ernst_angle_deg, spoiled_gre_signal


@pytest.mark.parametrize(("tr", "te", "flip"), [(5.0, 2.4, 14.0), (8.2, 3.9, 12.0), (4.0, 0.0, 70.0), (3.0, 3.0, 5.0)])
def test_the_equation_equals_the_bloch_simulator_in_complex_value(tr: float, te: float, flip: float) -> None:
    rng = np.random.default_rng(3)
    t1 = rng.uniform(150.0, 4000.0, 5000)
    t2 = np.minimum(t1, rng.uniform(3.0, 1200.0, 5000))
    off_resonance = rng.uniform(-600.0, 600.0, 5000)
    sequence = {"repetition_time_ms": tr, "echo_time_ms": te, "flip_angle_deg": flip}
    reference = spoiled_gre_reference(Isochromats(t1, t2, 1.0, off_resonance), **sequence)
    assert np.abs(spoiled_gre_signal(t1, t2, 1.0, off_resonance, **sequence) - reference).max() < 1e-6


def test_quadratic_phase_cycling_with_a_crusher_approaches_ideal_spoiling() -> None:
    # 117 degrees (Zur Y et al., Magn Reson Med 1991;21:251-263); 200 isochromats span one cycle of the crusher.
    iso = Isochromats(np.full(200, 600.0), 40.0, 1.0, np.arange(200) / 200 * (1000.0 / 6.0))
    state, phase = None, 0.0
    for index in range(800):
        phase += 117.0 * index
        state = play(iso, [Pulse(15.0, phase)], state)
        signal = np.mean(state.transverse) * np.exp(-1j * np.radians(phase))
        state = play(iso, [Delay(6.0)], state)
    ideal = spoiled_gre_signal(600.0, 40.0, 1.0, 0.0, repetition_time_ms=6.0, echo_time_ms=0.0, flip_angle_deg=15.0)
    # RF spoiling is ideal to a few percent only; that much is its known imperfection.
    assert abs(signal) == pytest.approx(abs(complex(ideal)), rel=0.05)


def test_the_ernst_angle_gives_the_strongest_signal() -> None:
    angles = np.linspace(1.0, 60.0, 5901)
    signal = np.abs(
        spoiled_gre_signal(900.0, 40.0, 1.0, 0.0, repetition_time_ms=5.0, echo_time_ms=2.0, flip_angle_deg=angles)
    )
    # The angles are 0.01 degrees apart.
    assert angles[np.argmax(signal)] == pytest.approx(float(ernst_angle_deg(900.0, 5.0)), abs=0.01)


def test_after_full_recovery_a_right_angle_pulse_turns_all_magnetisation_over() -> None:
    signal = spoiled_gre_signal(10.0, 1e9, 0.7, 0.0, repetition_time_ms=100.0, echo_time_ms=0.0, flip_angle_deg=90.0)
    # exp(-10) of the magnetisation has not recovered.
    assert complex(signal) == pytest.approx(0.7, abs=1e-4)
