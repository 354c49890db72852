"""Tags laid on by the scan itself: the options of `cmrsim simulate --tag`, and the preparation they mean."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.options import TagOptions
from CMRSimExtension.tagging.pattern import TaggedAcquisition
from CMRSimExtension.tagging.readout import TagReadout
from CMRSimExtension.tagging.simulated import motion_source

_OPTIONS = {"tag": "pattern", "spacing_mm": "spacing_mm", "spacing_px": "spacing_px", "angle_deg": "angle_deg",
            "train": "train", "tag_flip_deg": "flip_deg", "cspamm": "cspamm", "readout": "readout"}

_READOUT = {"flip_deg": "flip_angle_deg", "tr_ms": "repetition_time_ms", "te_ms": "echo_time_ms"}


class SimulatedTags:
    """The tags of one scan.

    Parameters
    ----------
    values
        What was chosen, see `scan_options.chosen`.

    Raises
    ------
    InputError
        A tag option without ``--tag``, or a value that no tagging has.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        given = {name: values[key] for key, name in _OPTIONS.items() if key in values}
        if "pattern" not in given:
            keys = [key for key in _OPTIONS if key in values]
            raise InputError(f"--{keys[0].replace('_', '-')} belongs to --tag grid or --tag lines, which was not given")
        self.options = TagOptions(**given)
        self._scan = {name: values[key] for key, name in _READOUT.items() if key in values}
        self._made: TaggedAcquisition | None = None

    def readout(self, cycle_ms: float) -> TagReadout:
        """The cine readout after the preparation, with the flip angle and times that were chosen."""
        return replace(self.options.tag_readout(cycle_ms), **self._scan)

    def protocol(self, protocol: Protocol) -> Protocol:
        """`protocol` with the tagged readout's sequence, flip angle and times."""
        readout = self.readout(1000.0)
        return protocol.replace(
            sequence=readout.kind, flip_angle_deg=readout.flip_angle_deg,
            repetition_time_ms=readout.repetition_time_ms, echo_time_ms=readout.echo_time_ms,
        )

    @property
    def preparation(self) -> Callable[[ImageGrid, float], TaggedAcquisition]:
        """What `simulate` takes."""

        def prepare(grid: ImageGrid, cycle_ms: float) -> TaggedAcquisition:
            self._made = replace(self.options.acquisition(grid, cycle_ms), readout=self.readout(cycle_ms))
            return self._made

        return prepare

    def recorded(self, cine: Cine) -> Cine:
        """The scanned cine with the tags in its sidecar, in the form of `cmrsim tag`."""
        tagging = {
            "options": self.options.as_dict(), "motion": {"source": motion_source(cine)},
            "acquisition": None if self._made is None else self._made.describe(),
        }
        return replace(cine, sidecar=cine.sidecar | {"tagging": tagging})


def tags_of(values: dict[str, Any]) -> SimulatedTags | None:
    """The tags that `values` ask for; None where no tag option was given."""
    return SimulatedTags(values) if any(key in values for key in _OPTIONS) else None


def tags_on_record(record: dict[str, Any]) -> SimulatedTags | None:
    """The tags that a simulated cine was scanned with, from its record; None where there were none.

    Raises
    ------
    KeyError
        Something that is needed is missing in the record.
    """
    if record["preparation"] is None:
        return None
    options, asked = record["tagging"]["options"], record["protocol_asked"]
    values = {key: options[name] for key, name in _OPTIONS.items() if options[name] is not None}
    return SimulatedTags(values | {key: asked[name] for key, name in _READOUT.items()})
