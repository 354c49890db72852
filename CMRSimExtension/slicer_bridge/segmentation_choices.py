"""What CMRSegment lets its user choose from: the library's names, and texts for the panel.

Members are stored by name in scenes and never change.
"""

import enum
from dataclasses import dataclass

from slicer.i18n import tr as _


class Frames(enum.Enum):
    """Which frames are segmented."""

    ALL = "all"
    ED_AND_ES = "edes"
    CURRENT = "current"

    def label(self) -> str:
        return {"all": _("All frames"), "edes": _("End diastole and end systole"), "current": _("Frame on show")}[
            self.value]


class Device(enum.Enum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def label(self) -> str:
        return {"auto": _("Automatic"), "cpu": _("Processor"), "cuda": _("Graphics card (CUDA)")}[self.value]


class Views(enum.Enum):
    """How many flips and turns of each slice are averaged."""

    NONE = "none"
    FOUR = "four"
    EIGHT = "eight"

    def label(self) -> str:
        return {
            "none": _("As it is (fastest)"), "four": _("Average of four flips"),
            "eight": _("Average of eight flips and turns (slowest)")}[self.value]


class Sex(enum.Enum):
    """Sex of the person in the image, for normal ranges."""

    UNKNOWN = ""
    FEMALE = "F"
    MALE = "M"

    def label(self) -> str:
        return {"": _("Not known"), "F": _("Female"), "M": _("Male")}[self.value]


@dataclass(frozen=True)
class ModelChoice:
    """A model to choose: its name in the registry, what the list calls it, and what the panel says about it."""

    name: str
    text: str
    description: str
