"""From a sidecar back to the cine it describes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.anatomy.subject import Subject, SubjectParameters
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.faults import fault_from_dict
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.scene import Preparation
from CMRSimExtension.simulation.simulate import simulate


def subject_of(sidecar: dict[str, Any]) -> Subject:
    """The parametric subject that a sidecar describes.

    Raises
    ------
    InputError
        If the sidecar is of another anatomy, of none, or damaged.
    """
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
            f"the sidecar's subject is damaged ({error}); copy the sidecar again, or take it away"
        ) from error
    return Subject(parameters)


def simulate_again(
    sidecar: dict[str, Any],
    *,
    anatomy: Anatomy | None = None,
    preparation: Callable[[ImageGrid, float], Preparation] | None = None,
    workers: int | None = None,
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
    workers
        As for `simulate`.

    Raises
    ------
    InputError
        If the record is incomplete, or names an anatomy or a preparation that was not handed over.
    """
    try:
        scan, protocol = sidecar["simulation"], Protocol.from_dict(sidecar["protocol_asked"])
    except KeyError as error:
        raise InputError(f"the sidecar has no {error}: it is not that of a simulated cine") from error
    if sidecar.get("preparation") is not None and preparation is None:
        raise InputError("the cine was tagged: hand over the same tagging as preparation")
    grid = None
    if scan["grid_given"]:
        given = scan["grid"]
        grid = ImageGrid(np.array(given["affine_ras"]), tuple(given["shape"]), float(given["slice_thickness_mm"]))
    return simulate(
        subject_of(sidecar) if anatomy is None else anatomy,
        protocol,
        int(scan["seed"]),
        plane=scan["plane"],
        truth=scan["truth"],
        grid=grid,
        faults=[fault_from_dict(fault) for fault in scan["faults"]],
        preparation=preparation,
        sub_samples=int(scan["sub_samples"]),
        by_channel=bool(scan["by_channel"]),
        phases=scan["phases"],
        workers=workers,
    )
