"""DICOM images put together to stacks: several series, each of one slice, become one 4D cine."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.dicom_folders import find_files
from CMRSimExtension.files.dicom_images import DicomImage

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

    @property
    def announced(self) -> int:
        """How many images of each slice the scanner says it made; 0 where it says nothing."""
        return _announced([image for frames in self.images for image in frames])

    def title(self) -> str:
        """One line that tells this stack from others."""
        component = self.first.component if self.first.component != "magnitude" else ""
        slices = len(self.images)
        return (f"{self.first.series_description or 'no description'} (series "
                f"{series_numbers([frames[0] for frames in self.images])}{', ' * bool(component)}{component}): "
                f"{slices} slice{'s' * (slices > 1)} of {len(self.images[0])} frames, {self.first.columns} x "
                f"{self.first.rows}")


def series_numbers(images: Sequence[DicomImage]) -> str:
    """The series numbers of `images`, in order, as "12, 13"."""
    return ", ".join(map(str, sorted({image.series_number for image in images})))


def find_stacks(path: Path) -> list[list[DicomImage]]:
    """The images of `path`, divided as by `stacks_of`.

    Raises
    ------
    InputError, FileFormatError
        As `find_files`.
    """
    return stacks_of(find_files(path).images)


def stacks_of(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """Images divided into what may be one stack each, in the order of series numbers; magnitude before phase images.

    Those of one stack are of one study, space, direction and image type (magnitude, phase, ...), and of one series or
    of several whose descriptions differ in their last number alone.
    """
    return _divided(images, lambda a, b: (
        in_one_space(a, b) and a.image_type[:3] == b.image_type[:3]
        and (a.series_uid == b.series_uid or kind_of(a.series_description) == kind_of(b.series_description))
    ))


def in_one_space(image: DicomImage, other: DicomImage) -> bool:
    """Whether two images may be of one stack whatever their series are called: study, space, direction, component."""
    if (image.study_uid, image.frame_of_reference_uid) != (other.study_uid, other.frame_of_reference_uid):
        return False
    ours, theirs = np.reshape(image.orientation, (2, 3)), np.reshape(other.orientation, (2, 3))
    return image.component == other.component and bool(np.all(np.sum(ours * theirs, axis=1) > _PARALLEL))


def kind_of(description: str) -> str:
    """A description without the counters that operators and scanners put behind it."""
    return re.sub(r"[\s_\-]*(sl(ice)?)?[\s_\-]*\d*$", "", description.strip().lower())


def places_of(images: Sequence[DicomImage]) -> list[list[DicomImage]]:
    """Images divided by where they lie: those of one slice together."""
    return _divided(images, lambda a, b: in_one_space(a, b) and bool(
        np.linalg.norm(np.subtract(a.position, b.position)) < SAME_PLACE_MM
    ))


def build_stack(images: Sequence[DicomImage]) -> DicomStack:
    """Sort the images of one group by place and time.

    Raises
    ------
    FileFormatError
        The same image twice, two pixel spacings or matrices, two images of one slice and time, two series of one
        slice, slices with different numbers of frames, or fewer frames than the scanner announced.
    """
    _refuse_copies(images)
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
    announced = _announced(images)
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


def _divided(
    images: Sequence[DicomImage], together: Callable[[DicomImage, DicomImage], bool]
) -> list[list[DicomImage]]:
    """Groups of images of which each goes together with the first; their order does not depend on file names."""
    groups: list[list[DicomImage]] = []
    for image in images:
        for group in groups:
            if together(image, group[0]):
                group.append(image)
                break
        else:
            groups.append([image])
    return sorted(groups, key=lambda group: (
        min(image.series_number for image in group), group[0].component not in ("", "magnitude"), group[0].component,
        group[0].image_type[:3], min((image.series_uid, image.instance_number, image.position) for image in group),
    ))


def _announced(images: Sequence[DicomImage]) -> int:
    return max((image.announced or 0 for image in images), default=0)


def _refuse_copies(images: Sequence[DicomImage]) -> None:
    seen: dict[tuple[str, int], DicomImage] = {}
    for image in images:
        key = (image.sop_uid, image.frame)
        if key in seen:
            first, second = seen[key].path, image.path
            # Copies of a series in another folder have the same names.
            names = [p.name if first.name != second.name else p.parent.name + "/" + p.name for p in (first, second)]
            raise FileFormatError(
                f"duplicate instances: {names[0]} and {names[1]} are the same image ({image.sop_uid}); remove one of "
                "them"
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
    _refuse_repetitions(frames)
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
                raise _both_hold(first, second)
            raise FileFormatError(
                f"duplicate instances: {first.path.name} and {second.path.name} are the same slice at the same {what} "
                f"({keys[a]:g}); give one image type of one acquisition"
            )
    ordered = [frames[i] for i in order]
    known = [frame for frame in ordered if frame.trigger_ms is not None]
    for before, after in zip(known, known[1:]):
        if float(before.trigger_ms or 0.0) > float(after.trigger_ms or 0.0):
            lacking = next(frame for frame in frames if frame.trigger_ms is None)
            raise FileFormatError(
                f"{lacking.path.name} has no trigger time, and the {what}s, which would tell its place, contradict the "
                f"trigger times of the others ({before.trigger_ms:g} ms before {after.trigger_ms:g} ms); export the "
                "series again"
            )
    return ordered


def _refuse_repetitions(frames: Sequence[DicomImage]) -> None:
    """Refuse two series of one slice, unless each series is of one phase."""
    counts = Counter(frame.series_uid for frame in frames)
    if len(counts) > 1 and max(counts.values()) > 1:
        first, second = (next(frame for frame in frames if frame.series_uid == uid) for uid in list(counts)[:2])
        raise _both_hold(first, second)


def _both_hold(first: DicomImage, second: DicomImage) -> FileFormatError:
    first, second = sorted((first, second), key=lambda image: (image.series_number, image.series_uid))
    names = [str(image.series_number) for image in (first, second)]
    if names[0] == names[1]:
        names = [image.series_uid for image in (first, second)]
    return FileFormatError(
        f"mixed series: series {first.series_number} and {second.series_number} both hold the slice at "
        f"{_place(first)}; name one of them with --series ({names[0]} or {names[1]}), together with the other series "
        "of the stack, as 12,13,14"
    )


def _file(image: DicomImage) -> str:
    """Which of several enhanced objects: all may be of one series."""
    return f", {image.path.name}" if image.enhanced else ""


def _place(image: DicomImage) -> str:
    return "(" + ", ".join(f"{v:.1f}" for v in image.position) + ") mm"
