"""Which labelled images a finished network is scored on, and that none of them takes part in its training."""

import functools
import gzip
import hashlib
import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from CMRSimExtension.errors import CMRSimWarning, FileFormatError, InputError
from CMRSimExtension.evaluation.case_values import patient_of
from CMRSimExtension.training.labelled_folder import LabelledCase, LabelledFolder
from CMRSimExtension.training.simulated_source import SimulatedSource, drawing_function, measured_chunks

DATA_PREFIX = "data:"
"""A folder of a configuration that begins so lies in the data folder that is named when the run starts."""

_TEST = 6
"""First element of the spawn keys of the images to test on: no stream to train or validate on has it."""

_SPACINGS = ("auto", "trust", "ignore")


@dataclass(frozen=True)
class HeldOutSource:
    """Labelled images to score a finished network on; exactly one of `folder` and `simulated` is given.

    Attributes
    ----------
    name
        What tables and files call it: letters, digits, ``_``, ``-`` and ``.``. Empty takes that of the folder, or
        ``simulated``.
    folder
        Cases of a labelled folder.
    spacing
        Voxel sizes of the folder's files: ``auto`` believes them unless they cannot be true (M&Ms copies that say
        1 mm), ``trust`` and ``ignore`` say which. Without them there are no distances in mm.
    simulated, count, seed
        Simulated images, how many, and their own seed: every repeat of a run is scored on the same ones.
    """

    name: str = ""
    folder: LabelledFolder | None = None
    spacing: str = "auto"
    simulated: SimulatedSource | None = None
    count: int = 240
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.simulated is None) == (self.folder is None):
            raise InputError("each test source is either 'simulated' or 'folder'; give one of the two")
        if self.spacing not in _SPACINGS:
            raise InputError(f"spacing is {self.spacing!r}; choose one of {', '.join(_SPACINGS)}")
        if self.count < 1 or self.seed < 0:
            raise InputError(f"count is {self.count} and seed {self.seed}; at least 1 image, and no negative seed")
        if not re.fullmatch(r"\w[\w.-]*", self.title):
            raise InputError(
                f"the test source {self.title!r} names its files, so only letters, digits, _, - and . may be in it; "
                "give it another name"
            )

    @property
    def title(self) -> str:
        """`name`, or what stands for it."""
        if self.name or self.folder is None:
            return self.name or "simulated"
        return Path(self.folder.folder.removeprefix(DATA_PREFIX)).expanduser().name

    @property
    def placed(self) -> bool:
        """Whether it can be found: False of a folder in the data folder where none was named."""
        return self.folder is None or not self.folder.folder.startswith(DATA_PREFIX)


def check_titles(sources: Iterable[HeldOutSource]) -> None:
    """Raise `InputError` when two test sources have the same name."""
    seen: set[str] = set()
    for source in sources:
        if source.title.lower() in seen:  # they name files, also where these do not tell large letters from small
            raise InputError(f"two test sources are called {source.title!r}; give each a name of its own")
        seen.add(source.title.lower())


def within_reach(sources: Sequence[HeldOutSource], learnt_from: Iterable[LabelledFolder]) -> list[HeldOutSource]:
    """The test sources that can be scored; a `CMRSimWarning` names those whose data folder was not said.

    Parameters
    ----------
    learnt_from
        The folders to train and to validate on.

    Raises
    ------
    InputError
        When a folder does not exist or no case is left in it, a drawing function cannot be loaded, or a patient of a
        test source is one to train or to validate on: by the name in the same folder, or by an image file with the
        same content anywhere. Of equal names in different folders a `CMRSimWarning` tells, as data sets count alike;
        not of names that several patients of one side share.
    """
    found = [source for source in sources if source.placed]
    far = [source.title for source in sources if not source.placed]
    if far:
        warnings.warn(
            f"not scored on {', '.join(far)}: no data folder was named; the same command with --data DIR does so later "
            "without training again",
            CMRSimWarning,
            stacklevel=2,
        )
    folders = {source.title: source.folder.cases() for source in found if source.folder is not None}
    learnt = [case for folder in learnt_from for case in folder.cases()] if folders else []
    for title, cases in folders.items():
        _refuse_learnt(title, cases, learnt)
    for source in found:
        if source.simulated is not None:
            drawing_function(source.simulated.draw)
    return found


