"""What a model is measured on: labelled folders of patients, and simulated subjects whose labels are true."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as TypingProtocol

import numpy as np

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.evaluation.case_values import patient_of
from CMRSimExtension.evaluation.voxel_sizes import spacing_is_plausible
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.segmentation.patient_frames import as_cines, read_patient
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.training.labelled_folder import LabelledCase, choose_cases, find_cases
from CMRSimExtension.training.tagged_stream import draw_tagged_scan

_MEASURED = 4
"""First element of the spawn keys of measured subjects. The images of training have 1 and 2 (`training.batches`) and 6
(`training.held_out`); 3 to 5 seed what is picked, augmented and dropped, and draw no image."""


@dataclass(frozen=True)
class MeasuredFrame:
    """One labelled frame of a cine.

    Attributes
    ----------
    index
        Which frame of the cine.
    case
        What tables call it.
    phase
        ED, ES or "".
    frame
        Its phase, or its number where that is not known.
    apex_first
        Whether slice 0 is the most apical.
    alone
        Whether its file holds no other frame.
    """

    index: int
    case: str
    phase: str
    frame: str
    apex_first: bool = False
    alone: bool = False


@dataclass(frozen=True)
class MeasuredCine:
    """An image as a model is to see it, and its labelled frames.

    Attributes
    ----------
    cine
        With its labels.
    frames
        Those to compare.
    trusted
        Whether its voxel sizes are true.
    pathology
        Group, where known.
    """

    cine: Cine
    frames: tuple[MeasuredFrame, ...]
    trusted: bool = True
    pathology: str = ""


Patient = Callable[[], Iterator[MeasuredCine]]
"""Reads, or simulates, the cines of one patient when it is called."""


class MeasuredSet(TypingProtocol):
    """Something to measure on."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def patients(self, together: bool) -> list[Patient]:
        """Its patients; `together` joins each one's labelled frames to one cine, end diastole first."""
        ...


