"""Losses: limits, equations, and figure 4 of paper 4."""

import math

import numpy as np
import pytest
import torch

from CMRSimExtension.errors import InputError
from CMRSimExtension.training.losses import (
    DiceCrossEntropy,
    FocalTversky,
    ShapeAware,
    ShapeAwareTotal,
    build_loss,
    shape_information,
)


def certain(labels, classes=2):
    """Logits of a network that is sure of these labels."""
    return 60.0 * (torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float() - 0.5)


def disc(radius, size=64, row=32, column=32):
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(rows - row, columns - column) < radius


def tensor(mask):
    return torch.from_numpy(mask.astype(np.int64))[None]


@pytest.mark.parametrize("name", ["dice_cross_entropy", "focal_tversky"])
def test_a_perfect_prediction_costs_nothing(name):
    labels = tensor(disc(12))
    assert build_loss(name)(certain(labels), labels).item() < 1e-3


@pytest.mark.parametrize("name", ["dice_cross_entropy", "focal_tversky", "shape_aware"])
def test_a_wrong_prediction_costs_more_than_a_right_one(name):
    labels = tensor(disc(12))
    loss = build_loss(name)
    assert loss(certain(tensor(disc(6))), labels) > loss(certain(labels), labels) + 0.1


def test_dice_loss_is_one_minus_the_dice_coefficient():
    truth, found = disc(12), disc(8)
    loss = DiceCrossEntropy(cross_entropy_weight=0.0)(certain(tensor(found)), tensor(truth)).item()
    dice = (2.0 * (truth & found).sum() + 1.0) / (truth.sum() + found.sum() + 1.0)
    assert loss == pytest.approx(1.0 - dice, abs=1e-5)


class OnGpu(torch.Tensor):
    """Logits that say they lie on a GPU."""

    is_cuda = True


@pytest.mark.parametrize("smoothing", [0.0, 0.02])
def test_on_a_gpu_the_same_entropy_is_taken_from_probabilities_whose_sum_repeats_itself(smoothing, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 16, 20, generator=generator)
    labels = torch.randint(0, 4, (2, 16, 20), generator=generator)
    targets, entropy = [], torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy",
        lambda logits, target, **options: targets.append(target) or entropy(logits, target, **options),
    )  # fmt: skip
    loss = DiceCrossEntropy(dice_weight=0.0, smoothing=smoothing)
    assert loss(logits.as_subclass(OnGpu), labels).item() == pytest.approx(loss(logits, labels).item(), rel=1e-6)
    assert targets[0].is_floating_point() and not targets[-1].is_floating_point()


def test_dice_over_the_batch_forgives_no_structure_in_one_image():
    """An absent structure found in one pixel must not cost a whole image's Dice."""
    truth = torch.stack([tensor(disc(12))[0], torch.zeros(64, 64, dtype=torch.long)])
    found = truth.clone()
    found[1, 0, 0] = 1
    batch = DiceCrossEntropy(cross_entropy_weight=0.0)(certain(found), truth).item()
    alone = DiceCrossEntropy(over_batch=False, cross_entropy_weight=0.0)(certain(found), truth).item()
    assert batch < 0.01 < alone


def test_focal_tversky_follows_its_equation():
    truth, found = disc(12), disc(9, column=35)
    loss = FocalTversky()(certain(tensor(found)), tensor(truth)).item()
    hit, missed, wrong = (truth & found).sum(), (truth & ~found).sum(), (found & ~truth).sum()
    index = (hit + 1.0) / (hit + 0.7 * missed + 0.3 * wrong + 1.0)
    assert loss == pytest.approx((1.0 - index) ** 0.75, abs=1e-4)


def test_focal_tversky_punishes_missing_more_than_finding_too_much():
    truth = disc(12)
    area = truth.sum()
    smaller = FocalTversky()(certain(tensor(disc(10))), tensor(truth))
    larger = FocalTversky()(certain(tensor(disc(math.sqrt(144 + (144 - 100))))), tensor(truth))
    assert area and smaller > larger


def test_focal_tversky_has_a_finite_slope_at_a_perfect_prediction():
    labels = tensor(disc(12))
    logits = certain(labels).requires_grad_()
    FocalTversky()(logits, labels).backward()
    assert torch.isfinite(logits.grad).all()


def test_shape_information_follows_equations_1_and_2():
    mask = disc(15)
    information = shape_information(mask, 0.2)
    assert information[~mask].max() == 0.0
    # Boundary: phi = 0, H(1) = 1 / (1 + e^-5); innermost point: phi = 1, H(0) = 1/2.
    assert information[mask].max() == pytest.approx(1.0 / (1.0 + math.exp(-5.0)), abs=1e-6)
    assert information[32, 32] == pytest.approx(0.5, abs=1e-6)


def test_shape_information_falls_from_the_boundary_inwards():
    profile = shape_information(disc(15), 0.2)[32, 32:47]
    assert np.all(np.diff(profile) >= 0)


def test_shape_information_of_an_empty_mask_is_zero():
    assert not shape_information(np.zeros((8, 8), bool)).any()


def test_shape_information_of_a_mask_that_fills_the_image_is_finite():
    assert np.isfinite(shape_information(np.ones((9, 9), bool))).all()


def test_figure_4s_toy_example_an_error_at_the_boundary_costs_more_than_the_same_error_inside():
    """Same number of wrong pixels: equal Dice and cross-entropy, but the shape-aware loss tells them apart."""
    truth = disc(20)
    ring = truth & ~disc(19)
    inside = np.zeros_like(truth)
    order = np.argsort(np.hypot(*(np.mgrid[:64, :64] - 32)).ravel())[: ring.sum()]
    inside.ravel()[order] = True
    at_boundary, at_centre = certain(tensor(truth & ~ring)), certain(tensor(truth & ~inside))
    region, shape = DiceCrossEntropy(over_batch=False), ShapeAware(background=False)
    labels = tensor(truth)
    assert region(at_boundary, labels).item() == pytest.approx(region(at_centre, labels).item(), rel=1e-5)
    # Each missing pixel costs SI instead of 1 - SI: +0.99 at the boundary, about nothing at the centre.
    difference = (shape(at_boundary, labels) - shape(at_centre, labels)).item()
    expected = (2 * shape_information(truth)[ring] - 1).sum() - (2 * shape_information(truth)[inside] - 1).sum()
    assert difference == pytest.approx(expected / truth.sum(), rel=1e-3)
    assert difference > 0.04


def test_the_shape_aware_loss_follows_equation_3():
    truth = disc(15)
    probability = 0.3
    logits = torch.log(torch.tensor([1 - probability, probability])).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    expected = np.abs(probability - shape_information(truth)).sum() / truth.sum()
    assert ShapeAware(background=False)(logits, tensor(truth)).item() == pytest.approx(expected, rel=1e-5)


def test_equation_4_adds_gamma_times_the_shape_aware_loss():
    labels, logits = tensor(disc(15)), certain(tensor(disc(12)))
    parts = DiceCrossEntropy(over_batch=False, background=True)(logits, labels) + 0.05 * ShapeAware()(logits, labels)
    assert ShapeAwareTotal()(logits, labels).item() == pytest.approx(parts.item(), rel=1e-6)


def test_an_absent_class_has_no_shape_and_costs_none():
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    assert ShapeAware(background=False)(certain(labels), labels).item() == 0.0


def test_an_unknown_loss_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="focal_tversky"):
        build_loss("lovasz")


def test_a_softness_of_zero_is_refused():
    with pytest.raises(InputError, match="0.2"):
        ShapeAware(softness=0.0)
