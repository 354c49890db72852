"""Where the heart lies in a label image, and where that puts it in a body."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE
from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.anatomy.torso.placement import FRONTAL_ANGLE_DEG, TRANSVERSE_ANGLE_DEG, heart_axes
from CMRSimExtension.errors import InputError

_LEAST_ASPECT = 0.4
"""Smallest over middle extent of an LV: about 1, for its cross-section is round; three slices of it reach 0.5."""
_PLAUSIBLE_DEG = 65.0
"""Real hearts lie within about 45 degrees of the usual axes; a nominal affine is off by a right angle or so."""


@dataclass(frozen=True)
class LabelledHeart:
    """Voxel positions of the three clinical classes, and how the slices lie.

    Attributes
    ----------
    blood_mm, wall_mm, right_mm
        (n, 3) RAS centres of LV blood, LV myocardium and RV blood voxels.
    slice_normal
        Unit vector across the slices where they are thick (short-axis stacks), else None.
    slice_distance_mm
        Distance between slices.
    """

    blood_mm: NDArray[np.float64]
    wall_mm: NDArray[np.float64]
    right_mm: NDArray[np.float64]
    slice_normal: NDArray[np.float64] | None
    slice_distance_mm: float


def _cross_sections(along: NDArray, step: float) -> tuple[NDArray[np.int64], int]:
    index = np.floor((along - along.min()) / step + 1e-6).astype(np.int64)
    return index, int(index.max()) + 1


def long_axis(heart: LabelledHeart) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A point on the LV long axis and its direction from base to apex.

    A line through the centroids of the LV's cross-sections (weighted by their area), starting from the slice normal of
    a thick stack or else from the first principal axis, and repeated until it settles.
    """
    solid = np.concatenate([heart.blood_mm, heart.wall_mm])
    centre = solid.mean(axis=0)
    if heart.slice_normal is not None:
        direction = heart.slice_normal.copy()
    else:
        direction = np.linalg.svd(solid[:: max(1, len(solid) // 20000)] - centre, full_matrices=False)[2][0]
    step = heart.slice_distance_mm if heart.slice_normal is not None else max(4.0, heart.slice_distance_mm)
    for _ in range(1 if heart.slice_normal is not None else 4):
        along = (solid - centre) @ direction
        index, count = _cross_sections(along, step)
        area = np.bincount(index, minlength=count).astype(float)
        middles = (
            np.stack([np.bincount(index, solid[:, a], count) for a in range(3)], axis=1) / np.maximum(area, 1)[:, None]
        )
        # The last sections at both ends are cut obliquely and pull the line sideways.
        used = area > 0.4 * area.max()
        if used.sum() < 3:
            break
        weight = area[used] / area[used].sum()
        mean = weight @ middles[used]
        moved = (middles[used] - mean) * np.sqrt(weight)[:, None]
        fitted = np.linalg.svd(moved, full_matrices=False)[2][0]
        fitted *= np.sign(fitted @ direction) or 1.0
        # A short stack gives a poor line: never let it tilt more than 20 degrees from where it started.
        if heart.slice_normal is not None and fitted @ heart.slice_normal < np.cos(np.deg2rad(20)):
            break
        direction, centre = fitted, mean
    return centre, direction * _towards_apex(heart, centre, direction)


def _towards_apex(heart: LabelledHeart, centre: NDArray, direction: NDArray) -> float:
    """+1 if `direction` runs from base to apex, else -1: the RV lies basally, and the cavity narrows to the apex."""
    blood = (heart.blood_mm - centre) @ direction
    wall = (heart.wall_mm - centre) @ direction
    length = max(float(np.ptp(np.concatenate([blood, wall]))), 1.0)
    vote = (float(blood.mean()) - float(wall.mean())) / length * 4.0
    low, high = np.percentile(np.concatenate([blood, wall]), [20, 80])
    vote += (np.sum(blood > high) - np.sum(blood < low)) / max(len(blood), 1)
    if len(heart.right_mm):
        vote += (
            2.0 * float(((heart.right_mm - centre) @ direction).mean() - 0.5 * (blood.mean() + wall.mean())) / length
        )
    return -1.0 if vote > 0 else 1.0


def heart_frame_of(
    heart: LabelledHeart, apex_cap_mm: float = 5.0, septum_direction: NDArray | None = None
) -> HeartFrame:
    """Find the heart's own coordinate system from its labels.

    Parameters
    ----------
    heart
        The labelled voxels.
    apex_cap_mm
        How far the wall goes on beyond the centre of the last labelled slice.
    septum_direction
        (3,) direction from LV to septum, used when there is no RV label.

    Raises
    ------
    InputError
        If the LV is too short to have a direction, or flat.
    """
    solid = np.concatenate([heart.blood_mm, heart.wall_mm])
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(solid.T)))  # ascending
    if spread[0] < _LEAST_ASPECT * spread[1]:
        flat, wide = 4.0 * spread[:2]
        raise InputError(
            f"the labelled LV is about {wide:.0f} mm wide and only {flat:.0f} mm thick, as no ventricle is: the voxel "
            f"sizes in the file (slices {heart.slice_distance_mm:g} mm apart) are probably wrong; repair its header"
        )
    centre, z = long_axis(heart)
    along = (solid - centre) @ z
    wall_along = (heart.wall_mm - centre) @ z
    if np.ptp(along) < 15.0:
        raise InputError(
            f"the labelled LV is only {np.ptp(along):.0f} mm long along its axis; at least 15 mm (three slices) are "
            "needed to find its base and apex: give a stack that covers the ventricle"
        )
    half = 0.5 * heart.slice_distance_mm
    base = float(np.percentile(wall_along, 0.5)) - half
    apex = float(along.max()) + apex_cap_mm
    origin = centre + base * z
    if len(heart.right_mm):
        right = heart.right_mm - centre
        toward_septum = (right - np.outer(right @ z, z)).mean(axis=0)
    elif septum_direction is not None:
        toward_septum = septum_direction - (septum_direction @ z) * z
    else:
        raise InputError("there is no RV label and no septum direction, so the heart's rotation is unknown")
    x = -toward_septum / np.linalg.norm(toward_septum)
    axes = np.stack([x, np.cross(z, x), z])
    length = apex - base
    if len(heart.right_mm):
        level = (heart.right_mm - origin) @ z
        middle = np.abs(level - 0.4 * length) < max(0.2 * length, half)
        rv_centre = (heart.right_mm[middle] if middle.any() else heart.right_mm).mean(axis=0)
    else:
        rv_centre = origin - 45.0 * x + 0.4 * length * z
    near_base = np.abs(along - base) < 0.25 * length
    radius = float(np.sqrt(np.mean(np.sum(((solid - origin)[near_base] @ axes[:2].T) ** 2, axis=1)) * 2.0))
    aortic = origin + axes.T @ np.array([-0.42 * radius, 0.38 * radius, -4.0])
    return HeartFrame(origin, axes, length, rv_centre, aortic)


def turn_from_usual_deg(axes: NDArray) -> float:
    """Angle of the rotation between these heart axes (rows, RAS) and the usual orientation in the chest."""
    usual = heart_axes(FRONTAL_ANGLE_DEG[0], TRANSVERSE_ANGLE_DEG[0], 0.0)
    return float(np.degrees(np.arccos(np.clip((np.trace(axes @ usual.T) - 1.0) / 2.0, -1.0, 1.0))))


@dataclass(frozen=True)
class Placement:
    """Where a label image was put.

    Attributes
    ----------
    affine_ras
        (4, 4): (i, j, k, 1) to RAS mm of the body.
    frame
        The heart's own coordinates in the body.
    file_to_body
        (4, 4): RAS mm of the file to those of the body; identity where the file was believed.
    nominal
        Whether the file's orientation could not be a patient's, so that the heart was laid as hearts usually lie.
    mirrored
        Whether the file's affine mirrored the heart and was turned right.
    """

    affine_ras: NDArray[np.float64]
    frame: HeartFrame
    file_to_body: NDArray[np.float64]
    nominal: bool
    mirrored: bool

    def as_dict(self) -> dict[str, Any]:
        """For the sidecar."""
        return {
            "affine_ras": self.affine_ras.tolist(),
            "file_to_body": self.file_to_body.tolist(),
            "orientation": "nominal in the file; laid as hearts usually lie" if self.nominal else "as in the file",
            "mirrored_in_file": self.mirrored,
        }


def labelled_heart(
    structures: NDArray[np.uint8], affine_ras: NDArray, spacing_kji_mm: tuple[float, ...]
) -> LabelledHeart:
    """The clinical classes' voxels of a (slices, rows, columns) array of `Structure` numbers."""
    clinical = CLINICAL_OF_STRUCTURE[structures]
    k_over_j = spacing_kji_mm[0] / max(spacing_kji_mm[1:])
    positions = []
    for number in (1, 2, 3):
        k, j, i = np.nonzero(clinical == number)
        positions.append(np.stack([i, j, k], axis=-1) @ affine_ras[:3, :3].T + affine_ras[:3, 3])
    normal = affine_ras[:3, 2] / spacing_kji_mm[0] if k_over_j >= 2.0 else None
    return LabelledHeart(positions[0], positions[1], positions[2], normal, spacing_kji_mm[0])


def place_heart(
    structures: NDArray[np.uint8],
    affine_ras: NDArray[np.floating],
    spacing_kji_mm: tuple[float, float, float],
    *,
    orientation: Literal["auto", "file"] = "auto",
    mirrored: bool | None = None,
) -> Placement:
    """Find the heart, and lay it into a body.

    The affines of published challenge data (ACDC, M&Ms) are nominal: they put the long axis upright, and since they are
    right-handed while the slices run from base to apex of images seen from the apex, they mirror the heart. With
    ``orientation="auto"`` a heart that lies more than 65 degrees from the usual orientation counts as nominal and is
    laid as hearts usually lie; with ``mirrored=None`` it also counts as mirrored if its slices run from base to apex in
    a right-handed affine (or the other way in a left-handed one), as images seen from the apex never do.

    Parameters
    ----------
    structures
        (slices, rows, columns) `Structure` numbers.
    affine_ras
        (4, 4), (i, j, k, 1) to RAS mm as the file says.
    spacing_kji_mm
        Voxel distances.
    orientation, mirrored
        See above; ``orientation="file"`` and ``mirrored=False`` believe the file.
    """
    if orientation not in ("auto", "file"):
        raise InputError(f"orientation is {orientation!r}; it must be 'auto' or 'file'")
    affine = np.asarray(affine_ras, dtype=np.float64)
    heart = labelled_heart(structures, affine, spacing_kji_mm)
    cap = float(np.clip(0.95 * spacing_kji_mm[0], 3.0, 11.0))
    # Without an RV label the septum is taken to face the patient's right and front.
    septum = np.array([0.8, 0.6, 0.0])
    frame = heart_frame_of(heart, cap, septum)
    nominal = orientation == "auto" and turn_from_usual_deg(frame.axes) > _PLAUSIBLE_DEG
    if mirrored is None:
        seen_from_apex = np.cross(affine[:3, 0], affine[:3, 1])
        mirrored = bool(nominal and heart.slice_normal is not None and frame.axes[2] @ seen_from_apex > 0)
    transform = np.eye(4)
    if mirrored:
        # Reflect across the plane of base and axis: x (septum to lateral) and z (base to apex) are what labels tell.
        y = frame.axes[1]
        transform[:3, :3] -= 2.0 * np.outer(y, y)
        transform[:3, 3] = 2.0 * (y @ frame.origin_mm) * y
        frame = heart_frame_of(labelled_heart(structures, transform @ affine, spacing_kji_mm), cap, septum)
        if orientation == "auto" and not nominal:
            nominal = turn_from_usual_deg(frame.axes) > _PLAUSIBLE_DEG
    if nominal:
        usual = heart_axes(FRONTAL_ANGLE_DEG[0], TRANSVERSE_ANGLE_DEG[0], 0.0)
        rotation = usual.T @ frame.axes
        rigid = np.eye(4)
        rigid[:3, :3] = rotation
        rigid[:3, 3] = -rotation @ frame.origin_mm
        # The heart's centre lies left of the midline, where `default_heart_frame` puts it.
        rigid[:3, 3] -= usual.T @ np.array([-0.18, 0.0, 0.40]) * frame.lv_length_mm + np.array([25.0, 0.0, 0.0])
        transform = rigid @ transform
        frame = _moved(frame, rigid)
    return Placement(transform @ affine, frame, transform, nominal, mirrored)


def _moved(frame: HeartFrame, rigid: NDArray) -> HeartFrame:
    rotation, shift = rigid[:3, :3], rigid[:3, 3]
    return HeartFrame(
        rotation @ frame.origin_mm + shift,
        frame.axes @ rotation.T,
        frame.lv_length_mm,
        rotation @ frame.rv_centre_mm + shift,
        rotation @ frame.aortic_valve_mm + shift,
    )


def base_level_mm(
    structures: NDArray[np.uint8],
    affine_ras: NDArray[np.float64],
    spacing_kji_mm: tuple[float, float, float],
    frame: HeartFrame,
) -> float:
    """Level (heart z) at which the labelled LV wall begins: its most basal voxels, and half a slice more."""
    wall = labelled_heart(structures, affine_ras, spacing_kji_mm).wall_mm
    return float(np.percentile(frame.to_heart(wall)[:, 2], 0.5)) - 0.5 * spacing_kji_mm[0]
