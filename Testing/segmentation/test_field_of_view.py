"""A heart is found whatever lies about it: padding, and what looks like a heart at first sight."""

import numpy as np
import pytest
import torch

from CMRSimExtension.evaluation.overlap import dice
from CMRSimExtension.segmentation.localisation import without_border
from CMRSimExtension.segmentation.model import SegmentationModel
from CMRSimExtension.segmentation.segment import segment
from Testing.segmentation.conftest import Oracle, grid, heart_labels, picture

PADS = [((0, 0), (0, 0)), ((0, 300), (200, 100)), ((250, 0), (0, 250))]


def noisy():
    """A heart in a body with noise, so that no row of the image is constant."""
    image = picture(heart_labels())
    return image + np.random.default_rng(0).normal(0.0, 0.01, image.shape).astype(np.float32) * image.max()


@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("value", [0.0, -30.0])
def test_padding_is_cut_off_but_for_a_margin(pads, value):
    padded = np.pad(noisy(), ((0, 0), *pads), constant_values=value)[None]
    rows, columns = without_border(padded)
    shape = padded[..., rows, columns].shape[-2:]
    assert shape == (90 + sum(min(8, pad) for pad in pads[0]), 110 + sum(min(8, pad) for pad in pads[1]))
    assert rows.start == max(0, pads[0][0] - 8) and columns.start == max(0, pads[1][0] - 8)


def test_padding_with_a_value_of_its_own_in_each_slice_is_cut_off_too():
    """As where each slice is scaled to mean 0 and SD 1 after it was padded."""
    padded = np.pad(np.stack([noisy(), 2.0 * noisy()]), ((0, 0), (0, 0), (0, 300), (200, 100)))
    scaled = (padded - padded.mean((2, 3), keepdims=True)) / padded.std((2, 3), keepdims=True)
    assert len(np.unique(scaled[..., -1, -1])) > 2
    assert without_border(scaled) == without_border(padded) == (slice(0, 98), slice(192, 318))


def test_what_any_frame_shows_stays_where_frames_lie_differently_in_their_padding(oracle):
    shifts, rows, columns = [(0, 200), (12, 185)], 90, 110
    images, truth = np.zeros((2, 5, 400, 420), np.float32), np.zeros((2, 5, 400, 420), np.uint8)
    for image, labels, (down, right) in zip(images, truth, shifts, strict=True):
        image[:, down : down + rows, right : right + columns] = noisy()
        labels[:, down : down + rows, right : right + columns] = heart_labels()
    assert without_border(images) == (slice(0, 110), slice(177, 318))
    # Every frame with a value of its own about it, too.
    images += np.array([-40.0, 15.0], np.float32).reshape(2, 1, 1, 1)
    found = segment(images, grid(images.shape[1:]), oracle, device="cpu", views="none")
    assert min(dice(found.labels == label, truth == label) for label in (1, 2, 3)) > 0.9


def test_padding_changes_no_label(oracle):
    pads = ((0, 0), (0, 300), (200, 100))
    images = np.pad(noisy(), pads, constant_values=0.0)[None]
    kwargs = {"device": "cpu", "views": "none", "probabilities": True}
    plain = segment(noisy()[None], grid(), oracle, **kwargs)
    found = segment(images, grid(images.shape[1:]), oracle, **kwargs)
    inner = found.labels[..., :90, 200:310]
    assert (inner != plain.labels).mean() < 2e-3 and found.labels.sum() == inner.sum()
    assert found.place.window.centre == pytest.approx(np.array(plain.place.window.centre) + [0, 200], abs=1.0)
    assert np.abs(found.probabilities.astype(float).sum(1) - 1.0).max() < 3e-3
    assert found.probabilities.shape == (1, 4, *images.shape[1:]) and not found.uncertainty[..., 95:, :].any()


class TwoPlaces(Oracle):
    """In the whole field of view grey like muscle is blood as well; in the heart's own window it is not."""

    def forward(self, images):
        logits = super().forward(images)
        if images.shape[-1] > 96:
            logits[:, 1] = torch.maximum(logits[:, 1], logits[:, 2])
        return logits


def test_a_place_without_a_left_ventricle_is_left_for_the_next():
    shape, spacing = (5, 220, 260), (8.0, 1.6, 1.3)
    truth = heart_labels(shape, spacing, centre_mm=(70.0, 260.0))
    image = picture(truth)
    # A large organ of muscle's grey at the other side, and a vessel beside it.
    image[:, 120:190, 20:80] = picture(np.full(1, 2, np.uint8))[0]
    image[:, 150:154, 86:90] = image.max()
    model = SegmentationModel("two", TwoPlaces(), normalisation="zscore", pixel_mm=1.5, size=96)
    found = segment(image[None], grid(shape, spacing), model, device="cpu", views="none")
    rows, columns = found.place.window.centre
    assert abs(rows - 70.0 / 1.6) < 5 and abs(columns - 260.0 / 1.3) < 15
    assert (found.labels == 1).any() and not found.labels[..., 100:, :100].any()


class Unsure(Oracle):
    def forward(self, images):
        return 0.03 * super().forward(images)


def test_little_confidence_is_told():
    model = SegmentationModel("unsure", Unsure(), normalisation="zscore", pixel_mm=1.5, size=96)
    found = segment(picture(heart_labels())[None], grid(), model, device="cpu", views="none")
    assert 0.0 < found.place.confidence < 0.8
    assert any(f"confidence of {found.place.confidence:.2f}" in note for note in found.notes)


def test_specks_are_no_other_places():
    image = picture(heart_labels())
    image[2, 3:5, 3:5] = image.max()
    model = SegmentationModel("oracle", Oracle(), normalisation="zscore", pixel_mm=1.5, size=96)
    assert not segment(image[None], grid(), model, device="cpu", views="none").place.others


def test_a_model_without_a_left_pool_keeps_the_likeliest_place():
    image = np.concatenate([picture(heart_labels())] * 2, axis=-1)
    shape = image.shape
    looked: list[tuple[int, ...]] = []

    class Muscle(Oracle):
        def forward(self, images):
            looked.append(tuple(images.shape))
            return super().forward(images)[:, [0, 2]]

    model = SegmentationModel("muscle", Muscle(), ("lv_myocardium",), {1: 2}, "zscore", pixel_mm=1.5, size=96)
    found = segment(image[None], grid(shape), model, device="cpu", views="none")
    assert len(found.place.others) == 1 and set(np.unique(found.labels)) <= {0, 2}
    # Two looks at the whole field of view, one at the window: no further place is tried for want of blood.
    assert len(looked) == 3