def _refuse_learnt(title: str, cases: Sequence[LabelledCase], learnt: Sequence[LabelledCase]) -> None:
    """Raise `InputError` when a case to test on is one that is learnt from, see `within_reach`."""
    known = {_patient(case) for case in learnt}
    both = {case.name: "" for case in cases if _patient(case) in known}
    contents = _contents(cases, learnt)
    both |= {
        case.name: f" is the file {contents[_patient(case)]}"
        for case in cases
        if _patient(case) not in known and _patient(case) in contents
    }
    if both:
        shown = ", ".join(f"{name}{same}" for name, same in list(both.items())[:5]) + (" ..." if len(both) > 5 else "")
        raise InputError(
            f"{len(both)} of {len(cases)} cases of the test source {title} are of patients that the run trains or "
            f"validates on ({shown}); leave them out on one side with 'only' or 'without'"
        )
    names = _names_of_one(known) & _names_of_one({_patient(case) for case in cases})
    if names:
        shown = ", ".join(sorted(names)[:5]) + (" ..." if len(names) > 5 else "")
        warnings.warn(
            f"{len(names)} patients of the test source {title} are called as some in another folder that the run "
            f"trains or validates on ({shown}); no image file is the same, but make sure that they are other people",
            CMRSimWarning,
            stacklevel=3,
        )


def _names_of_one(patients: Iterable[tuple[Path, str]]) -> set[str]:
    """Names that one patient alone has: with a folder for each and equal file names in them (``p1/image``,
    ``p2/image``) the file's name is nobody's."""
    count = Counter(name for _, name in patients)
    return {name for name, patients_called in count.items() if patients_called == 1}


def _contents(cases: Sequence[LabelledCase], learnt: Sequence[LabelledCase]) -> dict[tuple[Path, str], Path]:
    """Patients of `cases` an image of whom is, byte for byte once unpacked, one that is learnt from, and which."""
    by_size: dict[int, list[Path]] = {}
    for case in learnt:
        by_size.setdefault(_unpacked_size(case.image), []).append(case.image)
    digest = functools.cache(_digest)
    found: dict[tuple[Path, str], Path] = {}
    for case in cases:
        # Files of different sizes need not be read.
        for other in by_size.get(_unpacked_size(case.image), ()):
            if digest(other) == digest(case.image):
                found[_patient(case)] = other
    return found


def _unpacked_size(path: Path) -> int:
    """Size in bytes; of a .gz file that of what is packed, which its last four bytes say (RFC 1952)."""
    if path.suffix.lower() != ".gz" or path.stat().st_size < 4:
        return path.stat().st_size
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")


def _digest(path: Path) -> bytes:
    """SHA-256 of a file's content, unpacked: two packings of the same image differ."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path} is damaged: {error}") from error
    return digest.digest()


def _patient(case: LabelledCase) -> tuple[Path, str]:
    """Frames of one patient lie in one folder and differ in their frame alone."""
    return case.image.resolve().parent, patient_of(case.name.rsplit("/", 1)[-1])


def held_out_images(source: SimulatedSource, seed: int, count: int, workers: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Simulated images to test on (count, 1, ...), their labels, and their (slice, row, column) distances in mm."""
    drawn = list(measured_chunks(source, seed, (_TEST,), stop=-(-count // source.chunk), workers=workers))
    images, labels, spacing = (torch.cat(parts)[:count] for parts in zip(*drawn, strict=True))
    return images, labels, spacing
