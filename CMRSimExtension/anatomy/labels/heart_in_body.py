"""A labelled heart beating in a body: what anatomies from label images and from XCAT have in common."""

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE, TISSUE_OF_STRUCTURE
from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.anatomy.labels.moving_heart import MovingHeart
from CMRSimExtension.anatomy.labels.surroundings import (
    FOLLOWS_THE_HEART,
    Background,
    chest_wall_stays,
    heart_shift_mm,
)
from CMRSimExtension.anatomy.labels.volume import LabelVolume
from CMRSimExtension.anatomy.material import HeartFrame, HeldPoints, Material, Moment
from CMRSimExtension.anatomy.structures import Structure

_CHUNK = 65536


class HeartInBody:
    """Implements `Anatomy` but for `describe`.

    Parameters
    ----------
    frame
        The heart's own coordinates.
    heart
        Labels and motion.
    background
        What lies around it; None for nothing.
    tissues
        (256,) tissue of each structure.
    body_at_rest
        Whether `background` fits the heart at end diastole, or else at the labels' own moment.
    """

    def __init__(
        self,
        frame: HeartFrame,
        heart: MovingHeart,
        background: Background | None,
        tissues: NDArray[np.uint8] = TISSUE_OF_STRUCTURE,
        *,
        body_at_rest: bool = True,
    ) -> None:
        self._frame, self._heart, self._background, self._tissues = frame, heart, background, tissues
        self._body_at_rest = body_at_rest
        self._filled: LabelVolume | None = None
        if background is not None:

            def body(at: NDArray[np.float64]) -> NDArray[np.uint8]:
                # Where the body fits the heart at rest, each cell of the label map asks where it would be then.
                return background.sample(frame.to_ras(heart.to_rest(at) if body_at_rest else at), 0.0)

            self._filled = heart.labels.with_background(body).volume

    @property
    def heart_frame(self) -> HeartFrame:
        """The heart's own coordinates in the body."""
        return self._frame

    @property
    def cycle_ms(self) -> float:
        """R-R interval."""
        return self._heart.cycle_ms

    @property
    def function(self) -> CardiacFunction:
        """True function by the model; a still heart has no end systole."""
        return self._heart.function

    def ejection(self, phase: float) -> float:
        """Share of the stroke volume that has left the ventricles at cardiac `phase`."""
        return self._heart.ejection(phase)

    def sample(self, points_mm: NDArray[np.floating], moment: Moment, *, rest: bool = True) -> Material:
        """What lies at `points_mm`, (n, 3) RAS of the body, at `moment`.

        The heart moves with breathing as a whole; the body around it breathes, and near the heart follows its beat.
        """
        points = np.asarray(points_mm)
        if len(points) <= _CHUNK:
            return self._sample(points, moment, rest)
        # In pieces, so that temporary arrays stay small.
        parts = [self._sample(points[i : i + _CHUNK], moment, rest) for i in range(0, len(points), _CHUNK)]
        return Material(
            np.concatenate([p.structure for p in parts]),
            np.concatenate([p.tissue for p in parts]),
            np.concatenate([p.clinical for p in parts]),
            np.concatenate([p.rest_mm for p in parts if p.rest_mm is not None]) if rest else None,
        )

    def _sample(self, points: NDArray[np.floating], moment: Moment, rest: bool) -> Material:
        frame, breath = self.heart_frame, moment.respiratory
        heart_mm = frame.to_heart(points - heart_shift_mm(self._background, breath))
        structure, ground, relaxed = self._heart.sample(
            heart_mm, moment.cardiac, rest=True, volume=None if breath else self._filled
        )
        assert relaxed is not None
        rest_mm = frame.to_ras(relaxed)
        beside = np.flatnonzero(~FOLLOWS_THE_HEART[structure])
        if self._background is not None and beside.size:
            breathed = points[beside] - frame.to_ras(heart_mm[beside])
            drawn_at = rest_mm[beside] if self._body_at_rest else frame.to_ras(ground[beside])
            structure[beside], stays = self._around(structure[beside], points[beside], drawn_at + breathed, breath)
            moved = np.where(stays[:, None], points[beside], rest_mm[beside] + breathed)
            rest_mm[beside] = self._background.rest_mm(moved, breath)
        tissue, clinical = self._tissues[structure], CLINICAL_OF_STRUCTURE[structure]
        return Material(structure, tissue, clinical, rest_mm if rest else None)

    def _around(
        self, structure: NDArray[np.uint8], points: NDArray, moved: NDArray, breath: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Structures beside the heart at `points`, and which of them do not follow it.

        `moved` is where the body has what follows the heart, `structure` what that gives (0: not known).
        """
        assert self._background is not None
        unknown = np.flatnonzero(structure == Structure.OUTSIDE)
        structure[unknown] = self._background.sample(moved[unknown], breath)
        stays = np.zeros(len(points), dtype=bool)
        pushed = np.flatnonzero(np.abs(moved - points).max(axis=1) > 1e-9)
        if pushed.size:
            unmoved = self._unmoved(points[pushed], breath)
            stays[pushed], structure[pushed] = chest_wall_stays(structure[pushed], unmoved)
        return structure, stays

    def _unmoved(self, points: NDArray, breath: float) -> NDArray[np.uint8]:
        """What the body has at `points` before the heart moves."""
        assert self._background is not None
        if breath or self._filled is None:
            return self._background.sample(points, breath)
        at = self._frame.to_heart(points)
        found = self._filled.look_up(self._heart.from_rest(at) if self._body_at_rest else at)
        # The fine grid ends near the heart; beyond it, and in air, the body itself is asked.
        unknown = np.flatnonzero(found == Structure.OUTSIDE)
        found[unknown] = self._background.sample(points[unknown], breath)
        return found

    def hold(self, points_mm: NDArray[np.floating], respiratory: float) -> HeldPoints:
        """`sample` for many cardiac phases of the same points: what the beat cannot reach is looked up once."""
        points = np.asarray(points_mm)
        shift = heart_shift_mm(self._background, respiratory)
        moves = self._heart.near(self.heart_frame.to_heart(points - shift))
        still = self.sample(points[~moves], Moment(0.0, respiratory))
        place = np.cumsum(~moves) - 1

        def at(cardiac: float, chosen: NDArray[np.intp] | None = None) -> Material:
            wanted = np.arange(len(points)) if chosen is None else chosen
            moving = moves[wanted]
            found = self.sample(points[wanted[moving]], Moment(cardiac, respiratory))
            resting = place[wanted[~moving]]
            parts = []
            for name in ("structure", "tissue", "clinical", "rest_mm"):
                mine, theirs = getattr(found, name), getattr(still, name)
                both = np.empty((len(wanted), *mine.shape[1:]), dtype=mine.dtype)
                both[moving], both[~moving] = mine, theirs[resting]
                parts.append(both)
            return Material(*parts)

        return at

    def may_move(self, points_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n,) mask of the points whose material may change over the cardiac cycle, at any respiratory phase."""
        points = np.asarray(points_mm)
        reach = np.zeros(len(points), dtype=bool)
        for respiratory in (0.0, 0.25, 0.35, 0.5):
            reach |= self._heart.near(self.heart_frame.to_heart(points - heart_shift_mm(self._background, respiratory)))
        return reach

    def blood_velocity(self, points_mm: NDArray[np.floating], moment: Moment) -> NDArray[np.floating]:
        """(n, 3) mm/s, RAS; zero outside the ventricles' blood."""
        frame = self.heart_frame
        at = frame.to_heart(np.asarray(points_mm) - heart_shift_mm(self._background, moment.respiratory))
        heart = self._heart.blood_velocity(at, moment.cardiac, self.cycle_ms)
        return heart @ frame.axes
