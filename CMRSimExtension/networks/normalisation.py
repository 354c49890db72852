"""Intensity normalisation, one function for training and use, so that both see the same numbers."""

import torch
from torch import Tensor

from CMRSimExtension.errors import InputError


def normalise(images: Tensor, scheme: str = "robust") -> Tensor:
    """Normalise each image of a batch by itself.

    Parameters
    ----------
    images
        (n, channels, ...) of any intensity unit.
    scheme
        ``robust``: clip to the 1st and 99.5th percentile, then zero mean and unit standard deviation;
        ``minmax``: scale to [0, 1] by minimum and maximum (MONAI's `ScaleIntensity`);
        ``paper4``: scale to [0, 1] by minimum and maximum, then (x - 0.456) / 0.224 (P4, section 2.2.3);
        ``zscore``: zero mean and unit standard deviation (nnU-Net's scheme for MR).

    Returns
    -------
    Tensor
        The same shape, float32. An image of one constant value becomes zero.

    Raises
    ------
    InputError
        On an unknown scheme.
    """
    flat = images.float().flatten(1)
    if scheme == "robust":
        low, high = _percentiles(flat, (0.01, 0.995))
        flat = torch.minimum(torch.maximum(flat, low), high)
    elif scheme in ("minmax", "paper4"):
        low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
        flat = (flat - low) / (high - low).clamp_min(1e-12)
        return (flat if scheme == "minmax" else (flat - 0.456) / 0.224).view(images.shape)
    elif scheme != "zscore":
        raise InputError(f"normalisation {scheme!r} is unknown; choose robust, zscore, minmax or paper4")
    mean = flat.mean(1, keepdim=True)
    spread = flat.std(1, keepdim=True, unbiased=False)
    # Below this a spread is rounding noise of a constant image, which must not be blown up to structure.
    constant = spread <= 1e-6 * flat.abs().amax(1, keepdim=True).clamp_min(1e-30)
    flat = (flat - mean) / torch.where(constant, torch.ones_like(spread), spread)
    return torch.where(constant, torch.zeros_like(flat), flat).view(images.shape)


def _percentiles(flat: Tensor, fractions: tuple[float, ...], largest_sample: int = 8192) -> list[Tensor]:
    """Percentiles of every row, (n, 1) each; of an even subsample where rows are long, which is as good and faster."""
    # Odd, so that it does not pick the same columns of every row.
    step = flat.shape[1] // largest_sample | 1
    ordered = flat[:, ::step].sort(dim=1).values
    return [ordered[:, round(fraction * (ordered.shape[1] - 1))].unsqueeze(1) for fraction in fractions]
