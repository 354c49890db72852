"""Single labelled slices of tagged images without end, each of a new look: the stream that `tagged_sax` learns from.

Three kinds come in turn, as users make all of them. *Physical* ones are scanned with tags laid at the R wave into the
tissue, moved with it and faded by relaxation and readout. *Drawn* ones are cines, tagged afterwards by `tag_cine`,
which knows no more of them than their labels and motion (true here, estimated in real cines). *Static* ones are cine
slices under the square root and a rigid grid, P4's physics-driven transform, with its settings varied.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.faults import BreathHoldDrift
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.appearance import Appearance
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.simulation.slice_position import SlicePosition
from CMRSimExtension.simulation.stream import SliceRanges, draw_slices, fill, with_pixels
from CMRSimExtension.tagging.flow import BloodFlow
from CMRSimExtension.tagging.options import TagOptions
from CMRSimExtension.tagging.pattern import TaggedAcquisition, TagPattern
from CMRSimExtension.tagging.preparation import TRAINS, TagTrain
from CMRSimExtension.tagging.readout import TagReadout
from CMRSimExtension.tagging.tag_cine import tag_cine

_LONGEST_PHASE = 0.92
"""Prospectively triggered tagging stops before the next R wave."""
_STACK = 4
"""Slices of a drawn series: those that show no LV take their contrast from those that do, as in whole stacks."""


def draw_tagged_slices(
    seed: np.random.SeedSequence,
    count: int,
    *,
    size: int = 128,
    sub_samples: int = 3,
    static_share: float = 0.35,
    drawn_share: float = 0.3,
    spacing_mm: tuple[float, float] = (5.0, 11.0),
    **ranges: Any,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[dict[str, Any]]]:
    """Tagged slices and frames of one random subject under random scans.

    Parameters
    ----------
    seed
        The same seed gives the same images.
    count
        How many images.
    size, sub_samples
        Rows and columns; points per voxel, before those at borders.
    static_share, drawn_share
        Shares of the chunks that carry a static grid on a cine, and tags drawn by `tag_cine`.
    spacing_mm
        Smallest and largest tag spacing; at least 2.2 pixels are kept in any case.
    ranges
        Fields of `SliceRanges` to change. Drawn tags come in stacks of four slices and two frames, whatever
        `frames_per_slice` says, and `variety` widens the look of static ones alone.

    Returns
    -------
    tuple
        Images (count, size, size) float32 magnitude, labels (count, size, size) uint8 (1 LV blood, 2 LV myocardium,
        3 RV blood), and a record of each image.

    Raises
    ------
    InputError
        When a count, size, share, spacing or range is out of range.
    """
    if count < 1 or size < 16:
        raise InputError(f"count is {count} and size {size}; at least 1 image of 16 pixels is needed")
    if min(static_share, drawn_share) < 0.0 or static_share + drawn_share > 1.0:
        raise InputError(
            f"static_share is {static_share} and drawn_share {drawn_share}; they are 0 or more and at most 1 together"
        )
    if not 0.0 < spacing_mm[0] <= spacing_mm[1]:
        raise InputError(f"spacing_mm is {spacing_mm}; it rises from above 0")
    limits = SliceRanges(**ranges)
    style_seed, image_seed = seed.spawn(2)
    rng = np.random.default_rng(style_seed)
    kind = rng.random()
    if kind < static_share:
        images, labels, records = draw_slices(image_seed, count, size=size, sub_samples=sub_samples, **ranges)
        for image, record in zip(images, records, strict=True):
            record["tagging"] = "static"
            _lay_static(image, float(record["pixel_mm"]), spacing_mm, rng)
        return images, labels, records
    subject_seed, _ = image_seed.spawn(2)
    subject = Subject.random(subject_seed, pathology=None)

    drawn = kind < static_share + drawn_share
    scan = _drawn_stack if drawn else _one_position

    def position(images: NDArray[np.float32], labels: NDArray[np.uint8]) -> list[dict[str, Any]]:
        return scan(subject, rng, limits, sub_samples, spacing_mm, images, labels)

    return fill(count, size, 2 * _STACK if drawn else limits.frames_per_slice, position)


def draw_tagged_scan(
    rng: np.random.Generator, spacing_mm: tuple[float, float] = (5.0, 11.0)
) -> tuple[Protocol, Callable[[ImageGrid, float], TaggedAcquisition]]:
    """A random scanner that lays tags at the R wave: its protocol, and the `preparation` that `simulate` takes."""
    readout = _readout(rng)
    protocol = _protocol(rng, readout)
    spacing = _spacing(rng, spacing_mm, max(protocol.pixel_mm))

    def preparation(grid: ImageGrid, cycle_ms: float) -> TaggedAcquisition:
        return _preparation(rng, grid, readout, spacing)

    return protocol, preparation


def _train(rng: np.random.Generator) -> TagTrain:
    # Sharp lines (1-3-3-1 and its like) are what scanners and P4 use; the others are rare.
    sharp = [name for name in TRAINS if name != "1-1"]
    name = "1-1" if rng.random() < 0.1 else "1-3-3-1" if rng.random() < 0.6 else str(rng.choice(sharp))
    return TagTrain(name, float(rng.uniform(55.0, 100.0)))


def _spacing(rng: np.random.Generator, spacing_mm: tuple[float, float], pixel_mm: float) -> float:
    low = max(spacing_mm[0], 2.2 * pixel_mm)
    return float(rng.uniform(low, max(low, spacing_mm[1])))


def _lay_static(
    image: NDArray[np.float32], pixel_mm: float, spacing_mm: tuple[float, float], rng: np.random.Generator
) -> None:
    """P4's transform on one slice, in place: square root, then a rigid grid."""
    train, step = _train(rng), _spacing(rng, spacing_mm, pixel_mm) / pixel_mm
    angle, offset = rng.uniform(0.0, np.pi), rng.uniform(0.0, 2.0 * np.pi, size=2)
    rows, columns = np.indices(image.shape, dtype=np.float32)
    lines = 1 if rng.random() < 0.25 else 2
    np.sqrt(image, out=image)
    for number in range(lines):
        turn = angle + 0.5 * np.pi * number
        phase = 2.0 * np.pi / step * (np.cos(turn) * columns + np.sin(turn) * rows) + offset[number]
        image *= np.abs(train.profile(phase)).astype(np.float32)


