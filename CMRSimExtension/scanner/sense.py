"""Parallel imaging by SENSE: unfolding of uniformly undersampled images, and its noise amplification.

Pruessmann KP et al., SENSE: sensitivity encoding for fast MRI. Magn Reson Med 1999;42:952-962. With an acceleration of
1 it is the optimal combination of the channels (Roemer 1990).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, is_torch
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.smooth_field import at_indices


@dataclass(frozen=True)
class SenseUnfolding:
    """Least-squares unfolding with known sensitivities and white channel noise.

    Attributes
    ----------
    sensitivities
        (coils, rows, columns) complex.
    acceleration
        Every how many-th phase-encoding line is acquired, the centre among them.
    phase_axis
        -2 for phase encoding along the rows' index, -1 along the columns'.
    regularisation
        Tikhonov weight relative to the largest sum of squared sensitivities; it only matters where coils see nothing.

    Raises
    ------
    InputError
        If the image cannot be folded evenly, or there are fewer coils than the acceleration.
    """

    sensitivities: NDArray[np.complexfloating]
    acceleration: int = 1
    phase_axis: int = -2
    regularisation: float = 1e-12

    def __post_init__(self) -> None:
        if self.phase_axis not in (-2, -1):
            raise InputError(f"phase_axis is {self.phase_axis}; choose -2 (rows) or -1 (columns)")
        if self.sensitivities.ndim != 3:
            raise InputError(f"sensitivities has shape {self.sensitivities.shape}; give (coils, rows, columns)")
        count = self.sensitivities.shape[self.phase_axis]
        if self.acceleration < 1 or count % self.acceleration:
            raise InputError(
                f"{count} pixels along the phase direction cannot be folded {self.acceleration} times; choose a matrix "
                "that is a multiple of the acceleration"
            )
        if len(self.sensitivities) < self.acceleration:
            raise InputError(
                f"{len(self.sensitivities)} coils cannot undo an acceleration of {self.acceleration}; use more coils"
            )

    @cached_property
    def _maps(self) -> NDArray[Any]:
        """(positions, coils, folds): sensitivities of the pixels that fold onto each other."""
        return self._folds(self.sensitivities)

    @cached_property
    def _gram(self) -> NDArray[Any]:
        # Double precision: nearly parallel sensitivities need it.
        maps = self._maps.astype(np.complex128)
        gram = np.conj(maps.swapaxes(-1, -2)) @ maps
        # Positive definite also where no coil sees anything, so that the inverse exists; it changes nothing else.
        weight = self.regularisation * float(np.max(np.real(np.trace(gram, axis1=-2, axis2=-1))))
        return np.asarray(gram + weight * np.eye(gram.shape[-1]))

    @cached_property
    def _inverse(self) -> NDArray[Any]:
        """(positions, folds, folds)."""
        return np.linalg.inv(self._gram)

    @cached_property
    def _unfolding(self) -> NDArray[Any]:
        """(positions, folds, coils): (S^H S)^-1 S^H."""
        weights = self._inverse @ np.conj(self._maps.swapaxes(-1, -2))
        return weights.astype(self.sensitivities.dtype)

    def unfold(self, channels: Any) -> Any:
        """(rows, columns) image from folded channel images (coils, rows, columns).

        The channel images are those of k-space with the skipped lines zero, times the acceleration: full size, with
        `acceleration` ghosts of amplitude one. Torch tensors give torch tensors.
        """
        if tuple(channels.shape) != self.sensitivities.shape:
            raise InputError(f"channels have shape {channels.shape}; the sensitivities have {self.sensitivities.shape}")
        xp = array_namespace(channels)
        coils, rows, columns = channels.shape
        fold = channels.shape[self.phase_axis] // self.acceleration
        # One period of the folded images holds everything.
        period = channels[:, :fold] if self.phase_axis == -2 else channels[:, :, :fold]
        folded = xp.permute_dims(xp.reshape(period, (coils, -1)), (1, 0))[..., None]
        weights = xp.asarray(self._unfolding, device=channels.device) if is_torch(channels) else self._unfolding
        unfolded = xp.matmul(xp.astype(weights, folded.dtype, copy=False), folded)[..., 0]
        return self._unfolded(unfolded, rows, columns)

    def unfold_adjoint(self, image: NDArray[Any]) -> NDArray[Any]:
        """(coils, rows, columns) adjoint of `unfold`, of an image (rows, columns)."""
        coils, rows, columns = self.sensitivities.shape
        values = self._folds(image[None])[:, 0, :, None]
        folded = (np.conj(self._unfolding.swapaxes(-1, -2)) @ values)[..., 0]
        period = [rows, columns]
        period[self.phase_axis] //= self.acceleration
        channels = np.zeros((coils, rows, columns), folded.dtype)
        channels[:, : period[0], : period[1]] = folded.T.reshape(coils, *period)
        return channels

    @cached_property
    def g_factor(self) -> NDArray[np.float64]:
        """(rows, columns) geometry factor sqrt([(S^H S)^-1]_ii [S^H S]_ii), at least 1 (Pruessmann 1999, eq. 23)."""
        diagonal = np.real(np.diagonal(self._inverse, axis1=-2, axis2=-1))
        gram = np.real(np.diagonal(self._gram, axis1=-2, axis2=-1))
        return np.sqrt(np.maximum(self._unfolded(diagonal * gram, *self.sensitivities.shape[1:]), 1.0))

    @cached_property
    def noise_sd(self) -> NDArray[np.float64]:
        """(rows, columns) SD of the image's noise over that of a fully sampled channel image: g sqrt(R / S^H S)."""
        diagonal = np.real(np.diagonal(self._inverse, axis1=-2, axis2=-1))
        return np.sqrt(self.acceleration * self._unfolded(diagonal, *self.sensitivities.shape[1:]))

    def _folds(self, images: NDArray[Any]) -> NDArray[Any]:
        coils, rows, columns = images.shape
        r = self.acceleration
        if self.phase_axis == -2:
            parts = images.reshape(coils, r, rows // r, columns).transpose(2, 3, 0, 1)
        else:
            parts = images.reshape(coils, rows, r, columns // r).transpose(1, 3, 0, 2)
        return parts.reshape(-1, coils, r)

    def _unfolded(self, values: Any, rows: int, columns: int) -> Any:
        """(rows, columns) from (positions, folds)."""
        xp, r = array_namespace(values), self.acceleration
        if self.phase_axis == -2:
            ordered = xp.permute_dims(xp.reshape(values, (rows // r, columns, r)), (2, 0, 1))
        else:
            ordered = xp.permute_dims(xp.reshape(values, (rows, columns // r, r)), (0, 2, 1))
        return xp.reshape(ordered, (rows, columns))


def noise_map_on(
    array: CoilArray, grid: ImageGrid, acceleration: int, phase_axis: int = -2, *, step: int = 2
) -> NDArray[np.float32]:
    """Noise amplification g sqrt(R) of parallel imaging over a grid, for images of uniform sensitivity.

    The geometry factor is smooth but for the edges at which the image folds; it is computed on every `step`-th pixel of
    each fold and interpolated within it.

    Parameters
    ----------
    array
        The coils.
    grid
        Geometry of the images; its in-plane extent is the field of view that folds.
    acceleration, phase_axis
        As for `SenseUnfolding`.

    Returns
    -------
    array
        (slices, rows, columns) float32, 1 everywhere without acceleration.
    """
    if acceleration == 1:
        return np.ones(grid.shape, dtype=np.float32)
    axis = 0 if phase_axis == -2 else 1
    along, beside = grid.shape[1 + axis], grid.shape[2 - axis]
    # Pixels fold onto each other at this distance, a whole number of pixels or not.
    distance = along / acceleration
    within = np.linspace(0.0, distance, max(2, int(distance) // step) + 1)
    across = np.linspace(0.0, beside - 1, max(2, beside // step))
    phase = (np.arange(acceleration)[:, None] * distance + within).ravel()
    at_rows, at_columns = (phase, across) if axis == 0 else (across, phase)
    sensitivities = at_indices(
        lambda points: array.sensitivities(points).astype(np.complex64), grid, at_rows, at_columns
    )
    segment, place = np.divmod(np.arange(along), distance)
    # Each pixel looks up its own segment only: folds meet at edges where the amplification jumps.
    by_segment = np.zeros((along, acceleration, len(within)))
    by_segment[np.arange(along), segment.astype(int)] = _linear(within, place)
    look_up = by_segment.reshape(along, -1)
    amplification = np.empty(grid.shape, dtype=np.float32)
    for index, maps in enumerate(sensitivities):
        coarse = SenseUnfolding(np.moveaxis(maps, -1, 0), acceleration, phase_axis).g_factor
        fine = look_up @ np.moveaxis(coarse, axis, 0) @ _linear(across, np.arange(beside)).T
        amplification[index] = np.moveaxis(fine, 0, axis)
    return amplification * np.float32(np.sqrt(acceleration))


def _linear(nodes: NDArray[np.float64], points: NDArray[Any]) -> NDArray[np.float64]:
    """(points, nodes) matrix of linear interpolation."""
    return np.stack([np.interp(points, nodes, unit) for unit in np.eye(len(nodes))], axis=-1)
