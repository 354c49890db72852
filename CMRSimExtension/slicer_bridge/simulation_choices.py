"""What CMRSimulate lets its user choose from: the library's names, and texts for the panel.

Members are stored by name in scenes and never change.
"""

import enum

from slicer.i18n import tr as _


class SourceKind(enum.Enum):
    """Where the anatomy comes from."""

    PARAMETRIC = "parametric"
    XCAT = "xcat"
    LABELS = "labels"

    def label(self) -> str:
        texts = {"parametric": _("Virtual patient"), "xcat": _("XCAT phantom files"), "labels": _("Segmentation")}
        return texts[self.value]


class Sex(enum.Enum):
    """Sex of the virtual patient."""

    FEMALE = "F"
    MALE = "M"

    def label(self) -> str:
        return {"F": _("Female"), "M": _("Male")}[self.value]


class FieldStrength(enum.Enum):
    """Field strength of the scanner in tesla."""

    T1_5 = 1.5
    T3 = 3.0

    def label(self) -> str:
        return f"{self.value:g} T"


class Preset(enum.Enum):
    """Protocol presets of the library."""

    SIEMENS_1_5T = "siemens_1.5t"
    SIEMENS_3T = "siemens_3t"
    PHILIPS_1_5T = "philips_1.5t"
    PHILIPS_3T = "philips_3t"
    GE_1_5T = "ge_1.5t"
    GE_3T = "ge_3t"
    CANON_1_5T = "canon_1.5t"
    CANON_3T = "canon_3t"
    UKBIOBANK = "ukbiobank"
    SIEMENS_3T_GRE = "siemens_3t_gre"
    WHOLE_HEART_1_5T = "whole_heart_1.5t"

    def label(self) -> str:
        special = {
            "ukbiobank": _("UK Biobank (Siemens 1.5 T)"), "siemens_3t_gre": _("Siemens 3 T, spoiled GRE"),
            "whole_heart_1.5t": _("Whole heart, isotropic (Philips 1.5 T)")}
        vendors = {"siemens": "Siemens", "philips": "Philips", "ge": "GE", "canon": "Canon"}
        if self.value in special:
            return special[self.value]
        vendor, field = self.value.split("_")
        return f"{vendors[vendor]} {field.removesuffix('t')} T"


class Plane(enum.Enum):
    """Orientation of the slices."""

    SAX = "sax"
    TWO_CHAMBER = "2ch"
    THREE_CHAMBER = "3ch"
    FOUR_CHAMBER = "4ch"
    AXIAL = "axial"
    WHOLE_HEART = "whole_heart"

    def label(self) -> str:
        return {
            "sax": _("Short-axis stack"), "2ch": _("2-chamber view"), "3ch": _("3-chamber view"),
            "4ch": _("4-chamber view"), "axial": _("Axial stack"), "whole_heart": _("Whole heart")}[self.value]


class Pathology(enum.Enum):
    """Group that the heart is drawn from."""

    NORMAL = "normal"
    DCM = "dcm"
    HCM = "hcm"
    MINF = "minf"
    RV = "rv"
    DMD = "dmd"

    def label(self) -> str:
        return {
            "normal": _("Normal"), "dcm": _("Dilated cardiomyopathy"), "hcm": _("Hypertrophic cardiomyopathy"),
            "minf": _("Myocardial infarction"), "rv": _("Abnormal right ventricle"),
            "dmd": _("Duchenne muscular dystrophy")}[self.value]


class Trajectory(enum.Enum):
    """How k-space is sampled."""

    CARTESIAN = "cartesian"
    RADIAL = "radial"
    GOLDEN_ANGLE = "golden_angle"

    def label(self) -> str:
        return {"cartesian": _("Cartesian"), "radial": _("Radial"), "golden_angle": _("Golden angle")}[self.value]
