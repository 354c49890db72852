"""What the three modules ask of the library, as values in and values out.

The same functions run in Slicer's own process (from scripts and tests) and in a child process (from the panels, see
`CMRSimExtension.slicer_bridge.process`). Nothing here imports ``slicer``; what needs torch imports it inside.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
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
        ``"parametric"``, ``"xcat"`` or ``"labels"``.
    values
        The keywords of `Subject.random`, `anatomies.anatomy_of_xcat` or `anatomies.anatomy_of_labels`.
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
) -> Values:
    """Scan an anatomy: gives ``cine``."""
    from CMRSimExtension.scanner.protocol import Protocol
    from CMRSimExtension.simulation.simulate import simulate as scan

    subject = build_anatomy(source, seed, anatomy)
    options: Values = {"faults": fault_values(faults)} if faults else {}
    cine = scan(
        subject, Protocol.from_dict(protocol), seed, plane=plane, truth=truth, progress=progress, **options)
    return {"cine": cine}


def fault_values(faults: Values) -> Any:
    """Faults of the scanner by name and amount, as `simulate` takes them."""
    from CMRSimExtension.scanner.faults import parse_fault

    return tuple(parse_fault(f"{name}={amount:g}") for name, amount in faults.items() if amount)


def tag(
    *, cine: Any, options: Values, seed: int, progress: Progress, labels: Any = None, displacement: Any = None
) -> Values:
    """Tag a cine: gives ``cine``, the tagged one, and ``motion``: ``true``, ``estimated`` or ``none``.

    ``displacement`` is the true motion, where it is known; that of a simulated cine is made from its sidecar.
    ``labels`` are (frames, slices, rows, columns), or (slices, rows, columns) at end diastole alone.
    """
    from CMRSimExtension.tagging.options import TagOptions
    from CMRSimExtension.tagging.tag_cine import tag_cine

    if displacement is None and options.get("method", "moving") == "moving":
        displacement = own_displacement(cine, progress)
    tagged = tag_cine(
        replace(cine, displacement_mm=displacement), TagOptions(**options), labels=labels, seed=seed,
        progress=progress)
    return {"cine": tagged, "motion": tagged.sidecar["tagging"]["motion"]["source"]}


def own_displacement(cine: Any, progress: Progress) -> Any:
    """The true motion of a simulated cine, or of one that was tagged with it; None where it is not known."""
    from CMRSimExtension.simulation.record import subject_of
    from CMRSimExtension.tagging.simulated import simulation_of, true_displacement

    record = simulation_of(cine)
    if record is None:
        return None
    progress(0.0, "making the subject again for its true motion")
    return true_displacement(subject_of(record), cine, record.get("slice_shifts_mm"))


def strain(
    *, cine: Any, method: str | None, progress: Progress, labels: Any = None, displacement: Any = None
) -> Values:
    """Strain of a cine: gives ``strain`` and ``truth``, the fields of a `StrainSeries` each, or None for the latter.

    ``labels`` and ``displacement`` are as for `tag`; without ``method`` the best that the cine allows is taken.
    """
    from CMRSimExtension.strain.measurement import measure_strain

    if displacement is None:
        displacement = own_displacement(cine, progress)
    found, truth = measure_strain(replace(cine, displacement_mm=displacement), labels, method, progress)
    return {"strain": dict(vars(found)), "truth": None if truth is None else dict(vars(truth))}


def segment(
    *, cine: Any, model: str, frames: str, device: str, views: str, probabilities: bool, person: Values,
    progress: Progress,
) -> Values:
    """Segment a cine.

    Gives ``labels``, ``frames``, ``curves`` (or None), ``normal_ranges`` (by value, where sex and age are known),
    ``maps_percent`` (uint8 maps of the frames segmented by name; empty if not asked for) and ``notes``.
    """
    from CMRSimExtension.evaluation.function import normal_ranges
    from CMRSimExtension.segmentation.bundle import read_bundle
    from CMRSimExtension.segmentation.job import SegmentationOptions, segment_cine
    from CMRSimExtension.segmentation.registry import find_model

    progress(0.0, "loading the model")
    bundle = read_bundle(find_model(model))

    def report(share: float) -> bool:
        progress(share, "segmenting")
        return True

    options = SegmentationOptions(
        frames=frames, device=device, views=views, probabilities=probabilities, **person)
    found = segment_cine(cine, bundle, options, report)
    progress(1.0, "segmented")
    maps: Values = {}
    if found.segmentation.probabilities is not None and found.segmentation.uncertainty is not None:
        maps = maps_percent(found.segmentation.probabilities, found.segmentation.uncertainty, bundle.labels)
    known = person.get("sex") is not None and person.get("age_years") is not None
    return {
        "labels": found.segmentation.labels, "frames": list(found.segmentation.frames),
        "curves": None if found.function is None else asdict(found.function),
        "normal_ranges": normal_ranges(person["sex"], person["age_years"]) if known else {},
        "maps_percent": maps,
        "notes": list(found.segmentation.notes)}


def maps_percent(probabilities: Any, uncertainty: Any, labels: Mapping[int, int]) -> Values:
    """Uncertainty and the probability of each structure as uint8 percent (frames, slices, rows, columns), by name.

    Parameters
    ----------
    probabilities, uncertainty
        (frames, classes, slices, rows, columns) and (frames, slices, rows, columns), 0 to 1.
    labels
        Class -> label number.
    """
    import numpy as np

    from CMRSimExtension.anatomy.terminology import term_of

    def percent(values: Any) -> Any:
        return np.rint(100.0 * values.astype(np.float32)).astype(np.uint8)

    maps = {"uncertainty": percent(uncertainty)}
    for number, label in labels.items():
        maps[f"{term_of(label).name} probability"] = percent(probabilities[:, number])
    return maps


def function_curves(record: Values | None) -> Any:
    """`FunctionCurves` from what `segment` gave as ``curves``."""
    from CMRSimExtension.anatomy.function import CardiacFunction
    from CMRSimExtension.evaluation.function import FunctionCurves

    if record is None:
        return None
    return FunctionCurves(**(record | {"function": CardiacFunction(**record["function"])}))


def compare(
    *, predicted: Any, reference: Any, spacing_mm: list[float], frames: list[int], labels_map: str | None,
    progress: Progress,
) -> Values:
    """Compare label frames: ``rows`` of frame, structure (as its segment is called), Dice and HD95, and ``notes``.

    `labels_map` is what the reference's numbers were said to mean, where it had numbers; None where it had names.
    """
    from CMRSimExtension.anatomy.terminology import term_of
    from CMRSimExtension.evaluation.overlap import STRUCTURES
    from CMRSimExtension.evaluation.overlap import compare as compare_labels
    from CMRSimExtension.segmentation.exchanged_labels import note_on_exchanged_pools

    names = {name: term_of(label).name for label, name in STRUCTURES.items()}
    rows = []
    for index, frame in enumerate(frames):
        progress(index / len(frames), f"comparing frame {frame}")
        for row in compare_labels(predicted[index], reference[index], spacing_mm, frame=str(frame), per_slice=False):
            rows.append(
                {"frame": frame, "structure": names[row.structure], "dice": row.dice, "hd95_mm": float(row.hd95_mm)})
    notes = [] if labels_map is None else note_on_exchanged_pools(
        zip(predicted, reference, strict=True), labels_map, in_panel=True)
    progress(1.0, "compared")
    return {"rows": rows, "notes": notes}


def population(
    *, folder: str, count: int, pathology: str, protocol: Values, plane: str, seed: int, progress: Progress
) -> Values:
    """Write `count` subjects with their labels to a folder, each scanned once; gives ``written`` and ``skipped``.

    See `CMRSimExtension.population.writing.write_population`.
    """
    from CMRSimExtension.population.recipe import PopulationRecipe
    from CMRSimExtension.population.writing import write_population
    from CMRSimExtension.scanner.protocol import Protocol

    recipe = PopulationRecipe(
        count=count, seed=seed, pathology=pathology, plane=plane, protocols=(Protocol.from_dict(protocol),))
    return asdict(write_population(recipe, Path(folder), progress))


JOBS: dict[str, Callable[..., Values]] = {
    "simulate": simulate, "tag": tag, "strain": strain, "segment": segment, "compare": compare,
    "population": population}
