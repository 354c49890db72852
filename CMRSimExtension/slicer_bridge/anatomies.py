"""Anatomies from files and labels, for the child process; the scene's side is `anatomy_nodes`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.scanner.geometry import ImageGrid


def anatomy_of_xcat(*, path: str, still: bool, seed: int) -> Any:
    """An XCAT phantom; ``path`` is an activity file whose ``.par`` or log lies beside it."""
    from CMRSimExtension.anatomy.xcat import XcatAnatomy

    return XcatAnatomy(Path(path), beat=not still, seed=seed)


def anatomy_of_labels(
    *, labels: NDArray[np.uint8], grid: ImageGrid, cycle_ms: float | None, still: bool, seed: int
) -> Any:
    """A heart from (frames, slices, rows, columns) `Structure` numbers; the body around it is drawn.

    A series beats as its frames do, in `cycle_ms`; a single labelled frame is lent the motion of a parametric heart.
    """
    from CMRSimExtension.anatomy.label_image import LabelAnatomy

    return LabelAnatomy(
        labels if len(labels) > 1 else labels[0], grid.affine_ras, "cmrsim", beat=not still, cycle_ms=cycle_ms,
        seed=seed, source="3D Slicer scene")
