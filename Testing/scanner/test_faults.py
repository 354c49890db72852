"""Faults do what they say, by the amount they say, and tell what they did."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.aliasing import crop, fold, fold_adjoint, widen
from CMRSimExtension.scanner.breath_hold import BreathHold, acquire_channels
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.faults import (
    FAULTS,
    Arrhythmia,
    Banding,
    BloodFlow,
    BreathHoldDrift,
    Fault,
    Mistriggering,
    RespiratoryGhosting,
    SmallFieldOfView,
    Spikes,
    fault_from_dict,
    parse_fault,
)
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.multichannel import ChannelAcquisition
from CMRSimExtension.scanner.off_resonance import OffResonanceField
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.segmented import LineSchedule, segmented
from Testing.scanner.breath_held import breath_held

PROTOCOL = Protocol(
    fov_mm=(240.0, 300.0), matrix=(72, 84), acquired_resolution_mm=(4.0, 4.2), phases=12, views_per_segment=8,
    filter="none",
)  # fmt: skip


def beating_disc(phases: int = 12, rows: int = 72, columns: int = 84) -> np.ndarray:
    r, c = np.meshgrid((np.arange(rows) + 0.5) / rows - 0.5, (np.arange(columns) + 0.5) / columns - 0.5, indexing="ij")
    radius = 0.15 + 0.04 * np.cos(2 * np.pi * np.arange(phases) / phases)
    soft = (radius[:, None, None] - np.hypot(r, c)) / 0.02
    return (1 / (1 + np.exp(-soft))).astype(np.complex64)


def images(*faults: Fault, seed: int = 0, protocol: Protocol = PROTOCOL) -> tuple[np.ndarray, BreathHold]:
    return breath_held(beating_disc(), protocol, faults, seed)


def outside() -> np.ndarray:
    """Pixels beyond the disc in the phase direction (rows), where ghosts show."""
    return np.hypot(*np.meshgrid(np.arange(72) / 72 - 0.5, np.arange(84) / 84 - 0.5, indexing="ij")) > 0.28


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_is_found_by_its_name_with_its_default(name: str) -> None:
    fault = parse_fault(name)
    assert fault.name == name and fault.amount != 0


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_comes_back_from_its_record(name: str) -> None:
    fault = FAULTS[name]()
    assert fault_from_dict(json.loads(json.dumps(fault.as_dict()))) == fault


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_turns_down_an_amount_beyond_its_limits(name: str) -> None:
    high = FAULTS[name].limits[1]
    with pytest.raises(InputError, match=f"{name} is .*choose a value"):
        parse_fault(f"{name}={high * 1.01 + 1}")


@pytest.mark.parametrize("name", ["ghosting", "mistriggering", "spikes"])
def test_an_amount_of_nothing_changes_nothing(name: str) -> None:
    with_fault, _ = images(FAULTS[name](amount=0.0))
    without, _ = images()
    # Respiration and triggers draw their numbers after the heartbeats, so the heartbeats are the same.
    np.testing.assert_allclose(with_fault, without, atol=1e-5)


def test_breathing_makes_ghosts_along_the_phase_direction_only() -> None:
    clean, _ = images()
    ghosted, _ = images(RespiratoryGhosting(amount=12.0))
    change = np.abs(ghosted - clean).mean(axis=0)
    above, beside = change[:10, 30:54].mean(), change[30:42, :10].mean()
    assert above > 5 * beside


def test_ghosts_grow_with_the_amplitude_of_breathing() -> None:
    clean, _ = images()
    energy = [np.abs(images(RespiratoryGhosting(amount=a))[0] - clean)[:, outside()].mean() for a in (2.0, 6.0, 18.0)]
    assert energy[0] < energy[1] < energy[2]


def test_breathing_moves_by_its_amplitude() -> None:
    schedule = segmented(PROTOCOL, np.full(40, 900.0), 900.0)
    moved = RespiratoryGhosting(amount=9.0).schedule(schedule, PROTOCOL, np.random.default_rng(1)).displacement_mm
    # 36 s hold about ten breaths; the extremes are met to a few percent.
    assert np.linalg.norm(moved, axis=-1).max() == pytest.approx(9.0, rel=0.02)
    assert np.linalg.norm(moved, axis=-1).min() == pytest.approx(0.0, abs=0.2)


def test_breathing_dwells_at_end_expiration() -> None:
    schedule = segmented(PROTOCOL, np.full(80, 900.0), 900.0)
    moved = RespiratoryGhosting(amount=8.0).schedule(schedule, PROTOCOL, np.random.default_rng(1)).displacement_mm
    # Half of the time cos^4 lies below a quarter; 72 s hold about twenty breaths.
    assert np.median(np.linalg.norm(moved, axis=-1)) == pytest.approx(0.25 * 8.0, rel=0.06)


def test_mistriggered_heartbeats_see_a_later_phase() -> None:
    _, truth = images(Mistriggering(amount=1.0, delay_ms=(200.0, 200.0)))
    _, clean = images()
    np.testing.assert_array_equal(truth.trigger_delays_ms, 200.0)
    later = np.mod(truth.schedule.cardiac - clean.schedule.cardiac, 1.0)
    # 200 of about 900 ms, stretched by the varying heartbeats.
    assert np.median(later) == pytest.approx(200.0 / 900.0, abs=0.02)


def test_mistriggering_hits_its_share_of_the_heartbeats() -> None:
    delays = Mistriggering(amount=0.3).trigger_delays(np.full(4000, 900.0), np.random.default_rng(0))
    # 4 standard errors of a share of 0.3 in 4000.
    assert np.mean(delays > 0) == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 4000))


def test_arrhythmic_heartbeats_have_the_spread_asked_for() -> None:
    durations = Arrhythmia(amount=0.2, ectopic=0.0).heartbeats(np.full(5000, 900.0), np.random.default_rng(0))
    assert durations.mean() == pytest.approx(900.0, rel=0.015)
    assert durations.std() / durations.mean() == pytest.approx(0.2, rel=0.06)


def test_arrhythmia_disturbs_diastole_more_than_early_systole() -> None:
    clean, _ = images()
    change = np.mean(
        [np.abs(images(Arrhythmia(), seed=s)[0] - images(seed=s)[0]).mean(axis=(1, 2)) for s in range(8)], 0
    )
    assert change[9] > 2 * change[1]
    assert clean.shape == (12, 72, 84)


def test_drift_moves_slices_along_the_body_by_its_sd() -> None:
    shifts = BreathHoldDrift(amount=5.0).slice_shifts_mm(4000, np.random.default_rng(0))
    assert shifts[:, 2].std() == pytest.approx(5.0, rel=0.05)
    np.testing.assert_allclose(shifts[:, 1], -0.25 * shifts[:, 2])


def test_banding_shifts_the_centre_frequency() -> None:
    field = OffResonanceField(
        1.5, np.zeros(3), np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(7), np.zeros(4), 3.0
    )
    shifted = Banding(amount=110.0).off_resonance(field, np.random.default_rng(0))
    np.testing.assert_allclose(shifted.at(np.zeros((1, 3))), 113.0)


def test_flow_brightens_slow_through_plane_blood_and_voids_fast_disordered_blood() -> None:
    normal = np.array([0.0, 0.0, 1.0])
    velocity = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 250.0], [1800.0, 0.0, 0.0]])
    rest, inflow, jet = BloodFlow().blood(velocity, normal, PROTOCOL)
    assert rest == pytest.approx(1.0, abs=1e-5)
    assert inflow > 1.1 and jet < 0.6


def test_spikes_are_recorded_where_they_hit() -> None:
    rng = np.random.default_rng(3)
    samples = (rng.standard_normal((4, 6, 8)) + 1j * rng.standard_normal((4, 6, 8))) * 0.1
    spiked, truth = Spikes(amount=4.0).kspace(samples, np.random.default_rng(1))
    assert truth
    restored = spiked.copy()
    for hit in truth:
        restored[hit["frame"], hit["row"], hit["column"]] -= complex(*hit["value"])
    np.testing.assert_allclose(restored, samples, atol=1e-12)


def test_a_spike_puts_stripes_over_its_frame_alone() -> None:
    clean, _ = images()
    for seed in range(20):
        spiked, truth = images(Spikes(amount=1.0), seed=seed)
        if len(truth.spikes) == 1:
            break
    baseline, _ = images(seed=seed)
    changed = np.abs(spiked - baseline).max(axis=(1, 2)) > 1e-4
    assert changed.nonzero()[0].tolist() == [truth.spikes[0]["frame"]]
    assert clean.shape == spiked.shape


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_a_small_field_of_view_keeps_its_pixel_and_loses_its_share(direction: str) -> None:
    protocol = PROTOCOL.replace(phase_direction=direction)
    narrow = SmallFieldOfView(amount=0.25).narrow(protocol)
    np.testing.assert_allclose(narrow.pixel_mm, protocol.pixel_mm)
    axis = 0 if direction == "rows" else 1
    assert narrow.matrix[axis] / protocol.matrix[axis] == pytest.approx(0.75, abs=0.03)
    assert narrow.matrix[1 - axis] == protocol.matrix[1 - axis]


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_folding_is_what_sparser_kspace_sampling_does(direction: str) -> None:
    axis = -2 if direction == "rows" else -1
    rng = np.random.default_rng(5)
    wide = rng.standard_normal((60, 60))
    folded = fold(wide, direction, 10)
    shape = (40, 60) if direction == "rows" else (60, 40)
    assert folded.shape == shape
    # The transform of the wide object at the frequencies of the narrow field of view, written out.
    position = (np.arange(60) + 0.5 - 30) / 40
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(-15, 16), position))
    inside = np.exp(-2j * np.pi * np.outer(np.arange(-15, 16), (np.arange(40) + 0.5 - 20) / 40))
    expected = np.tensordot(kernel, np.moveaxis(wide, axis, 0), 1)
    np.testing.assert_allclose(np.tensordot(inside, np.moveaxis(folded, axis, 0), 1), expected, atol=1e-10)


@pytest.mark.parametrize("direction", ["rows", "columns"])
@pytest.mark.parametrize("pixels", [0, 7, 25])
def test_the_adjoint_of_folding_is_its_adjoint(direction: str, pixels: int) -> None:
    rng = np.random.default_rng(6)
    shape = (20 + 2 * pixels, 24) if direction == "rows" else (24, 20 + 2 * pixels)
    x = rng.standard_normal((3, *shape))
    y = rng.standard_normal(fold(x, direction, pixels).shape)
    assert np.vdot(y, fold(x, direction, pixels)) == pytest.approx(np.vdot(fold_adjoint(y, direction, pixels), x))


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_a_widened_grid_holds_the_old_one_in_its_middle(direction: str) -> None:
    turn = np.array([[0.80, -0.36, 0.48], [0.60, 0.48, -0.64], [0.0, 0.80, 0.60]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.4, 1.7, 10.0])
    grid = ImageGrid(affine, (2, 20, 30), 8.0)
    wide = widen(grid, direction, 7).points_mm()
    middle = wide[:, 7:-7] if direction == "rows" else wide[:, :, 7:-7]
    np.testing.assert_allclose(middle, grid.points_mm(), atol=1e-9)
    spatial_last = np.moveaxis(wide, -1, 0)
    for pixels, points in ((7, grid.points_mm()), (0, wide)):
        np.testing.assert_allclose(np.moveaxis(crop(spatial_last, direction, pixels), 0, -1), points, atol=1e-9)


def test_what_sticks_out_appears_on_the_other_side() -> None:
    wide = np.zeros((40, 20))
    wide[3, 5] = 1.0
    folded = fold(wide, "rows", 8)
    assert folded[24 - (8 - 3), 5] == 1.0 and folded.sum() == 1.0


def test_faults_act_on_every_receive_channel() -> None:
    affine = np.diag([-300.0 / 84, -240.0 / 72, 8.0, 1.0])
    affine[:3, 3] = [148.0, 118.0, 0.0]
    maps = CoilArray.body_and_spine(4, np.zeros(3)).on(ImageGrid(affine, (1, 72, 84), 8.0))[:, 0]
    acquisition = ChannelAcquisition(PROTOCOL.replace(coil_combination="rss"), maps)
    frames, truth = acquire_channels(
        beating_disc(), acquisition, [RespiratoryGhosting(amount=10.0)], np.random.default_rng(0), cycle_ms=900.0
    )
    kspace = list(frames)
    assert len(kspace) == 12 and kspace[0].shape == (4, *PROTOCOL.acquired_matrix)
    clean = acquisition.reconstruct(acquisition.kspace(beating_disc()[0]))
    assert np.abs(acquisition.reconstruct(kspace[0]) - clean).max() > 0.05
    assert truth.schedule.displacement_mm.max() > 3.0


@dataclass(frozen=True)
class Displaced(Fault):
    """The body is off its place by a way (rows, columns) in mm, and by twice as much in the last frame."""

    way_mm: tuple[float, float] = (0.0, 0.0)

    def schedule(self, schedule: LineSchedule, protocol: Protocol, rng: np.random.Generator) -> LineSchedule:
        moved = schedule.displacement_mm + np.array(self.way_mm)
        moved[-1] *= 2
        return replace(schedule, displacement_mm=moved)


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_the_breath_moves_the_body_and_not_the_coils(direction: str) -> None:
    protocol = PROTOCOL.replace(phase_direction=direction, coil_combination="rss")
    affine = np.diag([-300.0 / 84, -240.0 / 72, 8.0, 1.0])
    affine[:3, 3] = [148.0, 118.0, 0.0]
    maps = CoilArray.body_and_spine(6, np.zeros(3)).on(ImageGrid(affine, (1, 72, 84), 8.0))[:, 0]
    acquisition = ChannelAcquisition(protocol, maps)
    disc = np.repeat(beating_disc(1), 2, axis=0)
    fault = Displaced(way_mm=(3 * 240.0 / 72, 2 * 300.0 / 84))
    frames, _ = acquire_channels(disc, acquisition, [fault], np.random.default_rng(0), cycle_ms=900.0)
    kspace = list(frames)
    for samples, way, bound in ((kspace[0], (3, 2), 0.03), (kspace[-1], (6, 4), 1e-4)):
        expected = acquisition.kspace(np.roll(disc[0], way, axis=(0, 1)))
        energy = np.linalg.norm(expected)
        # Coils that travelled with the body would keep the magnitudes that the body at rest has. Half the way is
        # interpolated; at the farthest point nothing is.
        wrong = np.linalg.norm(np.abs(acquisition.kspace(disc[0])) - np.abs(expected)) / energy
        assert np.linalg.norm(samples - expected) / energy < bound < 0.15 < wrong


def test_the_same_seed_has_the_same_faults() -> None:
    every = (RespiratoryGhosting(), Mistriggering(), Arrhythmia(), Spikes())
    (first, truth), (second, again) = images(*every, seed=4), images(*every, seed=4)
    np.testing.assert_array_equal(first, second)
    assert truth.as_dict() == again.as_dict()


def test_noise_and_faults_go_together() -> None:
    noisy, _ = breath_held(beating_disc() * 0, PROTOCOL, [RespiratoryGhosting()], noise_sd=0.1)
    # The Rayleigh mean; 12 x 4000 correlated values.
    assert noisy.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.02)
    assert Acquisition(PROTOCOL, (72, 84)).noise_free(beating_disc()).shape == noisy.shape


@pytest.mark.parametrize(("text", "message"), [("wobble", "choose from ghosting"), ("ghosting=lots", "give a number")])
def test_a_fault_that_cannot_be_read_is_turned_down(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_fault(text)
