"""The torso around a heart: which structure every point of the trunk belongs to, and how it breathes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.anatomy.noise import uniform_field
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.torso.abdomen import Abdomen
from CMRSimExtension.anatomy.torso.breathing import Breathing
from CMRSimExtension.anatomy.torso.compartments import (
    DIAPHRAGM,
    DIAPHRAGM_THICKNESS,
    LIVER_FLOOR,
    LUNG_FLOOR,
    PLEURA_LEFT,
    PLEURA_RIGHT,
    Compartments,
)
from CMRSimExtension.anatomy.torso.great_vessels import Landmarks, Tubes
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import PericardialSac, check_orientation
from CMRSimExtension.anatomy.torso.spine import Spine
from CMRSimExtension.anatomy.torso.vessel_tree import Branches, VesselVolume, grow_tree
from CMRSimExtension.anatomy.torso.wall import CAVITY, CORE_MARGIN_MM, SKIN_OUTER, Wall
from CMRSimExtension.errors import InputError

_CHUNK = 32768
_NOISE_SEED = 20
_FUSED_MM = 2.5
"""Heart and diaphragm that are closer than this have no fat between them."""


class Torso:
    """A trunk built around a given heart.

    Torso coordinates are RAS millimetres shifted so that x = 0 is the midline, y = 0 the middle of the chest cavity
    and z = 0 the heart's centre. The heart itself is not part of it: what lies in the pericardial sac is called
    mediastinal fat here, and whoever owns the heart overrides it.

    Parameters
    ----------
    parameters
        The person.
    heart_frame
        Where the heart is and how it lies; the chest is moved, and if need be widened, to fit around it.
    heart_radius_mm
        Radius of the ball with the volume of the pericardial sac (ventricles, atria, roots of the great vessels);
        about 0.61 LV lengths in a healthy heart.
    seed
        Of everything that is irregular: outlines, vessels, bowel.

    pericardium
        Tells of RAS points (n, 3) whether they lie in the sac at end diastole; lungs and diaphragm then fit the heart
        closely. An ellipsoid of `heart_radius_mm` without it.

    Raises
    ------
    InputError
        If the heart lies in a way that no chest can be built around, or its size is no heart's.
    """

    def __init__(
        self,
        parameters: TorsoParameters,
        heart_frame: HeartFrame,
        heart_radius_mm: float,
        seed: int,
        *,
        pericardium: Callable[[NDArray[np.float64]], NDArray[np.bool_]] | None = None,
    ) -> None:
        check_orientation(heart_frame)
        if not 10.0 <= heart_radius_mm <= 120.0:
            raise InputError(f"heart_radius_mm is {heart_radius_mm}; it must lie between 10 and 120")
        self.parameters = parameters
        self.heart_frame = heart_frame
        self.heart_radius_mm = float(heart_radius_mm)
        self.seed = int(seed)
        p, s = parameters, parameters.body_scale
        streams = [np.random.default_rng(q) for q in np.random.SeedSequence(self.seed).spawn(7)]
        sac = PericardialSac.of(heart_frame, self.heart_radius_mm, pericardium)
        low, high = sac.extent_mm()

        # A heart too big for the drawn chest makes the chest deeper and wider (as big hearts do in children).
        left = p.heart_left_mm
        half_depth = max(p.chest_half_depth_mm, 0.5 * (high[1] - low[1] + 44.0 * s))
        half_width = max(p.chest_half_width_mm, left - low[0] + 14.0 * s, 1.30 * half_depth)
        spine_front = -half_depth + 38.0 * s
        self.half_width_mm, self.half_depth_mm = float(half_width), float(half_depth)
        # One volume for all torsos, looked up at a place of this torso's own.
        noise = uniform_field(_NOISE_SEED, 1.6)
        self._wall = Wall.build(p, half_width, half_depth, spine_front, noise, streams[1])
        forward = self._heart_forward(sac, -left, spine_front - float(low[1]) - 2.0 * s)
        sac_centre = np.array([-left, forward, 0.0])
        self._origin = sac.centre_ras - sac_centre
        self._heart_centre = sac.centre_ras
        self._spine = Spine.build(p, spine_front - 14.5 * s, streams[2])
        self._spine_front_mm = float(self._spine.line[:, 1].max() + 1.4 * self._spine.half_depth_mm)
        self._floor = Compartments.build(p, half_width, half_depth, spine_front, sac, sac_centre, streams[3])
        lowest = float(low[2])
        ras_to_torso = -self._origin
        valve = np.asarray(heart_frame.aortic_valve_mm, dtype=float) + ras_to_torso
        length = heart_frame.lv_length_mm

        def at_heart(x: float, y: float, z: float) -> NDArray[np.float64]:
            return heart_frame.to_ras(np.array([[x, y, z]]) * length)[0] + ras_to_torso

        left_atrium = at_heart(-0.02, -0.05, -0.25)
        hila_y = spine_front + 30.0 * s
        marks = Landmarks(
            valve,
            at_heart(-0.46, -0.08, -0.18),
            left_atrium,
            valve + s * np.array([-20.0, 14.0, 6.0]),
            np.array([44.0 * s, hila_y, valve[2] + 24.0 * s]),
            np.array([-46.0 * s, hila_y - 4.0 * s, valve[2] + 30.0 * s]),
            lowest - 12.0 * s,
        )
        # The thymus fills the front of the upper mediastinum until it turns to fat after puberty.
        self._thymus_from_mm = 40.0 * s if p.age_years < 20.0 else None
        self._tubes = Tubes.build(p, self._spine, marks, streams[4])
        self._lung_vessels = self._grow_lung_vessels(marks, streams[5])
        liver_vessels = self._grow_liver_vessels(streams[5])
        self._abdomen = Abdomen.build(
            p, half_width, half_depth, self._floor, self._spine, liver_vessels, noise, streams[6]
        )
        self._breathing = Breathing(
            p.diaphragm_excursion_mm,
            p.chest_expansion_mm,
            half_width,
            half_depth,
            -half_depth - 45.0 * s,
            self._spine.column_mm(),
            (-left, float(forward), 1.25 * self.heart_radius_mm),
            (-330.0 * s, -200.0 * s, min(float(high[2]), 70.0 * s), 175.0 * s),
        )
        # Everything beyond this box is air.
        table = self._wall.table.values[:, SKIN_OUTER]
        self._reach = float(table.max())
        arm = self._arm_radius()
        self._arm_x = float(self._widest_skin() + arm + 3.0)
        self._half_extent = max(self._reach, self._arm_x + 1.4 * arm if p.arms else 0.0) + 2.0

    @property
    def origin_mm(self) -> NDArray[np.float64]:
        """(3,) RAS position of the origin of torso coordinates: midline, middle of the chest, height of the heart."""
        return self._origin.copy()

    def describe(self) -> dict[str, Any]:
        """What builds this torso again (beside the heart frame), as JSON-able values."""
        return {"parameters": self.parameters.as_dict(), "heart_radius_mm": self.heart_radius_mm, "seed": self.seed}

    def rest_mm(self, points_mm: NDArray[np.floating], respiratory_phase: float) -> NDArray[np.floating]:
        """Where the tissue now at `points_mm` (n, 3) RAS was at end expiration (phase 0)."""
        local = np.asarray(points_mm) - self._origin
        return self._breathing.rest(local, respiratory_phase) + self._origin

    def current_mm(self, rest_mm: NDArray[np.floating], respiratory_phase: float) -> NDArray[np.floating]:
        """Where the tissue that is at `rest_mm` (n, 3) RAS at end expiration has gone: the inverse of `rest_mm`."""
        local = np.asarray(rest_mm, dtype=np.float64) - self._origin
        return self._breathing.current(local, respiratory_phase) + self._origin

    def heart_shift_mm(self, respiratory_phase: float) -> NDArray[np.float64]:
        """(3,) RAS way of the heart's centre from end expiration to `respiratory_phase`."""
        centre = self._heart_centre[None]
        return (self.current_mm(centre, respiratory_phase) - centre)[0]

    def sample(self, points_mm: NDArray[np.floating], respiratory_phase: float = 0.0) -> NDArray[np.uint8]:
        """(n,) `Structure` numbers of points (n, 3) RAS; `OUTSIDE` is the air around the body."""
        points = np.asarray(points_mm)
        out = np.empty(len(points), dtype=np.uint8)
        origin = self._origin
        for first in range(0, len(points), _CHUNK):
            part = points[first : first + _CHUNK]
            local = (part - origin).astype(np.float32)
            if respiratory_phase:
                local = self._breathing.rest(local, respiratory_phase).astype(np.float32)
            x, y, z = np.ascontiguousarray(local.T)
            out[first : first + _CHUNK] = self._classify(x, y, z)
        return out

    def _classify(self, x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.uint8]:
        out = np.zeros(len(x), dtype=np.uint8)
        near = np.flatnonzero((np.abs(x) < self._half_extent) & (np.abs(y) < self._reach))
        if len(near) == 0:
            return out
        if len(near) < len(x):
            out[near] = self._trunk(x[near], y[near], z[near])
            return out
        return self._trunk(x, y, z)

    def _trunk(self, x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.uint8]:
        out = np.zeros(len(x), dtype=np.uint8)
        inside, air = self._wall.core.sort(x, y, z)
        if self.parameters.arms:
            at = np.flatnonzero(air & (np.abs(x) > self._arm_x - 2.6 * self._arm_radius()))
            if len(at):
                out[at] = self._arms(x[at], y[at], z[at])
        wall_mm = np.full(len(x), np.float32(CORE_MARGIN_MM))
        at = np.flatnonzero(~(inside | air))
        if len(at):
            px, py, pz = x[at], y[at], z[at]
            channels = self._wall.look_up(px, py, pz)
            r = np.sqrt(px * px + py * py)
            room = channels[CAVITY] - r
            inside[at] = room > 0
            wall_mm[at] = room
            beyond = r >= channels[SKIN_OUTER]
            if self.parameters.arms and beyond.any():
                free = np.flatnonzero(beyond)
                out[at[free]] = self._arms(px[free], py[free], pz[free])
            wall = np.flatnonzero(~beyond & (room <= 0))
            if len(wall):
                out[at[wall]] = self._wall.classify(px[wall], py[wall], pz[wall], r[wall], channels[:, wall])
        core = np.flatnonzero(inside)
        if len(core):
            out[core] = self._cavity(x[core], y[core], z[core], wall_mm[core])
        s = self.parameters.body_scale
        back = np.flatnonzero((np.abs(x) < 42.0 * s) & (y < self._spine_front_mm) & (out > 0) & (out != Structure.SKIN))
        if len(back):
            bone = self._spine.classify(x[back], y[back], z[back])
            hit = bone > 0
            out[back[hit]] = bone[hit]
        return out

    def _cavity(self, x: NDArray, y: NDArray, z: NDArray, wall_mm: NDArray) -> NDArray[np.uint8]:
        floor = self._floor.floor.at(x, y)
        below = floor[DIAPHRAGM] - z
        chest = below < 0
        out = np.empty(len(x), dtype=np.uint8)
        sheet = ~chest & (below < floor[DIAPHRAGM_THICKNESS])
        out[sheet] = Structure.DIAPHRAGM
        at = np.flatnonzero(chest)
        if len(at):
            out[at] = self._chest(x[at], y[at], z[at], floor[LUNG_FLOOR, at])
            # Pericardium and tendon are one where the heart rests on the diaphragm.
            fused = at[(below[at] > -_FUSED_MM) & (z[at] < floor[LUNG_FLOOR, at])]
            out[fused] = Structure.PERICARDIUM
        at = np.flatnonzero(~chest & ~sheet)
        if len(at):
            out[at] = self._abdomen.classify(
                x[at], y[at], z[at], wall_mm[at], (below - floor[DIAPHRAGM_THICKNESS])[at], (z - floor[LIVER_FLOOR])[at]
            )
        s = self.parameters.body_scale
        middle = np.flatnonzero((np.abs(x) < 60.0 * s) & (y < 60.0 * s))
        if len(middle):
            part = out[middle]
            self._tubes.classify(x[middle], y[middle], z[middle], part, np.zeros(len(middle), dtype=bool))
            out[middle] = part
        return out

    def _chest(self, x: NDArray, y: NDArray, z: NDArray, lung_floor: NDArray) -> NDArray[np.uint8]:
        pleurae = self._floor.pleurae.at(y, z)
        above = z > lung_floor
        right, left = above & (x > pleurae[PLEURA_RIGHT]), above & (x < pleurae[PLEURA_LEFT])
        out = np.full(len(x), Structure.MEDIASTINAL_FAT, dtype=np.uint8)
        out[right] = Structure.LUNG_RIGHT
        out[left] = Structure.LUNG_LEFT
        lung = np.flatnonzero(right | left)
        if len(lung):
            vessel = self._lung_vessels.inside(x[lung], y[lung], z[lung])
            out[lung[vessel]] = Structure.LUNG_VESSEL
        if self._thymus_from_mm is not None:
            front = np.flatnonzero(~(right | left) & (y > 0.40 * self.half_depth_mm) & (z > self._thymus_from_mm))
            out[front] = Structure.THYMUS
        self._tubes.classify_chains(x, y, z, out)
        return out

    def _heart_forward(self, sac: PericardialSac, x_mm: float, least_mm: float) -> float:
        """y of the heart's centre at which it touches the front of the chest (but not less than `least_mm`)."""
        surface = sac.surface_mm()
        x, z = (surface[:, 0] + x_mm).astype(np.float32), surface[:, 2].astype(np.float32)
        near, far = least_mm, least_mm + self.half_depth_mm
        for _ in range(12):
            middle = 0.5 * (near + far)
            y = (surface[:, 1] + middle).astype(np.float32)
            room = self._wall.look_up(x, y, z)[CAVITY] - np.hypot(x, y)
            front = room[y > 0]
            # One part in fifty of the ellipsoid may graze the wall: real hearts are flattened there.
            if front.size and np.quantile(front, 0.02) < 1.0:
                far = middle
            else:
                near = middle
        return near

    # Arms: beside the trunk, from the shoulder down.
    def _arm_radius(self) -> float:
        p = self.parameters
        return p.body_scale * 30.0 + 0.55 * p.muscle_mm + 0.6 * p.subcutaneous_fat_mm

    def _widest_skin(self) -> float:
        a, b = self._wall.table.shape
        table = self._wall.table.values[:, SKIN_OUTER].reshape(a, b)
        z = self._wall.table.start[1] + self._wall.table.step[1] * np.arange(b)
        low = np.abs(z) < 110.0 * self.parameters.body_scale
        return float(max(table[a // 4][low].max(), table[3 * a // 4][low].max()))

    def _arms(self, x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.uint8]:
        p, s = self.parameters, self.parameters.body_scale
        radius = self._arm_radius()
        out = np.zeros(len(x), dtype=np.uint8)
        # The upper arm leans in towards the shoulder.
        centre = self._arm_x - 0.0030 / s * np.square(np.clip(z - 30.0 * s, 0.0, 130.0 * s))
        scale = 1.0 + 0.10 * np.clip((z + 60.0 * s) / (150.0 * s), -1.0, 1.0)
        over = np.clip(z - 138.0 * s, 0.0, None)
        aside = np.abs(x) - centre
        r = np.sqrt(aside**2 + ((y + 18.0 * s) * 0.86) ** 2 + over * over) / scale
        skin = radius - 1.8
        fat = skin - 0.6 * p.subcutaneous_fat_mm - 1.0
        out[r < radius] = Structure.SKIN
        out[r < skin] = Structure.BODY_FAT
        out[r < fat] = Structure.MUSCLE
        bone = np.hypot(aside, y + 16.0 * s) / s
        out[(bone < 10.5) & (r < fat)] = Structure.BONE_CORTEX
        out[(bone < 7.0) & (r < fat)] = Structure.BONE_MARROW
        return out

    def _grow_lung_vessels(self, marks: Landmarks, rng: np.random.Generator) -> VesselVolume:
        p, s = self.parameters, self.parameters.body_scale
        a, b = self.half_width_mm, self.half_depth_mm
        low = np.array([-a - 4.0, -b - 4.0, -100.0 * s])
        high = np.array([a + 4.0, b + 4.0, 170.0 * s])
        trees = []
        for hilum, side in ((marks.hilum_right, 1.0), (marks.hilum_left, -1.0)):
            for drop, tip in ((0.0, 1.10), (-16.0 * s, 1.03)):
                tips = rng.uniform(low, high, (1100, 3))
                tips = tips[tips[:, 0] * side > 0]
                x, y, z = tips.T.astype(np.float32)
                wall = self._wall.look_up(x, y, z)[CAVITY] - np.hypot(x, y)
                above = z - self._floor.floor.at(x, y)[DIAPHRAGM]
                pleura = self._floor.pleurae.at(y, z)
                out = x - pleura[PLEURA_RIGHT] if side > 0 else pleura[PLEURA_LEFT] - x
                tips = tips[(wall > 5) & (above > 4) & (out > 3)]
                if len(tips) > 8:
                    root = hilum + np.array([side * 4.0 * s, 0.0, drop])
                    trees.append(grow_tree(rng, root, tips, tip * p.lung_vessel_scale * s**0.5, 6.5 * s, fan=5))
        return VesselVolume.paint(Branches.join(trees), low, high, 1.5)

    def _grow_liver_vessels(self, rng: np.random.Generator) -> VesselVolume:
        s = self.parameters.body_scale
        a, b = self.half_width_mm, self.half_depth_mm
        top = self._floor.right_dome_mm
        low = np.array([-0.75 * a, -b, top - self.parameters.liver_span_mm - 10.0])
        high = np.array([a, b, top + 4.0])
        tips = rng.uniform(low, high, (500, 3))
        x, y, z = tips.T.astype(np.float32)
        floor = self._floor.floor.at(x, y)
        wall = self._wall.look_up(x, y, z)[CAVITY] - np.hypot(x, y)
        tips = tips[(wall > 8) & (floor[DIAPHRAGM] - z > 8) & (z - floor[LIVER_FLOOR] > 6)]
        half = len(tips) // 2
        spine_x, spine_y = self._spine.centre_at(top - 30.0 * s)
        vena_cava = np.array([spine_x + 24.0 * s, spine_y + 38.0 * s, top - 26.0 * s])
        portal = np.array([spine_x + 26.0 * s, spine_y + 60.0 * s, top - 95.0 * s])
        trees = [grow_tree(rng, vena_cava, tips[:half], 2.0 * s**0.5, 5.5 * s, fan=2)]
        trees.append(grow_tree(rng, portal, tips[half:], 1.8 * s**0.5, 6.0 * s, fan=2))
        return VesselVolume.paint(Branches.join(trees), low, high, 2.0)
