"""A cine in, a tagged cine out: real or simulated, with its labels."""

import os
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.tissues import FIELDS_T, TissueValues, draw_tissues
from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.frame_times import frame_times, resampling
from CMRSimExtension.tagging.motion import (
    carry_labels,
    displacement_from_pixels,
    displacement_in_pixels,
    estimate_motion,
)
from CMRSimExtension.tagging.options import TagOptions
from CMRSimExtension.tagging.pattern import TagPattern
from CMRSimExtension.tagging.rendering import PlanarPattern
from CMRSimExtension.tagging.simulated import motion_source
from CMRSimExtension.tagging.tagged_frames import MOST_LABEL, Images, Progress, TaggedFrames


def tag_cine(
    cine: Cine,
    options: TagOptions | None = None,
    *,
    labels: NDArray[np.integer] | None = None,
    labels_grid: ImageGrid | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Cine:
    """Turn a cine into tagged CMR.

    Parameters
    ----------
    cine
        What to tag. Where it carries `displacement_mm` (a simulated cine) the tags follow that, the true motion;
        otherwise motion is estimated from its frames.
    options
        How; None takes the defaults of `TagOptions`.
    labels
        (frames, slices, rows, columns), or (slices, rows, columns) at end diastole alone: 1 LV blood pool, 2 LV
        myocardium, 3 RV blood pool. In place of `cine.labels`; they guide the motion and the contrast, and travel
        along. Labels of end diastole alone are carried to the other frames by the motion.
    labels_grid
        Where the labels lie, to be checked against the image.
    seed
        Of the noise; without `TagOptions.snr` nothing is random.
    workers
        Threads; None for one per processor, at most 8. The result does not depend on it.
    progress
        Called with the share done and a line of text; may raise `Cancelled`.

    Returns
    -------
    Cine
        Tagged images with the geometry of the cine, labels, `displacement_mm` (true or estimated) and times. Its
        sidecar's ``tagging`` says what was done, whether the motion is ``true``, ``estimated`` or ``none``, and what
        was assumed; what the cine's own sidecar said is under ``source``.

    Raises
    ------
    InputError
        One frame where motion is asked for, tags under two pixels apart, labels of another shape or geometry, or
        with numbers that are not whole or not from 0 to 254, a negative seed, an image whose voxels are all 0.
    """
    options = options or TagOptions()
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be 0 or above")
    _check(cine, labels, labels_grid)
    pattern = options.tag_pattern(cine.grid)
    own = None if labels is None else np.asarray(labels).astype(np.uint8)
    frame_labels = cine.labels if own is None else own if own.ndim == 4 else None
    diastole_labels = own if own is not None and own.ndim == 3 else None
    if options.method == "paper":
        image = _paper(cine.image, pattern, cine.grid)
        paper = {"method": "paper", "options": options.as_dict(), "motion": {"source": "none"}}
        kept = frame_labels if diastole_labels is None else None
        if diastole_labels is not None and len(cine.image) == 1:
            kept = diastole_labels[None]
        return _result(cine, image, kept, cine.times_ms, None, paper)

    # Where motion is known a frame without muscle shows none; elsewhere nobody has labelled it.
    if frame_labels is not None and cine.displacement_mm is None and _labelled_in_part(frame_labels):
        diastole_labels, frame_labels = frame_labels[0], None
    carried = frame_labels is None
    times = frame_times(cine)
    plan = resampling(times, options.frames)
    acquisition = options.acquisition(cine.grid, float(times.cycle_ms.mean()))
    threads = workers or min(os.cpu_count() or 1, 8)
    share = 0.9 if cine.displacement_mm is None else 0.0
    to_rest, displacement, motion_record = _motion(
        cine, frame_labels, diastole_labels, threads, _part(progress, 0.0, share)
    )
    if frame_labels is None and diastole_labels is not None:
        frame_labels = carry_labels(diastole_labels, to_rest)
    job = TaggedFrames(cine, frame_labels, to_rest, plan, acquisition, _tissues(cine, options))
    image, new_labels, new_rest = job.run(threads, _part(progress, share, 1.0))
    if options.snr is not None:
        image = _noisy(image, new_labels, options.snr, seed)
    if plan.share.any() or plan.before.shape[1] != len(cine.image):
        displacement = displacement_from_pixels(new_rest, cine.grid)
    record: dict[str, Any] = {
        "method": "moving",
        "options": options.as_dict(),
        "acquisition": acquisition.describe(),
        "motion": motion_record,
        "times": plan.times.source,
        "labels": _label_source(cine, own, carried),
        "contrast": job.contrast_source,
        "tissues": job.tissues.as_dict(),
        "seed": int(seed) if options.snr is not None else None,
    }
    return _result(cine, image, new_labels, plan.times.times_ms, displacement, record)


def myocardium_label(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """1 in the LV myocardium, 0 elsewhere: the label that P4 trains on."""
    return (np.asarray(labels) == 2).astype(np.uint8)


def _check(cine: Cine, labels: NDArray[np.integer] | None, labels_grid: ImageGrid | None) -> None:
    if cine.image.ndim != 4 or cine.image.shape[1:] != cine.grid.shape:
        raise InputError(f"the image has the shape {cine.image.shape}, its grid {cine.grid.shape}; they must agree")
    if not np.all(np.isfinite(cine.image)):
        raise InputError("the cine holds NaN or infinite values; replace them before it is tagged")
    if cine.image.size and cine.image.min() < 0:
        raise InputError(f"the cine holds values down to {cine.image.min():g}; magnitude images are 0 or above")
    if not cine.image.any():
        raise InputError("every voxel of the cine is 0, on which no tags can be seen; give the image itself")
    if labels is not None and np.shape(labels) not in (cine.image.shape, cine.image.shape[1:]):
        raise InputError(
            f"labels have the shape {np.shape(labels)}, the cine {cine.image.shape}; give labels of every frame, or of "
            f"end diastole alone {cine.image.shape[1:]}"
        )
    for given in (labels, cine.labels):
        if given is not None:
            _check_numbers(np.asarray(given))
    if labels_grid is not None:
        if labels_grid.shape != cine.grid.shape:
            raise InputError(
                f"labels lie on a grid of {labels_grid.shape}, the cine on {cine.grid.shape}; resample the labels"
            )
        away = float(np.abs(labels_grid.affine_ras - cine.grid.affine_ras).max())
        # Single precision headers round positions of 200 mm to 2e-5 mm; a hundredth of a millimetre is no resampling.
        if away > 0.01:
            raise InputError(
                f"labels and cine have different geometry (affines differ by up to {away:.3g} mm); resample the labels "
                "to the cine's grid"
            )


def _check_numbers(labels: NDArray[np.integer]) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels are of type {labels.dtype}; label numbers are whole: convert them first")
    if labels.size and not (0 <= labels.min() and labels.max() <= MOST_LABEL):
        raise InputError(
            f"labels go from {labels.min()} to {labels.max()}; choose numbers from 0 to {MOST_LABEL} (1 LV blood, 2 LV "
            "myocardium, 3 RV blood)"
        )


def _motion(
    cine: Cine,
    frame_labels: NDArray[np.uint8] | None,
    diastole_labels: NDArray[np.uint8] | None,
    threads: int,
    progress: Progress | None,
) -> tuple[Images, NDArray[np.float32], dict[str, Any]]:
    """(2, frames, slices, rows, columns) pixels to rest, the displacement in mm, and what the sidecar says of it."""
    if cine.displacement_mm is not None:
        field = displacement_in_pixels(cine.displacement_mm, cine.grid)
        return field, cine.displacement_mm, {"source": motion_source(cine)}
    if frame_labels is not None and not np.any(frame_labels[0] == 2):
        frame_labels = None
    motion = estimate_motion(
        cine.image, cine.grid, diastole_labels=diastole_labels, frame_labels=frame_labels, workers=threads,
        progress=progress,
    )
    field = np.zeros((2, *cine.image.shape), np.float32)
    field[:, :, :, motion.region[0], motion.region[1]] = motion.to_rest_px
    guide = "labels of every frame" if frame_labels is not None else "labels of end diastole"
    record = {
        "source": "estimated",
        "method": "in-plane diffeomorphic demons to end diastole, smoothed over the cycle",
        "guided_by": guide if frame_labels is not None or diastole_labels is not None else "grey values alone",
        "lowest_jacobian": round(motion.lowest_jacobian(), 4),
    }
    return field, displacement_from_pixels(field, cine.grid), record


def _paper(image: Images, pattern: TagPattern, grid: ImageGrid) -> Images:
    """P4, 2.1.2: element-wise square root of the image, times a static grid sampled at the pixels."""
    # The grid's pattern is laid in the plane, so it is the same in every slice; one array serves all frames.
    mask = pattern.modulation_of(PlanarPattern.on_slice(pattern, grid, 0).phases(None))
    return np.abs(np.sqrt(image.astype(np.float32)) * mask)


def _noisy(image: Images, labels: NDArray[np.uint8] | None, snr: float, seed: int) -> Images:
    """Magnitude of the images with complex white noise; its level is the heart's mean in frame 0 over `snr`."""
    heart = image[0] > 0.5 * image[0].mean() if labels is None or not labels[0].any() else labels[0] > 0
    sd = float(image[0][heart].mean()) / snr
    rng = np.random.default_rng(seed)
    for frame in range(len(image)):
        real = image[frame] + sd * rng.standard_normal(image.shape[1:], dtype=np.float32)
        imaginary = sd * rng.standard_normal(image.shape[1:], dtype=np.float32)
        image[frame] = np.hypot(real, imaginary)
    return image


def _tissues(cine: Cine, options: TagOptions) -> TissueValues:
    """The subject's own where the sidecar has them, else the table's means at the field strength asked for or known."""
    try:
        drawn = cine.sidecar.get("appearance", {}).get("tissues")
        if drawn is not None and options.field_t in (None, drawn.get("field_t")):
            return TissueValues.from_dict(drawn)
        field = options.field_t or _known_field_t(cine.sidecar)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the sidecar's tissues or protocol are damaged ({error}); copy the sidecar again, or take it away"
        ) from error
    return draw_tissues(np.random.default_rng(0), field, spread=0.0)


def _known_field_t(record: dict[str, Any]) -> float:
    """The field strength of the tissue table nearest to the one a record tells, simulated or read; 1.5 T without.

    A record that `tag_cine` or a reader wrote has what it was made from under ``source``.
    """
    told = None
    while record and told is None:
        told = record.get("protocol", {}).get("field_t") or record.get("field_t")
        record = record.get("source") or {}
    if told is None:
        return 1.5
    nearest = min(FIELDS_T, key=lambda field: abs(field - float(told)))
    # Scanners write what their magnet has: 1.494 and 2.8936 T are sold as 1.5 and 3.
    if abs(nearest - float(told)) > 0.1 * nearest:
        warnings.warn(
            f"the cine was scanned at {float(told):g} T and the tissue table knows {' and '.join(map(str, FIELDS_T))}; "
            f"the values at {nearest:g} T are taken, unless you choose others", CMRSimWarning, stacklevel=4,
        )
    return nearest


def _labelled_in_part(frame_labels: NDArray[np.uint8]) -> bool:
    """Whether end diastole is labelled and some other frames are not (those but end systole, often)."""
    shown = np.any(frame_labels == 2, axis=(1, 2, 3))
    return bool(shown[0] and not shown.all())


def _label_source(cine: Cine, own: NDArray[np.uint8] | None, carried: bool) -> str:
    if own is None and cine.labels is None:
        return "none"
    whose = "the cine's own" if own is None else "given"
    return f"{whose} at end diastole, carried to the other frames by the motion" if carried else whose


def _result(
    cine: Cine,
    image: Images,
    labels: NDArray[np.uint8] | None,
    times: NDArray[np.float64] | None,
    displacement: NDArray[np.float32] | None,
    record: dict[str, Any],
) -> Cine:
    same_frames = len(image) == len(cine.image)
    return replace(
        cine,
        image=image,
        labels=labels,
        times_ms=times,
        displacement_mm=displacement,
        # Truths that were not asked for in the tagged series' own frames would no longer fit it.
        anatomy=cine.anatomy if same_frames else None,
        fractions=cine.fractions if same_frames else None,
        sidecar={"tagging": record, "source": cine.sidecar},
    )


def _part(progress: Progress | None, start: float, end: float) -> Progress | None:
    if progress is None:
        return None
    return lambda share, text: progress(start + (end - start) * share, text)

