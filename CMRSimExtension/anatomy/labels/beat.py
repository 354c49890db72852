"""How strongly and when a labelled heart contracts."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE
from CMRSimExtension.anatomy.function import MYOCARDIAL_DENSITY_G_PER_ML, CardiacFunction
from CMRSimExtension.anatomy.heart.timing import CardiacTiming
from CMRSimExtension.anatomy.labels.heart_volume import HeartVolume
from CMRSimExtension.anatomy.labels.shell_motion import Contraction, ShellMotion
from CMRSimExtension.errors import InputError


@dataclass(frozen=True)
class BeatParameters:
    """How a labelled heart beats.

    Attributes
    ----------
    lv_ejection_fraction, rv_ejection_fraction
        Shares in (0, 0.9) of the end-diastolic clinical volumes.
    longitudinal_shortening
        1 - length at ES / length at ED.
    torsion_deg
        Twist of the apex against the base at ES.
    heart_rate_bpm, systole_fraction, filling_fraction
        As in `CardiacTiming`.
    """

    lv_ejection_fraction: float = 0.60
    rv_ejection_fraction: float = 0.55
    longitudinal_shortening: float = 0.16
    torsion_deg: float = 11.0
    heart_rate_bpm: float = 66.0
    systole_fraction: float = 0.36
    filling_fraction: float = 0.75

    def __post_init__(self) -> None:
        for name, low, high in (
            ("lv_ejection_fraction", 0.0, 0.9),
            ("rv_ejection_fraction", 0.0, 0.9),
            ("longitudinal_shortening", 0.0, 0.35),
            ("torsion_deg", -10.0, 40.0),
            ("heart_rate_bpm", 25.0, 220.0),
            ("systole_fraction", 0.15, 0.65),
            ("filling_fraction", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}; it must lie between {low} and {high}")

    def eased(self, name: str) -> "BeatParameters":
        """The same with the ejection fraction `name` lowered by a tenth."""
        return replace(self, **{name: 0.9 * getattr(self, name)})

    @property
    def timing(self) -> CardiacTiming:
        """The volume curve."""
        return CardiacTiming(self.systole_fraction, self.filling_fraction)

    @classmethod
    def drawn(cls, rng: np.random.Generator, lv_volume_ml: float, phase_of_labels: float = 0.0) -> "BeatParameters":
        """Draw a plausible beat for a heart whose LV holds `lv_volume_ml` at `phase_of_labels`.

        Dilated ventricles eject less: over the groups of ACDC (data: Bernard et al., IEEE TMI 2018; measured here on 60
        patients) the ejection fraction falls from about 0.6 at 130 ml to 0.2 at 285 ml, which the line below follows.
        """
        z = rng.standard_normal(5)
        lv = 0.60 + 0.04 * z[0]
        ejected = CardiacTiming().ejection(phase_of_labels)
        diastolic = lv_volume_ml / (1.0 - lv * ejected)
        lv = float(np.clip(lv - 0.0026 * max(0.0, diastolic - 150.0), 0.15, 0.75))
        return cls(
            lv_ejection_fraction=lv,
            rv_ejection_fraction=float(np.clip(0.53 + 0.04 * z[1] - 0.5 * max(0.0, 0.5 - lv), 0.15, 0.7)),
            longitudinal_shortening=float(np.clip(0.16 * lv / 0.60 * (1 + 0.08 * z[2]), 0.0, 0.25)),
            torsion_deg=float(np.clip(11.0 * lv / 0.60 + 1.5 * z[3], 0.0, 25.0)),
            heart_rate_bpm=float(np.clip(67.0 + 9.0 * z[4], 45.0, 110.0)),
        )


class CavityCloses(InputError):
    """The asked for ejection fraction would need more than the cavity holds; `name` is the parameter to lower."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def drawn_beat(heart: HeartVolume, rng: np.random.Generator, lv_volume_ml: float, phase_of_labels: float) -> "Beat":
    """A beat drawn for a labelled heart; ejection fractions that its shape does not allow are lowered."""
    parameters = BeatParameters.drawn(rng, lv_volume_ml, phase_of_labels)
    while True:
        beat = Beat(heart, parameters, phase_of_labels)
        try:
            for phase in (0.0, beat.timing.end_systole):
                beat.state(phase)
        except CavityCloses as closing:
            parameters = parameters.eased(closing.name)
        else:
            return beat


