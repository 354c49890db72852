"""A small labelled folder of hearts, and a toy run that is tested on it."""

import csv
from functools import partial
from pathlib import Path

import numpy as np

from CMRSimExtension.files.nifti import write_nifti
from CMRSimExtension.segmentation.held_out import score_source
from CMRSimExtension.training.configuration import read_configuration
from CMRSimExtension.training.run import train
from Testing.segmentation.conftest import heart_labels, picture

DRAW = {"draw": "Testing.training.toy_slices:draw", "chunk": 4, "settings": {"size": 32}}
TOY = {
    "name": "toy",
    "seed": 5,
    "train": [{"simulated": DRAW, "window": 64}],
    "network": {"settings": {"widths": [8, 16], "detail_width": 4}},
    "optimisation": {"rounds": 1, "steps_per_round": 2, "batch_size": 4, "warmup_steps": 0, "precision": "32"},
    "validation": {"count": 4},
    "use": {"pixel_mm": 1.5, "size": 64},
}
SCORER = partial(score_source, device="cpu")
SPACING = (8.0, 1.6, 1.3)


def write_heart(folder: Path, name: str, shown=(1, 2, 3), scale=1.0) -> None:
    """A volume and its labels, in voxels of 1.3 x 1.6 x 8 mm; of the labels those that are `shown`."""
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    labels = heart_labels(scale=scale)
    write_nifti(folder / f"{name}.nii.gz", picture(labels)[None], affine)
    write_nifti(
        folder / f"{name}_gt.nii.gz", np.where(np.isin(labels, shown), labels, 0)[None].astype(np.uint8), affine
    )


def with_tests(hearts, **source):
    return TOY | {"test": [{"folder": {"folder": str(hearts)}, **source}, {"simulated": DRAW, "count": 6}]}


def run(table, folder, **options):
    said: list[str] = []
    options = {"workers": 0, "device": "cpu", "progress": False, "scorer": SCORER, "report": said.append} | options
    return train(read_configuration(table), folder, **options), said


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
