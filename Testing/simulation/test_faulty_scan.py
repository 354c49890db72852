"""Faults, channels and trajectories through the one call: what they change, what they leave, what they tell."""

import json

import numpy as np
import pytest

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.faults import FAULTS, Banding, BloodFlow, BreathHoldDrift, SmallFieldOfView, parse_fault
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.tagging.options import TagOptions

SMALL = Protocol(
    phases=4, matrix=(96, 80), fov_mm=(264.0, 220.0), acquired_resolution_mm=(3.2, 2.8), slice_gap_mm=18.0, snr=40.0,
    coils=6, slices=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def clean(subject: Subject):  # type: ignore[no-untyped-def]
    return simulate(subject, SMALL, 5, truth=("labels", "motion"))


@pytest.mark.parametrize("name", [n for n in FAULTS if n not in ("drift", "aliasing")])
def test_a_fault_of_the_signal_spoils_the_image_and_leaves_the_labels(subject: Subject, clean, name: str) -> None:  # type: ignore[no-untyped-def]
    spoilt = simulate(subject, SMALL, 5, faults=(parse_fault(name),))
    np.testing.assert_array_equal(spoilt.labels, clean.labels)
    # Beside the heart's own signal, not the fat's under the coils, which is as bright as that body has it.
    heart = np.median(clean.image[clean.labels > 0])
    assert np.abs(spoilt.image - clean.image).max() > 0.4 * heart


@pytest.mark.parametrize("name", list(FAULTS))
def test_what_happened_is_written_down(subject: Subject, name: str) -> None:
    sidecar = json.loads(json.dumps(simulate(subject, SMALL, 5, faults=(parse_fault(name),)).sidecar))
    assert sidecar["simulation"]["faults"][0]["name"] == name
    assert len(sidecar["slice_shifts_mm"]) == len(sidecar["times_ms"])
    assert len(sidecar["breath_holds"]) == (len(sidecar["times_ms"]) if FAULTS[name].by_line else 0)


def test_faults_are_the_same_for_the_same_seed_and_any_number_of_workers(subject: Subject) -> None:
    faults = tuple(parse_fault(n) for n in ("ghosting", "arrhythmia", "drift", "spikes"))
    first, second = (simulate(subject, SMALL, 5, faults=faults, workers=w) for w in (1, 2))
    np.testing.assert_array_equal(first.image, second.image)
    assert first.sidecar["breath_holds"] == second.sidecar["breath_holds"]
    assert first.sidecar["slice_shifts_mm"] == second.sidecar["slice_shifts_mm"]


def test_times_are_those_of_the_breath_hold_that_made_the_slice(subject: Subject) -> None:
    protocol = SMALL.replace(slices=2)
    cine = simulate(subject, protocol, 5, faults=(parse_fault("arrhythmia"),))
    means = [np.mean(hold["schedule"]["durations_ms"]) for hold in cine.sidecar["breath_holds"]]
    # The record keeps microseconds.
    np.testing.assert_allclose(cine.heartbeats_ms, means, atol=1e-3)
    np.testing.assert_allclose(cine.times_ms, np.outer(means, np.arange(4) / 4), atol=1e-3)
    np.testing.assert_array_equal(cine.sidecar["times_ms"], cine.times_ms)
    assert abs(means[0] - means[1]) > 1.0


def test_spokes_combined_by_rss_are_received_by_a_coil_array(subject: Subject) -> None:
    pytest.importorskip("finufft")
    protocol = SMALL.replace(trajectory="radial", coil_combination="rss", slices=1, phases=1, snr=5.0)
    rss, adaptive = (simulate(subject, protocol.replace(coil_combination=c), 5) for c in ("rss", "adaptive"))
    assert rss.sidecar["coil_array"] is not None and adaptive.sidecar["coil_array"] is None
    # In air the floor of 6 channels is that of their root sum of squares, 3.39 against 1.25 SD, streaks aside.
    corner = np.s_[0, 0, :8, :8]
    assert rss.image[corner].mean() > 1.5 * adaptive.image[corner].mean()


def test_drift_moves_image_labels_and_truth_together(subject: Subject, clean) -> None:  # type: ignore[no-untyped-def]
    drifted = simulate(subject, SMALL, 5, faults=(BreathHoldDrift(amount=12.0),), truth=("labels", "motion"))
    shifts = np.array(drifted.sidecar["slice_shifts_mm"])
    normal = clean.grid.affine_ras[:3, 2] / np.linalg.norm(clean.grid.affine_ras[:3, 2])
    # The slice that was shifted most in plane: its myocardium's centre has moved with the body.
    in_plane = shifts - (shifts @ normal)[:, None] * normal
    both = (drifted.labels[0] == 2).any(axis=(1, 2)) & (clean.labels[0] == 2).any(axis=(1, 2))
    candidates = np.flatnonzero(both)
    chosen = candidates[np.argmax(np.linalg.norm(in_plane[candidates], axis=-1))]

    def centre(labels: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(np.isin(labels[0, chosen], (1, 2)))
        return clean.grid.affine_ras[:3, :3] @ [columns.mean(), rows.mean(), chosen]

    moved = centre(drifted.labels) - centre(clean.labels)
    # The heart's section changes with the shift through the plane, so directions agree, lengths only roughly.
    assert moved @ in_plane[chosen] > 0.4 * np.linalg.norm(in_plane[chosen]) ** 2


def test_a_small_field_of_view_shows_the_middle_and_folds_the_rest_in(subject: Subject, clean) -> None:  # type: ignore[no-untyped-def]
    folded = simulate(subject, SMALL, 5, faults=(SmallFieldOfView(amount=0.25),))
    rows = folded.image.shape[2]
    assert rows == 72 and folded.labels.shape == folded.image.shape
    start = (96 - rows) // 2
    np.testing.assert_array_equal(folded.labels, clean.labels[:, :, start : start + rows])
    np.testing.assert_allclose(folded.grid.points_mm(), clean.grid.points_mm()[:, start : start + rows], atol=1e-9)
    # What was outside adds to the edges.
    edge = np.r_[0:6, rows - 6 : rows]
    assert folded.image[:, :, edge].mean() > 1.1 * clean.image[:, :, start : start + rows][:, :, edge].mean()


def test_all_of_the_body_folds_over_whatever_was_asked_for(subject: Subject) -> None:
    (rows, columns), (height, width) = SMALL.matrix, SMALL.fov_mm
    wide = SMALL.replace(matrix=(rows * 3 // 2, columns), fov_mm=(height * 1.5, width))
    one = simulate(subject, SMALL, 5, faults=(SmallFieldOfView(amount=0.25),))
    other = simulate(subject, wide, 5, faults=(SmallFieldOfView(amount=0.5),))
    assert one.image.shape == other.image.shape
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.image, other.image, atol=1e-3 * one.image.max())


def test_flow_changes_blood_and_nothing_else(subject: Subject) -> None:
    quiet = SMALL.replace(snr=1e5)
    here, there = (simulate(subject, quiet, 5, faults=f, truth=("labels", "anatomy")) for f in ((), (BloodFlow(),)))
    change = np.abs(there.image - here.image)
    muscle = here.anatomy == Structure.MUSCLE
    assert change[here.labels == 1].mean() > 30 * change[muscle].mean()


def test_banding_darkens_a_stripe_of_the_body(subject: Subject) -> None:
    quiet = SMALL.replace(snr=1e5)
    here, there = (simulate(subject, quiet, 5, faults=f) for f in ((), (Banding(amount=1000 / 2 / 3.0),)))
    heart = here.labels > 0
    assert there.image[heart].mean() < 0.7 * here.image[heart].mean()


def test_raw_data_come_for_every_slice_frame_and_channel(subject: Subject) -> None:
    slices: dict[int, np.ndarray] = {}
    cine = simulate(subject, SMALL, 5, on_kspace=slices.__setitem__)
    assert sorted(slices) == list(range(cine.grid.shape[0]))
    assert slices[0].shape == (4, 6, *SMALL.acquired_matrix)
    assert slices[1].dtype == np.complex64 and np.abs(slices[1]).max() > 0


def test_images_made_channel_by_channel_look_like_those_of_the_fast_path(subject: Subject, clean) -> None:  # type: ignore[no-untyped-def]
    cine = simulate(subject, SMALL, 5, by_channel=True)
    assert np.corrcoef(cine.image.ravel(), clean.image.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("changes", [{"acceleration": 2}, {"acceleration": 3, "phase_direction": "rows"}])
def test_the_snr_asked_for_is_that_of_the_accelerated_image(subject: Subject, changes: dict) -> None:
    protocol = SMALL.replace(**changes, snr=30.0, slices=2)
    quiet = simulate(subject, protocol.replace(snr=1e6), 5)
    # The noise is what noisy and quiet images of one seed differ by, where the heart is bright.
    noisy = simulate(subject, protocol, 5)
    heart = quiet.labels > 0
    bright = heart & (quiet.image > 0.5 * np.median(quiet.image[heart]))
    sd = (noisy.image - quiet.image)[bright].std()
    # 4 frames of about 1200 correlated pixels: the SD is good to a few percent; amplification varies over them.
    assert quiet.image[0][heart[0]].mean() / sd == pytest.approx(30.0, rel=0.12)


@pytest.mark.parametrize("trajectory", ["radial", "golden_angle"])
def test_spokes_make_a_cine_too(subject: Subject, clean, trajectory: str) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("finufft")
    cine = simulate(subject, SMALL.replace(trajectory=trajectory), 5)
    assert np.corrcoef(cine.image.ravel(), clean.image.ravel())[0, 1] > 0.85


def test_a_still_preview_takes_faults_of_lines(subject: Subject) -> None:
    cine = simulate(subject, SMALL.replace(phases=1, slices=1), 5, faults=(parse_fault("ghosting"),))
    assert cine.image.shape == (1, 1, 96, 80)


def test_a_segmented_scan_blurs_the_beating_heart_alone_and_tells_when_each_line_came(subject: Subject, clean) -> None:  # type: ignore[no-untyped-def]
    protocol = SMALL.replace(segmented=True, views_per_segment=40, snr=1e5)
    cine = simulate(subject, protocol, 5)
    sharp = simulate(subject, protocol.replace(segmented=False), 5)
    np.testing.assert_array_equal(cine.labels, clean.labels)
    changed = np.abs(cine.image - sharp.image)
    heart = (clean.labels > 0).any(axis=0)[None] & np.ones_like(clean.labels, bool)
    assert changed[heart].mean() > 5.0 * changed[~heart].mean()
    hold = cine.sidecar["breath_holds"][0]["schedule"]
    assert np.shape(hold["time_ms"]) == (4, protocol.acquired_matrix[0])
    assert max(map(max, hold["heartbeat"])) == protocol.heartbeats - 1
    assert cine.sidecar["protocol"]["segmented"] is True


def test_segments_at_single_moments_are_turned_down(subject: Subject) -> None:
    with pytest.raises(InputError, match="leave segmented or the phases out"):
        simulate(subject, SMALL.replace(segmented=True), 5, phases=(0.0,))
    with pytest.raises(InputError, match="segmented is true and phases is 1"):
        simulate(subject, SMALL.replace(segmented=True, phases=1), 5)


@pytest.mark.parametrize("fault", [None, "arrhythmia"])
def test_tags_laid_in_one_heartbeat_are_not_seen_in_the_next(subject: Subject, fault: str | None) -> None:
    """The first frame keeps the contrast of fresh tags, the last that of faded ones."""
    protocol = SMALL.replace(slices=1, phases=6, sequence="gre", flip_angle_deg=10.0, snr=1e5)
    tags = {"preparation": TagOptions(spacing_mm=14.0).acquisition}
    plain = simulate(subject, protocol, 5, **tags)
    faults = () if fault is None else (parse_fault(fault),)
    lined = simulate(subject, protocol.replace(segmented=True, views_per_segment=30), 5, faults=faults, **tags)

    def contrast(cine, frame):  # type: ignore[no-untyped-def]
        wall = cine.image[frame, 0][cine.labels[frame, 0] == 2]
        return wall.std() / wall.mean()

    assert lined.sidecar["breath_holds"][0]["schedule"]["prospective"]
    assert contrast(plain, 0) > 1.5 * contrast(plain, 5)  # they fade
    for frame in (0, 5):
        assert contrast(lined, frame) == pytest.approx(contrast(plain, frame), rel=0.12)


def test_lines_that_spokes_do_not_have_are_turned_down(subject: Subject) -> None:
    with pytest.raises(InputError, match="ghosting act on Cartesian lines"):
        simulate(subject, SMALL.replace(trajectory="radial"), 5, faults=(parse_fault("ghosting"),))


def test_blood_outshines_muscle_in_a_spoiled_gradient_echo_too(subject: Subject) -> None:
    protocol = SMALL.replace(
        sequence="gre", field_t=3.0, repetition_time_ms=5.2, echo_time_ms=2.4, flip_angle_deg=14.0, snr=60.0
    )
    cine = simulate(subject, protocol, 5)
    pool, muscle = (np.median(cine.image[0][cine.labels[0] == label]) for label in (1, 2))
    assert 1.6 < pool / muscle < 4.5
