"""From a sidecar back to the cine it describes."""

import dataclasses
import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.anatomy.subject import Subject, SubjectParameters
from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.faults import fault_from_dict
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.appearance import Appearance
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.run import KspaceSink, Progress, versions
from CMRSimExtension.simulation.scene import Preparation
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.version import __version__

_FOUND_OUT = ("appearance", "slice_shifts_mm", "times_ms", "breath_holds", "noise_sd")
"""What a scan draws or computes on its way and writes down: the same cine has the same. The noise's SD follows from the
image at end diastole, so that it stands for all that went into it."""


def subject_of(sidecar: dict[str, Any]) -> Subject:
    """The parametric subject that a sidecar describes.

    Raises
    ------
    InputError
        If the sidecar is of another anatomy, of none, or damaged.

    Warns
    -----
    CMRSimWarning
        If another version drew it, or one that knew less of it: this one may shape and move it otherwise.
    """
    subject = _subject(sidecar)
    recorded, present = sidecar["anatomy"]["parameters"], subject.parameters.as_dict()
    new = [name for part in ("torso", "heart") for name in present[part] if name not in recorded[part]]
    if new or _version_of(sidecar) not in (None, __version__):
        unsaid = f" and does not tell of {', '.join(new)}" if new else ""
        warnings.warn(
            f"the subject of the cine was drawn by {writer(sidecar)}{unsaid}; this version, {__version__}, may shape "
            "and move it otherwise than the image shows: make the cine again with it",
            CMRSimWarning,
            stacklevel=2,
        )
    return subject


