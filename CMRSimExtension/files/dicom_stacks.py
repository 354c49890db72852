"""DICOM images put together to stacks: several series, each of one slice, become one 4D cine."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.dicom_images import DicomImage, find_images

SAME_PLACE_MM = 0.02
"""Positions closer than this are one slice: scanners write them with six digits, 0.001 mm at 200 mm."""

EVEN_MM = 0.05
"""Slices count as evenly spaced when none is further than this from its place: a two hundredth of a thin slice."""

_PARALLEL = np.cos(np.radians(0.05))
"""Planes turned by less are one stack; a tenth of a degree moves a point 100 mm away by less than 0.2 mm."""

_APEXWARDS_LPS = np.array([1.0, -1.0, -1.0])
"""From base to apex the heart points to the left, the front and the feet, in every body but dextrocardia."""


@dataclass(frozen=True)
class DicomStack:
    """Images of parallel slices over the heartbeat.

    Attributes
    ----------
    images
        One tuple of frames, in order of time, for each slice, in order from base to apex.
    """

    images: tuple[tuple[DicomImage, ...], ...]

    @property
    def first(self) -> DicomImage:
        return self.images[0][0]

    @property
    def origins_lps_mm(self) -> NDArray[np.float64]:
        """(slices, 3) position of each slice's first pixel."""
        return np.array([frames[0].position for frames in self.images])

    def title(self) -> str:
        """One line that tells this stack from others."""
        numbers = sorted({frames[0].series_number for frames in self.images})
        series = f"series {numbers[0]}" if len(numbers) == 1 else f"series {', '.join(map(str, numbers))}"
        return (f"{self.first.series_description or 'no description'} ({series}): {len(self.images)} slices of "
                f"{len(self.images[0])} frames, {self.first.columns} x {self.first.rows}")


def find_stacks(path: Path) -> list[list[DicomImage]]:
    """The images of `path`, divided into what can be one stack each: same study, space, direction and kind of series.

    Raises
    ------
    InputError, FileFormatError
        As `find_images`, or the same image is there twice.
    """
    images = find_images(path)
    _refuse_copies(images)
    groups: list[list[DicomImage]] = []
    for image in images:
        for group in groups:
            if _belongs(image, group[0]):
                group.append(image)
                break
        else:
            groups.append([image])
    return sorted(groups, key=lambda group: min(image.series_number for image in group))


def choose_stack(path: Path, series: str | None = None) -> list[DicomImage]:
    """The one stack of `path`, or the one that `series` names by its description or series number.

    Raises
    ------
    InputError
        There are several and none, or more than one, was named.
    """
    groups = find_stacks(path)
    if series is not None:
        named = [g for g in groups if any(series in (str(i.series_number), i.series_description) for i in g)]
        if not named:
            raise InputError(f"{path} has no series {series!r}; it has {_list(groups)}")
        groups = named
    if len(groups) > 1:
        raise InputError(f"{path} holds mixed series that do not form one stack: {_list(groups)}; name one with "
                         "--series, or give its folder alone")
    return groups[0]


def build_stack(images: Sequence[DicomImage]) -> DicomStack:
    """Sort the images of one group by place and time.

    Raises
    ------
    FileFormatError
        Two pixel spacings or matrices, two images of one slice and time, slices with different numbers of frames, or
        fewer frames than the scanner announced.
    """
    _refuse_unequal(images)
    normal = np.cross(images[0].orientation[:3], images[0].orientation[3:])
    if normal @ _APEXWARDS_LPS < 0:
        normal = -normal
    slices: list[list[DicomImage]] = []
    for image in sorted(images, key=lambda i: (float(np.dot(i.position, normal)), i.path.name, i.frame)):
        if slices and np.linalg.norm(np.subtract(image.position, slices[-1][0].position)) < SAME_PLACE_MM:
            slices[-1].append(image)
        else:
            slices.append([image])
    depths = [float(np.dot(frames[0].position, normal)) for frames in slices]
    for first, second, frames in zip(depths, depths[1:], slices[1:]):
        if second - first < SAME_PLACE_MM:
            raise FileFormatError(
                f"two slices lie in one plane, shifted sideways ({frames[0].path.name}); these are several "
                "acquisitions, give one of them"
            )
    if all(dict(image.protocol).get("manufacturer") == "CMRSimExtension" for image in images):
        # Our own series are numbered from the first slice on, whichever way the body lies; several enhanced objects
        # are each numbered from 1, which tells nothing.
        numbers = [min(frame.instance_number for frame in frames) for frames in slices]
        if numbers == sorted(set(numbers), reverse=True):
            slices.reverse()
    ordered = tuple(tuple(_in_time(frames)) for frames in slices)
    counts = [len(frames) for frames in ordered]
    if len(set(counts)) > 1:
        most = max(set(counts), key=counts.count)
        odd = next(i for i, count in enumerate(counts) if count != most)
        raise FileFormatError(
            f"missing phases: slice {odd} (series {ordered[odd][0].series_number}{_file(ordered[odd][0])}) has "
            f"{counts[odd]} images where others have {most}; export the study again"
        )
    announced = max((image.announced or 0 for image in images), default=0)
    if counts[0] < announced:
        raise FileFormatError(f"missing phases: {counts[0]} images of each slice are here, the scanner made "
                              f"{announced}; export the study again")
    return DicomStack(ordered)


