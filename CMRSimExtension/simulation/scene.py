"""One slice in front of the scanner: what its voxels see, sampled once for what rests and per frame for what beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as TypingProtocol

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy, Material, Moment
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import IS_BLOOD, TissueValues
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.faults import Fault
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.planning import slice_normal
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.slice_profile import slice_samples
from CMRSimExtension.simulation.appearance import Appearance

# Two irrational steps of the R2 low-discrepancy sequence (Roberts 2018): in-plane offsets of successive sub-slices.
_R2 = (0.7548776662466927, 0.5698402909980532)

EDGE_SAMPLES = 2
"""How many more points, per sub-sample, look into a voxel in which the first ones found several tissues. Six points
alone turn the line between fat and water, whose signals oppose each other, into a row of beads; eighteen draw it."""


class Preparation(TypingProtocol):
    """What a magnetisation preparation at the R wave (tagging) makes of the signal of each point, inflow included."""

    def factor(self, material: Material, tissues: TissueValues, time_ms: float) -> NDArray[np.floating]:
        """(n,) factor on the steady-state signal of points, by tissue and rest position, at a time after the R wave."""
        ...


class BloodFactor(TypingProtocol):
    """What a fault makes of the signal of moving blood (`CMRSimExtension.scanner.faults.Fault.blood`)."""

    def __call__(self, velocity_mm_s: NDArray[np.floating], normal: NDArray[np.floating]) -> NDArray[np.floating]: ...


def blood_factor_of(faults: Sequence[Fault], protocol: Protocol) -> BloodFactor | None:
    """What all of these faults together make of moving blood; None where no one of them touches it."""
    flows = [fault for fault in faults if type(fault).blood is not Fault.blood]

    def factor(velocity_mm_s: NDArray[np.floating], normal: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray(np.prod([fault.blood(velocity_mm_s, normal, protocol) for fault in flows], axis=0))

    return factor if flows else None


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
    edges
        (m,) indices of the voxels that were looked into more closely.
    edge_tissue
        (`EDGE_SAMPLES` sub-samples, m) uint8: what more was found in these.
    """

    signal: NDArray[np.complex64]
    clinical: NDArray[np.uint8]
    structure: NDArray[np.uint8]
    tissue: NDArray[np.uint8]
    edges: NDArray[np.intp]
    edge_tissue: NDArray[np.uint8]


@dataclass(frozen=True)
class _Circumstances:
    """What acts on the signal of all points at one moment: phase, time, factor of blood per structure, its motion."""

    phase: float = 0.0
    time_ms: float = 0.0
    blood: NDArray[np.float32] | None = None
    flow: BloodFactor | None = None


