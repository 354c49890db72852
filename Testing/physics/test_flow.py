"""What flow does to blood, against the Bloch simulator where it can be."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.bloch import Delay, Isochromats, Pulse, Spoiler, play
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.physics.flow import dephasing, inflow_enhancement
from CMRSimExtension.physics.gre import spoiled_gre_signal

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


@pytest.mark.parametrize("speed", [20.0, 110.0])
def test_enhancement_of_a_spoiled_gradient_echo_is_that_of_the_bloch_simulator(speed: float) -> None:
    iso = Isochromats(*BLOOD)
    pulses = round(8.0 / (speed * 5.0e-3))
    state, signals = None, []
    for _ in range(pulses):
        state = play(iso, [Pulse(14.0)], state)
        signals.append(abs(complex(state.transverse)))
        state = play(iso, [Delay(5.0), Spoiler()], state)
    steady = abs(
        complex(spoiled_gre_signal(*BLOOD, 1.0, 0.0, repetition_time_ms=5.0, echo_time_ms=0.0, flip_angle_deg=14.0))
    )
    sequence = {"slice_thickness_mm": 8.0, "repetition_time_ms": 5.0, "flip_angle_deg": 14.0, "sequence": "gre"}
    exact_speed = 8.0 / (pulses * 5.0e-3)
    assert float(inflow_enhancement(*BLOOD, exact_speed, **sequence)) == pytest.approx(
        np.mean(signals) / steady, rel=1e-6
    )


def test_an_unknown_sequence_is_turned_down() -> None:
    with pytest.raises(InputError, match="'epi'; choose from bssfp, gre"):
        inflow_enhancement(*BLOOD, 100.0, **SLICE, sequence="epi")


def test_dephasing_is_the_mean_phase_of_a_gaussian_spread() -> None:
    spread = np.random.default_rng(0).normal(0.0, 0.3 * 900.0, 400000)
    expected = abs(np.mean(np.exp(1j * np.pi * spread / 1500.0)))
    # 5 standard errors of the mean of 400000 values.
    assert float(dephasing(900.0)) == pytest.approx(expected, abs=5 / np.sqrt(2 * 400000))


def test_ordered_flow_does_not_dephase() -> None:
    assert float(dephasing(2000.0, disorder=0.0)) == 1.0
