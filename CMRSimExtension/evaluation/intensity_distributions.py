"""How alike the grey values of two sets of images are, tissue by tissue.

The three measures of Amirrajab et al.'s virtual population (poster, P1 of this project's sources): chi-square
dissimilarity, Kullback-Leibler divergence and Kolmogorov-Smirnov distance; 0 is a full match for each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError

BINS = 64


@dataclass(frozen=True)
class DistributionDistance:
    """Distances between two distributions of intensity.

    Attributes
    ----------
    chi_square
        Half the sum of (p - q)^2 / (p + q) over the bins: 0 to 1.
    kullback_leibler
        Sum of p log(p / q), natural logarithm, with one count added to every bin.
    kolmogorov_smirnov
        Largest difference of the cumulative distributions: 0 to 1.
    """

    chi_square: float
    kullback_leibler: float
    kolmogorov_smirnov: float


def normalised(image: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intensities of an image in units of the median of its LV blood and myocardium together (labels 1 and 2).

    Raises
    ------
    InputError
        If neither is there, or their median is not above 0.
    """
    heart = image[(labels == 1) | (labels == 2)]
    if not heart.size:
        raise InputError("the image has neither LV blood nor myocardium (labels 1 and 2) to be normalised by")
    level = float(np.median(heart))
    if not level > 0:
        raise InputError(f"the median intensity of the LV is {level}; it must be above 0")
    return np.asarray(image, dtype=np.float64) / level


def distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> DistributionDistance:
    """Distances between two samples of intensities (any shapes), over 64 even bins of their common range.

    Raises
    ------
    InputError
        If either sample is empty or not finite.
    """
    samples = [np.asarray(values, dtype=np.float64).reshape(-1) for values in (first, second)]
    for values in samples:
        if not values.size or not np.all(np.isfinite(values)):
            raise InputError("a sample of intensities is empty or not finite; give at least one finite value each")
    low = min(float(v.min()) for v in samples)
    high = max(float(np.quantile(v, 0.999)) for v in samples)
    edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
    counts = [np.histogram(np.clip(v, low, edges[-1]), edges)[0].astype(np.float64) for v in samples]
    p, q = (c / c.sum() for c in counts)
    both = p + q > 0
    chi = 0.5 * float(np.sum((p - q)[both] ** 2 / (p + q)[both]))
    smooth_p, smooth_q = ((c + 1.0) / (c.sum() + BINS) for c in counts)
    divergence = float(np.sum(smooth_p * np.log(smooth_p / smooth_q)))
    return DistributionDistance(chi, divergence, float(np.abs(np.cumsum(p) - np.cumsum(q)).max()))