@dataclass(frozen=True)
class DataSet:
    """A labelled folder to measure on.

    Attributes
    ----------
    name
        What tables call it.
    folder
        See `training.labelled_folder.find_cases`.
    labels_map
        Its label numbers: a preset or a table.
    spacing_trusted
        Whether its voxel sizes are true; None where each file shows it (see `spacing_is_plausible`).
    only, without
        Names of the cases to take, or to leave out, as in `training.labelled_folder.FolderSource`.
    """

    name: str
    folder: Path
    labels_map: str
    spacing_trusted: bool | None = True
    only: Sequence[str] = ()
    without: Sequence[str] = ()

    def patients(self, together: bool) -> list[Patient]:
        """The patients of the cases chosen; without `together` each file is a cine, read whole.

        A `CMRSimWarning` names patterns that match none.

        Raises
        ------
        InputError
            A folder without labelled images.
        """
        cases = find_cases(self.folder)
        idle = [pattern for pattern in (*self.only, *self.without) if not choose_cases(cases, [pattern], ())]
        if idle:
            warnings.warn(f"no case of {self.name} is called {' or '.join(idle)}", CMRSimWarning, stacklevel=3)
        groups: dict[str, list[LabelledCase]] = {}
        for case in choose_cases(cases, self.only, self.without):
            groups.setdefault(patient_of(case.name), []).append(case)
        return [lambda files=files: self._cines(files, together) for files in groups.values()]  # type: ignore[misc]

    def _cines(self, files: list[LabelledCase], together: bool) -> Iterator[MeasuredCine]:
        frames = read_patient(files, self.labels_map, first_is_end_diastole=self.name == "acdc")
        for members, cine in as_cines(frames, together):
            trusted = spacing_is_plausible(cine.grid) if self.spacing_trusted is None else self.spacing_trusted
            measured = tuple(
                MeasuredFrame(
                    index, f"{self.name}/{member.case.name}", member.phase, member.phase or str(member.index),
                    member.apex_first, len(member.image) == 1,
                )
                for index, member in members
            )  # fmt: skip
            yield MeasuredCine(cine, measured, trusted, self._pathology(members[0][1].case))

    def _pathology(self, case: LabelledCase) -> str:
        """What the set says of the patient; of ACDC's training set, where it says nothing, what its number means."""
        numbered = re.search(r"(?:^|/)patient(\d+)(?:_|$)", case.name)
        if case.pathology or self.name != "acdc" or numbered is None:
            return case.pathology
        number = int(numbered[1])
        return _ACDC_GROUPS[(number - 1) // 20] if 1 <= number <= 100 else ""


_ACDC_GROUPS = ("DCM", "HCM", "MINF", "NOR", "RV")


def known_sets(data: Path, names: Sequence[str] = ()) -> list[DataSet]:
    """The sets called acdc, mms_A and mms_B that lie in a data folder (copies of M&Ms may lack true voxel sizes).

    Parameters
    ----------
    names
        Which of them; none for those that are there.

    Raises
    ------
    InputError
        When none of them is there, or not one that is named, or a name is another.
    """
    data = Path(data)
    known = {
        "acdc": DataSet("acdc", data / "acdc", "acdc"),
        "mms_A": DataSet("mms_A", data / "mms_A", "mms", spacing_trusted=None),
        "mms_B": DataSet("mms_B", data / "mms_B", "mms", spacing_trusted=None),
    }
    strange = [name for name in names if name not in known]
    if strange:
        raise InputError(f"there is no set called {' or '.join(strange)}; choose from {', '.join(known)}")
    there = [name for name, entry in known.items() if entry.folder.is_dir()]
    if not there:
        raise InputError(f"{data} holds none of the folders acdc, mms_A and mms_B; give the folder that does")
    missing = [name for name in names if name not in there]
    if missing:
        raise InputError(f"{data} holds no {' and no '.join(missing)}, only {', '.join(there)}; leave the others out")
    return [known[name] for name in there if name in names or not names]


@dataclass(frozen=True)
class SimulatedSet:
    """Random subjects under random scanners, each a whole short-axis stack at end diastole and end systole.

    Attributes
    ----------
    subjects
        How many.
    seed
        The same seed gives the same subjects; none of them is in a training or validation stream.
    tagged
        Whether the scanner lays tags at the R wave into the tissue.
    sub_samples
        Points per voxel, before those at borders.

    Raises
    ------
    InputError
        For fewer than 1 subject, or a negative seed.
    """

    subjects: int
    seed: int = 0
    tagged: bool = False
    sub_samples: int = 4

    def __post_init__(self) -> None:
        if self.subjects < 1:
            raise InputError(f"{self.subjects} simulated subjects; give at least 1")
        if self.seed < 0:
            raise InputError(f"the seed of simulated subjects is {self.seed}; give a whole number, 0 or above")

    @property
    def name(self) -> str:
        """What tables call it."""
        return "simulated"

    def patients(self, together: bool) -> list[Patient]:
        """The subjects; each one's two frames are one cine in any case."""
        return [lambda number=number: self._cines(number) for number in range(self.subjects)]  # type: ignore[misc]

    def _cines(self, number: int) -> Iterator[MeasuredCine]:
        subject_seed, scan_seed = np.random.SeedSequence(self.seed, spawn_key=(_MEASURED, number)).spawn(2)
        subject = Subject.random(subject_seed, pathology=None)
        rng = np.random.default_rng(scan_seed)
        protocol, preparation = draw_tagged_scan(rng) if self.tagged else (Protocol.random(rng), None)
        cine = simulate(
            subject, protocol, int(rng.integers(2**31)), phases=(0.0, subject.heart.timing.end_systole),
            truth=("labels", "motion"), preparation=preparation, sub_samples=self.sub_samples,
            rotation_deg=float(rng.uniform(-90.0, 90.0)),
        )  # fmt: skip
        case = f"{self.name}/subject{number:03d}"
        frames = tuple(MeasuredFrame(index, case, phase, phase) for index, phase in enumerate(("ED", "ES")))
        yield MeasuredCine(cine, frames, True, subject.parameters.pathology)
