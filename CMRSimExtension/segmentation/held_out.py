"""Scoring a finished training run on what was held out, in the way in which users segment.

A labelled folder is segmented file by file by `segment`, as `cmrsim segment` does it: whole volumes of any spacing and
size, the heart found by the network itself, four views, anatomical clean-up, the result on the grid of the file, where
it is compared with the labels of the file. Networks of two and of three dimensions are used alike. Simulated images
are drawn as a network's own input and given to it as they are, as after each round of the training: one view, no
search, no clean-up.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.evaluation.case_values import patient_of
from CMRSimExtension.evaluation.overlap import Comparison, compare
from CMRSimExtension.evaluation.voxel_sizes import spacing_is_plausible
from CMRSimExtension.networks.classes import strongest_class
from CMRSimExtension.segmentation.model import Predictor, SegmentationModel
from CMRSimExtension.segmentation.patient_frames import as_cines, read_patient
from CMRSimExtension.segmentation.segment import segment
from CMRSimExtension.segmentation.trained import model_of_run
from CMRSimExtension.training.configuration import TrainingConfiguration
from CMRSimExtension.training.held_out import HeldOutSource, held_out_images
from CMRSimExtension.training.labelled_folder import LabelledCase
from CMRSimExtension.training.module import class_numbers
from CMRSimExtension.training.scores import Scored

_BATCH = 16
"""Simulated images that are handed to the network at once; it takes smaller batches where these do not fit."""


_AS_USED = "whole files as 'cmrsim segment' takes them: heart found, four views, clean-up, on the grid of the file"
_AS_DRAWN = "images as drawn, on the network's own grid: one view, no search, no clean-up"


def score_source(
    folder: Path,
    configuration: TrainingConfiguration,
    source: HeldOutSource,
    report: Callable[[str], None],
    *,
    device: str = "auto",
    workers: int = 0,
) -> Scored:
    """Score the weights that a finished run exports on one test source.

    Labels are merged to the network's classes as in training. A structure that no reference of the source shows is
    not scored: another's data set may not have it labelled.

    Parameters
    ----------
    folder, configuration
        The run.
    report
        Told how far the work is.
    device
        ``auto``, ``cpu`` or ``cuda``.
    workers
        Processes that draw simulated images.

    Raises
    ------
    InputError
        A file cannot be read or segmented, or has labels that the network has no class for; the message names it.
    """
    model = model_of_run(folder)
    if source.simulated is not None:
        report(f"drawing {source.count} images of {source.title} to test on")
        compared, inference = list(_simulated(model, configuration, source, device, workers)), _AS_DRAWN
    else:
        compared, inference = list(_folder(model, configuration, source, device, report)), _AS_USED
    shown = {number for _, _, reference, _, _ in compared for number in np.unique(reference).tolist()}
    names = {model.labels[index + 1]: name for index, name in enumerate(model.classes)}
    structures = {number: name for number, name in names.items() if number in shown}
    rows: list[Comparison] = []
    for case, predicted, reference, spacing, about in compared:
        single = len(reference) == 1
        # One slice has no thickness that would matter to a distance, and none to tell a volume from.
        sides = (1.0, *spacing[1:]) if single and not math.isfinite(spacing[0]) else spacing
        part = compare(predicted, reference, sides, case=case, structures=structures, per_slice=not single, **about)
        rows += (
            part if sides == spacing else [replace(row, predicted_ml=math.nan, reference_ml=math.nan) for row in part]
        )
    notes = [f"no reference shows {name}, so it is not scored" for number, name in names.items() if number not in shown]
    unknown = sum(not all(math.isfinite(side) for side in entry[3][1:]) for entry in compared)
    if unknown:
        notes.append(f"no distances for {unknown} of {len(compared)} cases, whose voxel sizes are not known")
    for number, name in structures.items():
        lack = sum(not (found == number).any() or not (truth == number).any() for _, found, truth, _, _ in compared)
        if lack:
            notes.append(
                f"{lack} of {len(compared)} cases show no {name} in the prediction or in the reference: these have no "
                "distance, and Dice 0, or 1 where neither shows it"
            )
    return Scored(rows, inference, notes)


_Compared = tuple[str, NDArray[np.uint8], NDArray[np.uint8], tuple[float, float, float], dict[str, Any]]
"""Name, prediction and reference (slices, rows, columns), (slice, row, column) distances in mm, NaN where unknown, and
what else `compare` is to say of a case."""


def _folder(
    model: SegmentationModel,
    configuration: TrainingConfiguration,
    source: HeldOutSource,
    device: str,
    report: Callable[[str], None],
) -> Iterator[_Compared]:
    """The labelled frames of a folder, patient by patient."""
    assert source.folder is not None
    patients: dict[str, list[LabelledCase]] = {}
    for case in source.folder.cases():
        patients.setdefault(patient_of(case.name), []).append(case)
    told = 0
    for done, (patient, cases) in enumerate(patients.items()):
        if 10 * done // len(patients) >= told:
            report(f"testing on {source.title}: {done} of {len(patients)} patients")
            told = 10 * done // len(patients) + 1
        for members, cine in as_cines(read_patient(cases, source.folder.labels_map, False), together=False):
            believed = {"auto": spacing_is_plausible(cine.grid), "trust": True, "ignore": False}[source.spacing]
            try:
                found = segment(cine.image, cine.grid, model, device=device, spacing_trusted=believed)
                assert cine.labels is not None
                truths = [_labels_of(cine.labels[index], configuration, model) for index, _ in members]
            except InputError as error:
                raise InputError(f"test source {source.title}, {patient}: {error}") from error
            dx, dy, dz = cine.grid.spacing_mm
            for truth, (index, member) in zip(truths, members, strict=True):
                about = {
                    "frame": member.phase or str(member.index),
                    "phase": member.phase,
                    "pathology": member.case.pathology,
                    "apex_first": member.apex_first,
                }
                spacing = (dz, dy, dx) if believed else (math.nan,) * 3
                yield member.case.name, found.labels[index].copy(), truth, spacing, about


def _simulated(
    model: SegmentationModel, configuration: TrainingConfiguration, source: HeldOutSource, device: str, workers: int
) -> Iterator[_Compared]:
    """Simulated slices or volumes."""
    assert source.simulated is not None
    images, labels, spacing = held_out_images(source.simulated, source.seed, source.count, workers)
    predictor = Predictor(model, device, warn=lambda line: warnings.warn(line, CMRSimWarning, stacklevel=2))
    table = _label_of_class(model)
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        predicted = table[strongest_class(predictor.probabilities(images[part])).numpy()]
        reference = _labels_of(labels[part].numpy(), configuration, model)
        for index, sides in enumerate(spacing[part].tolist()):
            stack = (-1, *images.shape[-2:])
            case = f"{source.title}_{start + index:04d}"
            yield case, predicted[index].reshape(stack), reference[index].reshape(stack), tuple(sides), {}


def _label_of_class(model: SegmentationModel) -> NDArray[np.uint8]:
    table = np.zeros(len(model.classes) + 1, np.uint8)
    for number, label in model.labels.items():
        table[number] = label
    return table


def _labels_of(
    labels: NDArray[np.uint8], configuration: TrainingConfiguration, model: SegmentationModel
) -> NDArray[np.uint8]:
    """Reference labels merged as for the training, in the numbers that the model writes to files."""
    classes = class_numbers(torch.from_numpy(np.ascontiguousarray(labels)), configuration).numpy()
    return _label_of_class(model)[classes]
