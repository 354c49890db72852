"""What each tissue shines like: relaxation times, proton density and chemical shift at 1.5 T and 3 T, with sources.

Every number carries its mean, its standard deviation and the key of its source in `SOURCES`. A value that is an
estimate says so by a key that begins with ``estimate``.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.terminology import Code
from CMRSimExtension.anatomy.tissue_sources import SOURCES
from CMRSimExtension.errors import InputError

__all__ = [
    "FIELDS_T",
    "SOURCES",
    "TISSUES",
    "Measured",
    "Relaxation",
    "TissueProperties",
    "TissueValues",
    "draw_tissues",
]

FIELDS_T = (1.5, 3.0)
"""Field strengths the table knows, in tesla."""

TRUNCATION_SD = 2.5
"""Draws stay within this many SD of the mean, so that T2 never passes T1 nor any value zero."""


class Measured(NamedTuple):
    """A value with its spread and where it comes from (a key of `SOURCES`)."""

    mean: float
    sd: float
    source: str


@dataclass(frozen=True)
class Relaxation:
    """Relaxation times at one field strength, in ms."""

    t1_ms: Measured
    t2_ms: Measured
    t2_star_ms: Measured


@dataclass(frozen=True)
class TissueProperties:
    """One row of the tissue table.

    Attributes
    ----------
    tissue, name
        Number and plain name.
    relaxation
        `Relaxation` by field strength in tesla, for each of `FIELDS_T`.
    proton_density
        Fraction of mobile protons relative to water, 0 to 1.
    chemical_shift_ppm
        Resonance relative to water; negative is a lower frequency (fat: -3.4).
    colour
        RGB, 0 to 255.
    snomed
        SNOMED CT code, or None where none is certain.
    """

    tissue: Tissue
    name: str
    relaxation: dict[float, Relaxation]
    proton_density: Measured
    chemical_shift_ppm: Measured
    colour: tuple[int, int, int]
    snomed: Code | None


# R2' in 1/ms by field strength: see "estimate: R2 prime".
_R2_PRIME = {1.5: 0.0112, 3.0: 0.0224}


def _relaxation(field_t: float, t1: Measured, t2: Measured, t2_star: Measured | None) -> Relaxation:
    if t2_star is None:
        mean = 1.0 / (1.0 / t2.mean + _R2_PRIME[field_t])
        # First-order propagation of the spread of T2 through 1/T2* = 1/T2 + R2'.
        t2_star = Measured(round(mean, 1), round(t2.sd * (mean / t2.mean) ** 2, 1), "estimate: R2 prime")
    return Relaxation(t1, t2, t2_star)


_M = Measured
_WATER = _M(0.0, 0.0, "definition")
_FAT = _M(-3.4, 0.02, "hamilton2011")
_WATER_CONTENT = "estimate: water content"

# tissue: name, T1 and T2 at 1.5 T, T1 and T2 at 3 T, T2* at 1.5 T and 3 T or None, proton density, shift, colour, code
_Row = tuple[
    str, Measured, Measured, Measured, Measured, Measured | None, Measured | None, Measured, Measured,
    tuple[int, int, int], Code | None,
]  # fmt: skip
_ROWS: dict[Tissue, _Row] = {
    Tissue.AIR: (
        "air", _M(1000.0, 0.0, "definition"), _M(100.0, 0.0, "definition"), _M(1000.0, 0.0, "definition"),
        _M(100.0, 0.0, "definition"), None, None, _M(0.0, 0.0, "definition"), _WATER, (0, 0, 0), None,
    ),
    Tissue.MYOCARDIUM: (
        "myocardium", _M(950, 21, "dabir2014"), _M(55.8, 2.8, "granitz2019"), _M(1122, 57, "roy2017"),
        _M(52, 6, "roy2017"), None, _M(24, 5, "roy2017"), _M(0.80, 0.03, "wissmann2014"), _WATER,
        (192, 104, 88), Code("74281007", "Myocardium"),
    ),
    Tissue.BLOOD_ARTERIAL: (
        "arterial blood", _M(1441, 120, "stanisz2005"), _M(290, 30, "stanisz2005"), _M(1664, 68, "lu2004"),
        _M(275, 50, "stanisz2005"), None, None, _M(0.95, 0.02, "wissmann2014"), _WATER,
        (216, 101, 79), Code("87612001", "Blood"),
    ),
    Tissue.BLOOD_VENOUS: (
        "venous blood", _M(1480, 61, "zhang2013"), _M(190, 25, "estimate: venous blood"), _M(1584, 68, "lu2004"),
        _M(170, 25, "estimate: venous blood"), None, None, _M(0.95, 0.02, "wissmann2014"), _WATER,
        (0, 151, 206), Code("87612001", "Blood"),
    ),
    Tissue.FAT: (
        "fat", _M(288, 8, "gold2004"), _M(165, 6, "gold2004"), _M(371, 8, "gold2004"), _M(133, 4, "gold2004"),
        None, None, _M(0.90, 0.03, "estimate: lipid protons"), _FAT, (230, 220, 70), Code("55603005", "Adipose tissue"),
    ),
    Tissue.MUSCLE: (
        "skeletal muscle", _M(1008, 20, "stanisz2005"), _M(44, 6, "stanisz2005"), _M(1420, 38, "gold2004"),
        _M(31.7, 1.9, "gold2004"), None, None, _M(0.80, 0.03, "wissmann2014"), _WATER,
        (188, 95, 76), Code("71616004", "Muscle"),
    ),
    Tissue.LUNG: (
        "lung", _M(1333, 167, "stadler2005"), _M(40, 8, "estimate: lung T2"), _M(1373, 167, "estimate: lung 3 T"),
        _M(35, 8, "estimate: lung T2"), _M(2.11, 0.27, "yu2011"), _M(0.74, 0.10, "yu2011"),
        _M(0.32, 0.05, "estimate: lung density"), _WATER, (197, 165, 145), Code("39607008", "Lung"),
    ),
    Tissue.LIVER: (
        "liver", _M(586, 39, "debazelaire2004"), _M(46, 6, "debazelaire2004"), _M(809, 71, "debazelaire2004"),
        _M(34, 4, "debazelaire2004"), None, None, _M(0.90, 0.03, "wissmann2014"), _WATER,
        (221, 130, 101), Code("10200004", "Liver"),
    ),
    Tissue.SPLEEN: (
        "spleen", _M(1057, 42, "debazelaire2004"), _M(79, 15, "debazelaire2004"), _M(1328, 31, "debazelaire2004"),
        _M(61, 9, "debazelaire2004"), None, None, _M(0.85, 0.03, _WATER_CONTENT), _WATER,
        (157, 108, 162), Code("78961009", "Spleen"),
    ),
    Tissue.KIDNEY_CORTEX: (
        "kidney cortex", _M(966, 58, "debazelaire2004"), _M(87, 4, "debazelaire2004"),
        _M(1142, 154, "debazelaire2004"), _M(76, 7, "debazelaire2004"), None, None,
        _M(0.85, 0.03, _WATER_CONTENT), _WATER, (185, 102, 83), Code("64033007", "Kidney"),
    ),
    Tissue.KIDNEY_MEDULLA: (
        "kidney medulla", _M(1412, 58, "debazelaire2004"), _M(85, 11, "debazelaire2004"),
        _M(1545, 142, "debazelaire2004"), _M(81, 8, "debazelaire2004"), None, None,
        _M(0.87, 0.03, _WATER_CONTENT), _WATER, (160, 80, 70), Code("64033007", "Kidney"),
    ),
    Tissue.PANCREAS: (
        "pancreas", _M(584, 14, "debazelaire2004"), _M(46, 6, "debazelaire2004"), _M(725, 71, "debazelaire2004"),
        _M(43, 7, "debazelaire2004"), None, None, _M(0.82, 0.03, _WATER_CONTENT), _WATER,
        (249, 180, 111), Code("15776009", "Pancreas"),
    ),
    Tissue.BONE_MARROW: (
        "bone marrow", _M(549, 52, "debazelaire2004"), _M(49, 8, "debazelaire2004"), _M(586, 73, "debazelaire2004"),
        _M(49, 4, "debazelaire2004"), None, None, _M(0.60, 0.05, _WATER_CONTENT), _WATER,
        (255, 239, 172), Code("14016003", "Bone marrow"),
    ),
    Tissue.CORTICAL_BONE: (
        "cortical bone", _M(200, 30, "estimate: bone"), _M(0.46, 0.03, "estimate: bone"),
        _M(220, 30, "estimate: bone"), _M(0.46, 0.03, "estimate: bone"), _M(0.46, 0.03, "estimate: bone"),
        _M(0.46, 0.03, "estimate: bone"), _M(0.12, 0.02, "wissmann2014"), _WATER,
        (241, 214, 145), Code("272673000", "Bone"),
    ),
    Tissue.CARTILAGE: (
        "cartilage", _M(1024, 70, "stanisz2005"), _M(30, 4, "stanisz2005"), _M(1168, 18, "stanisz2005"),
        _M(27, 3, "stanisz2005"), None, None, _M(0.72, 0.04, _WATER_CONTENT), _WATER,
        (111, 184, 210), Code("309312004", "Cartilage"),
    ),
    Tissue.SKIN: (
        "skin", _M(850, 100, "estimate: collagen"), _M(30, 6, "estimate: collagen"),
        _M(1000, 110, "estimate: collagen"), _M(28, 6, "estimate: collagen"), None, None,
        _M(0.70, 0.04, _WATER_CONTENT), _WATER, (177, 122, 101), Code("39937001", "Skin"),
    ),
    Tissue.STOMACH_WALL: (
        "stomach and bowel wall", _M(1050, 80, "estimate: smooth muscle"), _M(60, 10, "estimate: smooth muscle"),
        _M(1350, 100, "estimate: smooth muscle"), _M(52, 8, "estimate: smooth muscle"), None, None,
        _M(0.80, 0.03, _WATER_CONTENT), _WATER, (216, 132, 105), Code("69695003", "Stomach"),
    ),
    Tissue.FLUID: (
        "fluid", _M(2850, 279, "gold2004"), _M(1210, 140, "gold2004"), _M(3620, 320, "gold2004"),
        _M(767, 49, "gold2004"), None, None, _M(0.97, 0.01, _WATER_CONTENT), _WATER,
        (170, 250, 250), Code("32457005", "Body fluid"),
    ),
    Tissue.FOOD: (
        "food", _M(900, 250, "estimate: food"), _M(90, 25, "estimate: food"), _M(1000, 250, "estimate: food"),
        _M(80, 22, "estimate: food"), None, None, _M(0.75, 0.08, _WATER_CONTENT), _WATER, (144, 110, 60), None,
    ),
    Tissue.CONNECTIVE: (
        "connective tissue", _M(850, 100, "estimate: collagen"), _M(25, 5, "estimate: collagen"),
        _M(1000, 110, "estimate: collagen"), _M(23, 5, "estimate: collagen"), None, None,
        _M(0.65, 0.05, _WATER_CONTENT), _WATER, (90, 160, 190), Code("21793004", "Connective tissue"),
    ),
    Tissue.NERVE: (
        "nerve", _M(745, 37, "stanisz2005"), _M(74, 6, "stanisz2005"), _M(993, 47, "stanisz2005"),
        _M(78, 2, "stanisz2005"), None, None, _M(0.72, 0.03, _WATER_CONTENT), _WATER,
        (244, 214, 49), Code("119410002", "Nerve"),
    ),
    Tissue.BREAST: (
        "fibroglandular breast", _M(1266, 82, "rakowpenner2006"), _M(57.5, 10.2, "rakowpenner2006"),
        _M(1445, 93, "rakowpenner2006"), _M(54.4, 9.4, "rakowpenner2006"), None, None,
        _M(0.75, 0.05, _WATER_CONTENT), _WATER, (230, 170, 180), Code("76752008", "Breast"),
    ),
    Tissue.THYMUS: (
        "thymus", _M(800, 120, "estimate: thymus"), _M(75, 12, "estimate: thymus"), _M(950, 140, "estimate: thymus"),
        _M(65, 12, "estimate: thymus"), None, None, _M(0.78, 0.04, _WATER_CONTENT), _WATER,
        (47, 150, 103), Code("9875009", "Thymus"),
    ),
}  # fmt: skip


def _build(tissue: Tissue, row: _Row) -> TissueProperties:
    name, t1_15, t2_15, t1_30, t2_30, t2_star_15, t2_star_30, density, shift, colour, code = row
    relaxation = {1.5: _relaxation(1.5, t1_15, t2_15, t2_star_15), 3.0: _relaxation(3.0, t1_30, t2_30, t2_star_30)}
    return TissueProperties(tissue, name, relaxation, density, shift, colour, code)


TISSUES: dict[Tissue, TissueProperties] = {tissue: _build(tissue, row) for tissue, row in _ROWS.items()}
"""The tissue table: a row for every `Tissue`."""

_ARRAYS = ("t1_ms", "t2_ms", "t2_star_ms", "proton_density", "chemical_shift_ppm")


IS_BLOOD = np.isin(np.arange(len(Tissue)), (Tissue.BLOOD_ARTERIAL, Tissue.BLOOD_VENOUS))
"""(tissues,) bool: which tissues flow."""
IS_BLOOD.setflags(write=False)


@dataclass(frozen=True)
class TissueValues:
    """One subject's tissues: arrays indexed by `Tissue` number.

    Attributes
    ----------
    field_t
        Field strength in tesla.
    t1_ms, t2_ms, t2_star_ms, proton_density, chemical_shift_ppm
        (tissues,) float64, read-only.
    """

    field_t: float
    t1_ms: NDArray[np.float64]
    t2_ms: NDArray[np.float64]
    t2_star_ms: NDArray[np.float64]
    proton_density: NDArray[np.float64]
    chemical_shift_ppm: NDArray[np.float64]

    def __post_init__(self) -> None:
        wanted = (len(Tissue),)
        for name in _ARRAYS:
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.shape != wanted:
                raise InputError(f"{name} has shape {values.shape}; one value for each Tissue makes it {wanted}")
            if not np.all(np.isfinite(values)):
                raise InputError(f"{name} of {Tissue(int(np.argmin(np.isfinite(values)))).name} is not finite")
            if name.endswith("_ms") and np.any(values <= 0):
                worst = Tissue(int(np.argmin(values))).name
                raise InputError(f"{name} of {worst} is {values.min()}; it must be above 0 ms")
            if name == "proton_density" and (values.min() < 0 or values.max() > 1):
                raise InputError(f"proton_density spans {values.min()} to {values.max()}; give fractions of 0 to 1")
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    def replace(self, tissue: Tissue, **values: float) -> "TissueValues":
        """The same tissues but for the named values of one, e.g. ``replace(Tissue.MYOCARDIUM, t1_ms=1100)``."""
        changed: dict[str, Any] = {name: getattr(self, name).copy() for name in _ARRAYS}
        for name, value in values.items():
            if name not in changed:
                raise InputError(f"a tissue has no {name!r}; choose from {', '.join(_ARRAYS)}")
            changed[name][tissue] = value
        return TissueValues(self.field_t, **changed)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: tissue name to its values, and the field strength."""
        rows = {t.name: {name: float(getattr(self, name)[t]) for name in _ARRAYS} for t in Tissue}
        return {"field_t": self.field_t, "tissues": rows}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "TissueValues":
        """The inverse of `as_dict`; a tissue that the record lacks is an `InputError`."""
        rows = record["tissues"]
        missing = [t.name for t in Tissue if t.name not in rows]
        if missing:
            raise InputError(f"the record lacks the tissues {', '.join(missing)}; every Tissue needs a row")
        arrays = {name: np.array([rows[t.name][name] for t in Tissue]) for name in _ARRAYS}
        return cls(float(record["field_t"]), **arrays)