def _one_position(
    subject: Subject,
    rng: np.random.Generator,
    limits: SliceRanges,
    sub_samples: int,
    spacing_mm: tuple[float, float],
    images: NDArray[np.float32],
    labels: NDArray[np.uint8],
) -> list[dict[str, Any]]:
    """Fill `images` and `labels` (frames, size, size) with tagged frames of one slice position."""
    size = images.shape[-1]
    pixel = limits.draw_pixel_mm(rng)
    readout = _readout(rng)
    protocol = with_pixels(_protocol(rng, readout), size, pixel)
    grid, level = limits.draw_slice(rng, subject.heart_frame, protocol)
    appearance = Appearance.draw(rng, subject, protocol)
    preparation = _preparation(rng, grid, readout, _spacing(rng, spacing_mm, pixel))
    faults = limits.draw_faults(rng, protocol, tagged=True)
    scan = SlicePosition(
        subject, protocol, appearance, grid, rng, faults=faults, sub_samples=sub_samples, preparation=preparation
    )
    records = []
    for index in range(len(images)):
        # A third at the R wave, where fresh tags hide the contrast and the wall is thin; the others anywhere.
        phase = 0.0 if rng.random() < 0.33 else float(rng.uniform(0.0, _LONGEST_PHASE))
        time_ms = phase * subject.cycle_ms + float(rng.uniform(0.0, 25.0))
        images[index], labels[index] = scan.frame(phase, time_ms)
        records.append(
            {
                "tagging": readout.kind,
                "pathology": subject.parameters.pathology,
                "pixel_mm": pixel,
                "level": level,
                "phase": phase,
                "spacing_mm": preparation.pattern.spacing_mm,
                "faults": [fault.as_dict() for fault in faults],
            }
        )
    return records


