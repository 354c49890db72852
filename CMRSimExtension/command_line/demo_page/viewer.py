"""The moving cine of the page: every slice and frame as picture sheets, with the labels as a second, clear sheet."""

import base64
import io
from html import escape

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.command_line.demo_page.page import Section
from CMRSimExtension.files.display import LABEL_COLOURS, outline, reader_turn, to_bytes
from CMRSimExtension.files.preview import Crop, heart_crop, heartbeat_ms, levels_of, smooth_labels
from CMRSimExtension.files.sidecar import LABEL_NAMES
from CMRSimExtension.simulation.cine import Cine

FRAME_PIXELS = 288
"""Width of one frame in a sheet; the browser scales it to the screen."""


def viewer_section(
    cine: Cine, aside: str, *, title: str = "The cine and its labels", lead: str = "", slice_index: int | None = None
) -> Section:
    """Moving cine and labels side by side, with sliders for frame, slice, overlay and speed.

    Parameters
    ----------
    cine
        Cine with labels.
    aside
        HTML shown beside the viewer.
    title, lead
        Heading and the sentence below.
    slice_index
        Slice shown first; None takes the middle one.
    """
    frames, slices = cine.image.shape[:2]
    across = int(np.ceil(np.sqrt(frames)))
    levels = levels_of(cine)
    crop = heart_crop(cine)
    sheets = []
    width = height = 0
    for index in range(slices):
        grey = enlarged_frames(cine, index, levels, crop)
        height, width = grey.shape[1:]
        sheet = {"cine": data_uri(_tile(grey, across), "WEBP", quality=84, method=2)}
        if cine.labels is not None:
            pictures = _label_pictures(turned(cine, cine.labels[:, index], crop), (height, width))
            sheet["labels"] = data_uri(_tile(pictures, across), "PNG", optimize=True)
        sheets.append(sheet)
    start = slices // 2 if slice_index is None else slice_index
    times = [[round(float(t), 1) for t in row] for row in cine.times_ms] if cine.times_ms is not None else []
    data = {"viewer": {
        "frames": frames, "across": across, "width": width, "height": height, "slices": sheets, "times": times,
        "cycle": heartbeat_ms(cine) or 1000.0,
    }}
    second = ""
    if cine.labels is not None:
        second = (f'<figure><canvas data-layer="cine" data-over="labels" width="{width}" height="{height}"></canvas>'
                  "<figcaption>true labels over it</figcaption></figure>")
    html = (
        '<div class="viewer"><div class="screen"><div class="pictures">'
        f'<figure><canvas data-layer="cine" width="{width}" height="{height}" role="img" '
        'aria-label="moving cine of one slice"></canvas><figcaption>simulated cine</figcaption></figure>'
        f'{second}</div><div class="controls">'
        f'<button id="play" type="button">Play</button>'
        + _slider("frame", "Frame", 0, frames - 1, 0)
        + _slider("slice", "Slice", 0, slices - 1, start)
        + _slider("opacity", "Labels", 0, 100, 60)
        + _slider("speed", "Speed", 10, 200, 100)
        + f"</div></div><aside>{aside}{_legend()}</aside></div>"
    )
    return Section(title, html, lead, data)


def turned(cine: Cine, frames: NDArray, crop: Crop) -> NDArray:
    """(frames, rows, columns) of one slice, turned for the reader and cut to `crop`."""
    return np.ascontiguousarray(reader_turn(cine.grid.affine_ras).apply(frames)[:, crop.rows, crop.columns])


def enlarged_frames(
    cine: Cine, slice_index: int, levels: tuple[float, float], crop: Crop | None = None
) -> NDArray[np.uint8]:
    """(frames, rows, columns) grey pictures of one slice, turned for the reader, with square pixels."""
    from PIL import Image

    across_mm, down_mm = reader_turn(cine.grid.affine_ras).spacing_mm(cine.grid.spacing_mm)
    pictures = []
    for grey in turned(cine, to_bytes(cine.image[:, slice_index], levels), crop or Crop(slice(None), slice(None))):
        size = (FRAME_PIXELS, max(1, round(FRAME_PIXELS * grey.shape[0] * down_mm / (grey.shape[1] * across_mm))))
        pictures.append(np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC)))
    return np.stack(pictures)


def data_uri(pixels: NDArray[np.uint8], kind: str, **options) -> str:  # type: ignore[no-untyped-def]
    """A picture (rows, columns[, channels]) as a data URI of `kind` "PNG" or "WEBP"."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _tile(pictures: NDArray[np.uint8], across: int) -> NDArray[np.uint8]:
    count, height, width = pictures.shape[:3]
    down = -(-count // across)
    sheet = np.zeros((down * height, across * width, *pictures.shape[3:]), dtype=np.uint8)
    for index, pixels in enumerate(pictures):
        row, column = divmod(index, across)
        sheet[row * height:(row + 1) * height, column * width:(column + 1) * width] = pixels
    return sheet


def _label_pictures(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(frames, rows, columns, 4) RGBA: half-clear labels with firm outlines, clear elsewhere."""
    pictures = np.zeros((labels.shape[0], *shape, 4), dtype=np.uint8)
    for frame, target in zip(labels, pictures):
        if not frame.any():
            continue
        large = smooth_labels(frame, shape)
        edge = outline(large)
        for label, rgb in LABEL_COLOURS.items():
            inside = large == label
            target[inside & ~edge] = (*rgb, 120)
            target[inside & edge] = (*rgb, 255)
    return pictures


def _slider(name: str, label: str, low: int, high: int, value: int) -> str:
    return (f'<label>{escape(label)}<input id="{name}" type="range" min="{low}" max="{high}" value="{value}">'
            f'<output id="{name}-text"></output></label>')


def _legend() -> str:
    keys = "".join(
        f'<span class="key"><i style="background: rgb{LABEL_COLOURS[int(n)]}"></i>{escape(name)}</span>'
        for n, name in LABEL_NAMES.items()
    )
    return f'<div class="legend">{keys}</div>'
