"""What a DICOM segmentation refers to: images of several series, and frames of one or several enhanced objects.

highdicom takes images of one series, or one multi-frame image. Here such are made of what there is, and the references
that it wrote are then turned into those of the images themselves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_one_series(images: Sequence[Any]) -> list[Any]:
    """The classic images under the first one's series UID; scanners give each slice a series of its own."""
    from pydicom.dataset import Dataset

    if len({str(image.SeriesInstanceUID) for image in images}) == 1:
        return list(images)
    united = []
    for image in images:
        copy = Dataset()
        # Elements are shared with the image, so the one that differs is a new one.
        shared = (element for element in image if element.keyword not in ("PixelData", "SeriesInstanceUID"))
        copy.update({element.tag: element for element in shared})
        copy.file_meta = image.file_meta
        copy.SeriesInstanceUID = images[0].SeriesInstanceUID
        united.append(copy)
    return united


def as_one_image(objects: Sequence[Any], numbers: NDArray[np.integer]) -> Any:
    """One enhanced image of chosen frames, under the identity of the first object that they are in.

    Parameters
    ----------
    objects
        pydicom data set that each frame is in; several may be the same.
    numbers
        Index of each frame in its object.
    """
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as DicomSequence

    own = ("PixelData", "NumberOfFrames", "PerFrameFunctionalGroupsSequence")
    first = objects[0]
    united = Dataset()
    # Elements are shared with the image, so those that differ are new ones.
    united.update({element.tag: element for element in first if element.keyword not in own})
    united.file_meta = first.file_meta
    united.NumberOfFrames = len(numbers)
    united.PerFrameFunctionalGroupsSequence = DicomSequence(
        [_with_its_place(image, int(number)) for image, number in zip(objects, numbers)]
    )
    return united


def _with_its_place(image: Any, number: int) -> Any:
    """The groups of a frame, with the plane position that all frames of an object of one slice may share."""
    from pydicom.dataset import Dataset

    groups, shared = image.PerFrameFunctionalGroupsSequence[number], image.get("SharedFunctionalGroupsSequence")
    if "PlanePositionSequence" in groups or not shared:
        return groups
    whole = Dataset()
    whole.update(groups)
    whole.PlanePositionSequence = shared[0].PlanePositionSequence
    return whole


def refer_to_frames(dataset: Any, objects: Sequence[Any], numbers: NDArray[np.integer]) -> None:
    """Turn references to frames of `as_one_image` into those to the frames of the objects themselves."""
    # highdicom lets the segments of one plane share one item.
    sources = {
        id(source): source
        for group in dataset.PerFrameFunctionalGroupsSequence
        for source in group.DerivationImageSequence[0].SourceImageSequence
    }
    for source in sources.values():
        index = int(source.ReferencedFrameNumber) - 1
        source.ReferencedSOPInstanceUID = objects[index].SOPInstanceUID
        source.ReferencedFrameNumber = int(numbers[index]) + 1
    _refer_to(dataset, {
        str(image.SOPInstanceUID): (str(image.SeriesInstanceUID), _reference_to(image)) for image in objects
    })


def refer_to_every_series(dataset: Any, images: Sequence[Any]) -> None:
    """Say of each classic image that is referred to which series it is really in."""
    series_of = {str(image.SOPInstanceUID): str(image.SeriesInstanceUID) for image in images}
    _refer_to(dataset, {
        (uid := str(instance.ReferencedSOPInstanceUID)): (series_of[uid], instance)
        for group in dataset.ReferencedSeriesSequence for instance in group.ReferencedInstanceSequence
    })


def _reference_to(image: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def _refer_to(dataset: Any, instances: dict[str, tuple[str, Any]]) -> None:
    """List the series of the instances: {SOP instance UID: (series instance UID, reference)}."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as DicomSequence

    by_series: dict[str, list[Any]] = {}
    for series, instance in instances.values():
        by_series.setdefault(series, []).append(instance)
    items = []
    for series, referred in by_series.items():
        item = Dataset()
        item.SeriesInstanceUID, item.ReferencedInstanceSequence = series, DicomSequence(referred)
        items.append(item)
    dataset.ReferencedSeriesSequence = DicomSequence(items)
