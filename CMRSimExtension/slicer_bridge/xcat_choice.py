"""What the panel says of the XCAT files that were picked."""

from collections.abc import Sequence
from pathlib import Path

from slicer.i18n import tr as _

from CMRSimExtension.anatomy.xcat_files import XcatSeries, read_xcat
from CMRSimExtension.anatomy.xcat_vectors import vectors_beside
from CMRSimExtension.errors import InputError


def picked_series(path: Path) -> XcatSeries:
    """The frames that a log, a ``.par`` or an activity file stands for; their voxels are not read.

    Raises
    ------
    InputError
        There is no such file, or its heart cannot be told apart.
    FileFormatError
        It is no file of XCAT's, or what explains it or its frames are missing.
    """
    if not path.is_file():
        raise InputError(f"'{path}' is no file; choose an XCAT log (all its frames) or an activity file (.bin)")
    return read_xcat(path)


def frames_text(series: XcatSeries) -> str:
    """Which frames are scanned, at which phases of heart and breath, and what moves them."""
    frames = series.frames
    if len(frames) == 1:
        parts = [_("One frame: {file}").format(file=frames[0].path.name)]
    else:
        parts = [_("{count} frames: {files}").format(count=len(frames), files=_names(series))]
    hearts = sorted({round(frame.cardiac, 2) for frame in frames})
    breaths = sorted({round(100 * frame.inhaled) for frame in frames})
    parts += [
        _("heart phase {phases}").format(phases=_span([f"{phase:.2f}" for phase in hearts])),
        _("{depths} % inhaled").format(depths=_span([str(depth) for depth in breaths]))]
    if len(hearts) > 1 and len(vectors_beside(series)):
        parts.append(_("with motion vectors of XCAT"))
    return "; ".join(str(part) for part in parts)


def _names(series: XcatSeries) -> str:
    """The files' names, with the numbers of each run drawn together."""
    runs: dict[str, list[int]] = {}
    for frame in series.frames:
        runs.setdefault(frame.run, []).append(frame.number)
    return ", ".join(f"{run}_act_{_numbers(found)}" for run, found in runs.items())


def _numbers(found: Sequence[int]) -> str:
    """Ascending numbers as in "1-3, 5"."""
    spans: list[list[int]] = []
    for number in found:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)


def _span(values: Sequence[str]) -> str:
    """All of a few values, the first and the last of many."""
    if len(values) <= 4:
        return ", ".join(values)
    return str(_("{first} to {last}")).format(first=values[0], last=values[-1])