def is_even(origins_mm: NDArray[np.float64]) -> bool:
    """Whether (slices, 3) positions lie on a line at equal distances."""
    count = len(origins_mm)
    if count < 3:
        return True
    places = origins_mm[0] + np.arange(count)[:, None] / (count - 1) * (origins_mm[-1] - origins_mm[0])
    return bool(np.all(np.linalg.norm(origins_mm - places, axis=1) < EVEN_MM))


def _belongs(image: DicomImage, other: DicomImage) -> bool:
    if (image.study_uid, image.frame_of_reference_uid) != (other.study_uid, other.frame_of_reference_uid):
        return False
    if image.series_uid != other.series_uid and _kind(image) != _kind(other):
        return False
    ours, theirs = np.reshape(image.orientation, (2, 3)), np.reshape(other.orientation, (2, 3))
    return bool(np.all(np.sum(ours * theirs, axis=1) > _PARALLEL))


def _kind(image: DicomImage) -> str:
    """The description without the counters that operators and scanners put behind it."""
    return re.sub(r"[\s_\-]*(sl(ice)?)?[\s_\-]*\d*$", "", image.series_description.strip().lower())


def _refuse_copies(images: Sequence[DicomImage]) -> None:
    seen: dict[tuple[str, int], DicomImage] = {}
    for image in images:
        key = (image.sop_uid, image.frame)
        if key in seen:
            raise FileFormatError(
                f"duplicate instances: {seen[key].path.name} and {image.path.name} are the same image "
                f"({image.sop_uid}); remove one of them"
            )
        seen[key] = image


def _refuse_unequal(images: Sequence[DicomImage]) -> None:
    for name, what in (("spacing", "in-plane pixel spacings (mm)"), ("rows", "numbers of rows"),
                       ("columns", "numbers of columns")):
        found = defaultdict(list)
        for image in images:
            value = getattr(image, name)
            found[tuple(round(v, 4) for v in value) if isinstance(value, tuple) else value].append(image)
        if len(found) > 1:
            text = ", ".join(f"{value} in series {i[0].series_number}" for value, i in found.items())
            raise FileFormatError(f"two {what} in one stack: {text}; give the series of one stack alone")


def _in_time(frames: list[DicomImage]) -> list[DicomImage]:
    """Frames of one slice in order of time."""
    if len(frames) == 1:
        return frames
    triggers = [frame.trigger_ms for frame in frames]
    if all(t is not None for t in triggers) and len(set(triggers)) > 1:
        keys = [float(t) for t in triggers if t is not None]
        what = "trigger time"
    elif all(frame.temporal_index is not None for frame in frames):
        keys, what = [float(frame.temporal_index or 0) for frame in frames], "temporal position"
    else:
        keys, what = [float(frame.instance_number) for frame in frames], "instance number"
    order = sorted(range(len(frames)), key=keys.__getitem__)
    for a, b in zip(order, order[1:]):
        if keys[a] == keys[b]:
            first, second = frames[a], frames[b]
            if first.series_uid != second.series_uid:
                numbers = sorted((first.series_number, second.series_number))
                raise FileFormatError(
                    f"mixed series: series {numbers[0]} and {numbers[1]} both hold the slice at {_place(first)}; give "
                    "one of them"
                )
            raise FileFormatError(
                f"duplicate instances: {first.path.name} and {second.path.name} are the same slice at the same {what} "
                f"({keys[a]:g}); give one image type of one acquisition"
            )
    return [frames[i] for i in order]


def _file(image: DicomImage) -> str:
    """Which of several enhanced objects: all may be of one series."""
    return f", {image.path.name}" if image.enhanced else ""


def _place(image: DicomImage) -> str:
    return "(" + ", ".join(f"{v:.1f}" for v in image.position) + ") mm"


def _list(groups: Sequence[Sequence[DicomImage]]) -> str:
    return "; ".join(
        f"{g[0].series_description or 'no description'} (series "
        f"{', '.join(str(n) for n in sorted({i.series_number for i in g}))}, {len(g)} images)" for g in groups
    )