def draw_tissues(rng: np.random.Generator, field_t: float, spread: float = 1.0) -> TissueValues:
    """Draw one subject's tissues around the table.

    Each value is normal with the table's mean and SD, truncated at 2.5 SD. T2 and T2* of a tissue share one draw, so
    that T2* stays below T2.

    Parameters
    ----------
    rng
        Source of randomness; the number of draws is the same whatever the other arguments.
    field_t
        1.5 or 3.0 tesla.
    spread
        Factor on every SD; 0 gives the table's means.

    Raises
    ------
    InputError
        For another field strength, or a spread outside [0, 3].
    """
    if field_t not in FIELDS_T:
        raise InputError(f"field_t is {field_t}; the tissue table knows 1.5 and 3.0 tesla")
    if not 0.0 <= spread <= 3.0:
        raise InputError(f"spread is {spread}; choose it between 0 (the means) and 3")
    low, high = ndtr(-TRUNCATION_SD), ndtr(TRUNCATION_SD)
    z = ndtri(rng.uniform(low, high, size=(4, len(Tissue)))) * spread
    rows = [TISSUES[t] for t in Tissue]

    def around(values: list[Measured], draw: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = np.array([v.mean for v in values])
        drawn: NDArray[np.float64] = mean + np.array([v.sd for v in values]) * draw
        return drawn

    def positive(values: list[Measured], draw: NDArray[np.float64]) -> NDArray[np.float64]:
        # A spread above 1 can push the widest rows (food, lung) beyond physics; a tenth of the mean is the floor.
        return np.maximum(around(values, draw), 0.1 * np.array([v.mean for v in values]))

    at_field = [row.relaxation[float(field_t)] for row in rows]
    t1 = positive([r.t1_ms for r in at_field], z[0])
    t2 = positive([r.t2_ms for r in at_field], z[1])
    t2_star = positive([r.t2_star_ms for r in at_field], z[1])
    density = np.clip(around([row.proton_density for row in rows], z[2]), 0.0, 1.0)
    shift = around([row.chemical_shift_ppm for row in rows], z[3])
    t2 = np.minimum(t2, t1)
    return TissueValues(float(field_t), t1, t2, np.minimum(t2_star, t2), density, shift)
