"""Segmentation losses of the papers: Dice with cross-entropy, Focal-Tversky (P2), shape-aware (P4).

Every loss takes logits (n, classes, ...) and integer labels (n, ...), class 0 being the background.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from CMRSimExtension.errors import InputError


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(n, classes, ...) float32 of integer labels (n, ...)."""
    return functional.one_hot(labels.long(), classes).movedim(-1, 1).float()


class DiceCrossEntropy(nn.Module):
    """Soft Dice plus cross-entropy, equally weighted (P4's L_D + L_CE; nnU-Net's loss).

    Parameters
    ----------
    over_batch
        Sum intersections over the batch before dividing. A structure that a slice does not show then costs its false
        positives and nothing else; per image, the Dice of an absent structure is all or nothing.
    background
        Whether class 0 takes part in the Dice term. P4 sums over all channels, so it does there.
    dice_weight, cross_entropy_weight
        Weights of the two terms.
    smoothing
        Label smoothing of the cross-entropy, which keeps contours whose exact place readers dispute from being
        learnt with false certainty.
    """

    def __init__(
        self,
        over_batch: bool = True,
        background: bool = False,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.over_batch, self.background, self.smoothing = over_batch, background, smoothing
        self.dice_weight, self.cross_entropy_weight = dice_weight, cross_entropy_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits.float()
        probability = logits.softmax(1)
        truth = one_hot(labels, logits.shape[1])
        dimensions = [0, *range(2, logits.ndim)] if self.over_batch else list(range(2, logits.ndim))
        overlap = (probability * truth).sum(dimensions)
        total = (probability + truth).sum(dimensions)
        dice = (2.0 * overlap + 1.0) / (total + 1.0)
        dice = dice if self.background else dice[..., 1:]
        # On a GPU torch sums the entropy of class numbers in an order that changes, that of probabilities does not.
        target = truth if logits.is_cuda else labels.long()
        entropy = functional.cross_entropy(logits, target, label_smoothing=self.smoothing)
        return self.dice_weight * (1.0 - dice.mean()) + self.cross_entropy_weight * entropy


class FocalTversky(nn.Module):
    """Focal-Tversky loss (Abraham and Khan, ISBI 2019), the loss that P2 found best.

    TI = TP / (TP + alpha FN + beta FP), loss = mean over classes of (1 - TI) ** (1 / gamma).

    Parameters
    ----------
    alpha, beta
        Weights of missed and of wrongly found voxels; Abraham and Khan's 0.7 and 0.3.
    gamma
        Focus on hard classes; Abraham and Khan's 4/3.
    background
        Whether class 0 takes part.
    """

    def __init__(
        self, alpha: float = 0.7, beta: float = 0.3, gamma: float = 4.0 / 3.0, background: bool = False
    ) -> None:
        super().__init__()
        if alpha < 0 or beta < 0 or not alpha + beta > 0 or not 1.0 <= gamma <= 3.0:
            raise InputError(
                f"alpha {alpha}, beta {beta}, gamma {gamma}: give weights of at least 0, and gamma in 1 to 3"
            )
        self.alpha, self.beta, self.gamma, self.background = alpha, beta, gamma, background

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        probability = logits.float().softmax(1)
        truth = one_hot(labels, logits.shape[1])
        dimensions = [0, *range(2, logits.ndim)]
        found = (probability * truth).sum(dimensions)
        missed = ((1.0 - probability) * truth).sum(dimensions)
        wrong = (probability * (1.0 - truth)).sum(dimensions)
        index = (found + 1.0) / (found + self.alpha * missed + self.beta * wrong + 1.0)
        index = index if self.background else index[1:]
        # A power below one has an infinite slope at zero, which a perfect batch would turn into NaN.
        return (1.0 - index).clamp_min(1e-7).pow(1.0 / self.gamma).mean()


def shape_information(mask: np.ndarray, softness: float = 0.2) -> np.ndarray:
    """Shape information SI of a binary mask: P4, equations 1 and 2.

    SI(m) = H(1 - phi(m)) where phi(m) >= 0, else 0; H(x) = 1 / (1 + exp(-x / k)); phi is the signed Euclidean
    distance to the boundary, positive inside, normalised by its largest value. It is close to one at the boundary, one
    half at the innermost point, and zero outside.

    Parameters
    ----------
    mask
        Boolean array of any dimension.
    softness
        k; 0.2 in P4.

    Returns
    -------
    numpy.ndarray
        float32, the mask's shape; all zero for an empty mask.
    """
    inside = np.asarray(mask, dtype=bool)
    if not inside.any():
        return np.zeros(inside.shape, np.float32)
    # A mask without any outside has no boundary in the image; its border is then the image's own.
    distance = ndimage.distance_transform_edt(np.pad(inside, 1) if inside.all() else inside)
    if inside.all():
        distance = distance[(slice(1, -1),) * inside.ndim]
    # The transform measures to the first voxel outside; the boundary lies half a voxel before it, so phi starts at 0.
    phi = (distance - 1.0) / max(distance.max() - 1.0, 1.0)
    return np.where(inside, 1.0 / (1.0 + np.exp(-(1.0 - phi) / softness)), 0.0).astype(np.float32)


class ShapeAware(nn.Module):
    """Shape-aware boundary loss L_S: P4, equation 3.

    L_S = 1/C sum over classes of (1 / sum g) * integral |p - SI(g)|. A class whose reference is empty in an image has
    no shape and is left out of that image's mean (the equation divides by zero there).

    Parameters
    ----------
    softness
        k of equation 1.
    background
        Whether class 0 takes part; P4 counts all C channels.
    """

    def __init__(self, softness: float = 0.2, background: bool = True) -> None:
        super().__init__()
        if not softness > 0:
            raise InputError(f"softness k is {softness}; it must be above 0 (0.2 in the paper)")
        self.softness, self.background = softness, background

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        probability = logits.float().softmax(1)
        truth = one_hot(labels, logits.shape[1])
        if not self.background:
            probability, truth = probability[:, 1:], truth[:, 1:]
        masks = truth.bool().cpu().numpy()
        shape = np.stack([[shape_information(mask, self.softness) for mask in image] for image in masks])
        information = torch.from_numpy(shape).to(probability.device)
        space = list(range(2, truth.ndim))
        size = truth.sum(space)
        difference = (probability - information).abs().sum(space) / size.clamp_min(1.0)
        present = (size > 0).float()
        return (difference * present).sum() / present.sum().clamp_min(1.0)


class ShapeAwareTotal(nn.Module):
    """Dice + cross-entropy + gamma x shape-aware loss: P4, equation 4 (gamma 0.05 was its best)."""

    def __init__(self, gamma: float = 0.05, softness: float = 0.2, background: bool = True) -> None:
        super().__init__()
        if gamma < 0:
            raise InputError(f"gamma is {gamma}; it must not be negative (0.05 in the paper)")
        self.gamma = gamma
        self.region = DiceCrossEntropy(over_batch=False, background=background)
        self.shape = ShapeAware(softness, background)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.region(logits, labels) + self.gamma * self.shape(logits, labels)


LOSSES: Mapping[str, type[nn.Module]] = {
    "dice_cross_entropy": DiceCrossEntropy,
    "focal_tversky": FocalTversky,
    "shape_aware": ShapeAwareTotal,
}
"""Losses by the name that a configuration uses."""


def build_loss(name: str, **settings: Any) -> nn.Module:
    """Build the loss called `name`.

    Raises
    ------
    InputError
        When no loss has that name, or it does not take one of the settings.
    """
    if name not in LOSSES:
        raise InputError(f"no loss is called {name!r}; choose one of {', '.join(sorted(LOSSES))}")
    try:
        return LOSSES[name](**settings)
    except TypeError as error:
        raise InputError(f"loss {name!r} cannot be built from settings {sorted(settings)}: {error}") from error
