"""When the frames of a NRRD series were taken: Slicer's index, a fourth axis of the space, or an axis' spacing.

A time needs a unit. Where the header names none, the axis is believed to be time only if the header calls it so, and
what was assumed is told; no heartbeat lasts longer than `LONGEST_CYCLE_MS`, and frames that are merely counted have no
times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.files.nifti import LONGEST_CYCLE_MS

MS_PER_UNIT = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1000.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1.0),
    **dict.fromkeys(("us", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s", "usec", "usecs"), 1e-3),
    **dict.fromkeys(("microsecond", "microseconds"), 1e-3),
}
"""Units of time by the names that Slicer's sequences and other headers give them. Sequences of Slicer whose index unit
nobody set have seconds (vtkMRMLSequenceNode)."""


@dataclass(frozen=True)
class FrameAxis:
    """What a header says of the axis that its frames lie along.

    Attributes
    ----------
    unit
        Of the index, the spacing and the space; empty where the header names none.
    is_time
        Whether the header calls it time.
    start, step
        Of the frames by the axis itself, in `unit`; the step is None where the header says none.
    """

    unit: str = ""
    is_time: bool = False
    start: float = 0.0
    step: float | None = None


@dataclass(frozen=True)
class FrameTimes:
    """Times of the frames of a series.

    Attributes
    ----------
    times_ms
        (frames,) increasing, or None where they are not known.
    notes
        What was assumed, and what in the header was not believed.
    """

    times_ms: NDArray[np.float64] | None = None
    notes: list[str] = field(default_factory=list)


def frame_times(axis: FrameAxis, fields: Mapping[str, str], frames: int) -> FrameTimes:
    """When the frames were taken.

    Parameters
    ----------
    axis
        The frames' axis.
    fields
        Key/value pairs of the header, where Slicer writes ``axis 3 index values`` (``axis 0`` before 5.10).
    frames
        How many there are.
    """
    if frames < 2:
        return FrameTimes()
    values, notes = _index(fields, frames)
    what = "index"
    if values is None and axis.step is not None and np.isfinite(axis.step):
        values, what = axis.start + axis.step * np.arange(frames, dtype=np.float64), "spacing"
    if values is None:
        return FrameTimes(None, notes)
    steps = np.diff(values)
    shown = f"{what} of the frames ({', '.join(f'{v:g}' for v in values[:3])}, ...)"
    unknown = "their times are taken as unknown"
    if np.any(steps <= 0):
        return FrameTimes(None, [*notes, f"the {shown} does not grow; {unknown}"])
    if np.all(steps == 1.0) and values[0] in (0.0, 1.0):
        # Writers that know no times count the frames; only a header that calls that time says something of it.
        told = [f"the {shown} merely counts them; {unknown}"] if axis.unit or axis.is_time else []
        return FrameTimes(None, [*notes, *told])
    unit = axis.unit
    factor = MS_PER_UNIT.get(unit.lower())
    if unit and factor is None:
        return FrameTimes(None, [*notes, f"the {shown} is in {unit!r}, no unit of time; {unknown}"])
    if factor is None and not axis.is_time:
        return FrameTimes(None, [*notes, f"the {shown} has no unit, and the header does not call it time; {unknown}"])
    if factor is None:
        # Steps of whole seconds are no cine's, and those of less than a millisecond neither.
        unit, factor = ("s", 1000.0) if steps.mean() < 1.0 else ("ms", 1.0)
        notes = [*notes, f"the {shown} is time without a unit; it is taken as {unit}"]
    times = factor * values
    if times[-1] - times[0] + times[1] - times[0] > LONGEST_CYCLE_MS:
        long = f"the {shown} in {unit} lasts longer than any heartbeat; {unknown}"
        return FrameTimes(None, [*notes, long])
    return FrameTimes(times, notes)


def _index(fields: Mapping[str, str], frames: int) -> tuple[NDArray[np.float64] | None, list[str]]:
    """The index of Slicer's sequences; None without one, and where it is none of numbers."""
    for axis in (3, 0):
        text = fields.get(f"axis {axis} index values")
        if text is None:
            continue
        try:
            values = np.array([float(v) for v in text.split()])
        except ValueError:
            return None, []
        if len(values) == frames and np.all(np.isfinite(values)):
            return values, []
        return None, [
            f"the index has {len(values)} values for {frames} frames, or some that are no numbers; it is left out"
        ]
    return None, []
