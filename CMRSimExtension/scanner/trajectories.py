"""Where k-space is sampled when it is not sampled line by line: radial spokes, uniform or by the golden angle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.kspace import apodisation
from CMRSimExtension.scanner.protocol import Protocol

GOLDEN_ANGLE_DEG = 180.0 * (np.sqrt(5.0) - 1.0) / 2.0
"""111.246 degrees (Winkelmann S et al., IEEE Trans Med Imaging 2007;26:68-76)."""


@dataclass(frozen=True)
class Trajectory:
    """Sample positions and density compensation of one frame.

    Attributes
    ----------
    positions
        (samples, 2) along (rows, columns), in cycles per field of view of that axis.
    weights
        (samples,) area of k-space that each sample stands for, in (cycles per field of view)^2: density compensation,
        times apodisation where there is some.
    spokes, read
        How the samples are ordered: ``spokes * read`` of them.
    """

    positions: NDArray[np.float64]
    weights: NDArray[np.float64]
    spokes: int
    read: int

    def __post_init__(self) -> None:
        if self.positions.shape != (self.spokes * self.read, 2) or self.weights.shape != (self.spokes * self.read,):
            raise InputError(
                f"positions {self.positions.shape} and weights {self.weights.shape} do not hold {self.spokes} spokes "
                f"of {self.read} samples"
            )


def radial(spokes: int, read: int, first_angle_deg: float = 0.0) -> Trajectory:
    """`spokes` diameters evenly over 180 degrees, `read` samples each."""
    _check(spokes, read)
    return _of_angles(first_angle_deg + 180.0 * np.arange(spokes) / spokes, read)


def golden_angle(spokes: int, read: int, first_spoke: int = 0) -> Trajectory:
    """Spokes `first_spoke` onwards of the golden-angle series, any number of which fills k-space nearly evenly."""
    _check(spokes, read)
    return _of_angles(GOLDEN_ANGLE_DEG * (first_spoke + np.arange(spokes)), read)


def of_protocol(protocol: Protocol, frame: int = 0) -> Trajectory:
    """The trajectory of a frame: radial frames all alike, golden-angle frames going on where the last one ended.

    Raises
    ------
    InputError
        For a Cartesian protocol, or one with partial Fourier, which spokes do not have.
    """
    if protocol.trajectory == "cartesian":
        raise InputError("a Cartesian protocol has no spokes; choose the trajectory radial or golden_angle")
    if protocol.partial_fourier < 1:
        raise InputError(
            f"partial_fourier is {protocol.partial_fourier} with the trajectory {protocol.trajectory}; spokes pass "
            "through the centre, so set it to 1"
        )
    read = _read(protocol)
    # pi/2 times as many spokes as samples meet Nyquist at the rim (Lauzon ML, Rutt BK, Magn Reson Med 1996;36:940-949).
    spokes = protocol.spokes or int(np.ceil(np.pi / 2 * read / protocol.acceleration))
    if protocol.trajectory == "radial":
        trajectory = radial(spokes, read)
    else:
        trajectory = golden_angle(spokes, read, frame * spokes)
    scale = np.array(protocol.fov_mm) / max(protocol.fov_mm)
    # Apodisation by the distance from the centre, the same along every spoke.
    window = np.tile(apodisation(protocol.filter, protocol.filter_strength, read), trajectory.spokes)
    # A circle in cycles per mm; positions are counted in cycles per field of view of each axis.
    return Trajectory(
        trajectory.positions * scale,
        trajectory.weights * window * float(np.prod(scale)),
        trajectory.spokes,
        trajectory.read,
    )


def _read(protocol: Protocol) -> int:
    """Samples along a spoke: the finer of the acquired resolutions over the longer side of the field of view."""
    return int(round(max(protocol.fov_mm) / min(protocol.acquired_resolution_mm)))


def _of_angles(angles_deg: NDArray[np.floating], read: int) -> Trajectory:
    angles = np.radians(angles_deg)
    radius = np.arange(read) - read // 2
    positions = np.stack([radius * np.sin(angles)[:, None], radius * np.cos(angles)[:, None]], axis=-1)
    # Each spoke stands for half the gap to each of its neighbours in angle (Voronoi cells of directions).
    folded = np.mod(angles, np.pi)
    order = np.argsort(folded, kind="stable")
    gaps = np.diff(np.append(folded[order], folded[order[0]] + np.pi))
    share = np.empty_like(folded)
    share[order] = 0.5 * (gaps + np.roll(gaps, 1))
    # Annulus of a sample: |k| per radian; the central disc of radius one half is shared by all spokes.
    annulus = np.where(radius == 0, 0.125, np.abs(radius).astype(np.float64))
    # A diameter passes each direction's opposite as well, so a sample at radius 0 stands for both halves of the disc.
    annulus[radius == 0] *= 2.0
    return Trajectory(positions.reshape(-1, 2), (share[:, None] * annulus).reshape(-1), len(angles), read)


def _check(spokes: int, read: int) -> None:
    if spokes < 1:
        raise InputError(f"spokes is {spokes}; at least 1 is needed")
    if read < 2:
        raise InputError(f"read is {read}; a spoke needs at least 2 samples")
