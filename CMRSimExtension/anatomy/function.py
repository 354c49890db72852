"""Cardiac function: the numbers a reader reports."""

from dataclasses import asdict, dataclass

MYOCARDIAL_DENSITY_G_PER_ML = 1.05
"""Density by which readers turn myocardial volume into mass (Schulz-Menger et al., JCMR 2020;22:19)."""


@dataclass(frozen=True)
class CardiacFunction:
    """Global function of one heart; volumes in ml, mass in g, ejection fractions in percent.

    A single frame has no end systole: what cannot be known is None.
    """

    lv_edv_ml: float
    lv_esv_ml: float | None
    lv_mass_g: float
    rv_edv_ml: float | None = None
    rv_esv_ml: float | None = None

    @property
    def lv_sv_ml(self) -> float | None:
        return None if self.lv_esv_ml is None else self.lv_edv_ml - self.lv_esv_ml

    @property
    def lv_ef_percent(self) -> float | None:
        sv = self.lv_sv_ml
        return None if sv is None or self.lv_edv_ml <= 0 else 100.0 * sv / self.lv_edv_ml

    @property
    def rv_sv_ml(self) -> float | None:
        return None if self.rv_edv_ml is None or self.rv_esv_ml is None else self.rv_edv_ml - self.rv_esv_ml

    @property
    def rv_ef_percent(self) -> float | None:
        sv = self.rv_sv_ml
        return None if sv is None or not self.rv_edv_ml else 100.0 * sv / self.rv_edv_ml

    def as_dict(self) -> dict[str, float | None]:
        """Stored and derived values by name, for sidecars and tables."""
        derived = ("lv_sv_ml", "lv_ef_percent", "rv_sv_ml", "rv_ef_percent")
        return asdict(self) | {name: getattr(self, name) for name in derived}
