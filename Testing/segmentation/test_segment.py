"""Segmenting: any grid, any place, clear about what cannot be segmented."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from CMRSimExtension.errors import Cancelled, InputError
from CMRSimExtension.evaluation.overlap import dice
from CMRSimExtension.evaluation.voxel_sizes import spacing_is_plausible
from CMRSimExtension.segmentation.clean_up import CleanUp
from CMRSimExtension.segmentation.localisation import TYPICAL_EPICARDIAL_MM
from CMRSimExtension.segmentation.model import Predictor, SegmentationModel, choose_device
from CMRSimExtension.segmentation.segment import check_image, segment
from Testing.segmentation.conftest import LEVELS, Oracle, grid, heart_labels, picture


def overlap(found, truth):
    return min(dice(found == label, truth == label) for label in (1, 2, 3))


@pytest.mark.parametrize("views", ["none", "four", "eight"])
def test_labels_come_back_on_the_images_own_grid(oracle, views):
    truth = heart_labels()
    found = segment(picture(truth)[None], grid(), oracle, device="cpu", views=views)
    # Smooth edges between bright blood and dark background pass through the wall's grey: a rim of half a pixel.
    assert found.labels.shape == (1, 5, 90, 110) and overlap(found.labels[0], truth) > 0.9


@pytest.mark.parametrize("axes", [(2, 1), (1, 2)])
@pytest.mark.parametrize("flips", [(), (1,), (2,), (1, 2)])
def test_the_orientation_of_the_array_does_not_matter(oracle, axes, flips):
    truth, spacing = heart_labels(), (8.0, 1.6, 1.3)
    turned = np.flip(truth, flips) if flips else truth
    turned = np.ascontiguousarray(turned.transpose(0, *axes))
    sides = (spacing[0], *(spacing[axis] for axis in axes))
    found = segment(picture(turned)[None], grid(turned.shape, sides), oracle, device="cpu", views="none")
    assert overlap(found.labels[0], turned) > 0.9


def test_the_heart_is_found_far_from_the_centre_of_a_large_field_of_view(oracle):
    shape, spacing = (5, 220, 260), (8.0, 1.6, 1.3)
    truth = heart_labels(shape, spacing, centre_mm=(60.0, 260.0))
    found = segment(picture(truth)[None], grid(shape, spacing), oracle, device="cpu", views="none")
    assert overlap(found.labels[0], truth) > 0.9


@pytest.mark.parametrize("wrong", [0.7, 1.3])
def test_a_false_voxel_size_does_no_harm_when_it_is_not_trusted(oracle, wrong):
    truth = heart_labels()
    false = tuple(side * wrong for side in (8.0, 1.6, 1.3))
    found = segment(picture(truth)[None], grid(spacing=false), oracle, device="cpu", spacing_trusted=False)
    assert overlap(found.labels[0], truth) > 0.88
    # The upper quartile of these five slices is the second, of 0.92 x 60 mm: it is taken to be of typical size.
    expected = 1.6 * TYPICAL_EPICARDIAL_MM / (0.92 * 60.0)
    assert found.place.pixel_mm[0] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_voxel_sizes_that_no_heart_has_are_refused_or_not_trusted(oracle, factor):
    truth = heart_labels()
    wrong = grid(spacing=tuple(factor * side for side in (8.0, 1.6, 1.3)))
    with pytest.raises(InputError, match=r"0.3 to 6 mm; correct the file's header"):
        segment(picture(truth)[None], wrong, oracle, device="cpu", views="none")
    assert not spacing_is_plausible(wrong) and spacing_is_plausible(grid())
    found = segment(picture(truth)[None], wrong, oracle, device="cpu", views="none", spacing_trusted=False)
    assert overlap(found.labels[0], truth) > 0.88


def test_a_single_slice_can_be_segmented(oracle):
    truth = heart_labels((1, 90, 110))
    found = segment(picture(truth)[None], grid((1, 90, 110)), oracle, device="cpu", views="none")
    assert overlap(found.labels[0], truth) > 0.9


def test_frames_not_asked_for_are_empty_and_the_others_listed(oracle):
    cine = np.stack([picture(heart_labels(scale=size)) for size in (1.0, 0.9, 0.8)])
    found = segment(cine, grid(), oracle, device="cpu", views="none", frames=[2, 0])
    assert found.frames == (2, 0) and not found.labels[1].any() and found.labels[0].any() and found.labels[2].any()


def test_each_frame_is_segmented_by_itself(oracle):
    truths = [heart_labels(scale=size) for size in (1.0, 0.8)]
    found = segment(np.stack([picture(truth) for truth in truths]), grid(), oracle, device="cpu", views="none")
    assert all(overlap(labels, truth) > 0.88 for labels, truth in zip(found.labels, truths, strict=True))


def probabilities_of(oracle, sizes, frames=None):
    cine = np.stack([picture(heart_labels(scale=size)) for size in sizes])
    kept = segment(cine, grid(), oracle, device="cpu", views="none", probabilities=True, frames=frames)
    return kept.probabilities.astype(np.float32)


@pytest.mark.parametrize(("end", "whole"), [(np.pi * 17 / 18, True), (np.pi / 2, False)])
def test_neighbouring_frames_of_a_whole_series_help_each_other(oracle, end, whole):
    """The last frame of a whole heartbeat is followed by the first; one that ends at end systole just ends."""
    sizes = 1.0 - 0.15 * np.sin(np.linspace(0.0, end, 18)) ** 2
    by_themselves = [*range(16), 17, 16]
    alone = probabilities_of(oracle, sizes, by_themselves)[by_themselves]
    together = probabilities_of(oracle, sizes)
    expected = (np.roll(alone, 1, 0) + 2 * alone + np.roll(alone, -1, 0)) / 4
    if not whole:
        expected[0], expected[17] = (2 * alone[0] + alone[1]) / 3, (alone[16] + 2 * alone[17]) / 3
    assert np.abs(together - expected).max() < 5e-3 < np.abs(together - alone).max()


def test_frames_of_a_short_series_do_not(oracle):
    sizes = 1.0 - 0.15 * np.sin(np.linspace(0.0, np.pi, 17))
    np.testing.assert_array_equal(
        probabilities_of(oracle, sizes), probabilities_of(oracle, sizes, range(16, -1, -1))[::-1]
    )


class SeesNothing(Oracle):
    def forward(self, images):
        logits = super().forward(images)
        logits[:, 0] = 99.0
        return logits


def test_an_image_without_a_heart_gives_an_empty_segmentation_and_says_so():
    model = SegmentationModel("blind", SeesNothing(), normalisation="zscore", size=96)
    found = segment(picture(heart_labels())[None], grid(), model, device="cpu", views="none")
    assert not found.labels.any() and "no heart was found" in found.notes[0]


def test_probabilities_sum_to_one_and_lead_to_the_labels(oracle):
    truth = heart_labels()
    found = segment(picture(truth)[None], grid(), oracle, device="cpu", views="none", probabilities=True, clean_up=None)
    assert found.probabilities.shape == (1, 4, 5, 90, 110)
    # Half precision: 2^-11 for each of four numbers.
    assert np.abs(found.probabilities.astype(float).sum(1) - 1.0).max() < 3e-3
    agree = found.probabilities.argmax(1) == found.labels
    assert agree.mean() > 0.999


def test_uncertainty_is_highest_at_the_edges(oracle):
    truth = heart_labels()
    found = segment(picture(truth)[None], grid(), oracle, device="cpu", views="none", probabilities=True)
    inside = found.uncertainty[0, 0][np.hypot(*(np.mgrid[:90, :110] - np.array([43.75, 57.7]).reshape(2, 1, 1))) < 6]
    assert inside.max() < 0.3 < found.uncertainty.max() <= 1.0


def test_intensity_units_do_not_matter(oracle):
    truth = heart_labels()
    first = segment(picture(truth, 1.0)[None], grid(), oracle, device="cpu", views="none").labels
    second = segment(picture(truth, 4095.0).astype(np.int16)[None], grid(), oracle, device="cpu", views="none").labels
    assert (first != second).mean() < 1e-3


def test_classes_of_a_bundle_get_their_own_label_numbers(oracle):
    other = SegmentationModel("o", Oracle(), ("rv", "x", "lv"), {1: 3, 2: 2, 3: 1}, "zscore", 1.5, 96)
    truth = heart_labels()
    first = segment(picture(truth)[None], grid(), oracle, device="cpu", views="none", clean_up=None).labels
    second = segment(picture(truth)[None], grid(), other, device="cpu", views="none", clean_up=None).labels
    assert np.array_equal(np.array([0, 3, 2, 1])[first], second)


class WholeStack(torch.nn.Module):
    """A 3D oracle."""

    multiple = (2, 16, 16)

    def forward(self, volumes):
        value = (volumes - volumes.amin()) / (volumes.amax() - volumes.amin())
        return torch.cat([-40.0 * (value - level) ** 2 for level in LEVELS], 1)


def test_a_network_for_volumes_gets_the_stack_as_one():
    model = SegmentationModel("stack", WholeStack(), normalisation="zscore", pixel_mm=1.5, size=96, slice_mm=8.0)
    truth = heart_labels()
    found = segment(picture(truth)[None], grid(), model, device="cpu", views="none")
    assert overlap(found.labels[0], truth) > 0.85


def test_cancelling_stops_it(oracle):
    with pytest.raises(Cancelled):
        segment(picture(heart_labels())[None], grid(), oracle, device="cpu", progress=lambda fraction: False)


BAD = {
    "colour": (np.zeros((1, 2, 40, 40, 3)), "colour"),
    "two dimensions": (np.zeros((40, 40)), "frames, slices, rows, columns"),
    "no slice": (np.zeros((1, 0, 40, 40)), "empty"),
    "wrong axis": (np.random.default_rng(0).random((1, 40, 40, 3)), "fewer than 32"),
    "nothing but one value": (np.full((1, 2, 40, 40), 7.0), "shows nothing"),
    "not finite": (np.full((1, 2, 40, 40), np.nan), "not finite"),
    "complex": (np.ones((1, 2, 40, 40), complex), "real numbers"),
    "a label map": (heart_labels()[None], "4 different whole numbers, 0 to 3, .* label map"),
    "a label map in floating point": (heart_labels()[None].astype(float), "label map"),
    "a CT": (np.random.default_rng(0).uniform(-1000, 1500, (1, 2, 40, 40)), "Hounsfield"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_segmented_is_named(case):
    image, message = BAD[case]
    with pytest.raises(InputError, match=message):
        check_image(image)


def test_eight_bit_images_are_images():
    check_image(np.random.default_rng(0).integers(0, 40, (1, 2, 40, 40)).astype(np.uint8))


@pytest.mark.parametrize(("lowest", "said"), [(-160, True), (0, False)])
def test_values_below_zero_are_told(oracle, lowest, said):
    image = picture(heart_labels(), 400.0).astype(np.int16)[None] + lowest
    found = segment(image, grid(), oracle, device="cpu", views="none")
    assert any("from -160 to 240, and magnitudes" in note for note in found.notes) is said


def test_a_frame_that_does_not_exist_is_named(oracle):
    with pytest.raises(InputError, match="frames 0 to 0"):
        segment(picture(heart_labels())[None], grid(), oracle, device="cpu", frames=[3])


def test_a_gpu_that_is_not_there_is_named():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="choose the device cpu"):
        choose_device("cuda")


class OutOfMemory(Oracle):
    """Fails like a full memory for batches of more than two images."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, images):
        if len(images) > 2:
            raise self.error
        return super().forward(images)


