"""Whether an image shows the whole left ventricle, or a part of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def coverage_note(labels: NDArray[np.integer], frames: Sequence[int]) -> str | None:
    """A sentence where volumes are of what lies in the image and may be less than the ventricle's; None elsewhere.

    Parameters
    ----------
    labels
        (frames, slices, rows, columns): 1 LV blood pool, 2 LV myocardium.
    frames
        Those that are measured: the LV may leave the image in any of them.
    """
    if labels.shape[1] == 1:
        return (
            "the image has one slice: volumes, mass and ejection fractions are of that slice, not of the ventricle; "
            "the ejection fraction is how much of its area the pool loses, also because the heart moves through it"
        )
    reached = [
        name
        for name, index in (("first", 0), ("last", -1))
        if any(np.isin(labels[frame, index], (1, 2)).any() for frame in frames)
    ]
    if not reached:
        return None
    return (
        f"the left ventricle reaches the {' and the '.join(reached)} slice of the image: volumes, mass and ejection "
        "fractions are of what lies in the image, which may be less than the ventricle"
    )
