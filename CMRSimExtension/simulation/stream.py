"""Single labelled slices without end, each of a new look, for training: the simulator as a data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.faults import Fault
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.appearance import Appearance
from CMRSimExtension.simulation.slice_position import SlicePosition, draw_faults


@dataclass(frozen=True)
class SliceRanges:
    """From where the slices of a stream are drawn.

    Attributes
    ----------
    pixel_mm
        Smallest and largest pixel; drawn evenly in its logarithm.
    above_mm, below_mm
        How far beyond the annulus plane and the apex a slice may lie.
    tilt_deg
        SD of the angle between a slice and the true short axis, about either axis.
    shift_mm
        SD of the distance of the heart from the image's centre.
    frames_per_slice
        Frames taken of each slice position.
    variety
        Widening of the look's ranges (`Appearance.draw`).
    fault_share
        Share of the slice positions in whose scan something goes wrong (`draw_faults`).

    Raises
    ------
    InputError
        For a share outside 0 to 1, fewer than 1 frame, or pixels that are not above 0 and in rising order.
    """

    pixel_mm: tuple[float, float] = (1.0, 2.6)
    above_mm: float = 17.0
    below_mm: float = 12.0
    tilt_deg: float = 6.0
    shift_mm: float = 18.0
    frames_per_slice: int = 2
    variety: float = 1.4
    fault_share: float = 0.15

    def __post_init__(self) -> None:
        if not 0.0 <= self.fault_share <= 1.0:
            raise InputError(f"fault_share is {self.fault_share}; a share lies in 0 to 1")
        if self.frames_per_slice < 1:
            raise InputError(f"frames_per_slice is {self.frames_per_slice}; take at least 1 frame of each slice")
        if not 0.0 < self.pixel_mm[0] <= self.pixel_mm[1]:
            raise InputError(f"pixel_mm is {self.pixel_mm}; give the smallest, above 0, and then the largest")

    def draw_faults(self, rng: np.random.Generator, protocol: Protocol, *, tagged: bool = False) -> tuple[Fault, ...]:
        """What goes wrong at one slice position; nothing in most."""
        return draw_faults(rng, protocol, tagged=tagged) if rng.random() < self.fault_share else ()

    def draw_pixel_mm(self, rng: np.random.Generator) -> float:
        """A pixel size."""
        return float(np.exp(rng.uniform(*np.log(self.pixel_mm))))

    def draw_slice(
        self, rng: np.random.Generator, frame: HeartFrame, protocol: Protocol, slices: int = 1
    ) -> tuple[ImageGrid, float]:
        """A slice across the heart, and its level as a fraction of the LV's length below the annulus plane.

        With several `slices` the level is that of the first; the others follow towards the apex.
        """
        # Base and apex are where networks fail: the ends get half of all slices.
        if -self.above_mm > frame.lv_length_mm + self.below_mm:
            raise InputError(
                f"above_mm is {self.above_mm:g} and below_mm {self.below_mm:g}: nothing is left of an LV of "
                f"{frame.lv_length_mm:.0f} mm; give values of 0 or more"
            )
        level_mm = float(rng.uniform(-self.above_mm, frame.lv_length_mm + self.below_mm))
        if rng.random() < 0.25:
            level_mm = float(rng.uniform(-self.above_mm, max(0.3 * frame.lv_length_mm, -self.above_mm)))
        if slices > 1:
            # The first of a few slices lies so that they all do.
            lowest = frame.lv_length_mm + self.below_mm - (slices - 1) * protocol.slice_spacing_mm
            level_mm = min(level_mm, max(lowest, -self.above_mm))
        shift, tilt = rng.normal(0.0, self.shift_mm, size=2), rng.normal(0.0, self.tilt_deg, size=2)
        grid = plan(
            frame,
            protocol,
            "sax",
            slices=slices,
            centre_offset_mm=(float(shift[0]), float(shift[1]), level_mm),
            in_plane_rotation_deg=float(rng.uniform(0.0, 360.0)),
            tilt_deg=(float(tilt[0]), float(tilt[1])),
            base_margin_mm=0.0,
        )
        return grid, level_mm / frame.lv_length_mm


def draw_slices(
    seed: np.random.SeedSequence, count: int, *, size: int = 128, sub_samples: int = 3, **ranges: Any
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[dict[str, Any]]]:
    """Slices and frames of one random subject under random scans.

    Parameters
    ----------
    seed
        The same seed gives the same images.
    count
        How many images.
    size
        Rows and columns.
    sub_samples
        Points per voxel, before those at borders (`scene.EDGE_SAMPLES`).
    ranges
        Fields of `SliceRanges` to change.

    Returns
    -------
    images (count, size, size) float32 magnitude, labels (count, size, size) uint8 (1 LV blood, 2 LV myocardium, 3 RV
    blood), and a record of each image (pathology, field, pixel size, level as a fraction of the LV's length, the phase
    asked for, faults; lines that saw other moments show theirs, and so do the labels).

    Raises
    ------
    InputError
        For a count below 1, a size below 16, or ranges that are none.
    """
    if count < 1 or size < 16:
        raise InputError(f"count is {count} and size {size}; at least 1 image of 16 pixels is needed")
    limits = SliceRanges(**ranges)
    subject_seed, scan_seed = seed.spawn(2)
    subject = Subject.random(subject_seed, pathology=None)
    rng = np.random.default_rng(scan_seed)

    def position(images: NDArray[np.float32], labels: NDArray[np.uint8]) -> list[dict[str, Any]]:
        return _one_position(subject, rng, limits, sub_samples, images, labels)

    return fill(count, size, limits.frames_per_slice, position)


def fill(
    count: int,
    size: int,
    frames_per_slice: int,
    position: Callable[[NDArray[np.float32], NDArray[np.uint8]], list[dict[str, Any]]],
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[dict[str, Any]]]:
    """Images, labels and records of `count` images, made slice position by slice position.

    Parameters
    ----------
    position
        Fills the arrays of images and labels (n, size, size) that it is given with images taken together, such as the
        frames of one slice position, and tells of each.
    """
    images = np.empty((count, size, size), np.float32)
    labels = np.empty((count, size, size), np.uint8)
    records: list[dict[str, Any]] = []
    while len(records) < count:
        take = slice(len(records), min(len(records) + frames_per_slice, count))
        records += position(images[take], labels[take])
    return images, labels, records


def _one_position(
    subject: Subject,
    rng: np.random.Generator,
    limits: SliceRanges,
    sub_samples: int,
    images: NDArray[np.float32],
    labels: NDArray[np.uint8],
) -> list[dict[str, Any]]:
    """Fill `images` and `labels` (frames, size, size) with frames of one slice position."""
    size = images.shape[-1]
    pixel = limits.draw_pixel_mm(rng)
    protocol = with_pixels(Protocol.random(rng), size, pixel)
    grid, level = limits.draw_slice(rng, subject.heart_frame, protocol)
    appearance = Appearance.draw(rng, subject, protocol, variety=limits.variety)
    faults = limits.draw_faults(rng, protocol)
    scan = SlicePosition(subject, protocol, appearance, grid, rng, faults=faults, sub_samples=sub_samples)
    records = []
    for index in range(len(images)):
        phase = _phase(rng, subject)
        images[index], labels[index] = scan.frame(phase)
        records.append(
            {
                "pathology": subject.parameters.pathology,
                "field_t": protocol.field_t,
                "vendor": protocol.vendor,
                "pixel_mm": pixel,
                "level": level,
                "phase": phase,
                "faults": [fault.as_dict() for fault in faults],
            }
        )
    return records


def with_pixels(protocol: Protocol, size: int, pixel_mm: float) -> Protocol:
    """The protocol with an image of `size` pixels of `pixel_mm`; its resolution is no finer than they are."""
    phase, read = protocol.acquired_resolution_mm
    return protocol.replace(
        matrix=(size, size),
        fov_mm=(size * pixel_mm, size * pixel_mm),
        acquired_resolution_mm=(max(phase, pixel_mm), max(read, pixel_mm)),
    )


def _phase(rng: np.random.Generator, subject: Subject) -> float:
    """End diastole, end systole or any other phase: a third each, roughly as readers annotate."""
    kind = rng.random()
    if kind < 0.35:
        return float(abs(rng.normal(0.0, 0.012)) % 1.0)
    if kind < 0.75:
        return float(np.clip(subject.heart.timing.end_systole + rng.normal(0.0, 0.015), 0.0, 0.99))
    return float(rng.random())
