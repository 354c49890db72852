"""Which of the images of a DICOM study are meant: one stack, which the user names where there are several."""

import re
import warnings
from collections.abc import Sequence

from CMRSimExtension.errors import CMRSimWarning, FileFormatError, InputError
from CMRSimExtension.files.dicom_folders import DicomFiles, UnusableFile, inventory
from CMRSimExtension.files.dicom_images import DicomImage
from CMRSimExtension.files.dicom_stacks import (
    DicomStack,
    build_stack,
    in_one_space,
    kind_of,
    series_numbers,
    stacks_of,
)

_HOW = ("name one with --series: a series number, several as 12,13,14, a description, a SeriesInstanceUID, or a stack "
        "as 'stack 1'")
_LOCALIZER = "LOCALIZER"
"""A word of Image Type (PS3.3 C.8.16.1.3)."""


def choose_stack(files: DicomFiles, series: str | None = None) -> list[DicomImage]:
    """The images of one stack; a `CMRSimWarning` says what else there is that was passed over.

    Parameters
    ----------
    files
        What the folder holds.
    series
        None where it holds one stack (and, perhaps, localizers). Else what names one: series numbers or series
        instance UIDs (several with commas between them, which need not be called alike), which mean these series
        alone; a description, with or without the counter behind it, or ``stack 2``, the second of those that
        `stacks_of` finds, which mean the whole stack.

    Raises
    ------
    InputError
        There are several stacks and none, or more than one, was named; the message lists them.
    FileFormatError
        A file of the series, or one that may be of it, is damaged.
    """
    stacks = stacks_of(files.images)
    if series is None:
        chosen, exact = _only(files, stacks), False
        notes = [f"a localizer was passed over: {name_of(stack)}" for stack in stacks if stack is not chosen]
    else:
        chosen, exact = _named(files, stacks, series.strip())
        notes = _rest(stacks, chosen) if exact else []
    _refuse_single(files, chosen)
    _refuse_damage(files, chosen, exact, named=series is not None)
    for note in (*notes, *passed_over(files)):
        warnings.warn(note, CMRSimWarning, stacklevel=3)
    return chosen


def listing(stacks: Sequence[Sequence[DicomImage]]) -> str:
    """The stacks in one line, each with its number, description, series, image type and count."""
    return "; ".join(f"stack {number}: {name_of(stack)}" for number, stack in enumerate(stacks, 1))


def name_of(stack: Sequence[DicomImage]) -> str:
    """Description, series, image type and count of images of one stack."""
    first = stack[0]
    kind = "\\".join(first.image_type[:3])
    if first.component not in ("", "magnitude"):
        kind += f", {first.component}"
    return (f"{first.series_description or 'no description'} (series {series_numbers(stack)}, {kind}{', ' * bool(kind)}"
            f"{len(stack)} images)")


def passed_over(files: DicomFiles) -> list[str]:
    """A sentence on the objects that are no MR images, and one on the unusable files of each series."""
    kinds = inventory(files.others)
    sentences = [f"passed over, as no MR images: {', '.join(kinds)}"] if kinds else []
    for members in unusable_by_series(files):
        first, count = members[0], len(members)
        which = "an unknown series"
        if first.series_uid:
            which = f"series {'without a number' if first.series_number is None else first.series_number}"
            which += f" ({first.series_description})" if first.series_description else ""
        sentences.append(f"passed over, as damaged or of no use: {count} file{'s' * (count > 1)} of {which} "
                         f"({first.error})")
    return sentences


def unusable_by_series(files: DicomFiles) -> list[list[UnusableFile]]:
    """The unusable files, those of one series together."""
    by_series: dict[str, list[UnusableFile]] = {}
    for file in files.unusable:
        by_series.setdefault(file.series_uid, []).append(file)
    return list(by_series.values())


def _only(files: DicomFiles, stacks: list[list[DicomImage]]) -> list[DicomImage]:
    if len(stacks) > 1:
        kept = [stack for stack in stacks if not all(_LOCALIZER in image.image_type for image in stack)]
        if len(kept) != 1:
            raise InputError(f"{files.path} holds mixed series that do not form one stack: {listing(stacks)}; {_HOW}, "
                             "or give its folder alone")
        return kept[0]
    return stacks[0]


