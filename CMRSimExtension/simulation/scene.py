"""One slice in front of the scanner: what its voxels see, sampled once for what rests and per frame for what beats."""

from dataclasses import dataclass
from typing import Protocol as TypingProtocol

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy, Material, Moment
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import IS_BLOOD, TissueValues
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.planning import slice_normal
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.slice_profile import slice_samples
from CMRSimExtension.simulation.appearance import Appearance

# Two irrational steps of the R2 low-discrepancy sequence (Roberts 2018): in-plane offsets of successive sub-slices.
_R2 = (0.7548776662466927, 0.5698402909980532)


class Preparation(TypingProtocol):
    """What a magnetisation preparation at the R wave (tagging) makes of the signal of each point, inflow included."""

    def factor(self, material: Material, tissues: TissueValues, time_ms: float) -> NDArray[np.floating]:
        """(n,) factor on the steady-state signal of points, by tissue and rest position, at a time after the R wave."""
        ...


class BloodFactor(TypingProtocol):
    """What a fault makes of the signal of moving blood (`CMRSimExtension.scanner.faults.Fault.blood`)."""

    def __call__(self, velocity_mm_s: NDArray[np.floating], normal: NDArray[np.floating]) -> NDArray[np.floating]: ...


@dataclass(frozen=True)
class VoxelContent:
    """What fills the voxels (n,) of a slice that may change, or all of them.

    Attributes
    ----------
    signal
        (n,) complex64 mean signal.
    clinical, structure
        (n,) uint8: the label that fills most of each voxel.
    tissue
        (sub-samples, n) uint8, for fractions.
    """

    signal: NDArray[np.complex64]
    clinical: NDArray[np.uint8]
    structure: NDArray[np.uint8]
    tissue: NDArray[np.uint8]


