"""What ``python -m monai.bundle run`` calls for a bundle of this library: the same segmentation as `cmrsim segment`."""

import sys
from pathlib import Path
from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.segmentation.bundle import read_bundle
from CMRSimExtension.segmentation.folder import segment_folder
from CMRSimExtension.segmentation.job import SegmentationOptions


def segment_with_bundle(
    bundle_root: str, dataset_dir: str, output_dir: str, options: dict[str, Any] | None = None
) -> list[Path]:
    """Segment every case of a folder with the bundle in another; see `folder.segment_folder`.

    Heart finding, resampling, views, clean-up and the way back to the input grid are those that the bundle's accuracy
    was measured with; a plain network call lacks them. What fails or is left out is told on standard error.

    Parameters
    ----------
    bundle_root
        Folder of the bundle; its checksums are verified.
    dataset_dir
        Folder of cases.
    output_dir
        Where label files and ``function.csv`` go; made where it is missing, and outside the bundle, which would no
        longer be what its checksums say.
    options
        Fields of `job.SegmentationOptions`.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        When a folder is missing, `output_dir` lies in the bundle, an option is unknown, or every case failed.
    """
    root, out = Path(bundle_root).resolve(), Path(output_dir).resolve()
    if out == root or root in out.parents:
        raise InputError(f"output_dir {output_dir} lies in the bundle, whose checksums it would break; choose another")
    if not Path(dataset_dir).is_dir():
        raise InputError(f"dataset_dir {dataset_dir} is no folder; give --dataset_dir a folder of images")
    try:
        chosen = SegmentationOptions(**(options or {}))
    except TypeError as error:
        raise InputError(f"options {options}: {error}; see SegmentationOptions") from error

    def failed(message: str) -> None:
        print(message, file=sys.stderr)

    written, failures = segment_folder(Path(dataset_dir), out, read_bundle(root), chosen, failed=failed)
    if failures and len(written) == 1:
        raise InputError(f"none of the {failures} cases of {dataset_dir} could be segmented; see {written[0]}")
    return written
