"""A patient's labelled frames as a model is to see them: each file as it is, or end diastole and end systole alone."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.stack_order import begins_at_apex
from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.case_values import phases_of
from CMRSimExtension.files.third_party import GeometryWarning
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.training.label_numbers import label_table, read_labels, read_values
from CMRSimExtension.training.labelled_folder import LabelledCase, labelled_frames


@dataclass(frozen=True)
class LabelledFrame:
    """One labelled frame of a file that was read whole.

    Attributes
    ----------
    case
        Its file.
    index
        Which frame of it.
    image, reference
        (frames, slices, rows, columns) of the whole file.
    grid
        Their geometry.
    phase
        ED, ES or "".
    apex_first
        Whether slice 0 is the most apical.
    """

    case: LabelledCase
    index: int
    image: NDArray
    reference: NDArray[np.uint8]
    grid: ImageGrid
    phase: str = ""
    apex_first: bool = False


def read_patient(
    cases: Sequence[LabelledCase], labels_map: str | Mapping[int, int], first_is_end_diastole: bool
) -> list[LabelledFrame]:
    """The labelled frames of a patient's files, end diastole first.

    Parameters
    ----------
    labels_map
        Label numbers of the files: a preset or a table (see `label_table`).
    first_is_end_diastole
        Whether a lone frame called ``_frame01`` is taken for end diastole.

    Raises
    ------
    InputError, FileFormatError
        Image and labels differ in shape, a label is unknown, or a file cannot be read.
    """
    read: list[LabelledFrame] = []
    for case in cases:
        with warnings.catch_warnings():
            # A contradictory header is what `spacing_trusted` of the set is about; it need not be told once per file.
            warnings.simplefilter("ignore", GeometryWarning)
            image, grid = read_values(case.image)
            reference, _ = read_labels(case.labels, label_table(labels_map), grid)
        if image.shape != reference.shape:
            raise InputError(
                f"{case.name}: the image has shape {image.shape} and its labels {reference.shape} "
                "(frames, slices, rows, columns); give the labels of this image"
            )
        read += [LabelledFrame(case, index, image, reference, grid) for index in labelled_frames(reference)]
    # ACDC's end diastole is mostly its first frame, but not always: patient 90's is frame 11.
    pools = [float((frame.reference[frame.index] == 1).sum()) for frame in read]
    phases = phases_of([frame.case.name for frame in read], pools)
    if len(read) == 1 and first_is_end_diastole and read[0].case.name.endswith("_frame01"):
        phases = ["ED"]
    largest = read[int(np.argmax(pools))]
    apex_first = begins_at_apex(largest.reference[largest.index][None])
    found = [replace(frame, phase=phase, apex_first=apex_first) for frame, phase in zip(read, phases, strict=True)]
    return sorted(found, key=lambda frame: frame.phase != "ED")


def as_cines(frames: Sequence[LabelledFrame], together: bool) -> Iterator[tuple[list[tuple[int, LabelledFrame]], Cine]]:
    """Each file as a cine, or one cine of all labelled frames, with the frames in it to compare and their labels."""
    if together:
        images = np.stack([np.asarray(frame.image[frame.index], np.float32) for frame in frames])
        truths = np.stack([frame.reference[frame.index] for frame in frames])
        yield list(enumerate(frames)), Cine(images, frames[0].grid, labels=truths)
        return
    files: dict[Path, list[LabelledFrame]] = {}
    for frame in frames:
        files.setdefault(frame.case.image, []).append(frame)
    for members in files.values():
        first = members[0]
        cine = Cine(np.asarray(first.image, np.float32), first.grid, labels=first.reference)
        yield [(frame.index, frame) for frame in members], cine
