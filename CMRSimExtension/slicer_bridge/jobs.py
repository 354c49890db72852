"""What the three modules ask of the library, as values in and values out.

The same functions run in Slicer's own process (from scripts and tests) and in a child process (from the panels, see
`CMRSimExtension.slicer_bridge.process`). Nothing here imports ``slicer``; what needs torch imports it inside.
"""

from collections.abc import Callable
from typing import Any

from CMRSimExtension.errors import InputError

Values = dict[str, Any]
Progress = Callable[[float, str], None]


def run(kind: str, values: Values, progress: Progress) -> Values:
    """Run one job.

    Parameters
    ----------
    kind
        A key of `JOBS`.
    values
        The job's arguments by name.
    progress
        Called with the share done, 0 to 1, and a line of text; may raise `Cancelled`.
    """
    if kind not in JOBS:
        raise InputError(f"there is no job '{kind}'; choose from {', '.join(JOBS)}")
    return JOBS[kind](progress=progress, **values)


def build_anatomy(source: str, seed: int, values: Values) -> Any:
    """The anatomy to scan.

    Parameters
    ----------
    source
        ``"parametric"`` (values: the keywords of `Subject.random`), ``"xcat"`` (``path``, ``still``) or ``"labels"``
        (``labels``, ``grid``, ``label_map``, ``still``).
    seed
        Of everything that is drawn.
    """
    if source == "parametric":
        from CMRSimExtension.anatomy.subject import Subject

        return Subject.random(seed, **values)
    if source == "xcat":
        from CMRSimExtension.slicer_bridge.anatomies import anatomy_of_xcat

        return anatomy_of_xcat(seed=seed, **values)
    if source == "labels":
        from CMRSimExtension.slicer_bridge.anatomies import anatomy_of_labels

        return anatomy_of_labels(seed=seed, **values)
    raise InputError(f"anatomy source '{source}' is not known; choose parametric, xcat or labels")


def simulate(
    *,
    source: str,
    anatomy: Values,
    protocol: Values,
    plane: str,
    truth: list[str],
    seed: int,
    faults: Values,
    progress: Progress,
    labels: Any = None,
    grid: Any = None,
) -> Values:
    """Scan an anatomy: gives ``cine``."""
    from CMRSimExtension.scanner.protocol import Protocol
    from CMRSimExtension.simulation.simulate import simulate as scan

    if source == "labels":
        anatomy = anatomy | {"labels": labels, "grid": grid}
    subject = build_anatomy(source, seed, anatomy)
    options: Values = {"faults": fault_values(faults)} if faults else {}
    cine = scan(
        subject, Protocol.from_dict(protocol), seed, plane=plane, truth=truth, progress=progress, **options)
    return {"cine": cine}


def fault_values(faults: Values) -> Any:
    """Faults of the scanner by name and amount, as `simulate` takes them."""
    from CMRSimExtension.scanner.faults import parse_fault

    return tuple(parse_fault(f"{name}={amount:g}") for name, amount in faults.items() if amount > 0)


JOBS: dict[str, Callable[..., Values]] = {"simulate": simulate}
