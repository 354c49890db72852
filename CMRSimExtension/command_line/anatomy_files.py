"""The anatomy in the file that ``--anatomy`` names: a label image, a series of them, or XCAT's output."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError

_XCAT_ENDINGS = (".bin", ".par")


def anatomy_from_file(
    path: Path, labels_map: str | None, still: bool, seed: int, xcat_vectors: Path | None = None,
    phase_of_labels: float | None = None,
) -> Any:
    """Build the anatomy.

    Parameters
    ----------
    path
        Label image (NIfTI, NRRD, segmentation, or an image with its labels beside it), or an XCAT activity file, log or
        parameter file.
    labels_map
        What the labels mean; may be None where the file itself says it.
    still
        Leave the heart as it is in the file.
    seed
        Of what is drawn.
    xcat_vectors
        One of XCAT's motion vector files, or their folder; None for those beside the frames, if there are any.
    phase_of_labels
        Cardiac phase that a single label image shows; None for end diastole.

    Raises
    ------
    InputError, FileFormatError
        The file cannot be used, or its labels have no meaning yet.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; check the name")
    if path.suffix.lower() in _XCAT_ENDINGS or path.name.endswith("_log"):
        from CMRSimExtension.anatomy.xcat import XcatAnatomy

        if labels_map is not None:
            raise InputError("--labels-map has no use with XCAT, whose log says what its activities mean; leave it out")
        if phase_of_labels is not None:
            raise InputError("--phase-of-labels has no use with XCAT, whose log says when its frames are; leave it out")
        return XcatAnatomy(path, vectors=xcat_vectors, beat=not still, seed=seed)
    if xcat_vectors is not None:
        raise InputError(f"--xcat-vectors move XCAT's frames, and {path.name} is none of its files; leave them out")
    labels, affine, own, beat_ms = _labels(path)
    table = labels_map or ("cmrsim" if own else None)
    if table is None:
        raise InputError(
            f"{path.name} does not say what its labels mean; add --labels-map acdc, mms, cmrsim, or a table such as "
            "1=rv,2=myo,3=lv"
        )
    from CMRSimExtension.anatomy.label_image import LabelAnatomy

    series = len(labels) > 1
    if series and phase_of_labels is not None:
        raise InputError(f"--phase-of-labels belongs to a single label image, and {path.name} holds {len(labels)} of "
                         "one heartbeat; leave it out")
    return LabelAnatomy(
        labels if series else labels[0],
        affine,
        table,
        beat=not still,
        phase_of_labels=phase_of_labels or 0.0,
        cycle_ms=beat_ms if series else None,
        seed=seed,
        source=path.name,
    )


def _labels(path: Path) -> tuple[NDArray[np.integer], NDArray[np.float64], bool, float | None]:
    """(frames, slices, rows, columns) labels, their affine, whether they are numbered as ours, and the heartbeat."""
    from CMRSimExtension.files.formats import read_content
    from CMRSimExtension.files.preview import heartbeat_ms

    content = read_content(path)
    if content.labels is not None:
        return content.labels, content.grid.affine_ras, True, None
    cine = content.cine
    if cine is None:
        raise InputError(f"{path} holds neither image nor labels; give a label image")
    if cine.anatomy is not None or cine.labels is not None:
        values = cine.anatomy if cine.anatomy is not None else cine.labels
        return np.asarray(values), cine.grid.affine_ras, True, heartbeat_ms(cine)
    whole = np.rint(cine.image).astype(np.int64)
    if not np.array_equal(whole, cine.image):
        raise InputError(f"{path.name} holds grey values, not labels; give a label image, or an image with its _labels "
                         "file beside it")
    return whole, cine.grid.affine_ras, False, heartbeat_ms(cine)