def _named(files: DicomFiles, stacks: list[list[DicomImage]], name: str) -> tuple[list[DicomImage], bool]:
    """The images that `name` means, and whether it names series one by one."""
    wanted = [word for word in re.split(r"[,;\s]+", name) if word]
    missing = [word for word in wanted if not any(_is(word, image) for image in files.images)]
    if wanted and not missing:
        chosen = [image for image in files.images if any(_is(word, image) for word in wanted)]
        if not all(in_one_space(image, chosen[0]) for image in chosen):
            ours = {id(image) for image in chosen}
            touched = [stack for stack in stacks if any(id(image) in ours for image in stack)]
            raise InputError(f"the series {name} of {files.path} do not form one stack: "
                             f"{_numbered(stacks, touched)}; {_HOW}")
        return chosen, True
    kind = kind_of(name)
    described = [s for s in stacks if any(image.series_description == name for image in s)] or [
        s for s in stacks if kind and any(kind_of(image.series_description) == kind for image in s)]
    if len(described) == 1:
        return described[0], False
    if described:
        raise InputError(f"{files.path} holds mixed series of the description {name!r}, which do not form one stack: "
                         f"{_numbered(stacks, described)}; {_HOW}")
    number = re.fullmatch(r"stack[\s_-]*(\d+)", name, re.IGNORECASE)
    if number and 1 <= int(number[1]) <= len(stacks):
        return stacks[int(number[1]) - 1], False
    for file in files.unusable:
        if any(word in (file.series_uid, str(file.series_number)) for word in missing):
            raise file.error
    what = f"series {name!r}" if len(wanted) < 2 or len(missing) == len(wanted) else (
        f"series {', '.join(missing)} (of {name!r})")
    raise InputError(f"{files.path} has no {what}; it has {listing(stacks)}; {_HOW}")


def _is(word: str, image: DicomImage) -> bool:
    return word in (image.series_uid, str(image.series_number))


def _numbered(stacks: Sequence[list[DicomImage]], some: Sequence[list[DicomImage]]) -> str:
    return "; ".join(f"stack {n}: {name_of(s)}" for n, s in enumerate(stacks, 1) if any(s is other for other in some))


def _refuse_single(files: DicomFiles, chosen: list[DicomImage]) -> None:
    """Refuse one file of a cine, which would be told to have missing phases."""
    image = chosen[0]
    if files.path.is_file() and not image.enhanced and (image.announced or 0) > 1:
        raise FileFormatError(
            f"missing phases: {files.path.name} is one image of series {image.series_number} "
            f"({image.series_description or 'no description'}), of which the scanner made {image.announced}; give the "
            "folder of the series"
        )


def _refuse_damage(files: DicomFiles, chosen: list[DicomImage], exact: bool, named: bool) -> None:
    """Refuse damaged files of the chosen series, or that may be of them."""
    series, studies = {image.series_uid for image in chosen}, {image.study_uid for image in chosen}
    kinds = {kind_of(image.series_description) for image in chosen}
    for other in files.others:
        if other.stored_as_mr and other.series_uid in series:
            raise FileFormatError(f"{other.path.name} is of the series that is read, and its modality is "
                                  f"{other.modality}; export the series again")
    unknown = []
    for file in files.unusable:
        if file.study_uid and file.study_uid not in studies:
            continue
        if not file.series_uid:
            unknown.append(file)
        elif file.series_uid in series or (not exact and kind_of(file.series_description) in kinds):
            raise file.error
    if unknown:
        _refuse_doubt(unknown, chosen, named)


def _refuse_doubt(unknown: Sequence[UnusableFile], chosen: list[DicomImage], named: bool) -> None:
    """Refuse where an image of the chosen stack may be among files of an unknown series."""
    doubt = f"{unknown[0].error}; its series cannot be told, so it may be an image of the one to be read"
    if not named:
        raise FileFormatError(f"{doubt}: where it is not, remove it, or name the series with --series, and its images "
                              "are counted")
    try:
        stack = build_stack(chosen)
    except FileFormatError as error:
        raise FileFormatError(f"{doubt}, of which it is said: {error}") from error
    if not _is_whole(stack, len(unknown)):
        raise FileFormatError(f"{doubt}, whose number of images nothing tells: where it is not, remove it")


def _is_whole(stack: DicomStack, lost: int) -> bool:
    """Whether no image of the stack can be among `lost` files: neither a phase of some slices nor a whole slice."""
    frames, slices = len(stack.images[0]), len(stack.images)
    if stack.first.enhanced or lost >= frames:
        return False
    # All slices have the same number of phases, so that all would have to lack one.
    return frames == stack.announced or lost < slices


def _rest(stacks: list[list[DicomImage]], chosen: list[DicomImage]) -> list[str]:
    """Says so where the series named one by one are part of a stack that could be read as a whole."""
    ours = {id(image) for image in chosen}
    stack = next(stack for stack in stacks if id(chosen[0]) in {id(image) for image in stack})
    rest = [image for image in stack if id(image) not in ours]
    if not rest:
        return []
    try:
        build_stack(stack)
    except FileFormatError:
        return []
    return [f"without series {series_numbers(rest)}, which form one stack with what was named: --series "
            f"{series_numbers(stack).replace(' ', '')} gives it"]
