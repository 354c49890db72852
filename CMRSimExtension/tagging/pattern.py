"""The tag pattern in space, and a tagged acquisition: what the scanner sees of tissue by where it was at rest.

Tags are laid at the R wave, when tissue is at its rest position, and stick to the tissue. So the pattern is a function
of the *rest position* alone (`Material.rest_mm`), however far the tissue has moved since.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Material
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import IS_BLOOD, TissueValues
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.tagging.flow import BloodFlow
from CMRSimExtension.tagging.preparation import TagTrain, gradient_area_mt_ms_per_m
from CMRSimExtension.tagging.readout import TagReadout

PatternKind = Literal["grid", "lines"]
MIN_SPACING_PX = 2.0
"""Tags closer than two pixels lie above the Nyquist frequency of the image."""


@dataclass(frozen=True)
class TagPattern:
    """One or two trains of tags.

    Attributes
    ----------
    train
        The preparation, played once per direction (a grid is two trains, with a spoiler between).
    spacing_mm
        Distance of neighbouring tags, 1 / (gamma-bar gradient area). CSPAMM shows two dark lines per spacing, as its
        signal is the magnitude of a modulation that changes sign.
    directions_ras
        (1 or 2, 3) unit vectors, RAS: the gradient directions; the dark lines (planes) are perpendicular to them.
    origin_mm
        (3,) RAS: a point where dark lines cross.
    cspamm
        Complementary SPAMM: difference of acquisitions with the pattern and with the pattern moved by half a spacing.
    """

    train: TagTrain
    spacing_mm: float
    directions_ras: NDArray[np.float64]
    origin_mm: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    cspamm: bool = False

    def __post_init__(self) -> None:
        if not self.spacing_mm > 0:
            raise InputError(f"tag spacing is {self.spacing_mm} mm; it must be above 0")
        directions = np.atleast_2d(np.asarray(self.directions_ras, dtype=np.float64))
        lengths = np.linalg.norm(directions, axis=-1)
        if directions.shape not in ((1, 3), (2, 3)) or np.any(np.abs(lengths - 1) > 1e-6):
            raise InputError(
                f"directions_ras must be one or two unit vectors, shape (1, 3) or (2, 3); got shape {directions.shape}"
                f" with lengths {np.round(lengths, 6).tolist()}"
            )
        origin = np.asarray(self.origin_mm, dtype=np.float64)
        if origin.shape != (3,):
            raise InputError(f"origin_mm must have shape (3,), got {origin.shape}")
        object.__setattr__(self, "directions_ras", directions)
        object.__setattr__(self, "origin_mm", origin)

    @classmethod
    def for_grid(
        cls,
        grid: ImageGrid,
        train: TagTrain,
        spacing_mm: float,
        *,
        pattern: PatternKind = "grid",
        angle_deg: float = 45.0,
        cspamm: bool = False,
    ) -> "TagPattern":
        """The pattern laid in the plane of an image's slices, with crossing lines at the image's centre.

        Parameters
        ----------
        grid
            Image to be tagged.
        train, spacing_mm, cspamm
            As the attributes.
        pattern
            "grid" (two perpendicular sets of lines) or "lines" (one).
        angle_deg
            Angle of the (first) lines to the image's rows, counter-clockwise on a screen that shows row 0 at the top.

        Raises
        ------
        InputError
            The spacing is under two pixels or wider than the image, or the pattern unknown.
        """
        if pattern not in ("grid", "lines"):
            raise InputError(f"tag pattern '{pattern}' is not known; choose grid or lines")
        dx, dy, _ = grid.spacing_mm
        if spacing_mm < MIN_SPACING_PX * max(dx, dy) * (1 - 1e-9):
            pixel = max(dx, dy)
            raise InputError(
                f"tag spacing is {spacing_mm:g} mm, {spacing_mm / pixel:.2f} pixels of {pixel:g} mm; it takes "
                f"{MIN_SPACING_PX:g} pixels to show tags: ask for at least {MIN_SPACING_PX * pixel:g} mm"
            )
        extent = max(dx * grid.shape[2], dy * grid.shape[1])
        if spacing_mm > extent:
            raise InputError(
                f"tag spacing is {spacing_mm:g} mm, more than the image's {extent:g} mm, which would show no tags; ask "
                "for less (4 to 12 mm are usual)"
            )
        right = grid.affine_ras[:3, 0] / dx
        # An image whose axes are not quite perpendicular (sheared affine) still needs a gradient frame that is.
        down = grid.affine_ras[:3, 1] - (grid.affine_ras[:3, 1] @ right) * right
        down /= np.linalg.norm(down)
        angle = np.deg2rad(angle_deg)
        normals = [np.sin(angle) * right + np.cos(angle) * down, np.cos(angle) * right - np.sin(angle) * down]
        slices, rows, columns = grid.shape
        centre = grid.affine_ras @ np.array([(columns - 1) / 2, (rows - 1) / 2, (slices - 1) / 2, 1.0])
        return cls(train, spacing_mm, np.array(normals if pattern == "grid" else normals[:1]), centre[:3], cspamm)

    def phases_rad(self, rest_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """(trains, ...) precession between two sub-pulses, of points (..., 3) RAS at their rest position."""
        wave = (2 * np.pi / self.spacing_mm) * self.directions_ras
        precise = np.asarray(rest_mm)
        phase = np.moveaxis((precise - self.origin_mm.astype(precise.dtype)) @ wave.T.astype(precise.dtype), -1, 0)
        return phase

    def modulation(self, rest_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """(...) longitudinal magnetisation right after the preparation over that before, of points (..., 3) RAS.

        CSPAMM: the tag-bearing difference, product over the trains of half (pattern - shifted pattern); it has no
        part that recovers.
        """
        return self.modulation_of(list(self.phases_rad(rest_mm)))

    def modulation_of(self, phases_rad: list[NDArray[np.floating]]) -> NDArray[np.floating]:
        """The same from the phases of each train, for callers who have them in a cheaper way."""
        result: NDArray[np.floating] | None = None
        for phase in phases_rad:
            one = self.train.profile(phase)
            if self.cspamm:
                one = 0.5 * (one - self.train.profile(phase + phase.dtype.type(np.pi)))
            result = one if result is None else result * one
        if result is None:
            raise InputError("a tag pattern needs the phase of at least one train")
        return result

    @property
    def mean_modulation(self) -> float:
        """Spatial mean of `modulation`: what stirring makes of tagged blood."""
        return 0.0 if self.cspamm else float(self.train.harmonics[0] ** len(self.directions_ras))


@dataclass(frozen=True)
class TaggedAcquisition:
    """A tagging preparation at the R wave, followed by a cine readout: the one object a simulator needs.

    Attributes
    ----------
    pattern, readout, flow
        Where the tags lie, how they fade, how blood loses them.
    pause_ms
        Time without readout before the next R wave, in which tissue recovers; 0 for a readout that never stops.
    """

    pattern: TagPattern
    readout: TagReadout = field(default_factory=TagReadout)
    flow: BloodFlow = field(default_factory=BloodFlow)
    pause_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.pause_ms < 0:
            raise InputError(f"pause_ms is {self.pause_ms}; it must be 0 or more")

    def evolution(
        self,
        time_ms: NDArray[np.floating] | float,
        t1_ms: NDArray[np.floating] | float,
        t2_ms: NDArray[np.floating] | float | None = None,
        *,
        blood: bool = False,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(gain, offset): magnetisation over M0 at `time_ms` is gain x modulation + offset.

        `modulation` is that of `TagPattern.modulation` (for blood stirred by `BloodFlow.modulation`). CSPAMM has no
        offset: it is subtracted away. Before tagging the tissue is in the steady state of the readout (heartbeats
        before this one), plus recovery during the pause.
        """
        if blood:
            retained, recovered = self.flow.evolution(self.readout, self.pattern.mean_modulation, time_ms, t1_ms, t2_ms)
            before = self.flow.before_tagging(self.readout, t1_ms, t2_ms)
        else:
            retained, recovered = self.readout.evolution(time_ms, t1_ms, t2_ms)
            before = self.readout.steady_state(t1_ms, t2_ms)
        before = 1.0 - (1.0 - before) * np.exp(-self.pause_ms / np.asarray(t1_ms, dtype=np.float64))
        return retained * before, np.zeros_like(recovered) if self.pattern.cspamm else recovered

    def factor(self, material: Material, tissues: TissueValues, time_ms: float) -> NDArray[np.floating]:
        """What tags make of the signal of simulated points: the `Preparation` of a `SliceScene`.

        The signal meant is that of this acquisition's own readout in its steady state (a protocol with the same
        sequence, flip angle, TR and TE; of a ramp, its last angle). 1 is untagged muscle; inflow takes blood above 1;
        where tags inverted the magnetisation the factor is negative.

        Parameters
        ----------
        material
            Points (n,) with their rest positions, in whose precision the phases are reckoned.
        tissues
            T1 and T2 of the scan.
        time_ms
            Since the R wave.

        Returns
        -------
        NDArray
            (n,).

        Raises
        ------
        InputError
            The material carries no rest positions.
        """
        if material.rest_mm is None:
            raise InputError("tags need the rest position of every point; sample the anatomy with rest=True")
        # Relaxation enters by tissue alone: gain and offset are two short tables, not arrays over points.
        gain, offset = np.empty(len(Tissue), np.float32), np.empty(len(Tissue), np.float32)
        for blood in (False, True):
            here = IS_BLOOD == blood
            t1, t2 = tissues.t1_ms[here], tissues.t2_ms[here]
            steady = self.readout.steady_state(t1, t2)
            gains, offsets = self.evolution(time_ms, t1, t2, blood=blood)
            gain[here], offset[here] = gains / steady, offsets / steady
        if self.readout.ramp_pulses:
            # The signal meant is that of the ramp's last pulse; this one's angle is smaller.
            share = float(self.readout.transverse(np.ones(1), time_ms, np.inf)[0])
            share /= np.sin(np.deg2rad(self.readout.flip_angle_deg))
            gain, offset = gain * np.float32(share), offset * np.float32(share)
        modulation = self.pattern.modulation(material.rest_mm)
        stirred = IS_BLOOD[material.tissue]
        modulation[stirred] = self.flow.modulation(modulation[stirred], self.pattern.mean_modulation, time_ms)
        return gain[material.tissue] * modulation + offset[material.tissue]

    def describe(self) -> dict[str, Any]:
        """JSON-able record for the sidecar."""
        pattern = self.pattern
        return {
            "train": pattern.train.name,
            "total_flip_deg": pattern.train.total_flip_deg,
            "sub_flips_deg": pattern.train.sub_flips_deg.tolist(),
            "spacing_mm": pattern.spacing_mm,
            "dark_line_width_of_spacing": round(pattern.train.line_width, 4),
            "gradient_area_mt_ms_per_m": gradient_area_mt_ms_per_m(pattern.spacing_mm),
            "directions_ras": pattern.directions_ras.tolist(),
            "origin_mm": pattern.origin_mm.tolist(),
            "cspamm": pattern.cspamm,
            "readout": asdict(self.readout),
            "flow": asdict(self.flow),
            "pause_ms": self.pause_ms,
        }
