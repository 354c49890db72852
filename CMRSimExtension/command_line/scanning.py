"""From the options to the scan: the subject or the anatomy's file, and the one call that scans it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.scan_options import SUBJECT_KEYS
from CMRSimExtension.command_line.tag_options import tags_of
from CMRSimExtension.errors import InputError
from CMRSimExtension.person import parse_sex
from CMRSimExtension.scanner.breath_hold import line_by_line
from CMRSimExtension.scanner.faults import Fault, narrowed, parse_fault
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.run import KspaceSink
from CMRSimExtension.simulation.scene import Preparation, one_slice
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.simulation.tissue_settings import TissueSettings


def scan(
    values: dict[str, Any], protocol: Protocol, truth: frozenset[str], console: Console,
    on_kspace: KspaceSink | None = None,
) -> Cine:
    """Scan what `values` (see `scan_options.chosen`) ask for; `on_kspace` is handed each slice's k-space.

    Raises
    ------
    InputError
        As the subject, the anatomy's reader, the protocol and `simulate`.
    """
    tags, tissues = tags_of(values), _tissues(values)
    cine = scan_anatomy(
        build_anatomy(values), protocol if tags is None else tags.protocol(protocol), _seed(values),
        values.get("plane", "sax"), truth, console, faults=_faults(values), on_kspace=on_kspace,
        preparation=None if tags is None else tags.preparation, rotation_deg=values.get("rotation_deg", 0.0),
        tissues=tissues,
    )
    return cine if tags is None else tags.recorded(cine)


def scan_anatomy(
    anatomy: Anatomy, protocol: Protocol, seed: int, plane: str, truth: frozenset[str], console: Console,
    *, faults: Sequence[Fault] = (), on_kspace: KspaceSink | None = None,
    preparation: Callable[[ImageGrid, float], Preparation] | None = None, grid: ImageGrid | None = None,
    rotation_deg: float = 0.0, tissues: Mapping[str, Mapping[str, float]] | None = None,
) -> Cine:
    """`simulate` with its progress on the console."""
    with console.progress("simulating") as progress:
        return simulate(anatomy, protocol, seed, plane=plane, grid=grid, truth=truth - {"kspace"}, faults=faults,
                        progress=progress, on_kspace=on_kspace, preparation=preparation, rotation_deg=rotation_deg,
                        tissues=tissues)


def scan_one_slice(
    values: dict[str, Any], protocol: Protocol, index: int | None, frame: int | None, console: Console
) -> tuple[Cine, int]:
    """Scan one slice of the planned stack.

    Parameters
    ----------
    values, protocol, console
        As for `scan`.
    index
        Slice of the stack; None takes the middle one.
    frame
        Frame that will be shown; None for all of them.

    Returns
    -------
    cine, frame
        A cine of one slice, and which of its frames is the one asked for.
    """
    faults, tissues = _faults(values), _tissues(values)
    tags = tags_of(values)
    protocol = protocol if tags is None else tags.protocol(protocol)
    anatomy = build_anatomy(values)
    turn = values.get("rotation_deg", 0.0)
    whole = plan(
        anatomy.heart_frame, narrowed(protocol, faults), values.get("plane", "sax"), in_plane_rotation_deg=turn)
    slices = whole.shape[0]
    index = slices // 2 if index is None else index
    if not 0 <= index < slices:
        raise InputError(f"--slice is {index}; this stack has slices 0 to {slices - 1}")
    if frame is not None and not 0 <= frame < protocol.phases:
        raise InputError(f"--frame is {frame}; this protocol has frames 0 to {protocol.phases - 1}")
    if frame == 0 and not line_by_line(protocol, faults):
        protocol = protocol.replace(phases=1)
    grid = one_slice(whole, index)
    with console.progress("simulating") as progress:
        return simulate(anatomy, protocol, _seed(values), grid=grid, faults=faults, progress=progress,
                        preparation=None if tags is None else tags.preparation, tissues=tissues), frame or 0


def one_slice_of(cine: Cine, index: int) -> Cine:
    """A cine of one slice of `cine`, with its labels."""
    return Cine(
        image=cine.image[:, index:index + 1], grid=one_slice(cine.grid, index),
        labels=None if cine.labels is None else cine.labels[:, index:index + 1],
        times_ms=None if cine.times_ms is None else cine.times_ms[index:index + 1], sidecar=cine.sidecar,
    )


def build_anatomy(values: dict[str, Any]) -> Any:
    """The subject drawn from the seed, or the anatomy in the file that ``--anatomy`` names."""
    subject = {key: values[key] for key in SUBJECT_KEYS if key in values}
    if "anatomy" not in values:
        for key in ("labels_map", "phase_of_labels", "still", "xcat_vectors"):
            if key in values and values[key] is not False:
                raise InputError(f"--{key.replace('_', '-')} belongs to --anatomy FILE, which was not given")
        from CMRSimExtension.anatomy.subject import Subject

        if "sex" in subject:
            subject["sex"] = parse_sex(subject["sex"])
        return Subject.random(_seed(values), **subject)
    if subject:
        names = ", ".join("--" + key.replace("_", "-") for key in subject)
        raise InputError(f"{names} shape a drawn subject; leave them out with --anatomy")
    from CMRSimExtension.command_line.anatomy_files import anatomy_from_file

    still = bool(values.get("still"))
    vectors = Path(values["xcat_vectors"]) if "xcat_vectors" in values else None
    return anatomy_from_file(
        Path(values["anatomy"]), values.get("labels_map"), still, _seed(values), vectors, values.get("phase_of_labels"))


def _faults(values: dict[str, Any]) -> tuple[Fault, ...]:
    return tuple(parse_fault(text) for text in values.get("fault", ()))


def _tissues(values: dict[str, Any]) -> dict[str, dict[str, float]]:
    return TissueSettings.parse(values.get("tissue", ())).as_dict()


def _seed(values: dict[str, Any]) -> int:
    seed = int(values.get("seed", 0))
    if seed < 0:
        raise InputError(f"--seed is {seed}; give a whole number, 0 or above")
    return seed