def _drawn_stack(
    subject: Subject,
    rng: np.random.Generator,
    limits: SliceRanges,
    sub_samples: int,
    spacing_mm: tuple[float, float],
    images: NDArray[np.float32],
    labels: NDArray[np.uint8],
) -> list[dict[str, Any]]:
    """Fill `images` and `labels` (slices x 2 frames, size, size): end diastole and another phase of a few slices."""
    size, slices = images.shape[-1], -(-len(images) // 2)
    pixel = limits.draw_pixel_mm(rng)
    protocol = with_pixels(Protocol.random(rng), size, pixel)
    grid, level = limits.draw_slice(rng, subject.heart_frame, protocol, slices)
    # Pairs of end diastole and end systole are what readers label; other phases are as good.
    late = subject.heart.timing.end_systole if rng.random() < 0.5 else rng.uniform(0.08, _LONGEST_PHASE)
    # What goes wrong in a stack: its breath holds do not fit together.
    faults = (BreathHoldDrift(float(rng.uniform(1.0, 5.0))),) if rng.random() < limits.fault_share else ()
    cine = simulate(
        subject, protocol, int(rng.integers(2**31)), grid=grid, phases=(0.0, float(late)), truth=("labels", "motion"),
        faults=faults, sub_samples=sub_samples, workers=1,
    )  # fmt: skip
    options = _options(rng, grid, _spacing(rng, spacing_mm, pixel))
    given = replace(cine, labels=None) if rng.random() < 0.15 else cine
    tagged = tag_cine(given, options, seed=int(rng.integers(2**31)), workers=1)
    assert cine.labels is not None
    images[:] = tagged.image.swapaxes(0, 1).reshape(-1, size, size)[: len(images)]
    labels[:] = cine.labels.swapaxes(0, 1).reshape(-1, size, size)[: len(labels)]
    step = protocol.slice_spacing_mm / subject.heart_frame.lv_length_mm
    return [
        {
            "tagging": "drawn",
            "pathology": subject.parameters.pathology,
            "pixel_mm": pixel,
            "level": level + step * (index // 2),
            "phase": float(late) if index % 2 else 0.0,
            "spacing_mm": options.spacing_mm,
            "faults": [fault.as_dict() for fault in faults],
        }
        for index in range(len(images))
    ]


def _options(rng: np.random.Generator, grid: ImageGrid, spacing_mm: float) -> TagOptions:
    """What users choose of `tag_cine`, often its defaults."""
    train, readout, usual = _train(rng), _readout(rng), TagOptions()
    return TagOptions(
        pattern="lines" if rng.random() < 0.2 else "grid",
        spacing_mm=spacing_mm,
        angle_deg=usual.angle_deg if rng.random() < 0.5 else float(rng.uniform(0.0, 180.0)),
        train=train.name,
        flip_deg=train.total_flip_deg,
        readout=usual.readout if rng.random() < 0.5 else readout,
        snr=float(rng.uniform(8.0, 40.0)) if rng.random() < 0.3 else None,
        flow=usual.flow if rng.random() < 0.5 else _flow(rng, grid),
    )


def _readout(rng: np.random.Generator) -> TagReadout:
    if rng.random() < 0.25:
        return TagReadout("bssfp", float(rng.uniform(25.0, 50.0)), float(rng.uniform(2.8, 3.6)), 1.4)
    # Half of the tags should be left at end systole, or nobody would measure strain with them.
    repetition = float(rng.uniform(4.5, 9.0))
    return TagReadout("gre", float(rng.uniform(6.0, 12.0)), repetition, 0.5 * repetition)


def _protocol(rng: np.random.Generator, readout: TagReadout) -> Protocol:
    """A random scanner with the readout's sequence and timing."""
    protocol = Protocol.random(rng)
    return protocol.replace(
        sequence=readout.kind,
        flip_angle_deg=readout.flip_angle_deg,
        repetition_time_ms=readout.repetition_time_ms,
        echo_time_ms=readout.echo_time_ms,
        # Tagged series of gradient echoes are noisier than balanced cines.
        snr=protocol.snr * float(rng.uniform(0.4, 1.0)),
    )


def _preparation(
    rng: np.random.Generator, grid: ImageGrid, readout: TagReadout, spacing_mm: float
) -> TaggedAcquisition:
    pattern = TagPattern.for_grid(
        grid,
        _train(rng),
        spacing_mm,
        pattern="lines" if rng.random() < 0.25 else "grid",
        angle_deg=float(rng.uniform(0.0, 180.0)),
        cspamm=bool(rng.random() < 0.15) and readout.kind == "gre" and spacing_mm > 2.0 * grid.spacing_mm[0] * 2.0,
    )
    return TaggedAcquisition(pattern, readout, _flow(rng, grid), float(rng.uniform(0.0, 200.0)))


def _flow(rng: np.random.Generator, grid: ImageGrid) -> BloodFlow:
    """Cavities from as grey as muscle to well above it, with tags that last for one frame or three."""
    return BloodFlow(float(rng.uniform(15.0, 60.0)), float(rng.uniform(1.0, 14.0)), grid.slice_thickness_mm)