FULL = (
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
)


@pytest.mark.parametrize("error", FULL)
def test_a_full_memory_gets_smaller_batches_and_the_user_is_told(error):
    said = []
    model = SegmentationModel("full", OutOfMemory(error), normalisation="zscore")
    predictor = Predictor(model, "cpu", batch_pixels=8 * 64 * 64, warn=said.append)
    images = torch.rand(8, 1, 64, 64)
    expected = Predictor(SegmentationModel("o", Oracle(), normalisation="zscore"), "cpu").probabilities(images)
    assert torch.allclose(predictor.probabilities(images), expected, atol=1e-5)
    assert "smaller batches" in said[0]


def test_another_error_of_the_network_is_not_taken_for_a_full_memory():
    model = SegmentationModel("broken", OutOfMemory(RuntimeError("shapes differ")), normalisation="zscore")
    with pytest.raises(RuntimeError, match="shapes differ"):
        Predictor(model, "cpu").probabilities(torch.rand(8, 1, 64, 64))


def test_images_of_any_size_are_padded_and_cut_again(oracle):
    assert Predictor(oracle, "cpu").probabilities(torch.rand(3, 1, 50, 70)).shape == (3, 4, 50, 70)


def test_a_model_whose_size_does_not_fit_its_network_is_named():
    with pytest.raises(InputError, match="multiples of 16"):
        SegmentationModel("odd", Oracle(), size=100).check_size()