class Beat:
    """Contraction of one labelled heart at every phase, so that its volumes are those asked for.

    Parameters
    ----------
    heart
        Labels and shells.
    parameters
        How it beats.
    phase_of_labels
        Cardiac phase at which the labels show it.
    """

    def __init__(self, heart: HeartVolume, parameters: BeatParameters, phase_of_labels: float = 0.0) -> None:
        self.heart, self.parameters, self.phase_of_labels = heart, parameters, phase_of_labels
        self.timing = parameters.timing
        self._label_ejection = self.timing.ejection(phase_of_labels)
        clinical = CLINICAL_OF_STRUCTURE[heart.volume.label]
        shells = heart.shells
        self._sections = [
            self._volume_per_level(clinical == number, low, high)
            for number, low, high in ((1, None, shells.endo), (2, None, None), (3, shells.epi, shells.free))
        ]
        lv, _, rv = self.label_volumes_ml
        self.lv_edv_ml = lv / (1.0 - parameters.lv_ejection_fraction * self._label_ejection)
        self.rv_edv_ml = rv / (1.0 - parameters.rv_ejection_fraction * self._label_ejection)
        self._motions: dict[float, ShellMotion] = {}

    def _volume_per_level(
        self, mask: NDArray[np.bool_], low: NDArray | None, high: NDArray | None
    ) -> NDArray[np.float64]:
        """(2, levels) ml in every row of the shells' tables: within the shells `low` and `high`, and the rest.

        The shells are smooth and the labels are not, so a bit of a pool lies outside its shells and keeps its volume.
        """
        shells, volume = self.heart.shells, self.heart.volume
        at = volume.cell_centres(mask)
        levels = np.floor((at[:, 2] - shells.start_mm) / shells.step_mm)
        rows = np.clip(levels, 0, len(shells.endo) - 1).astype(np.int64)
        angles = shells.endo.shape[1]
        columns = np.rint(np.arctan2(at[:, 1], at[:, 0]) * (angles / (2 * np.pi))).astype(np.int64) % angles
        squared = at[:, 0] ** 2 + at[:, 1] ** 2
        within = np.ones(len(at), dtype=bool)
        if low is not None:
            within &= squared >= low[rows, columns]
        if high is not None:
            within &= squared < high[rows, columns]
        per_row = [np.bincount(rows[part], minlength=len(shells.endo)) for part in (within, ~within)]
        return np.asarray(per_row, dtype=np.float64) * (volume.voxel_mm3 / 1000.0)

    @property
    def label_volumes_ml(self) -> tuple[float, float, float]:
        """LV pool, LV myocardium and RV pool as labelled."""
        lv, wall, rv = (float(s.sum()) for s in self._sections)
        return lv, wall, rv

    def state(self, phase: float) -> Contraction:
        """Contraction at cardiac `phase`, relative to the labels."""
        if phase == self.phase_of_labels:
            return Contraction()
        p = self.parameters
        e, was = self.timing.ejection(phase), self._label_ejection
        stretch = (1.0 - p.longitudinal_shortening * e) / (1.0 - p.longitudinal_shortening * was)
        twist = np.deg2rad(p.torsion_deg) * (self.timing.twist(phase) - self.timing.twist(self.phase_of_labels))
        # The volumes are linear in the two areas: measure them at two values and solve.
        low = ShellMotion(self.heart.shells, Contraction(stretch, 0.25, 0.25, 0.0))
        high = ShellMotion(self.heart.shells, Contraction(stretch, 1.0, 1.0, 0.0))
        areas = []
        for section, wanted, jacobian in (
            (self._sections[0], self.lv_edv_ml * (1.0 - p.lv_ejection_fraction * e), "lv"),
            (self._sections[2], self.rv_edv_ml * (1.0 - p.rv_ejection_fraction * e), "rv"),
        ):
            if section.sum() <= 0:
                areas.append(1.0)
                continue
            a = float(section[0] @ low.pool_jacobian(jacobian == "lv") + section[1].sum())
            b = float(section[0] @ high.pool_jacobian(jacobian == "lv") + section[1].sum())
            area = 0.25 + 0.75 * (wanted - a) / (b - a)
            if area < 0.02:
                raise CavityCloses(
                    f"{jacobian}_ejection_fraction",
                    f"an ejection fraction of {getattr(p, jacobian + '_ejection_fraction'):.2f} with a longitudinal "
                    f"shortening of {p.longitudinal_shortening:.2f} closes the {jacobian.upper()} of this label map; "
                    "lower the ejection fraction",
                )
            areas.append(area)
        return Contraction(stretch, areas[0], areas[1], float(twist))

    def volume_ratios(self, phase: float) -> tuple[float, float]:
        """Volumes of the LV and RV pools at `phase` over those of the label map."""
        p, e, was = self.parameters, self.timing.ejection(phase), self._label_ejection
        lv, rv = ((1.0 - f * e) / (1.0 - f * was) for f in (p.lv_ejection_fraction, p.rv_ejection_fraction))
        return lv, rv

    def motion(self, phase: float) -> ShellMotion:
        """The map between the labels' moment and cardiac `phase`."""
        known = self._motions
        if phase not in known:
            # Slices are scanned by several threads: a new dictionary is put in place at once, never changed.
            recent = dict(list(known.items())[-63:])
            recent[phase] = ShellMotion(self.heart.shells, self.state(phase))
            self._motions = known = recent
        return known[phase]

    @property
    def function(self) -> CardiacFunction:
        """True function by the model: the volumes of the smooth labels, moved in closed form."""
        p = self.parameters
        rv = self.rv_edv_ml if self._sections[2].sum() > 0 else None
        mass = float(self._sections[1].sum()) * MYOCARDIAL_DENSITY_G_PER_ML
        return CardiacFunction(
            self.lv_edv_ml,
            self.lv_edv_ml * (1.0 - p.lv_ejection_fraction),
            mass,
            rv,
            None if rv is None else rv * (1.0 - p.rv_ejection_fraction),
        )
