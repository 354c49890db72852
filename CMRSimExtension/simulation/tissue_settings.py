"""Tissue values that a user sets for a scan, in place of those that it would draw."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import FIELDS_T, TISSUES, TRUNCATION_SD, Measured, TissueValues
from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.appearance import LIVER_T2

LIMITS = {
    "t1_ms": (10.0, 10000.0),
    "t2_ms": (0.1, 5000.0),
    "t2_star_ms": (0.1, 5000.0),
    "proton_density": (0.0, 1.0),
    "chemical_shift_ppm": (-10.0, 10.0),
}
"""What may be set of a tissue, with the least and the greatest value: wide enough for any tissue and contrast agent,
and narrow enough to tell times in seconds from those in ms."""


@dataclass(frozen=True)
class _OneTissue:
    """What is set of one tissue; None is drawn."""

    tissue: Tissue
    t1_ms: float | None = None
    t2_ms: float | None = None
    t2_star_ms: float | None = None
    proton_density: float | None = None
    chemical_shift_ppm: float | None = None

    def __post_init__(self) -> None:
        name = self.tissue.name.lower()
        for quantity, value in self.given().items():
            low, high = LIMITS[quantity]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"{quantity} of {name} is {value!r}; give a number")
            if not low <= value <= high:  # also catches NaN
                raise InputError(f"{quantity} of {name} is {value:g}; choose a value from {low:g} to {high:g}")
            object.__setattr__(self, quantity, float(value))
        self._check_order("t2_ms", "t1_ms")
        self._check_order("t2_star_ms", "t2_ms")

    def _check_order(self, short: str, long: str) -> None:
        """Raise where `short` is, or may come out, above `long`.

        What is drawn is not known yet, but its limits are: so no seed takes what another one refuses.
        """
        name, a, b = self.tissue.name.lower(), getattr(self, short), getattr(self, long)
        if a is not None and b is not None and a > b:
            raise InputError(f"{short} of {name} is {a:g}, above its {long} of {b:g}; lower it or raise the other")
        least, most = _drawn_limits(self.tissue, long)[0], _drawn_limits(self.tissue, short)[1]
        if a is not None and b is None and a > least:
            raise InputError(
                f"{short} of {name} is {a:g}, and its {long}, which is not given, may be drawn as low as {least:.4g}; "
                f"give {long} too, of {a:g} or above"
            )
        # A T2* that is not given follows T2.
        if a is None and b is not None and short == "t2_ms" and b < most:
            raise InputError(
                f"{long} of {name} is {b:g}, and its {short}, which is not given, may be drawn as high as {most:.4g}; "
                f"give {short} too, of {b:g} or below"
            )

    def given(self) -> dict[str, float]:
        """The values that are set, by name."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "tissue"}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class TissueSettings:
    """Values of named tissues that a scan is to have; all others are drawn, as they are without any setting.

    `of` makes one from plain names and numbers, `parse` from texts.

    Attributes
    ----------
    tissues
        What is set, tissue by tissue; empty sets nothing.

    Raises
    ------
    InputError
        For a value outside `LIMITS`, a T2 above T1 or T2* above T2, or one of two that the other, where it is drawn,
        may contradict.
    """

    tissues: tuple[_OneTissue, ...] = ()

    @classmethod
    def of(cls, values: Mapping[Any, Mapping[str, float]]) -> "TissueSettings":
        """From values by tissue and quantity, e.g. ``{"myocardium": {"t1_ms": 1100, "t2_ms": 45}}``.

        Parameters
        ----------
        values
            The names of `Tissue` (or its members) in either case, each with some of `LIMITS`: times in ms, proton
            density relative to water, chemical shift in ppm. ``cine.sidecar["appearance"]["tissues"]["tissues"]``
            gives a scan the tissues of another.

        Raises
        ------
        InputError
            For an unknown tissue or quantity, and as `TissueSettings`.
        """
        found: dict[Tissue, dict[str, float]] = {}
        if not isinstance(values, Mapping):
            raise InputError(f"tissues are {values!r}; give a table of values for each, as of t1_ms for myocardium")
        for name, given in values.items():
            tissue = _tissue(name)
            if not isinstance(given, Mapping):
                raise InputError(f"{tissue.name.lower()} is {given!r}; give a table of values, as {next(iter(LIMITS))}")
            unknown = [quantity for quantity in given if quantity not in LIMITS]
            if unknown:
                raise InputError(
                    f"{unknown[0]!r} of {tissue.name.lower()} is not known; choose from {', '.join(LIMITS)}"
                )
            found[tissue] = found.get(tissue, {}) | dict(given)
        return cls(tuple(_OneTissue(tissue, **found[tissue]) for tissue in sorted(found) if found[tissue]))

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "TissueSettings":
        """From texts such as ``myocardium:t1_ms=1100,t2_ms=45``; of several for one value the last counts.

        Raises
        ------
        InputError
            For a text of another form, and as `of`.
        """
        found: dict[Tissue, dict[str, float]] = {}
        for text in texts:
            name, _, rest = text.partition(":")
            tissue = _tissue(name.strip())
            for part in rest.split(","):
                quantity, equals, number = (word.strip() for word in part.partition("="))
                if not equals:
                    raise InputError(f"the tissue {text!r} has no value; write NAME:QUANTITY=VALUE[,QUANTITY=VALUE]")
                try:
                    value = float(number)
                except ValueError as error:
                    raise InputError(f"{quantity} of {name} is {number!r}; give a number") from error
                found.setdefault(tissue, {})[quantity] = value
        return cls.of(found)

    def applied(self, drawn: TissueValues) -> TissueValues:
        """`drawn` with what is set. T2* keeps its R2' (1/T2* - 1/T2) where T2 is set and it is not."""
        for one in self.tissues:
            given = one.given()
            if one.t2_ms is not None and one.t2_star_ms is None:
                rate = 1.0 / drawn.t2_star_ms[one.tissue] - 1.0 / drawn.t2_ms[one.tissue]
                given["t2_star_ms"] = float(1.0 / (1.0 / one.t2_ms + rate))
            drawn = drawn.replace(one.tissue, **given)
        return drawn

    def as_dict(self) -> dict[str, dict[str, float]]:
        """JSON-able: what `of` takes."""
        return {one.tissue.name: one.given() for one in self.tissues}

    def __str__(self) -> str:
        """What `parse` takes, with a space between tissues."""
        rows = ((one.tissue.name.lower(), one.given()) for one in self.tissues)
        return " ".join(f"{name}:" + ",".join(f"{key}={value!r}" for key, value in row.items()) for name, row in rows)


def _tissue(name: Any) -> Tissue:
    if isinstance(name, Tissue):
        return name
    found = Tissue.__members__.get(str(name).upper().replace("-", "_").replace(" ", "_"))
    if found is None:
        known = ", ".join(tissue.name.lower() for tissue in Tissue)
        raise InputError(f"there is no tissue {str(name)!r}; choose from {known}")
    return found


def _drawn_limits(tissue: Tissue, quantity: str) -> tuple[float, float]:
    """The least and the greatest value that any scan may draw, at any field strength."""
    rows: list[Measured] = [getattr(TISSUES[tissue].relaxation[field], quantity) for field in FIELDS_T]
    low = min(row.mean - TRUNCATION_SD * row.sd for row in rows)
    high = max(row.mean + TRUNCATION_SD * row.sd for row in rows)
    stored_iron = LIVER_T2[0] if tissue is Tissue.LIVER and quantity != "t1_ms" else 1.0
    return stored_iron * low, high