class SliceScene:
    """Samples one slice of an anatomy.

    Every voxel is seen through `sub_samples` points, spread through the slice profile and over the voxel's area, and
    through `EDGE_SAMPLES` times as many more where these find several tissues.

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
        self._bins = self._table.bins(off_resonance)
        self._offsets = _sub_voxel_offsets(protocol, grid, sub_samples)
        self._edge_offsets = _sub_voxel_offsets(protocol, grid, EDGE_SAMPLES * sub_samples, first=sub_samples)

        moving = anatomy.may_move(self._centres.astype(np.float32))
        self.moving = np.flatnonzero(moving)
        self.resting = np.flatnonzero(~moving)
        self._anatomy, self._respiratory = anatomy, respiratory
        self._hold = anatomy.hold(self._points_mm(self.moving, self._offsets), respiratory)
        self._hold_edges = anatomy.hold(self._points_mm(self.moving, self._edge_offsets), respiratory)
        at_rest = Moment(0.0, respiratory)
        still = anatomy.sample(self._points_mm(self.resting, self._offsets), at_rest)
        edges = self._edges(still)
        fine = anatomy.sample(self._points_mm(self.resting[edges], self._edge_offsets), at_rest)
        self.still = self._content(self.resting, still, edges, fine, _Circumstances())
        # What rests changes with a preparation alone, and there is much of it.
        self._still_material = None if preparation is None else (still, edges, fine)
        pulsates = moving.copy()
        pulsates[self.resting] = IS_BLOOD[self.still.tissue].any(axis=0)
        self._pulsates = pulsates.reshape(self.shape)
        self._latest: tuple[Any, VoxelContent] | None = None
        self._phase_axis = protocol.phase_axis
        self._phase_pixel_mm = protocol.pixel_mm[protocol.phase_axis]

    def beating(self, phase: float, blood: NDArray[np.float32] | None = None, time_ms: float = 0.0) -> VoxelContent:
        """Content of the voxels `moving` at a cardiac phase and time; `blood` is a factor per `Structure`."""
        # The frame at end diastole is asked for twice: the noise level is known from it before the first image is made.
        asked = (phase, None if self._preparation is None else time_ms, None if blood is None else blood.tobytes())
        if self._latest is not None and self._latest[0] == asked:
            return self._latest[1]
        coarse = self._hold(phase)
        edges = self._edges(coarse)
        place = np.arange(len(self._edge_offsets))[:, None] * len(self.moving) + edges
        fine = self._hold_edges(phase, place.reshape(-1))
        now = _Circumstances(phase, time_ms, blood, self._flow)
        self._latest = asked, self._content(self.moving, coarse, edges, fine, now)
        return self._latest[1]

    def resting_at(self, time_ms: float) -> VoxelContent:
        """Content of the voxels `resting`: the same at all times, but for the preparation, which fades."""
        if self._still_material is None:
            return self.still
        return self._content(self.resting, *self._still_material, _Circumstances(time_ms=time_ms))

    def _points_mm(self, voxels: NDArray[np.intp], offsets_mm: NDArray[np.float64]) -> NDArray[np.float32]:
        """(offsets times voxels, 3) points in some voxels of the slice, offset by offset."""
        return (self._centres[voxels][None] + offsets_mm[:, None]).astype(np.float32).reshape(-1, 3)

    def _edges(self, material: Material) -> NDArray[np.intp]:
        """Voxels whose points (sub-samples times voxels) lie in several tissues; the scan has no say in it."""
        tissue = material.tissue.reshape(len(self._offsets), -1)
        return np.flatnonzero((tissue != tissue[0]).any(axis=0))

    def _signal(
        self, material: Material, voxels: NDArray[np.intp], offsets_mm: NDArray[np.float64], now: _Circumstances
    ) -> NDArray[np.complex64]:
        """(n,) signal of the points `_points_mm(voxels, offsets_mm)`."""
        signal = self._table(material.tissue, np.tile(self._bins[voxels], len(offsets_mm)))
        if material.rest_mm is None:
            raise InputError(
                "the anatomy gave no rest positions, which texture and tags need; sample it with rest=True"
            )
        signal *= self.appearance.texture(material.tissue, material.rest_mm, now.phase)
        if now.blood is not None:
            signal *= now.blood.take(material.structure)
        if now.flow is not None:
            flowing = np.flatnonzero(IS_BLOOD[material.tissue])
            points = self._points_mm(voxels, offsets_mm)[flowing]
            velocity = self._anatomy.blood_velocity(points, Moment(now.phase, self._respiratory))
            signal[flowing] *= now.flow(velocity, self._normal).astype(np.float32)
        if self._preparation is not None:
            signal *= self._preparation.factor(material, self.appearance.tissues, now.time_ms).astype(np.float32)
        return signal

    def _content(
        self,
        voxels: NDArray[np.intp],
        coarse: Material,
        edges: NDArray[np.intp],
        fine: Material,
        now: _Circumstances,
    ) -> VoxelContent:
        """Means and majorities over the points of each voxel, those at `edges` (places in `voxels`) over more."""
        few, many = len(self._offsets), len(self._edge_offsets)
        signal = self._signal(coarse, voxels, self._offsets, now).reshape(few, -1).mean(axis=0)
        more = self._signal(fine, voxels[edges], self._edge_offsets, now).reshape(many, -1).mean(axis=0)
        signal[edges] = (few * signal[edges] + many * more) / (few + many)

        def most(name: str) -> NDArray[np.uint8]:
            votes = getattr(coarse, name).reshape(few, -1)
            winners = majority(votes)
            winners[edges] = majority(np.concatenate([votes[:, edges], getattr(fine, name).reshape(many, -1)]))
            return winners

        return VoxelContent(
            signal,
            most("clinical"),
            most("structure"),
            coarse.tissue.reshape(few, -1),
            edges,
            fine.tissue.reshape(many, -1),
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
        few, many = len(self._offsets), len(self._edge_offsets)
        for part, inside in ((self.resting, self.still), (self.moving, content)):
            for number in Tissue:
                share = np.mean(inside.tissue == number, axis=0)
                closer = np.mean(inside.edge_tissue == number, axis=0)
                share[inside.edges] = (few * share[inside.edges] + many * closer) / (few + many)
                whole[number, part] = share
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


def _sub_voxel_offsets(protocol: Protocol, grid: ImageGrid, count: int, first: int = 0) -> NDArray[np.float64]:
    """(count, 3) RAS offsets of sub-samples from the voxel's centre, the in-plane sequence taken up at `first`."""
    through, _ = slice_samples(grid.slice_thickness_mm, count, protocol.time_bandwidth)
    order = first + np.arange(count)
    across = [(0.5 + step * (order + 1)) % 1.0 - 0.5 for step in _R2]
    offsets = [a - a.mean() for a in across]
    return (
        offsets[0][:, None] * grid.affine_ras[:3, 0]
        + offsets[1][:, None] * grid.affine_ras[:3, 1]
        + through[:, None] * slice_normal(grid)
    )
