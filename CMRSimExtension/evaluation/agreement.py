"""Agreement of two ways to measure the same quantity (Bland and Altman, Lancet 1986)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CMRSimExtension.errors import InputError


@dataclass(frozen=True)
class Agreement:
    """Bland-Altman statistics of measured minus reference values.

    Attributes
    ----------
    count
        Pairs.
    bias, sd
        Mean and standard deviation (n - 1) of the differences.
    lower, upper
        Limits of agreement: bias -/+ 1.96 SD.
    bias_interval
        95 % confidence interval of the bias, by Student's t.
    mean_absolute
        Mean absolute difference.
    correlation
        Pearson's; NaN where either side is constant.
    means, differences
        One per pair, for `agreement_figure.write_agreement_figure`.
    """

    count: int
    bias: float
    sd: float
    lower: float
    upper: float
    bias_interval: tuple[float, float]
    mean_absolute: float
    correlation: float
    means: tuple[float, ...]
    differences: tuple[float, ...]


def bland_altman(measured: Sequence[float], reference: Sequence[float]) -> Agreement:
    """Agreement of paired values.

    Raises
    ------
    InputError
        When there are fewer than two pairs, the counts differ, or a value is not finite.
    """
    from scipy import stats

    first, second = np.asarray(measured, float), np.asarray(reference, float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise InputError(f"{first.size} measured and {second.size} reference values: give at least two pairs")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("a value is not finite; leave out the pairs that could not be measured")
    difference = first - second
    bias, sd, count = float(difference.mean()), float(difference.std(ddof=1)), len(difference)
    half = float(stats.t.ppf(0.975, count - 1)) * sd / np.sqrt(count)
    varies = first.std() > 0 and second.std() > 0
    correlation = float(np.corrcoef(first, second)[0, 1]) if varies else float("nan")
    return Agreement(
        count,
        bias,
        sd,
        bias - 1.96 * sd,
        bias + 1.96 * sd,
        (bias - half, bias + half),
        float(np.abs(difference).mean()),
        correlation,
        tuple(((first + second) / 2.0).tolist()),
        tuple(difference.tolist()),
    )
