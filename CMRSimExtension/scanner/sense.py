"""Parallel imaging by SENSE: unfolding of uniformly undersampled images, and its noise amplification.

Pruessmann KP et al., SENSE: sensitivity encoding for fast MRI. Magn Reson Med 1999;42:952-962. With an acceleration of
1 it is the optimal combination of the channels (Roemer 1990).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import (
    array_namespace,
    beside,
    complex_dtype,
    is_torch,
    on_device_of,
    real_dtype,
)
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.smooth_field import at_indices


@dataclass(frozen=True)
class SenseUnfolding:
    """Least-squares unfolding with known sensitivities and white channel noise.

    Attributes
    ----------
    sensitivities
        (coils, rows, columns) complex. What is worked out from them is kept: where they are tensors with gradients,
        make a new unfolding for every step of descent.
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

    sensitivities: Any
    acceleration: int = 1
    phase_axis: int = -2
    regularisation: float = 1e-12
    _placed: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

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
    def _maps(self) -> Any:
        """(positions, coils, folds): sensitivities of the pixels that fold onto each other."""
        return self._folds(self.sensitivities)

    @cached_property
    def _gram(self) -> Any:
        # Double precision: nearly parallel sensitivities need it.
        xp = array_namespace(self.sensitivities)
        maps = xp.astype(self._maps, xp.complex128)
        gram = xp.conj(xp.matrix_transpose(maps)) @ maps
        # Positive definite also where no coil sees anything, so that the inverse exists; it changes nothing else.
        weight = self.regularisation * xp.max(xp.sum(xp.real(_diagonal(gram)), axis=-1))
        return gram + weight * xp.eye(gram.shape[-1], dtype=xp.float64, **on_device_of(gram))

    @cached_property
    def _inverse(self) -> Any:
        """(positions, folds, folds)."""
        return array_namespace(self._gram).linalg.inv(self._gram)

    @cached_property
    def _unfolding(self) -> Any:
        """(positions, folds, coils): (S^H S)^-1 S^H."""
        xp = array_namespace(self.sensitivities)
        weights = self._inverse @ xp.astype(xp.conj(xp.matrix_transpose(self._maps)), xp.complex128)
        return xp.astype(weights, complex_dtype(self.sensitivities))

    def _weights_for(self, channels: Any) -> Any:
        """`_unfolding` in the precision, library and place of `channels`."""
        key = (str(channels.dtype), str(getattr(channels, "device", "cpu")))
        if key not in self._placed:
            self._placed[key] = beside(self._unfolding, channels)
        return self._placed[key]

    def unfold(self, channels: Any) -> Any:
        """(..., rows, columns) images from folded channel images (..., coils, rows, columns).

        The channel images are those of k-space with the skipped lines zero, times the acceleration: full size, with
        `acceleration` ghosts of amplitude one. Torch tensors give torch tensors, differentiably.
        """
        self._expect(channels.shape[-3:], tuple(self.sensitivities.shape), "channels")
        xp = array_namespace(channels)
        coils, rows, columns = channels.shape[-3:]
        fold, positions = channels.shape[self.phase_axis] // self.acceleration, rows * columns // self.acceleration
        # One period of the folded images holds everything.
        period = channels[..., :fold, :] if self.phase_axis == -2 else channels[..., :fold]
        folded = xp.permute_dims(xp.reshape(period, (-1, coils, positions)), (2, 1, 0))
        unfolded = xp.permute_dims(xp.matmul(self._weights_for(channels), folded), (2, 0, 1))
        return xp.reshape(self._unfolded(unfolded), (*channels.shape[:-3], rows, columns))

    def unfold_adjoint(self, images: Any) -> Any:
        """(..., coils, rows, columns) adjoint of `unfold`, of images (..., rows, columns)."""
        coils, rows, columns = self.sensitivities.shape
        self._expect(images.shape[-2:], (rows, columns), "images")
        xp, axis = array_namespace(images), self.phase_axis
        values = xp.permute_dims(self._folds(xp.reshape(images, (-1, rows, columns))), (0, 2, 1))
        folded = xp.permute_dims(xp.conj(xp.matrix_transpose(self._weights_for(images))) @ values, (2, 1, 0))
        period, rest = [rows, columns], [rows, columns]
        period[axis] //= self.acceleration
        rest[axis] -= period[axis]
        channels = xp.reshape(folded, (*images.shape[:-2], coils, *period))
        zeros = xp.zeros((*images.shape[:-2], coils, *rest), dtype=channels.dtype, **on_device_of(channels))
        return xp.concat([channels, zeros], axis=axis)

    @cached_property
    def g_factor(self) -> Any:
        """(rows, columns) geometry factor sqrt([(S^H S)^-1]_ii [S^H S]_ii), at least 1 (Pruessmann 1999, eq. 23)."""
        xp = array_namespace(self.sensitivities)
        both = xp.real(_diagonal(self._inverse)) * xp.real(_diagonal(self._gram))
        return self._as_given(xp.sqrt(xp.clip(self._unfolded(both), 1.0, None)))

    @cached_property
    def noise_sd(self) -> Any:
        """(rows, columns) SD of the image's noise over that of a fully sampled channel image: g sqrt(R / S^H S)."""
        xp = array_namespace(self.sensitivities)
        return self._as_given(xp.sqrt(self.acceleration * self._unfolded(xp.real(_diagonal(self._inverse)))))

    def _as_given(self, values: Any) -> Any:
        """NumPy's float64; tensors in the precision of the sensitivities."""
        if not is_torch(values):
            return values
        return array_namespace(values).astype(values, real_dtype(self.sensitivities))

    def _folds(self, images: Any) -> Any:
        """(positions, n, folds) from (n, rows, columns): the pixels that fold onto each other."""
        (n, rows, columns), r, xp = images.shape, self.acceleration, array_namespace(images)
        if self.phase_axis == -2:
            parts = xp.permute_dims(xp.reshape(images, (n, r, rows // r, columns)), (2, 3, 0, 1))
        else:
            parts = xp.permute_dims(xp.reshape(images, (n, rows, r, columns // r)), (1, 3, 0, 2))
        return xp.reshape(parts, (-1, n, r))

    def _unfolded(self, values: Any) -> Any:
        """(..., rows, columns) from (..., positions, folds)."""
        xp, r = array_namespace(values), self.acceleration
        _, rows, columns = self.sensitivities.shape
        if self.phase_axis == -2:
            apart = xp.reshape(values, (*values.shape[:-2], rows // r, columns, r))
            ordered = xp.moveaxis(apart, -1, -3)
        else:
            apart = xp.reshape(values, (*values.shape[:-2], rows, columns // r, r))
            ordered = xp.moveaxis(apart, -1, -2)
        return xp.reshape(ordered, (*values.shape[:-2], rows, columns))

    @staticmethod
    def _expect(got: Any, needed: tuple[int, ...], what: str) -> None:
        if tuple(got) != needed:
            raise InputError(f"{what} have shape {tuple(got)} in their last axes; the sensitivities need {needed}")


def _diagonal(matrices: Any) -> Any:
    """(..., n) diagonals of (..., n, n)."""
    return array_namespace(matrices).linalg.diagonal(matrices)


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
