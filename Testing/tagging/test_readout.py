import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.tagging.flow import BloodFlow
from CMRSimExtension.tagging.readout import TagReadout, ramped_flips_deg


def spoiled_pulses(mz, flips_deg, tr, t1):
    """Plain recursion: each pulse keeps cos(a), each TR relaxes towards one."""
    e1 = np.exp(-tr / t1)
    for flip in flips_deg:
        mz = 1 + (mz * np.cos(np.deg2rad(flip)) - 1) * e1
    return mz


def balanced_pulses(mz, flip_deg, tr, t1, t2, pulses):
    """Bloch pulses in the (x, z) plane: a/2, then alternating a; returns the length along the a/2 direction."""
    e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)

    def turn(m, angle):
        return np.array([np.cos(angle) * m[0] + np.sin(angle) * m[1], np.cos(angle) * m[1] - np.sin(angle) * m[0]])

    angle = np.deg2rad(flip_deg)
    m = turn(np.array([0.0, mz]), angle / 2)
    sign = -1
    for _ in range(pulses):
        m = np.array([m[0] * e2, 1 + (m[1] - 1) * e1])
        m = turn(m, sign * angle)
        sign = -sign
    return np.hypot(*m)


def test_gre_tags_keep_23_percent_at_300_ms():
    retained, _ = TagReadout("gre", 10.0, 4.0, 2.0).evolution(300.0, 950.0)
    assert retained == pytest.approx(0.23, abs=0.005)


@pytest.mark.parametrize(("flip", "tr", "left"), [(10.0, 4.0, 0.70), (60.0, 3.0, 0.21)])
def test_balanced_tags_keep_what_t1_and_t2_leave_at_300_ms(flip, tr, left):
    retained, _ = TagReadout("bssfp", flip, tr, tr / 2).evolution(300.0, 950.0, 55.0)
    assert retained == pytest.approx(left, abs=0.005)


@pytest.mark.parametrize("start", [-1.0, 0.3, 1.0])
def test_gre_evolution_equals_pulse_by_pulse(start):
    readout = TagReadout("gre", 12.0, 8.2, 3.9)
    retained, recovered = readout.evolution(25 * 8.2, 1100.0)
    assert retained * start + recovered == pytest.approx(spoiled_pulses(start, [12.0] * 25, 8.2, 1100.0), abs=1e-12)


@pytest.mark.parametrize("start", [0.2, 0.6, 1.0])
def test_balanced_evolution_follows_the_bloch_pulses(start):
    readout = TagReadout("bssfp", 40.0, 3.0, 1.5)
    retained, recovered = readout.evolution(60 * 3.0, 950.0, 55.0)
    # The law holds to first order in TR/T2 - TR/T1: the direction a/2 is not quite an eigenvector.
    expected = balanced_pulses(start, 40.0, 3.0, 950.0, 55.0, 60)
    assert retained * start + recovered == pytest.approx(expected, abs=0.01)


def test_a_gre_readout_forgets_its_start_and_reaches_the_steady_state():
    readout = TagReadout("gre", 15.0, 5.0, 2.0)
    _, recovered = readout.evolution(20000.0, 900.0)
    assert recovered == pytest.approx(float(readout.steady_state(900.0)), rel=1e-9)


def test_the_ramp_keeps_the_tag_signal_constant():
    readout = TagReadout("gre", 30.0, 8.0, 3.0, ramp_pulses=80, ramp_t1_ms=950.0)
    times = 8.0 * np.arange(80)
    retained, _ = readout.evolution(times, 950.0)
    signal = readout.transverse(retained, times, 1e9)
    np.testing.assert_allclose(signal, signal[-1], rtol=1e-9)


def test_the_ramp_follows_its_recursion_and_ends_at_the_last_flip():
    flips = np.deg2rad(ramped_flips_deg(25.0, 10, 35.0, 900.0))
    assert np.rad2deg(flips[-1]) == pytest.approx(25.0)
    np.testing.assert_allclose(np.tan(flips[:-1]), np.sin(flips[1:]) * np.exp(-35.0 / 900.0), rtol=1e-12)


def test_a_ramped_readout_recovers_as_pulse_by_pulse():
    readout = TagReadout("gre", 20.0, 10.0, 3.0, ramp_pulses=30)
    retained, recovered = readout.evolution(300.0, np.array([800.0, 1400.0]))
    flips = readout.flips_deg(30)
    expected = [spoiled_pulses(0.4, flips, 10.0, t1) for t1 in (800.0, 1400.0)]
    np.testing.assert_allclose(retained * 0.4 + recovered, expected, atol=1e-12)


def test_blood_with_inflow_equals_its_recursion():
    readout, flow = TagReadout("gre", 10.0, 5.0, 2.0), BloodFlow(30.0, 80.0, 8.0)
    replaced, q, t1 = flow.replaced_per_pulse(readout), 0.4, 1441.0
    e1 = np.exp(-5.0 / t1)
    m = 0.55
    for k in range(40):
        m = (1 - replaced) * spoiled_pulses(m, [10.0], 5.0, t1) + replaced * (1 - q * e1 ** (k + 1))
    retained, recovered = flow.evolution(readout, 1 - q, 200.0, t1)
    assert retained * 0.55 + recovered == pytest.approx(m, abs=1e-12)


def test_still_blood_fades_like_tissue():
    readout, flow = TagReadout(), BloodFlow(through_plane_mm_s=0.0)
    still = flow.evolution(readout, 0.5, 120.0, 1441.0)
    np.testing.assert_allclose(still, readout.evolution(120.0, 1441.0), atol=1e-12)


def test_stirred_blood_has_lost_nine_tenths_of_its_tags_after_seventy_ms():
    flow = BloodFlow(mixing_ms=30.0)
    left = flow.modulation(np.array([0.0, 1.0]), 0.6, 70.0)
    assert np.ptp(left) == pytest.approx(np.exp(-70 / 30))
    assert flow.modulation(np.array([0.6]), 0.6, 70.0) == pytest.approx(0.6)


@pytest.mark.parametrize("flip", [0.0, 91.0])
def test_a_readout_flip_out_of_range_is_refused(flip):
    with pytest.raises(InputError, match=r"readout flip angle is .* must lie in \(0, 90\]"):
        TagReadout("gre", flip)


def test_a_ramp_of_a_balanced_readout_is_refused():
    with pytest.raises(InputError, match="ramp needs the gre readout"):
        TagReadout("bssfp", 40.0, 3.0, 1.5, ramp_pulses=10)


def test_a_balanced_readout_without_t2_is_refused():
    with pytest.raises(InputError, match="needs t2_ms"):
        TagReadout.standard("bssfp").evolution(100.0, 950.0)


def test_a_frame_before_the_r_wave_is_refused():
    with pytest.raises(InputError, match="-5 ms"):
        TagReadout().evolution(-5.0, 950.0)
