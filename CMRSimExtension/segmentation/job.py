"""From an image file to a label file and function: what `cmrsim segment`, the module and the demo call."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.terminology import term_of
from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.coverage import coverage_note
from CMRSimExtension.evaluation.function import (
    FunctionCurves,
    body_surface_m2,
    function_from_labels,
    normal_ranges,
    volumes_ml,
)
from CMRSimExtension.evaluation.voxel_sizes import spacing_is_plausible
from CMRSimExtension.evaluation.wall_thickness import wall_of_heartbeat
from CMRSimExtension.files.atomic import StagedFiles
from CMRSimExtension.files.cine_files import (
    base_path,
    check_target,
    mean_step_ms,
    refuse_own_input,
    refuse_uneven,
    sidecar_path,
)
from CMRSimExtension.files.formats import read_image
from CMRSimExtension.files.label_origin import SEGMENTATION_FORMAT
from CMRSimExtension.files.nifti import write_nifti
from CMRSimExtension.person import check_person
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.segmentation.model import SegmentationModel
from CMRSimExtension.segmentation.segment import Segmentation, segment
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.version import __version__

_LONG_AXIS = re.compile(
    r"(?<![a-z0-9])([234][ _-]?(ch|cv)|lax|hla|vla|[lr]vot)(?![a-z])|([234]|two|three|four)[ _-]?chamber"
    r"|long[ _-]?axis",
    re.IGNORECASE,
)
"""What scanners call long-axis views."""

_ONE_FRAME = "one frame alone: its volumes and mass are called end-diastolic, whichever phase it is of"


@dataclass(frozen=True)
class SegmentationOptions:
    """How to segment.

    Attributes
    ----------
    frames
        ``all``, ``edes`` (end diastole and end systole, which a quick look at all frames finds), or numbers such as
        ``0,7,12``.
    device, views
        See `segmentation.segment`.
    spacing
        ``auto`` (trust the file's voxel sizes unless they cannot be true), ``trust`` or ``ignore``.
    probabilities
        Also give probability and uncertainty maps.
    sex, age_years, height_cm, weight_kg
        For indexed values (height and weight) and normal ranges (sex and age), where known; for the spelling of the sex
        see `person.SEX_SPELLINGS`.

    Raises
    ------
    InputError
        When `spacing` is another word, or as `person.check_person` and `evaluation.function.body_surface_m2`.
    """

    frames: str = "all"
    device: str = "auto"
    views: str = "four"
    spacing: str = "auto"
    probabilities: bool = False
    sex: str | None = None
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None

    def __post_init__(self) -> None:
        if self.spacing not in ("auto", "trust", "ignore"):
            raise InputError(f"spacing is {self.spacing!r}; choose auto, trust or ignore")
        check_person(self.sex, self.age_years, self.height_cm, self.weight_kg)
        if self.height_cm is not None and self.weight_kg is not None:
            body_surface_m2(self.height_cm, self.weight_kg)


@dataclass(frozen=True)
class SegmentedCine:
    """Labels and what they mean.

    Attributes
    ----------
    segmentation
        See `Segmentation`.
    grid
        Geometry of the labels.
    sizes_known
        Whether its voxel sizes were believed.
    function
        Function in ml and g; None where voxel sizes are not known or no LV was found.
    ejection_fractions
        LV and RV ejection fraction in percent where only ratios can be told.
    """

    segmentation: Segmentation
    grid: ImageGrid
    sizes_known: bool
    function: FunctionCurves | None
    ejection_fractions: dict[str, float | None]


def frame_numbers(text: str, frames: int) -> tuple[int, ...] | None:
    """Frame numbers of ``0,7,12``; None for ``all`` and ``edes``.

    Raises
    ------
    InputError
        When the text is something else, or a frame does not exist.
    """
    if text in ("all", "edes"):
        return None
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"frames {text!r}: write all, edes, or numbers such as 0,7,12") from error
    wrong = [number for number in numbers if not 0 <= number < frames]
    if wrong:
        raise InputError(f"frames {wrong} do not exist; the cine has the frames 0 to {frames - 1}")
    return numbers


def segment_cine(
    cine: Cine,
    model: SegmentationModel,
    options: SegmentationOptions = SegmentationOptions(),  # noqa: B008 (frozen)
    progress: Callable[[float], bool] = lambda fraction: True,
) -> SegmentedCine:
    """Segment a cine and measure its function.

    Raises
    ------
    InputError
        When the image cannot be segmented, or a frame does not exist.
    """
    trusted = options.spacing == "trust" or (options.spacing == "auto" and spacing_is_plausible(cine.grid))
    chosen = frame_numbers(options.frames, len(cine.image))
    notes: list[str] = []
    if options.frames == "edes" and len(cine.image) > 2:
        quick = segment(
            cine.image, cine.grid, model, device=options.device, views="none", spacing_trusted=trusted,
            progress=lambda fraction: progress(0.6 * fraction),
        )  # fmt: skip
        volumes = volumes_ml(quick.labels, (1.0, 1.0, 1.0))[:, 0]
        chosen = _extremes(volumes)
        unseen = np.flatnonzero(volumes == 0).tolist()
        if unseen and len(unseen) < len(volumes):
            notes.append(f"the quick look saw no LV blood pool in the frames {unseen}: they were not chosen from")
    start = 0.6 if options.frames == "edes" and len(cine.image) > 2 else 0.0
    found = segment(
        cine.image, cine.grid, model, frames=chosen, device=options.device, views=options.views,
        spacing_trusted=trusted, probabilities=options.probabilities,
        progress=lambda fraction: progress(start + (1.0 - start) * fraction),
    )  # fmt: skip
    found.notes.extend([*notes, *_compound_notes(found.labels, model)])
    if not trusted:
        found.notes.append(
            f"voxel sizes {tuple(round(side, 3) for side in cine.grid.spacing_mm)} mm cannot be true or were to be "
            "ignored: the heart's apparent size was used, and volumes and mass are not given"
        )
    view = _long_axis_note(cine, found, model)
    if view is not None:
        found.notes.append(view)
    return with_function(found, cine.grid, options, trusted)


def _long_axis_note(cine: Cine, found: Segmentation, model: SegmentationModel) -> str | None:
    """A sentence where a series seems to be a long-axis view and the model is not for those; None elsewhere."""
    if "short-axis" not in str(model.metadata.get("description", "")):
        return None
    told = (cine.sidecar.get("source") or {}).get("series_descriptions") or ()
    named = [text for text in told if _LONG_AXIS.search(str(text))]
    cure = f"the model {model.name} is for short-axis slices, give those"
    if named:
        return f"the series is called {named[0]!r}, as a long-axis view is; {cure}"
    if cine.image.shape[1] == 1 and not (found.labels == 1).any():
        return f"a single slice without an LV blood pool may be a long-axis view, or lie off the ventricle; {cure}"
    return None


def _compound_notes(labels: NDArray[np.uint8], model: SegmentationModel) -> list[str]:
    """What a reader of the labels must know whose software calls each by its structure alone."""
    return [
        f"label {label} stands for {name.lower()}, all that the model's class holds, where other software may call it "
        f"{term_of(label).name.lower()}"
        for label, name in sorted(model.names().items())
        if name != term_of(label).name and (labels == label).any()
    ]


def _extremes(volumes: NDArray[np.floating]) -> tuple[int, ...]:
    """Frames of the largest and the smallest LV; one without an LV is a failure of the quick look, no end systole."""
    shown = np.flatnonzero(volumes > 0)
    if not len(shown):
        return (0,)
    return tuple(sorted({int(shown[np.argmax(volumes[shown])]), int(shown[np.argmin(volumes[shown])])}))


def with_function(
    found: Segmentation, grid: ImageGrid, options: SegmentationOptions, sizes_known: bool
) -> SegmentedCine:
    """Measure what was segmented; what could not be measured, or only in part, is added to its notes.

    Parameters
    ----------
    found
        Labels and the frames to measure.
    grid
        Their geometry.
    sizes_known
        Whether to believe its voxel sizes; without them there are ejection fractions alone.
    """
    frames = [frame for frame in found.frames if (found.labels[frame] == 1).any()]
    if not frames:
        found.notes.append("no LV blood pool was found, so there is no function to measure")
        return SegmentedCine(found, grid, sizes_known, None, {})
    dx, dy, dz = grid.spacing_mm
    without = sorted(set(found.frames) - set(frames))
    if without:
        found.notes.append(
            f"no LV blood pool was found in the frames {without}: function is measured without them; look at them first"
        )
    curves = function_from_labels(
        found.labels, (dz, dy, dx), frames=frames, height_cm=options.height_cm, weight_kg=options.weight_kg
    )
    lost = [
        name
        for name, frame in (("end diastole", curves.end_diastole), ("end systole", curves.end_systole))
        if frame is not None and not (found.labels[frame] == 3).any()
    ]
    if lost and (found.labels == 3).any():
        found.notes.append(
            f"no RV blood pool was found at {' and '.join(lost)}: its volume there, stroke volume and ejection "
            "fraction are not given"
        )
    note = coverage_note(found.labels, frames)
    if note is not None:
        found.notes.append(note)
    if sizes_known:
        try:
            wall = wall_of_heartbeat(found.labels, grid, curves.end_diastole, curves.end_systole)
            curves = replace(curves, wall_mm=wall)
        except InputError as error:
            found.notes.append(f"wall thickness is not given: {error}")
    ratios = {
        "lv_ef_percent": curves.function.lv_ef_percent,
        "rv_ef_percent": curves.function.rv_ef_percent,
    }
    return SegmentedCine(found, grid, sizes_known, curves if sizes_known else None, ratios)


def segment_file(
    source: Path,
    out: Path,
    model: SegmentationModel,
    options: SegmentationOptions = SegmentationOptions(),  # noqa: B008 (frozen)
    progress: Callable[[float], bool] = lambda fraction: True,
    *,
    series: str | None = None,
) -> tuple[list[Path], SegmentedCine]:
    """Segment one image file; write labels on its grid and a sidecar with function.

    Parameters
    ----------
    source
        Whatever `files.formats.read_image` reads: a NIfTI, NRRD, ISMRMRD or DICOM file, or a folder of DICOM images.
    out
        Label file, .nii.gz or .nii; probability and uncertainty maps and the JSON file are named after it.
    series
        Which series (description or number) or case, where `source` holds several.

    Returns
    -------
    tuple
        The files written, and what they hold.

    Raises
    ------
    InputError
        The files to write would replace the image or what belongs to it; the image cannot be read or segmented.
    """
    source, out = Path(source), Path(out)
    check_target(out)
    refuse_own_input(out, [source])
    cine = read_image(source, series, truths=())
    refuse_uneven(cine, "a label image")
    result = segment_cine(cine, model, options, progress)
    found, affine, step = result.segmentation, cine.grid.affine_ras, mean_step_ms(cine)
    written = [out]
    with StagedFiles() as staged:
        write_nifti(staged.path(out), found.labels, affine, step, "CMRSimExtension labels")
        base = base_path(out)
        ending = out.name[len(base.name) :]
        if found.probabilities is not None and found.uncertainty is not None:
            maps = {
                "probabilities": np.moveaxis(found.probabilities, 1, -1).astype(np.float32),
                "uncertainty": found.uncertainty.astype(np.float32),
            }
            for name, values in maps.items():
                target = base.with_name(f"{base.name}_{name}{ending}")
                write_nifti(staged.path(target), values, affine, step, f"CMRSimExtension {name}")
                written.append(target)
        target = sidecar_path(out)
        text = json.dumps(_record(source, series, cine, model, options, result), indent=1, ensure_ascii=False)
        staged.path(target).write_text(text + "\n", encoding="utf-8")
        written.append(target)
    return written, result


def _record(
    source: Path,
    series: str | None,
    cine: Cine,
    model: SegmentationModel,
    options: SegmentationOptions,
    result: SegmentedCine,
) -> dict[str, Any]:
    found, curves = result.segmentation, result.function
    dx, dy, dz = cine.grid.spacing_mm
    record: dict[str, Any] = {
        "format": SEGMENTATION_FORMAT,
        "format_version": 1,
        "software": {"CMRSimExtension": __version__},
        "use": "for research, not for clinical use",
        "image": source.name,
        "series": series,
        "model": {
            "name": model.name,
            "version": model.metadata.get("version"),
            "description": model.metadata.get("description"),
        },
        "options": {"frames": options.frames, "views": options.views, "spacing": options.spacing},
        "labels": {str(label): name for label, name in sorted(model.names().items())},
        "frames": list(found.frames),
        "empty_frames": sorted(set(range(len(found.labels))) - set(found.frames)),
        "spacing_mm": {"slice": dz, "row": dy, "column": dx},
        "confidence": round(found.place.confidence, 4),
        "function": None if curves is None else curves.function.as_dict(),
        "ejection_fractions": result.ejection_fractions,
        "notes": found.notes + ([_ONE_FRAME] if curves is not None and len(found.labels) == 1 else []),
    }
    if found.probabilities is not None:
        # Channel 0 is the background; the others are the model's classes.
        record["probability_channels"] = {str(number): label for number, label in model.labels.items()}
    if curves is not None:
        record["volume_curves_ml"] = {
            "frames": list(curves.frames),
            "lv": list(curves.lv_ml),
            "myocardium": list(curves.myocardium_ml),
            "rv": list(curves.rv_ml),
        }
        record["end_diastole"], record["end_systole"] = curves.end_diastole, curves.end_systole
        record["rv_extremes_ml"] = {"largest": curves.rv_largest_ml, "smallest": curves.rv_smallest_ml}
        record["indexed"] = curves.indexed
        record["wall_thickness_mm"] = curves.wall_mm
        if options.sex is not None and options.age_years is not None:
            record["normal_ranges"] = normal_ranges(options.sex, options.age_years)
    return record
