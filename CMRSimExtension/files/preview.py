"""Pictures of a cine: a still PNG and an animated GIF or WebP, with or without the labels over it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.atomic import atomic_file
from CMRSimExtension.files.display import heart_window, overlay, reader_turn, to_bytes
from CMRSimExtension.simulation.cine import Cine


@dataclass(frozen=True)
class Crop:
    """A part of the turned slice, in its rows and columns."""

    rows: slice
    columns: slice


PICTURE_PIXELS_ACROSS = 512
"""Pictures are enlarged to about this many pixels across, so that slices of 128 pixels can be looked at."""


def picture(
    cine: Cine, slice_index: int | None = None, frame: int = 0, labels: bool = False,
    levels: tuple[float, float] | None = None, pixels_across: int = PICTURE_PIXELS_ACROSS, crop: Crop | None = None,
) -> NDArray[np.uint8]:
    """One slice as (rows, columns, 3) RGB, turned as a reader expects it, with square pixels.

    Parameters
    ----------
    cine
        Cine to look at.
    slice_index
        Slice, 0 the most basal; None takes the middle one.
    frame
        Frame, 0 the R wave.
    labels
        Draw the labels over it.
    levels
        (black, white); None chooses them from the whole cine.
    pixels_across
        Width of the picture.
    crop
        Show this part only.

    Raises
    ------
    InputError
        No such slice or frame, or labels are asked for and there are none.
    """
    from PIL import Image

    frames, slices = cine.image.shape[:2]
    slice_index = slices // 2 if slice_index is None else slice_index
    if not 0 <= slice_index < slices:
        raise InputError(f"slice {slice_index} was asked for; this cine has slices 0 to {slices - 1}")
    if not 0 <= frame < frames:
        raise InputError(f"frame {frame} was asked for; this cine has frames 0 to {frames - 1}")
    if labels and cine.labels is None:
        raise InputError("labels over the image were asked for and this cine has none; leave them out")
    turn = reader_turn(cine.grid.affine_ras)
    crop = crop or Crop(slice(None), slice(None))
    grey = turn.apply(to_bytes(cine.image[frame, slice_index], levels or levels_of(cine, slice_index)))
    grey = grey[crop.rows, crop.columns]
    across_mm, down_mm = turn.spacing_mm(cine.grid.spacing_mm)
    width = max(1, pixels_across)
    height = max(1, round(width * grey.shape[0] * down_mm / (grey.shape[1] * across_mm)))
    large = np.asarray(Image.fromarray(np.ascontiguousarray(grey)).resize((width, height), Image.Resampling.BICUBIC))
    if not labels or cine.labels is None:
        return overlay(large, None)
    label_slice = np.ascontiguousarray(turn.apply(cine.labels[frame, slice_index])[crop.rows, crop.columns])
    return overlay(large, smooth_labels(label_slice, (height, width)))


def levels_of(cine: Cine, slice_index: int | None = None) -> tuple[float, float]:
    """(black, white) levels for all frames of one slice, or of the whole cine."""
    part = slice(None) if slice_index is None else slice_index
    labels = None if cine.labels is None else cine.labels[:, part]
    return heart_window(cine.image[:, part], labels)


def heart_crop(cine: Cine, margin: float = 0.75) -> Crop:
    """The part of the turned slice with the labelled heart and `margin` times its size around it; all of it without."""
    whole = Crop(slice(None), slice(None))
    if cine.labels is None or not cine.labels.any():
        return whole
    heart = reader_turn(cine.grid.affine_ras).apply(np.any(cine.labels > 0, axis=(0, 1)))
    edges = []
    for axis in (1, 0):
        places = np.flatnonzero(heart.any(axis=axis))
        room = round(margin * (places[-1] - places[0] + 1))
        edges.append(slice(max(0, int(places[0]) - room), min(heart.shape[1 - axis], int(places[-1]) + 1 + room)))
    return Crop(edges[0], edges[1])


def smooth_labels(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Enlarge (rows, columns) labels to `shape` with smooth borders: of the enlarged masks, the largest wins."""
    from PIL import Image

    best = np.zeros(shape, dtype=np.float32)
    result = np.zeros(shape, dtype=np.uint8)
    present = [int(n) for n in np.unique(labels)]
    for label in present:
        mask = Image.fromarray((labels == label).astype(np.float32)).resize(shape[::-1], Image.Resampling.BICUBIC)
        share = np.asarray(mask)
        wins = share > best
        result[wins], best[wins] = label, share[wins]
    return result


def write_still(cine: Cine, path: Path | str, **options) -> None:  # type: ignore[no-untyped-def]
    """Write one slice as PNG; options as for `picture`.

    Raises
    ------
    InputError
        The name does not end in .png, or as `picture`.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path.name} does not end in .png; a still picture is written as PNG")
    pixels = picture(cine, **options)
    with atomic_file(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", optimize=True)


def write_animation(
    cine: Cine, path: Path | str, slice_index: int | None = None, labels: bool = False,
    cycle_ms: float | None = None, pixels_across: int = 384,
) -> None:
    """Write all frames of one slice as an endless GIF or WebP.

    Parameters
    ----------
    cine, slice_index, labels, pixels_across
        As for `picture`.
    path
        Name ending in .gif or .webp.
    cycle_ms
        Duration of one heartbeat; None takes it from the times, and 1 s where there are none.

    Raises
    ------
    InputError
        The name has another ending, or as `picture`.
    """
    from PIL import Image

    path = Path(path)
    kind = {".gif": "GIF", ".webp": "WEBP"}.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path.name} does not end in .gif or .webp; name the animation so")
    middle = cine.image.shape[1] // 2 if slice_index is None else slice_index
    if not 0 <= middle < cine.image.shape[1]:
        raise InputError(f"slice {middle} was asked for; this cine has slices 0 to {cine.image.shape[1] - 1}")
    levels = levels_of(cine, middle)
    frames = [
        Image.fromarray(picture(cine, middle, frame, labels, levels, pixels_across))
        for frame in range(cine.image.shape[0])
    ]
    if kind == "GIF" and not labels:
        frames = [frame.convert("L") for frame in frames]
    elif kind == "GIF":
        frames = [frame.quantize(256, dither=Image.Dither.NONE) for frame in frames]
    # Pictures last whole hundredths of a second in a GIF, and browsers slow down those under 20 ms.
    duration = max(20, round((cycle_ms or heartbeat_ms(cine) or 1000.0) / len(frames) / 10) * 10)
    options = {"quality": 88, "method": 4} if kind == "WEBP" else {"optimize": False}
    with atomic_file(path) as temporary:
        frames[0].save(
            temporary, format=kind, save_all=True, append_images=frames[1:], duration=duration, loop=0, **options
        )


def heartbeat_ms(cine: Cine) -> float | None:
    """Mean duration of the heartbeat: from the record, else from the frame times; None where neither is known."""
    if cine.heartbeats_ms is not None:
        return float(np.mean(cine.heartbeats_ms))
    if cine.times_ms is None or cine.times_ms.shape[1] < 2:
        return None
    frames = cine.times_ms.shape[1]
    return float(np.mean(cine.times_ms[:, -1] - cine.times_ms[:, 0]) * frames / (frames - 1))
