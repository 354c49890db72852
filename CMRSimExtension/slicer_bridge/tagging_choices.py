"""What CMRTagged lets its user choose from: the library's names, and texts for the panel.

Members are stored by name in scenes and never change.
"""

import enum

from slicer.i18n import tr as _


class Method(enum.Enum):
    """How tags are made."""

    MOVING = "moving"
    PAPER = "paper"

    def label(self) -> str:
        return {"moving": _("Moving tags"), "paper": _("Static grid (reference transform)")}[self.value]


class Pattern(enum.Enum):
    """Lines in one or two directions."""

    GRID = "grid"
    LINES = "lines"

    def label(self) -> str:
        return {"grid": _("Grid"), "lines": _("Lines")}[self.value]


class SpacingUnit(enum.Enum):
    """Unit of the tag spacing."""

    MM = "mm"
    PX = "px"

    def label(self) -> str:
        return {"mm": _("mm"), "px": _("pixels")}[self.value]


class Train(enum.Enum):
    """Binomial pulse train of the preparation."""

    T1_1 = "1-1"
    T1_2_1 = "1-2-1"
    T1_3_3_1 = "1-3-3-1"
    T1_4_6_4_1 = "1-4-6-4-1"

    def label(self) -> str:
        return str(self.value)


class Readout(enum.Enum):
    """Sequence that reads the tags out, and fades them."""

    GRE = "gre"
    BSSFP = "bssfp"

    def label(self) -> str:
        return {"gre": _("Spoiled gradient echo"), "bssfp": _("Balanced SSFP")}[self.value]


class TissueField(enum.Enum):
    """Field strength whose tissue values are taken."""

    OWN = "own"
    T1_5 = "1.5"
    T3 = "3"

    def label(self) -> str:
        return {"own": _("Field strength of the cine"), "1.5": "1.5 T", "3": "3 T"}[self.value]

    @property
    def tesla(self) -> float | None:
        """None leaves it to the cine."""
        return None if self is TissueField.OWN else float(self.value)


class StrainMethod(enum.Enum):
    """What strain is measured from."""

    BEST = "best"
    TRUTH = "truth"
    HARP = "harp"
    REGISTRATION = "registration"

    def label(self) -> str:
        return {
            "best": _("Best available"), "truth": _("True motion"), "harp": _("Tags (HARP)"),
            "registration": _("Registration of the frames")}[self.value]
