"""One call to a cine: labels that match the image, reproducibility, truths, errors."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.material import Moment
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import Cancelled, InputError
from CMRSimExtension.scanner.faults import parse_fault
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.scene import majority, one_slice
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.simulation.stream import draw_slices
from CMRSimExtension.tagging.options import TagOptions

SMALL = Protocol(
    phases=4, matrix=(96, 80), fov_mm=(264.0, 220.0), acquired_resolution_mm=(3.2, 2.8), slice_gap_mm=12.0, snr=40.0
)
ALL = ("labels", "anatomy", "motion", "fractions")


@pytest.fixture(scope="module")
def cine(subject: Subject):  # type: ignore[no-untyped-def]
    return simulate(subject, SMALL, 5, truth=ALL)


def test_the_same_seed_gives_the_same_cine_for_any_number_of_workers(subject: Subject, cine) -> None:  # type: ignore[no-untyped-def]
    again = simulate(subject, SMALL, 5, workers=1)
    assert np.array_equal(again.image, cine.image)
    assert np.array_equal(again.labels, cine.labels)


def test_another_seed_gives_another_image_of_the_same_labels(subject: Subject, cine) -> None:  # type: ignore[no-untyped-def]
    other = simulate(subject, SMALL, 6)
    assert np.array_equal(other.labels, cine.labels)
    assert not np.allclose(other.image, cine.image)


def test_labels_are_what_the_anatomy_says_at_the_voxels(subject: Subject, cine) -> None:  # type: ignore[no-untyped-def]
    """Within two voxels of a border thick slices may differ from their centre; elsewhere they may not."""
    points = cine.grid.points_mm().reshape(-1, 3)
    direct = subject.sample(points, Moment(0.0)).clinical.reshape(cine.grid.shape)
    both = (direct > 0) & (cine.labels[0] > 0)
    assert both.sum() > 500
    assert np.mean(direct[both] == cine.labels[0][both]) > 0.93


def test_blood_outshines_muscle_as_in_real_cines(cine) -> None:  # type: ignore[no-untyped-def]
    middle = cine.grid.shape[0] // 2
    image, labels = cine.image[0, middle], cine.labels[0, middle]
    assert 2.0 < np.median(image[labels == 1]) / np.median(image[labels == 2]) < 5.0


def test_true_function_is_the_model_s_own(subject: Subject, cine) -> None:  # type: ignore[no-untyped-def]
    """The pool and the wall, counted in cubes of 2 mm, have the volumes and the mass that come with the cine."""
    steps = np.arange(-80.0, 80.0, 2.0)
    cubes = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    points = (subject.heart_frame.to_ras(np.array([[0.0, 0.0, 45.0]])) + cubes).astype(np.float32)
    counted = {}
    for frame, phase in (("ed", 0.0), ("es", subject.heart.timing.end_systole)):
        clinical = subject.sample(points, Moment(phase), rest=False).clinical
        counted[frame] = [np.count_nonzero(clinical == label) * 0.008 for label in (1, 2)]
    # Counting is good to a few cubes in a thousand.
    assert cine.function.lv_edv_ml == pytest.approx(counted["ed"][0], rel=0.01)
    assert cine.function.lv_esv_ml == pytest.approx(counted["es"][0], rel=0.015)
    assert cine.function.lv_mass_g == pytest.approx(counted["ed"][1] * 1.05, rel=0.015)


def test_tissue_fractions_fill_every_voxel(cine) -> None:  # type: ignore[no-untyped-def]
    assert cine.fractions.shape == (len(Tissue), *cine.image.shape)
    assert np.abs(cine.fractions.sum(axis=0) - 1.0).max() < 1e-5


def test_displacement_leads_back_to_end_diastole(subject: Subject, cine) -> None:  # type: ignore[no-untyped-def]
    frame = 1
    wall = (cine.labels[frame] == 2) & (cine.anatomy[frame] == 2)
    points = cine.grid.points_mm()[wall] + cine.displacement_mm[frame][wall]
    before = subject.sample(points, Moment(0.0)).clinical
    assert np.mean(before == 2) > 0.9
    assert np.abs(cine.displacement_mm[0]).max() < 1e-3


def test_the_heart_beats_in_the_image_and_the_chest_does_not(cine) -> None:  # type: ignore[no-untyped-def]
    change = np.abs(cine.image[1] - cine.image[0])
    heart = cine.labels.any(axis=0)
    corner = np.s_[:, :10, :10]
    assert change[heart].mean() > 5 * change[corner].mean()


def test_times_follow_each_slice_s_own_heartbeat(cine) -> None:  # type: ignore[no-untyped-def]
    assert cine.times_ms.shape == (cine.grid.shape[0], SMALL.phases)
    assert np.all(cine.times_ms[:, 0] == 0.0)
    cycles = cine.times_ms[:, 1] * SMALL.phases
    assert cycles.std() > 0.0
    rate = cine.sidecar["anatomy"]["parameters"]["heart"]["heart_rate_bpm"]
    assert cycles.mean() == pytest.approx(60000.0 / rate, rel=0.05)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"truth": ("labels", "wishes")}, "truth wishes is not known"),
        ({"seed": -3}, "seed is -3"),
        ({"plane": "diagonal"}, "plane is 'diagonal'"),
        ({"sub_samples": 0}, "sub_samples is 0"),
    ],
)
def test_bad_requests_name_value_and_choices(subject: Subject, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(subject, SMALL, **({"seed": 1} | arguments))


def test_a_caller_can_cancel(subject: Subject) -> None:
    def stop(share: float, text: str) -> None:
        if share > 0.2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        simulate(subject, SMALL, 1, progress=stop)


def test_the_majority_wins_and_the_first_of_equals() -> None:
    votes = np.array([[1, 2, 3], [1, 0, 2], [2, 0, 2], [1, 2, 1]], np.uint8)
    assert majority(votes).tolist() == [1, 2, 2]


def test_a_stream_s_slices_depend_on_their_seed_alone() -> None:
    first = draw_slices(np.random.SeedSequence(4), 3, size=64)
    second = draw_slices(np.random.SeedSequence(4), 3, size=64)
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert first[0].shape == (3, 64, 64) and np.isfinite(first[0]).all()
    assert len(first[2]) == 3


def test_tags_lie_in_the_muscle_and_move_with_it(subject: Subject) -> None:
    """The same pixel is tagged at end diastole and not at end systole, and the other way round."""
    options = TagOptions(spacing_mm=9.0)
    protocol = SMALL.replace(sequence="gre", repetition_time_ms=4.0, echo_time_ms=2.0, flip_angle_deg=10.0, snr=1000.0)
    tagged = simulate(subject, protocol, 5, preparation=options.acquisition)
    plain = simulate(subject, protocol, 5)
    wall = (tagged.labels[0] == 2) & (tagged.labels[1] == 2)
    ratio = tagged.image[:2] / plain.image[:2]
    assert np.quantile(ratio[0][wall], 0.9) > 1.5 * np.quantile(ratio[0][wall], 0.1)
    assert np.corrcoef(ratio[0][wall], ratio[1][wall])[0, 1] < 0.9


def test_single_phases_can_be_imaged(subject: Subject, cine) -> None:  # type: ignore[no-untyped-def]
    """End diastole and end systole alone: the largest and the smallest LV pool of the cycle."""
    two = simulate(subject, SMALL, 5, phases=(0.0, subject.heart.timing.end_systole))
    pools = [(two.labels[k] == 1).sum() for k in (0, 1)]
    every = [(frame == 1).sum() for frame in cine.labels]
    assert pools[0] == max(every)
    assert pools[1] <= min(every)


def test_phases_out_of_order_are_refused(subject: Subject) -> None:
    with pytest.raises(InputError, match="rising numbers"):
        simulate(subject, SMALL, 5, phases=(0.4, 0.0))


def test_aliasing_on_a_given_grid_is_refused(subject: Subject, cine) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="needs a planned one"):
        simulate(subject, SMALL, 5, grid=cine.grid, faults=(parse_fault("aliasing=0.3"),))


def test_one_slice_of_a_narrowed_field_of_view_is_scanned_as_its_stack_is(subject: Subject) -> None:
    faults = (parse_fault("aliasing=0.3"),)
    stack = simulate(subject, SMALL, 5, faults=faults)
    middle = simulate(subject, SMALL, 5, faults=faults, grid=one_slice(stack.grid, 1))
    np.testing.assert_array_equal(middle.labels[:, 0], stack.labels[:, 1])
    signal = stack.image[:, 1] > 0.1 * stack.image.max()
    assert np.corrcoef(middle.image[:, 0][signal], stack.image[:, 1][signal])[0, 1] > 0.98
