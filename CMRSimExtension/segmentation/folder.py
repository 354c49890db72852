"""A folder of cases in one run: a label file for each, and one table of function."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from CMRSimExtension.errors import Cancelled, CMRSimError, InputError
from CMRSimExtension.evaluation.case_values import patient_of
from CMRSimExtension.files.atomic import check_writable
from CMRSimExtension.files.cine_files import base_path, is_nifti_name, refuse_own_input
from CMRSimExtension.files.formats import case_name
from CMRSimExtension.segmentation.cases import find_cases
from CMRSimExtension.segmentation.function_table import Outcome, rows_of_patient, write_table
from CMRSimExtension.segmentation.job import SegmentationOptions, segment_file
from CMRSimExtension.segmentation.model import SegmentationModel
from CMRSimExtension.segmentation.persons import COLUMNS, NUMBERS, read_persons

TABLE = "function.csv"


def segment_folder(
    source: Path,
    out: Path,
    model: SegmentationModel,
    options: SegmentationOptions = SegmentationOptions(),  # noqa: B008 (frozen)
    progress: Callable[[float], bool] = lambda fraction: True,
    failed: Callable[[str], None] = lambda message: None,
    *,
    series: str | None = None,
    persons: Path | None = None,
) -> tuple[list[Path], int]:
    """Segment every case of a folder; write a label file for each and one ``function.csv``.

    The table (see `function_table`) is written anew after each case, so that whatever ends the run leaves those that
    were done. A case that cannot be segmented, for whatever reason, is reported, listed in the table with its reason,
    and does not stop the others.

    Parameters
    ----------
    source
        Folder of cases, see `cases.find_cases`.
    failed
        Told what failed or was left out, and why.
    series
        Which series of each DICOM case.
    persons
        Who they are, see `persons.read_persons`; `options` may tell that of one patient only.

    Returns
    -------
    tuple
        The label files and the table, and the number of cases that failed.

    Raises
    ------
    InputError
        Before anything is segmented: there is no case; two would get one name, or one be replaced by labels; the table
        of persons cannot be used, or `options` tells of one person where there are several patients; a series is named
        and no case is DICOM; nothing can be written to `out`. Afterwards: the table could not be written.
    Cancelled
        When `progress` says so.
    """
    out = Path(out)
    if is_nifti_name(out):
        raise InputError(f"{source} is a folder of cases, and --out {out.name} is named as one image; give a folder")
    found = find_cases(Path(source))
    targets = _targets(found.paths, out)
    names = {path: base_path(target).name for path, target in targets.items()}
    own_options = _options_of(list(names.values()), options, persons, failed)
    if series is not None and not any(_takes_series(path) for path in found.paths):
        raise InputError(f"{source} holds single images, without a series {series!r}; leave --series out")
    check_writable(out / TABLE)
    for sentence in found.left_out:
        failed(sentence)
    written: list[Path] = []
    rows: list[dict[str, Any]] = []
    members: list[Path] = []
    outcomes: list[Outcome] = []
    failures, done = 0, 0
    table = _Table(out / TABLE, failed)
    try:
        for members in _patients(found.paths, names):
            latest: list[dict[str, Any]] = []
            for path in members:
                outcome = Outcome(names[path], options=own_options[names[path]])
                try:
                    files, outcome.result = segment_file(
                        path, targets[path], model, outcome.options,
                        lambda share, done=done: progress((done + share) / len(names)),  # type: ignore[misc]
                        series=series if _takes_series(path) else None,
                    )  # fmt: skip
                except Cancelled:
                    raise
                # One bad file of a hundred must not cost the other ninety-nine: whatever it is, it is that file's note.
                except Exception as error:
                    failures += 1
                    known = isinstance(error, CMRSimError)
                    outcome.failure = str(error) if known else f"{type(error).__name__}: {error}"
                    failed(f"{path.name}: {outcome.failure}")
                else:
                    written.append(files[0])
                done += 1
                outcomes.append(outcome)
                latest = rows_of_patient(outcomes, len(members))
                table.write([*rows, *latest])
            rows, outcomes = [*rows, *latest], []
    except BaseException:
        # Ctrl-C may have come while the table was written, or an earlier writing have failed.
        rows += rows_of_patient(outcomes, len(members))
        if rows:
            with suppress(CMRSimError, OSError):
                write_table(table.path, rows)
        raise
    if table.trouble is not None:
        write_table(table.path, rows)
    return [*written, table.path], failures


class _Table:
    """The table, which another program may hold open for a while: that must not end the run."""

    def __init__(self, path: Path, failed: Callable[[str], None]) -> None:
        self.path = path
        self.trouble: Exception | None = None
        self._failed = failed

    def write(self, rows: list[dict[str, Any]]) -> None:
        try:
            write_table(self.path, rows)
        except (CMRSimError, OSError) as error:
            if self.trouble is None:
                self._failed(f"{error}; the table is written again after the next case")
            self.trouble = error
        else:
            self.trouble = None


def _targets(paths: list[Path], out: Path) -> dict[Path, Path]:
    """Label file of each case."""
    targets: dict[Path, Path] = {}
    owners: dict[str, Path] = {}
    for path in paths:
        name = path.name if is_nifti_name(path) else f"{path.name if path.is_dir() else case_name(path)}.nii.gz"
        target = out / name
        other = owners.setdefault(base_path(target).name, path)
        if other != path:
            raise InputError(
                f"{other.name} and {path.name} are both called {base_path(target).name}, and so would their labels be; "
                "rename one of them, or give a folder without it"
            )
        refuse_own_input(target, [path])
        targets[path] = target
    return targets


def _options_of(
    names: list[str], options: SegmentationOptions, persons: Path | None, failed: Callable[[str], None]
) -> dict[str, SegmentationOptions]:
    """The options of each case by name, each with its own person."""
    given = [name for name in ("sex", *NUMBERS) if getattr(options, name) is not None]
    flags = ", ".join("--" + name.replace("_", "-") for name in given)
    if persons is None:
        patients = {patient_of(name) for name in names}
        if given and len(patients) > 1:
            raise InputError(
                f"{flags} would be taken for all of the {len(patients)} patients in the folder; give --persons "
                f"FILE.csv with the columns {', '.join(COLUMNS)}"
            )
        return dict.fromkeys(names, options)
    if given:
        raise InputError(f"{flags} and --persons both tell who it is; give one of them")
    known = read_persons(persons, names)
    without = [name for name in names if patient_of(name) not in known]
    if without:
        failed(f"not in {Path(persons).name}, so without indexed values: {', '.join(without)}")
    return {name: replace(options, **known.get(patient_of(name), {})) for name in names}


def _takes_series(path: Path) -> bool:
    return path.is_dir() or not (is_nifti_name(path) or path.name.lower().endswith((".nrrd", ".nhdr", ".h5", ".mrd")))


def _patients(paths: list[Path], names: dict[Path, str]) -> Iterator[list[Path]]:
    """The cases, those named as frames of one patient together; the others one by one."""
    groups: dict[tuple[str, bool], list[Path]] = {}
    for path in paths:
        name = names[path]
        groups.setdefault((patient_of(name), patient_of(name) == name), []).append(path)
    yield from groups.values()
