"""The closed forms of tagging, against the library's Bloch simulator playing the very pulses and gradients."""

import numpy as np
import pytest

from CMRSimExtension.physics.bloch import Delay, Isochromats, Magnetisation, Pulse, Spoiler, play
from CMRSimExtension.tagging.preparation import TRAINS, TagTrain, gradient_area_mt_ms_per_m
from CMRSimExtension.tagging.readout import TagReadout

FOREVER = 1e12  # relaxation times so long that the preparation is over before anything relaxes


def preparation(train, spacing_mm):
    events = []
    for number, flip in enumerate(train.sub_flips_deg):
        if number:
            events.append(Delay(0.3, (gradient_area_mt_ms_per_m(spacing_mm),)))
        events.append(Pulse(flip))
    return [*events, Spoiler()]


def positions(spacing_mm, count=64):
    return np.arange(count)[:, None] * spacing_mm * 2 / count


@pytest.mark.parametrize("name", TRAINS)
@pytest.mark.parametrize("total", [70.0, 90.0, 150.0])
def test_every_train_equals_the_simulator_in_space(name, total):
    train, spacing = TagTrain(name, total), 6.0
    where = positions(spacing)
    made = play(Isochromats(np.full(64, FOREVER), np.full(64, FOREVER), position_mm=where), preparation(train, spacing))
    expected = train.rotated(2 * np.pi * where[:, 0] / spacing)
    # Both reckon with one gyromagnetic ratio; what is left is rounding.
    np.testing.assert_allclose(made.longitudinal, expected, atol=1e-9)


def test_relaxation_during_a_train_of_usual_length_changes_little():
    train, spacing = TagTrain("1-3-3-1", 90.0), 7.0
    where = positions(spacing)
    made = play(Isochromats(np.full(64, 950.0), np.full(64, 55.0), position_mm=where), preparation(train, spacing))
    # The module leaves it out: 1 ms of T2 = 55 ms acts on what is transverse between the pulses.
    np.testing.assert_allclose(made.longitudinal, train.rotated(2 * np.pi * where[:, 0] / spacing), atol=0.02)


@pytest.mark.parametrize("pulses", [1, 10, 75])
def test_gre_fading_equals_the_simulator(pulses):
    readout = TagReadout("gre", 10.0, 4.0, 2.0)
    start = np.array([-0.5, 0.2, 1.0])
    iso = Isochromats(np.full(3, 950.0), np.full(3, 55.0))
    events = [Pulse(10.0), Spoiler(), Delay(4.0)] * pulses
    played = play(iso, events, Magnetisation(np.zeros(3, complex), start))
    retained, recovered = readout.evolution(4.0 * pulses, 950.0)
    np.testing.assert_allclose(played.longitudinal, retained * start + recovered, atol=1e-9)


def test_balanced_fading_follows_the_simulator():
    readout = TagReadout("bssfp", 60.0, 3.0, 1.5)
    iso = Isochromats(np.full(2, 950.0), np.full(2, 55.0))
    start = Magnetisation(np.zeros(2, complex), np.array([1.0, 0.0]))
    events = [Pulse(30.0), Delay(3.0)]
    for number in range(100):
        events += [Pulse(60.0, 180.0 * ((number + 1) % 2)), Delay(3.0)]
    played = play(iso, events[:-1], start)
    length = np.hypot(np.abs(played.transverse), played.longitudinal)
    retained, _ = readout.evolution(300.0, 950.0, 55.0)
    # What is left of the difference of the two starts is the tag; the law is first order in TR over T2.
    assert length[0] - length[1] == pytest.approx(float(retained), abs=0.02)