def ring_frame():
    return heart_labels((4, 60, 70), (8.0, 1.6, 1.6), (48.0, 60.0), scale=0.8)


def test_clean_up_leaves_a_clean_heart_alone():
    assert np.array_equal(CleanUp()(ring_frame()), ring_frame())


def test_clean_up_removes_what_is_not_connected_to_the_heart():
    spoilt = ring_frame()
    spoilt[:, 1:6, 1:6] = 2
    spoilt[0, 55:58, 60:66] = 3
    assert np.array_equal(CleanUp()(spoilt), ring_frame())


def test_clean_up_fills_holes_in_wall_and_pool():
    spoilt, truth = ring_frame(), ring_frame()
    wall, pool = np.argwhere(truth[1] == 2), np.argwhere(truth[1] == 1)
    middle = wall[np.argmin(np.abs(np.hypot(*(wall - pool.mean(0)).T) - 12.5))]
    spoilt[1][tuple(middle)] = 0
    spoilt[1][tuple(pool.mean(0).round().astype(int))] = 2
    assert np.array_equal(CleanUp()(spoilt), truth)


def test_a_pocket_of_blood_that_papillary_muscle_cuts_off_stays_blood():
    """A strip of muscle through the pool leaves a pocket between itself and the wall."""
    pocket = ring_frame()
    columns = np.broadcast_to(np.arange(70) - 60.0 / 1.6, (60, 70))
    pocket[1][(pocket[1] == 1) & (columns > 5.5) & (columns < 7.5)] = 2
    pieces, count = ndimage.label(pocket[1] == 1)
    sizes = np.bincount(pieces.ravel())[1:]
    assert count == 2 and sizes.min() < CleanUp().smallest_fraction * sizes.max()
    assert np.array_equal(CleanUp()(pocket), pocket)