def _subject(sidecar: dict[str, Any]) -> Subject:
    anatomy = sidecar.get("anatomy")
    kind = anatomy.get("kind") if isinstance(anatomy, dict) else None
    if not isinstance(anatomy, dict) or kind != "parametric subject":
        raise InputError(
            f"the sidecar describes {kind or 'no anatomy'}, which it cannot rebuild by itself; hand over the anatomy "
            "made from the same file"
        )
    try:
        parameters = SubjectParameters.from_dict(anatomy["parameters"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the sidecar's subject is damaged ({error}), or of another version than this one, {__version__}: it was "
            f"written by {writer(sidecar)}; copy the sidecar again, or take it away"
        ) from error
    return Subject(parameters)


def writer(sidecar: dict[str, Any]) -> str:
    """The program that made the cine, as its record tells it."""
    version = _version_of(sidecar)
    return "a version of CMRSimExtension that it does not name" if version is None else f"CMRSimExtension {version}"


def _version_of(sidecar: dict[str, Any]) -> str | None:
    recorded = sidecar.get("versions")
    return recorded.get("CMRSimExtension") if isinstance(recorded, dict) else None


def incomplete(sidecar: dict[str, Any], name: str) -> InputError:
    """The error to raise where a record lacks something that is needed to make its cine again."""
    return InputError(
        f"the sidecar has no '{name}': it is not that of a simulated cine, incomplete (copy it again), or older than "
        f"what this version, {__version__}, makes again: it was written by {writer(sidecar)}; use that one"
    )


def simulate_again(
    sidecar: dict[str, Any],
    *,
    anatomy: Anatomy | None = None,
    preparation: Callable[[ImageGrid, float], Preparation] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    on_kspace: KspaceSink | None = None,
) -> Cine:
    """Make the cine of a sidecar again, bit for bit with the same versions of the packages it names.

    Parameters
    ----------
    sidecar
        `Cine.sidecar`, or what was read from the file beside an image.
    anatomy
        What was scanned, where that was no parametric subject.
    preparation
        The tagging it was made with, where it was made with one.
    workers, progress, on_kspace
        As for `simulate`.

    Raises
    ------
    InputError
        If the record is incomplete or of a version that drew something else, names an anatomy or a preparation that was
        not handed over, or is not that of the one that was.

    Warns
    -----
    CMRSimWarning
        If versions differ from those that made the cine, as it may then differ too; and if what was drawn on the way is
        not what the record says, as it then does differ.
    """
    try:
        scan = sidecar["simulation"]
        arguments = {
            "protocol": Protocol.from_dict(sidecar["protocol_asked"]),
            "seed": int(scan["seed"]),
            "plane": scan["plane"],
            "truth": scan["truth"],
            "grid": _grid_of(scan["grid"]) if scan["grid_given"] else None,
            "faults": [fault_from_dict(fault) for fault in scan["faults"]],
            "sub_samples": int(scan["sub_samples"]),
            "by_channel": bool(scan["by_channel"]),
            "phases": scan["phases"],
            # Fields of view were not turned before they could be.
            "rotation_deg": float(scan.get("rotation_deg", 0.0)),
            # Nor were tissues set.
            "tissues": scan.get("tissues"),
            "array": CoilArray.from_dict(sidecar["coil_array"]) if scan.get("array_given") else None,
        }
    except KeyError as error:
        raise incomplete(sidecar, str(error.args[0])) from error
    except (AttributeError, IndexError, TypeError) as error:
        raise InputError(f"the sidecar is damaged ({error}); copy it again") from error
    check_drawn(sidecar)
    if sidecar.get("preparation") is not None and preparation is None:
        raise InputError("the cine was tagged: hand over the same tagging as preparation")
    if anatomy is None:
        anatomy = _subject(sidecar)  # versions, and what differs, are told below
    else:
        _same(sidecar.get("anatomy"), anatomy.describe(), "anatomy")
    made = None if preparation is None else _checked(preparation, sidecar.get("preparation"))
    _warn_of_versions(sidecar.get("versions"))
    cine = simulate(
        anatomy, preparation=made, workers=workers, progress=progress, on_kspace=on_kspace, **arguments
    )  # fmt: skip
    _warn_of_differences(sidecar, cine.sidecar)
    return cine


def check_drawn(sidecar: dict[str, Any]) -> None:
    """Turn down a record that lists other draws than are made today, before minutes are spent on another cine.

    Draws of the same things by other rules are not seen here; `simulate_again` tells of them once it has drawn.

    Raises
    ------
    InputError
        The record tells of no draw, or of one of other things than are drawn today.
    """
    drawn = sidecar.get("appearance")
    if not isinstance(drawn, dict):
        raise incomplete(sidecar, "appearance")
    present = {entry.name for entry in dataclasses.fields(Appearance)}
    lacking, unknown = sorted(present - set(drawn)), sorted(set(drawn) - present)
    if lacking or unknown:
        ways = [f"did not draw {', '.join(lacking)}"] if lacking else []
        ways += [f"drew {', '.join(unknown)}"] if unknown else []
        raise InputError(
            f"the cine was made by {writer(sidecar)} in a state that {' and '.join(ways)}; this one, {__version__}, "
            "would make another cine: use the one that made it"
        )


def _grid_of(record: dict[str, Any]) -> ImageGrid:
    return ImageGrid(np.array(record["affine_ras"]), tuple(record["shape"]), float(record["slice_thickness_mm"]))


def _checked(
    preparation: Callable[[ImageGrid, float], Preparation], record: dict[str, Any] | None
) -> Callable[[ImageGrid, float], Preparation]:
    """`preparation`, made only if it is the one on record, as far as it tells what it is."""

    def make(grid: ImageGrid, cycle_ms: float) -> Preparation:
        made = preparation(grid, cycle_ms)
        describe = getattr(made, "describe", None)
        if describe is not None and record is None:
            raise InputError("the cine was not tagged: leave preparation out")
        if describe is not None:
            _same(record, describe(), "preparation")
        return made

    return make


def _same(recorded: Any, present: Any, what: str) -> None:
    """Turn down what is not on record as it is: every value of the record must be there, more may be.

    An older record may lack what is told today. Where a file lies and what it is called is of no account, and decimals
    may differ in the fifth place, as fits and constants do from version to version.
    """
    difference = _difference(recorded, json.loads(json.dumps(present)), what)
    if difference is not None:
        raise InputError(f"this is not the {what} that the cine was made with: {difference}; hand over the same {what}")


def _difference(recorded: Any, present: Any, place: str) -> str | None:
    """Where two JSON values differ first, in words; None where they do not."""
    if isinstance(recorded, dict) and isinstance(present, dict):
        for name, value in recorded.items():
            if name == "source":
                continue
            if name not in present:
                return f"{place} has no {name}"
            found = _difference(value, present[name], f"{place} {name}")
            if found is not None:
                return found
        return None
    if isinstance(recorded, list) and isinstance(present, list) and len(recorded) == len(present):
        found_in = (_difference(a, b, f"{place} [{n}]") for n, (a, b) in enumerate(zip(recorded, present, strict=True)))
        return next((found for found in found_in if found is not None), None)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (recorded, present))
    if numbers and float in (type(recorded), type(present)):
        alike = math.isclose(recorded, present, rel_tol=1e-4, abs_tol=1e-9)
    else:
        alike = recorded == present
    return None if alike else f"{place} is {_short(present)}, the record says {_short(recorded)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _warn_of_differences(sidecar: dict[str, Any], made: dict[str, Any]) -> None:
    present = json.loads(json.dumps({name: made[name] for name in _FOUND_OUT}))
    recorded = json.loads(json.dumps({name: sidecar[name] for name in _FOUND_OUT if name in sidecar}))
    other = [name for name, value in recorded.items() if value != present[name]]
    if other:
        warnings.warn(
            f"this is not the same cine: its {', '.join(other)} differ from the record, which was written by "
            f"{writer(sidecar)}; another state of the program draws or computes them otherwise",
            CMRSimWarning,
            stacklevel=3,
        )


def _warn_of_versions(recorded: Any) -> None:
    if not isinstance(recorded, dict):
        return
    other = [
        f"{name} {recorded[name]} (now {present})"
        for name, present in versions().items()
        if name in recorded and recorded[name] != present
    ]
    if other:
        warnings.warn(
            f"the cine was made with {', '.join(other)}; made again with other versions it may differ",
            CMRSimWarning,
            stacklevel=3,
        )
