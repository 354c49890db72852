"""What flow does to blood, against the Bloch simulator where it can be."""

import numpy as np
import pytest

from CMRSimExtension.physics.bloch import Delay, Isochromats, Pulse, play
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.physics.flow import dephasing, inflow_enhancement

BLOOD = (1441.0, 290.0)
SLICE = {"slice_thickness_mm": 8.0, "repetition_time_ms": 3.0, "flip_angle_deg": 60.0}


def test_blood_at_rest_is_in_the_steady_state() -> None:
    assert float(inflow_enhancement(*BLOOD, 0.0, **SLICE)) == pytest.approx(1.0, abs=1e-5)


def test_enhancement_grows_with_speed_and_does_not_depend_on_direction() -> None:
    speeds = np.array([0.0, 50.0, 100.0, 300.0, 1000.0])
    forwards, backwards = inflow_enhancement(*BLOOD, speeds, **SLICE), inflow_enhancement(*BLOOD, -speeds, **SLICE)
    assert np.all(np.diff(forwards) > 0)
    np.testing.assert_array_equal(forwards, backwards)


@pytest.mark.parametrize("speed", [30.0, 120.0, 400.0])
def test_enhancement_is_the_mean_over_the_spins_in_the_slice(speed: float) -> None:
    iso = Isochromats(*BLOOD)
    state = play(iso, [Pulse(30.0, 180.0)])
    pulses = round(8.0 / (speed * 3.0e-3))
    # From the half-angle preparation on, the signal after each pulse; a quarter repetition counts the relaxation in.
    signals = []
    state = play(iso, [Delay(1.5)], state)
    for index in range(pulses):
        state = play(iso, [Pulse(60.0, 180.0 * (index % 2))], state)
        signals.append(abs(complex(state.transverse)))
        state = play(iso, [Delay(3.0)], state)
    steady = abs(complex(bssfp_signal(*BLOOD, 1.0, 0.0, repetition_time_ms=3.0, echo_time_ms=0.0, flip_angle_deg=60.0)))
    expected = np.mean(signals) / steady
    # Scheffler's factor is an approximation to first order in TR/T1 and TR/T2, and so is the start value.
    assert float(inflow_enhancement(*BLOOD, speed, **SLICE)) == pytest.approx(expected, rel=0.02)


def test_dephasing_is_the_mean_phase_of_a_gaussian_spread() -> None:
    spread = np.random.default_rng(0).normal(0.0, 0.3 * 900.0, 400000)
    expected = abs(np.mean(np.exp(1j * np.pi * spread / 1500.0)))
    # 5 standard errors of the mean of 400000 values.
    assert float(dephasing(900.0)) == pytest.approx(expected, abs=5 / np.sqrt(2 * 400000))


def test_ordered_flow_does_not_dephase() -> None:
    assert float(dephasing(2000.0, disorder=0.0)) == 1.0