class SliceScene:
    """Samples one slice of an anatomy.

    Every voxel is seen through `sub_samples` points, spread through the slice profile and over the voxel's area.

    Parameters
    ----------
    anatomy, protocol, appearance
        What is scanned and how.
    grid, index
        Geometry, and which of its slices.
    respiratory
        Respiratory phase at which the breath is held.
    sub_samples
        Points per voxel.
    shift_mm
        (3,) RAS: how far the body lies from where it was when the slices were planned.
    preparation, flow
        Tagging, and a fault of moving blood; or None.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        protocol: Protocol,
        appearance: Appearance,
        grid: ImageGrid,
        index: int,
        *,
        respiratory: float = 0.0,
        sub_samples: int = 6,
        shift_mm: NDArray[np.floating] | None = None,
        preparation: Preparation | None = None,
        flow: BloodFactor | None = None,
    ) -> None:
        self.appearance = appearance
        self.shape = grid.shape[1:]
        self.sub_samples = sub_samples
        self._centres = _slice_points(grid, index)
        if shift_mm is not None:
            self._centres = self._centres - shift_mm
        self._preparation, self._flow, self._normal = preparation, flow, slice_normal(grid)
        off_resonance = appearance.off_resonance.on(one_slice(grid, index)).reshape(-1)
        self.receive = appearance.receive.on(one_slice(grid, index)).reshape(-1)
        # Tags and the fault reckon inflow themselves, from their own speeds.
        inflow = preparation is None and (flow is None or protocol.sequence != "gre")
        lowest, highest = float(off_resonance.min()), float(off_resonance.max())
        self._table = appearance.signal_table(protocol, lowest, highest, inflow=inflow)
        bins = self._table.bins(off_resonance)
        offsets = _sub_voxel_offsets(protocol, grid, sub_samples)
        points = (self._centres[None] + offsets[:, None]).astype(np.float32)

        moving = anatomy.may_move(self._centres.astype(np.float32))
        self.moving = np.flatnonzero(moving)
        self.resting = np.flatnonzero(~moving)
        self._anatomy, self._respiratory = anatomy, respiratory
        self._moving_bins = np.tile(bins[self.moving], sub_samples)
        self._moving_points = points[:, self.moving].reshape(-1, 3)
        self._hold = anatomy.hold(self._moving_points, respiratory)
        self._resting_bins = np.tile(bins[self.resting], sub_samples)
        self._still_material = anatomy.sample(points[:, self.resting].reshape(-1, 3), Moment(0.0, respiratory))
        self.still = self._content(self._still_material, self._resting_bins, 0.0, None, 0.0)
        pulsates = moving.copy()
        pulsates[self.resting] = IS_BLOOD[self.still.tissue].any(axis=0)
        self._pulsates = pulsates.reshape(self.shape)
        self._phase_axis = protocol.phase_axis
        self._phase_pixel_mm = protocol.pixel_mm[protocol.phase_axis]

    def beating(self, phase: float, blood: NDArray[np.float32] | None = None, time_ms: float = 0.0) -> VoxelContent:
        """Content of the voxels `moving` at a cardiac phase and time; `blood` is a factor per `Structure`."""
        material = self._hold(phase)
        flowing = None
        if self._flow is not None:
            blood_points = np.flatnonzero(IS_BLOOD[material.tissue])
            moment = Moment(phase, self._respiratory)
            velocity = self._anatomy.blood_velocity(self._moving_points[blood_points], moment)
            flowing = np.ones(len(material.tissue), dtype=np.float32)
            flowing[blood_points] = self._flow(velocity, self._normal)
        return self._content(material, self._moving_bins, phase, blood, time_ms, flowing)

    def resting_at(self, time_ms: float) -> VoxelContent:
        """Content of the voxels `resting`: the same at all times, but for the preparation, which fades."""
        if self._preparation is None:
            return self.still
        return self._content(self._still_material, self._resting_bins, 0.0, None, time_ms)

    def _content(
        self,
        material: Material,
        bins: NDArray[np.int32],
        phase: float,
        blood: NDArray[np.float32] | None,
        time_ms: float,
        flowing: NDArray[np.float32] | None = None,
    ) -> VoxelContent:
        signal = self._table(material.tissue, bins)
        if material.rest_mm is None:
            raise InputError(
                "the anatomy gave no rest positions, which texture and tags need; sample it with rest=True"
            )
        signal *= self.appearance.texture(material.tissue, material.rest_mm, phase)
        if blood is not None:
            signal *= blood.take(material.structure)
        if flowing is not None:
            signal *= flowing
        if self._preparation is not None:
            signal *= self._preparation.factor(material, self.appearance.tissues, time_ms).astype(np.float32)
        n = len(bins) // self.sub_samples
        split = (self.sub_samples, n)
        return VoxelContent(
            signal.reshape(split).mean(axis=0),
            majority(material.clinical.reshape(split)),
            majority(material.structure.reshape(split)),
            material.tissue.reshape(split),
        )

    def displacement_mm(self, phase: float) -> NDArray[np.float32]:
        """(voxels, 3) RAS: rest position less present position of the tissue at each voxel's centre."""
        material = self._anatomy.sample(self._centres, Moment(phase, self._respiratory))
        if material.rest_mm is None:
            raise InputError(
                "the anatomy gave no rest positions, so it has no motion to tell; sample it with rest=True"
            )
        return (material.rest_mm - self._centres).astype(np.float32)

    def image(self, content: VoxelContent, time_ms: float = 0.0) -> NDArray[np.complex64]:
        """(rows, columns) object with `content` in the beating voxels, weighted by the receive field."""
        whole = np.empty(self.shape[0] * self.shape[1], dtype=np.complex64)
        whole[self.resting] = self.resting_at(time_ms).signal
        whole[self.moving] = content.signal
        whole *= self.receive
        image = whole.reshape(self.shape)
        if self.appearance.ghosts.modulation > 0:
            pulsating = np.where(self._pulsates, image, np.complex64(0.0))
            image += self.appearance.ghosts.of(pulsating, self._phase_axis, self._phase_pixel_mm)
        return image

    def labels(self, content: VoxelContent, kind: str) -> NDArray[np.uint8]:
        """(rows, columns) uint8 of `kind` ``clinical`` or ``structure``."""
        whole = np.empty(self.shape[0] * self.shape[1], dtype=np.uint8)
        whole[self.resting] = getattr(self.still, kind)
        whole[self.moving] = getattr(content, kind)
        return whole.reshape(self.shape)

    def fractions(self, content: VoxelContent) -> NDArray[np.float32]:
        """(tissues, rows, columns) share of each tissue in each voxel."""
        whole = np.zeros((len(Tissue), self.shape[0] * self.shape[1]), dtype=np.float32)
        for part, tissue in ((self.resting, self.still.tissue), (self.moving, content.tissue)):
            for number in Tissue:
                whole[number, part] = np.mean(tissue == number, axis=0)
        return whole.reshape(len(Tissue), *self.shape)


def majority(votes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n,) most frequent value of each column of (sub-samples, n); of equals, the one seen first."""
    best = votes[0].copy()
    if (votes == votes[0]).all():
        return best
    most = np.zeros(votes.shape[1], dtype=np.uint8)
    for row in votes:
        count = (votes == row).sum(axis=0, dtype=np.uint8)
        better = count > most
        best[better] = row[better]
        np.maximum(most, count, out=most)
    return best


def one_slice(grid: ImageGrid, index: int) -> ImageGrid:
    """Slice `index` of a stack as a stack of one."""
    affine = np.array(grid.affine_ras)
    affine[:3, 3] += index * affine[:3, 2]
    return ImageGrid(affine, (1, *grid.shape[1:]), grid.slice_thickness_mm)


def _slice_points(grid: ImageGrid, index: int) -> NDArray[np.float64]:
    return one_slice(grid, index).points_mm().reshape(-1, 3)


def _sub_voxel_offsets(protocol: Protocol, grid: ImageGrid, count: int) -> NDArray[np.float64]:
    """(count, 3) RAS offsets of the sub-samples from the voxel's centre."""
    through, _ = slice_samples(grid.slice_thickness_mm, count, protocol.time_bandwidth)
    order = np.arange(count)
    across = [(0.5 + step * (order + 1)) % 1.0 - 0.5 for step in _R2]
    offsets = [a - a.mean() for a in across]
    return (
        offsets[0][:, None] * grid.affine_ras[:3, 0]
        + offsets[1][:, None] * grid.affine_ras[:3, 1]
        + through[:, None] * slice_normal(grid)
    )