def test_blood_that_leans_on_the_outside_of_the_wall_is_background():
    spoilt, truth = ring_frame(), ring_frame()
    wall = np.argwhere(truth[1] == 2)
    row, column = wall[np.argmax(wall[:, 1])]  # the lateral side, away from the right ventricle
    spoilt[1, row - 1 : row + 2, column + 1 : column + 4] = 1
    assert np.array_equal(CleanUp()(spoilt), truth)


def test_a_half_open_slice_at_the_end_of_the_stack_is_no_ventricle():
    open_base, truth = ring_frame(), ring_frame()
    columns = np.arange(70) - 60.0 / 1.6
    open_base[0][np.broadcast_to(columns < 4, (60, 70)) & (open_base[0] == 2)] = 0  # well over half of the wall
    expected = truth.copy()
    expected[0] = 0
    assert np.array_equal(CleanUp()(open_base), expected)


def test_a_half_open_slice_within_the_stack_stays():
    gap = ring_frame()
    columns = np.arange(70) - 60.0 / 1.6
    gap[2][np.broadcast_to(columns < 4, (60, 70)) & (gap[2] == 2)] = 0
    assert (CleanUp()(gap)[2] == 1).any()


def test_a_closed_apex_without_blood_stays():
    closed = ring_frame()
    closed[3][closed[3] == 1] = 2
    assert np.array_equal(CleanUp()(closed), closed)


def test_walls_of_a_frame_without_blood_are_no_heart():
    stray = ring_frame()
    stray[stray == 1] = 0
    assert not CleanUp()(stray).any()


def test_a_single_slice_that_contracts_to_its_walls_keeps_them():
    slices = np.stack([ring_frame()[2:3], ring_frame()[2:3]])
    slices[1][slices[1] == 1] = 2
    assert np.array_equal(CleanUp().of_series(slices, steady=False), slices)


def test_a_right_ventricle_without_a_left_one_is_no_heart():
    lone = ring_frame()
    lone[lone != 3] = 0
    assert not CleanUp()(lone).any()


def test_clean_up_keeps_labels_that_are_no_ventricle():
    labels = ring_frame()
    labels[0, 0, 0] = 9
    assert CleanUp()(labels)[0, 0, 0] == 9
