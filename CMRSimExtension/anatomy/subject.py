"""The parametric subject: a beating heart in a breathing torso, from a seed and published ranges."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import TISSUE_OF_STRUCTURE
from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.anatomy.heart.flow import chamber_flow
from CMRSimExtension.anatomy.heart.heart import Heart, HeartState
from CMRSimExtension.anatomy.heart.parameters import HeartParameters, WallPatch
from CMRSimExtension.anatomy.material import HeartFrame, HeldPoints, Material, Moment
from CMRSimExtension.anatomy.reference import draw_heart
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import (
    FRONTAL_ANGLE_DEG,
    ROLL_DEG,
    TRANSVERSE_ANGLE_DEG,
    default_heart_frame,
)
from CMRSimExtension.anatomy.torso.torso import Torso
from CMRSimExtension.errors import InputError

ANGLE_LIMITS_DEG = {"frontal_deg": (0.0, 65.0), "transverse_deg": (10.0, 75.0), "roll_deg": (-45.0, 45.0)}
"""How far a heart may be turned: beyond what is drawn, and within what a chest is built around in every combination
(`torso.placement.check_orientation`)."""


@dataclass(frozen=True)
class SubjectParameters:
    """A whole virtual person: everything that makes this subject, and nothing else.

    Attributes
    ----------
    torso, heart
        The body and the heart in it.
    pathology
        Name of the group the heart was drawn from.
    frontal_deg, transverse_deg, roll_deg
        Orientation of the heart (see `torso.placement`), within `ANGLE_LIMITS_DEG`.
    seed
        Seed of the irregularities of organs.

    Raises
    ------
    InputError
        If the heart is turned further than any.
    """

    torso: TorsoParameters
    heart: HeartParameters
    pathology: str
    frontal_deg: float
    transverse_deg: float
    roll_deg: float
    seed: int

    def __post_init__(self) -> None:
        for name, (low, high) in ANGLE_LIMITS_DEG.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also catches NaN
                raise InputError(f"{name} is {value}; choose an angle from {low:g} to {high:g} degrees")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "SubjectParameters":
        """From what `as_dict` wrote."""
        heart = dict(record["heart"])
        for name, value in heart.items():
            if name == "patches":
                heart[name] = tuple(WallPatch(**patch) for patch in value)
            elif isinstance(value, list):
                heart[name] = tuple(tuple(v) if isinstance(v, list) else v for v in value)
        known = {name: record[name] for name in ("pathology", "frontal_deg", "transverse_deg", "roll_deg", "seed")}
        return cls(torso=TorsoParameters(**record["torso"]), heart=HeartParameters(**heart), **known)


class Subject:
    """A parametric subject; implements `Anatomy`."""

    def __init__(self, parameters: SubjectParameters) -> None:
        self.parameters = p = parameters
        self.heart = Heart(p.heart)
        # The sac must fit the box that a ball of this radius is given: long hearts count by their length, fat ones by
        # their width.
        length = self.heart.lv.apex_mm + self.heart.fade_mm + 14.0
        radius = max(_heart_radius_mm(p.heart), 0.31 * length, 0.6 * self.heart.widest_mm)
        self._frame = default_heart_frame(
            p.torso,
            lv_length_mm=self.heart.lv.apex_mm,
            frontal_deg=p.frontal_deg,
            transverse_deg=p.transverse_deg,
            roll_deg=p.roll_deg,
        )
        self._frame = self._with_landmarks(self._frame)
        self.torso = Torso(
            p.torso,
            self._frame,
            radius,
            p.seed,
            pericardium=lambda points: self.heart.encloses(self._frame.to_heart(points)),
        )
        self._state: HeartState | None = None

    @classmethod
    def random(
        cls,
        seed: int | np.random.SeedSequence,
        *,
        sex: str | None = None,
        age_years: float | None = None,
        height_cm: float | None = None,
        weight_kg: float | None = None,
        edv_ml: float | None = None,
        esv_ml: float | None = None,
        mass_g: float | None = None,
        pathology: str | None = "normal",
        chest_half_width_mm: float | None = None,
        chest_half_depth_mm: float | None = None,
        heart_left_mm: float | None = None,
        frontal_deg: float | None = None,
        transverse_deg: float | None = None,
        roll_deg: float | None = None,
    ) -> "Subject":
        """Draw a subject; what is given is kept, and changes nothing else that is drawn.

        Parameters
        ----------
        seed
            Of all that is drawn; 0 or above.
        sex, age_years, height_cm, weight_kg
            Of the person.
        edv_ml, esv_ml, mass_g
            Of the left ventricle.
        pathology
            Group of the heart; None draws it too, half of them normal.
        chest_half_width_mm, chest_half_depth_mm, heart_left_mm
            Size of the chest, and how far to the left of the midline the heart lies (see `TorsoParameters`). A chest
            that is drawn is made as wide and deep as its heart needs.
        frontal_deg, transverse_deg, roll_deg
            Orientation of the heart: its long axis below the horizontal in the frontal plane, and forward of the
            left-right line in the transverse plane (drawn around 38 and 46); its turn about that axis, where more
            lowers the RV (drawn around -8).

        Raises
        ------
        InputError
            If a value is outside what any body has, two contradict each other (ESV above EDV), or the heart does not
            fit the chest that is given.
        """
        if not isinstance(seed, np.random.SeedSequence):
            if seed < 0:
                raise InputError(f"seed is {seed}; it must be 0 or above")
            seed = np.random.SeedSequence(seed)
        body_seed, heart_seed, pose_seed, group_seed = seed.spawn(4)
        group = np.random.default_rng(group_seed)
        drawn = str(group.choice(["normal", "dcm", "hcm", "minf", "rv", "dmd"], p=[0.5, 0.12, 0.12, 0.12, 0.1, 0.04]))
        disease = drawn if pathology is None else pathology
        drawn_age = float(group.uniform(7.0, 17.0))
        if disease == "dmd":
            # X-linked: boys have it, but for a girl who was asked for.
            sex = sex or "M"
            age_years = drawn_age if age_years is None else age_years
        if edv_ml is not None and esv_ml is not None and esv_ml >= edv_ml:
            raise InputError(f"ESV {esv_ml:g} ml is not below EDV {edv_ml:g} ml: lower esv_ml or raise edv_ml")
        body = TorsoParameters.random(
            np.random.default_rng(body_seed),
            sex=sex,
            age_years=age_years,
            height_cm=height_cm,
            weight_kg=weight_kg,
            chest_half_width_mm=chest_half_width_mm,
            chest_half_depth_mm=chest_half_depth_mm,
            heart_left_mm=heart_left_mm,
        )
        heart = draw_heart(
            np.random.default_rng(heart_seed),
            sex=body.sex,
            age_years=body.age_years,
            body_surface_area_m2=body.body_surface_area_m2,
            pathology=disease,
            lv_edv_ml=edv_ml,
            lv_esv_ml=esv_ml,
            lv_mass_g=mass_g,
        )
        pose = np.random.default_rng(pose_seed)
        angles = np.clip(pose.standard_normal(3), -2.0, 2.0)
        flatter = float(np.clip(12.0 * np.log(body.bmi / 24.0), -4.0, 6.0)) if body.adult else 0.0
        frontal = float(FRONTAL_ANGLE_DEG[0] - flatter + 0.9 * FRONTAL_ANGLE_DEG[1] * angles[0])
        transverse = float(TRANSVERSE_ANGLE_DEG[0] + TRANSVERSE_ANGLE_DEG[1] * angles[1])
        roll = float(ROLL_DEG[0] + ROLL_DEG[1] * angles[2])
        subject = cls(
            SubjectParameters(
                body,
                heart,
                disease,
                frontal if frontal_deg is None else float(frontal_deg),
                transverse if transverse_deg is None else float(transverse_deg),
                roll if roll_deg is None else float(roll_deg),
                int(pose.integers(0, 2**31)),
            )
        )
        subject._check_chest(chest_half_width_mm, chest_half_depth_mm)
        return subject

    def _check_chest(self, half_width_mm: float | None, half_depth_mm: float | None) -> None:
        """Raise where the torso had to be built larger than was asked for."""
        for name, given, built, cure in (
            ("depth", half_depth_mm, self.torso.half_depth_mm, "a smaller heart"),
            ("width", half_width_mm, self.torso.half_width_mm, "a smaller heart, chest_half_depth_mm or heart_left_mm"),
        ):
            if given is not None and given < built:
                # Rounded up, so that the number told is one that fits.
                least = math.ceil(10.0 * built) / 10.0
                raise InputError(
                    f"chest_half_{name}_mm is {given:g}, and the chest around this heart has {least:g} at least; give "
                    f"as much, or {cure}"
                )

    def _with_landmarks(self, frame: HeartFrame) -> HeartFrame:
        """The frame with the RV's centre and the aortic valve where this heart has them."""
        level = 0.4 * self.heart.rv.apex_mm
        row = self.heart.rv.outline(0.0).rest(np.array([level]))[0]
        turn = self.heart.rv.turn_rad
        septum = float(np.sqrt(self.heart.lv.rest_epi[int(0.4 * len(self.heart.lv.levels_mm))].mean()))
        middle = 0.5 * (septum + np.hypot(row[0], row[1]) + row[2])
        rv = np.array([-middle * np.cos(turn), -middle * np.sin(turn), level])
        valve = np.array(self.heart.base.aortic_valve_mm)
        return HeartFrame(
            frame.origin_mm, frame.axes, frame.lv_length_mm, frame.to_ras(rv[None])[0], frame.to_ras(valve[None])[0]
        )

    @property
    def heart_frame(self) -> HeartFrame:
        return self._frame

    @property
    def cycle_ms(self) -> float:
        return self.parameters.heart.cycle_ms

    @cached_property
    def function(self) -> CardiacFunction:
        """True clinical function, by quadrature of the LV's shells and of the RV's outline; the LV's to 1e-6."""
        lv, rv = self.heart.lv, self.heart.rv
        edv, esv, mass = (round(value, 6) for value in (lv.volume_ml(0.0), lv.volume_ml(1.0), lv.mass_g))
        return CardiacFunction(edv, esv, mass, rv.volume_ml(0.0), rv.volume_ml(1.0))

    def ejection(self, phase: float) -> float:
        """Share of the stroke volume that has left the ventricles at cardiac `phase`."""
        return self.heart.timing.ejection(phase)

    def volumes_ml(self, phase: float) -> tuple[float, float]:
        """Clinical LV and RV volume at cardiac `phase`."""
        ejection = self.heart.timing.ejection(phase)
        return self.heart.lv.volume_ml(ejection), self.heart.rv.volume_ml(ejection)

    def _state_at(self, phase: float, dtype: type) -> HeartState:
        held = self._state
        if held is None or held.phase != phase or held.shells.dtype != dtype:
            held = self._state = self.heart.state(phase, dtype)
        return held

    def sample(self, points_mm: NDArray[np.floating], moment: Moment, *, rest: bool = True) -> Material:
        """What lies at `points_mm`, (n, 3) RAS; float32 points are classified in float32, float64 in float64."""
        background = self.torso.sample(points_mm, moment.respiratory)
        breathing = self.torso.rest_mm(points_mm, moment.respiratory) if rest else None
        return self._with_heart(points_mm, moment, background, breathing)

    def _with_heart(
        self, points_mm: NDArray, moment: Moment, background: NDArray[np.uint8], background_rest: NDArray | None
    ) -> Material:
        dtype = points_mm.dtype.type
        state = self._state_at(moment.cardiac, dtype)
        shift = self.torso.heart_shift_mm(moment.respiratory).astype(dtype)
        axes, origin = self._frame.axes.astype(dtype), self._frame.origin_mm.astype(dtype)
        found = self.heart.sample((points_mm - (origin + shift)) @ axes.T, state)
        structure = np.where(found.claimed, found.structure, background)
        rest_mm = background_rest
        known = np.flatnonzero(found.claimed | found.swept)
        at_rest = found.rest[known] @ axes + origin
        if rest_mm is not None:
            rest_mm = rest_mm.copy()
            rest_mm[known] = at_rest
        swept = found.swept[known]
        structure[known[swept]] = self.torso.sample(at_rest[swept] + shift, moment.respiratory)
        clinical = np.where(found.claimed, found.clinical, np.uint8(0))
        return Material(structure, TISSUE_OF_STRUCTURE[structure], clinical, rest_mm)

    def may_move(self, points_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Points that the beating heart may reach at any respiratory phase."""
        reach = np.zeros(len(points_mm), dtype=bool)
        for respiratory in (0.0, 0.25, 0.35, 0.5):
            local = self._frame.to_heart(points_mm - self.torso.heart_shift_mm(respiratory))
            reach |= self.heart.may_move(local.astype(points_mm.dtype))
        return reach

    def hold(self, points_mm: NDArray[np.floating], respiratory: float) -> HeldPoints:
        """See `Anatomy`; the body around the heart is looked up when a point is first asked for."""
        background = np.empty(len(points_mm), dtype=np.uint8)
        breathing = np.empty(points_mm.shape, dtype=self.torso.rest_mm(points_mm[:0], respiratory).dtype)
        known = np.zeros(len(points_mm), dtype=bool)

        def at(cardiac: float, chosen: NDArray[np.intp] | None = None) -> Material:
            new = np.flatnonzero(~known) if chosen is None else chosen[~known[chosen]]
            if new.size:
                background[new] = self.torso.sample(points_mm[new], respiratory)
                breathing[new] = self.torso.rest_mm(points_mm[new], respiratory)
                known[new] = True
            asked: Any = slice(None) if chosen is None else chosen
            moment = Moment(cardiac, respiratory)
            return self._with_heart(points_mm[asked], moment, background[asked], breathing[asked])

        return at

    def blood_velocity(self, points_mm: NDArray[np.floating], moment: Moment) -> NDArray[np.floating]:
        """(n, 3) mm/s, RAS: inflow through the mitral and tricuspid valves, outflow through the arterial ones."""
        local = self._frame.to_heart(points_mm - self.torso.heart_shift_mm(moment.respiratory))
        return chamber_flow(self.heart, local, moment.cardiac) @ self._frame.axes

    def describe(self) -> dict:
        return {"kind": "parametric subject", "parameters": self.parameters.as_dict()}


def _heart_radius_mm(heart: HeartParameters) -> float:
    """Radius of a ball as large as ventricles, walls, atria and fat together."""
    volume = heart.lv_edv_ml + 0.95 * heart.lv_mass_g + 1.25 * heart.rv_edv_ml + 160.0 * heart.atrial_scale**3
    return float(1.08 * (3.0 * volume * 1000.0 / (4.0 * np.pi)) ** (1.0 / 3.0))
