"""Domain randomisation: labels follow images, numbers repeat, nothing breaks."""

import dataclasses

import numpy as np
import pytest
import torch

from CMRSimExtension.errors import InputError
from CMRSimExtension.training.augmentation import Augmentation, to_unit_range
from Testing.training.toy_slices import draw

STILL = Augmentation(
    rotation_degrees=0.0, quarter_turns=False, scale=(1.0, 1.0), stretch=0.0, shear=0.0, shift=0.0,
    elastic_probability=0.0, tone_probability=0.0, gamma_probability=0.0, bias_probability=0.0, filter_probability=0.0,
    ghost_probability=0.0, noise_probability=0.0, patch_probability=0.0, saturate_probability=0.0,
)  # fmt: skip


@pytest.fixture
def batch():
    images, labels, _ = draw(np.random.SeedSequence(4), 6, 64)
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_any_change_the_labels_stay_and_the_image_is_only_scaled(batch):
    images, labels = STILL(*batch, generator())
    assert torch.equal(labels, batch[1].long())
    # The k-space filter's soft edge beyond the highest frequency and |.| leave rounding noise only.
    assert torch.allclose(images, to_unit_range(batch[0]), atol=1e-3)


def test_the_same_generator_gives_the_same_batch(batch):
    first, second = Augmentation()(*batch, generator(7)), Augmentation()(*batch, generator(7))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_another_generator_gives_another_batch(batch):
    assert not torch.equal(Augmentation()(*batch, generator(7))[0], Augmentation()(*batch, generator(8))[0])


def test_labels_move_with_the_image(batch):
    """Where the label says blood the moved image must still be bright, and dark where it says wall."""
    moving = dataclasses.replace(
        STILL, rotation_degrees=180.0, quarter_turns=True, scale=(0.8, 1.3), shift=0.1, shear=0.1, stretch=0.1,
        elastic_probability=1.0,
    )  # fmt: skip
    images, labels = moving(*batch, generator(1))
    for image, label in zip(images[:, 0], labels, strict=True):
        assert image[label == 1].median() > 0.8 > 0.4 > image[label == 2].median()


def test_a_quarter_turn_is_exact_on_labels(batch):
    turned = dataclasses.replace(STILL, quarter_turns=True)
    labels = turned(*batch, generator(3))[1]
    for before, after in zip(batch[1], labels, strict=True):
        ways = [torch.rot90(flip, k) for flip in (before, before.flip(0)) for k in range(4)]
        assert any(torch.equal(after, way.long()) for way in ways)


def test_all_eight_orientations_come_up():
    image = torch.arange(16.0).view(1, 1, 4, 4).expand(64, 1, 4, 4).contiguous()
    seen = {tuple(one.flatten().tolist()) for one in dataclasses.replace(STILL, quarter_turns=True)(
        image, torch.zeros(64, 4, 4, dtype=torch.long), generator())[0].round(decimals=2)}  # fmt: skip
    assert len(seen) == 8


def test_magnification_enlarges_the_heart(batch):
    larger = dataclasses.replace(STILL, scale=(1.25, 1.25))(*batch, generator())[1]
    ratio = (larger == 1).sum() / (batch[1] == 1).sum()
    assert ratio.item() == pytest.approx(1.25**2, rel=0.03)  # pixel edges of discs of 400 pixels


def test_the_output_may_have_another_size(batch):
    images, labels = dataclasses.replace(Augmentation(), size=(48, 32))(*batch, generator())
    assert images.shape == (6, 1, 48, 32) and labels.shape == (6, 48, 32)


def test_slices_of_a_volume_change_alike(batch):
    volume = batch[0][:1, 0].unsqueeze(1).expand(1, 1, 3, 64, 64).reshape(1, 1, 3, 64, 64)
    labels = batch[1][:1].unsqueeze(1).expand(1, 3, 64, 64)
    quiet = dataclasses.replace(Augmentation(), noise_probability=0.0)
    images, moved = quiet(volume.contiguous(), labels.contiguous(), generator(2))
    assert torch.equal(images[0, 0, 0], images[0, 0, 2]) and torch.equal(moved[0, 0], moved[0, 2])


def test_values_stay_finite_and_not_negative(batch):
    for seed in range(10):
        images, labels = Augmentation()(*batch, generator(seed))
        assert torch.isfinite(images).all() and images.min() >= 0.0 and int(labels.max()) <= 3


def test_noise_has_the_spread_that_was_drawn(batch):
    """Bright regions of a Rician image have Gaussian noise; sigma is drawn evenly between zero and `noise`."""
    flat, noisy = torch.ones(400, 1, 32, 32), dataclasses.replace(STILL, noise_probability=1.0, noise=0.2)
    ramp = torch.linspace(0.0, 1.0, 32).view(1, 1, 1, 32) * flat
    difference = (
        noisy(ramp, torch.zeros(400, 32, 32, dtype=torch.long), generator())[0][..., 20:]
        - to_unit_range(ramp)[..., 20:]
    )
    spread = difference.flatten(1).std(1)
    assert spread.max() < 0.22 and spread.mean().item() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    "change", [{"scale": (0.0, 1.0)}, {"noise_probability": 1.5}, {"gamma": 0.5}, {"resolution": 0.0}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        Augmentation(**change)


def test_images_and_labels_of_different_shapes_are_refused(batch):
    with pytest.raises(InputError, match="augmentation needs"):
        Augmentation()(batch[0], batch[1][:, :-1], generator())
