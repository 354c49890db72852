"""Non-Cartesian encoding through a non-uniform Fourier transform (finufft), with adjoint and reconstructions.

Barnett AH, Magland J, af Klinteberg L, A parallel non-uniform fast Fourier transform library based on an exponential of
semicircle kernel. SIAM J Sci Comput 2019;41:C479-C504. The package comes with the extra ``radial``.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError, MissingDependencyError
from CMRSimExtension.scanner.trajectories import Trajectory


@dataclass(frozen=True)
class NonuniformEncoding:
    """The linear operators of a non-Cartesian acquisition, with the conventions of `CartesianEncoding`.

    Attributes
    ----------
    object_shape, image_shape
        (rows, columns) of the fine object and of the image, over the same field of view.
    trajectory
        Sample positions.
    precision
        Relative accuracy of the transform; 1e-6 suits single precision.

    Raises
    ------
    InputError
        Where the trajectory reaches beyond what the object's or image's grid can hold.
    """

    object_shape: tuple[int, int]
    image_shape: tuple[int, int]
    trajectory: Trajectory
    precision: float = 1e-6

    def __post_init__(self) -> None:
        reach = np.max(np.abs(self.trajectory.positions), axis=0)
        for what, shape in (("object", self.object_shape), ("image", self.image_shape)):
            for axis, name in enumerate(("rows", "columns")):
                if reach[axis] > shape[axis] / 2 + 1e-9:
                    raise InputError(
                        f"the trajectory reaches {reach[axis]:.1f} cycles, the {what}'s {shape[axis]} {name} hold "
                        f"{shape[axis] / 2:.1f}; sample the {what} finer or acquire a coarser resolution"
                    )

    def forward(self, objects: NDArray[Any]) -> NDArray[Any]:
        """Samples (..., samples) of objects (..., rows, columns); the zero frequency is the object's mean."""
        return self._transform(objects, self.object_shape) / (self.object_shape[0] * self.object_shape[1])

    def forward_adjoint(self, samples: NDArray[Any]) -> NDArray[Any]:
        """The adjoint of `forward`: objects from samples."""
        return self._adjoint(samples, self.object_shape) / (self.object_shape[0] * self.object_shape[1])

    def reconstruct(self, samples: NDArray[Any]) -> NDArray[np.complexfloating]:
        """Gridding reconstruction: images from samples weighted by their density compensation."""
        weights = self.trajectory.weights.astype(samples.real.dtype)
        return self._adjoint(samples * weights, self.image_shape)

    def reconstruct_adjoint(self, images: NDArray[Any]) -> NDArray[np.complexfloating]:
        """The adjoint of `reconstruct`: samples from images."""
        return self._transform(images, self.image_shape) * self.trajectory.weights.astype(images.real.dtype)

    @property
    def noise_gain(self) -> float:
        """SD of the gridded image's noise over that of each sample, both of the real part."""
        return float(np.sqrt(np.sum(self.trajectory.weights**2)))

    def least_squares(
        self, samples: NDArray[Any], sensitivities: NDArray[Any] | None = None, *, iterations: int = 12
    ) -> NDArray[np.complexfloating]:
        """Image that best explains the samples, by conjugate gradients.

        Pruessmann KP et al., Advances in sensitivity encoding with arbitrary k-space trajectories. Magn Reson Med
        2001;46:638-651.

        Parameters
        ----------
        samples
            (coils, samples), or (samples,) without `sensitivities`.
        sensitivities
            (coils, rows, columns) on the image's grid.
        iterations
            Few suffice from density-compensated data; more bring out noise.

        Returns
        -------
        array
            (rows, columns) complex.
        """
        maps = np.ones((1, *self.image_shape)) if sensitivities is None else sensitivities
        if maps.shape[1:] != self.image_shape:
            raise InputError(f"sensitivities have shape {maps.shape}; the image has {self.image_shape}")
        data = samples[None] if sensitivities is None else samples
        pixels = self.image_shape[0] * self.image_shape[1]

        def normal(image: NDArray[Any]) -> NDArray[Any]:
            weighted = self._transform(maps * image, self.image_shape) / pixels * self.trajectory.weights
            return np.asarray(np.sum(np.conj(maps) * self._adjoint(weighted, self.image_shape), axis=0))

        right = np.sum(np.conj(maps) * self._adjoint(data * self.trajectory.weights, self.image_shape), axis=0)
        return conjugate_gradients(normal, right, iterations)

    def _transform(self, images: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
        """Unnormalised sums over pixels at the sample positions."""
        if images.shape[-2:] != shape:
            raise InputError(f"the array has {images.shape[-2:]} rows and columns; this acquisition needs {shape}")
        stack = _complex(images).reshape(-1, *shape)
        x, y = self._angles(shape, stack.real.dtype)
        values = np.stack(
            [_finufft().nufft2d2(x, y, np.ascontiguousarray(i), isign=-1, eps=self.precision) for i in stack]
        )
        values = values * self._half_pixel(shape, stack.dtype)
        return values.reshape(*images.shape[:-2], -1)

    def _adjoint(self, samples: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
        count = len(self.trajectory.positions)
        if samples.shape[-1] != count:
            raise InputError(f"there are {samples.shape[-1]} samples; the trajectory has {count}")
        stack = _complex(samples).reshape(-1, count)
        x, y = self._angles(shape, stack.real.dtype)
        turned = stack * np.conj(self._half_pixel(shape, stack.dtype))
        images = [
            _finufft().nufft2d1(x, y, np.ascontiguousarray(s), shape, isign=1, eps=self.precision) for s in turned
        ]
        return np.stack(images).reshape(*samples.shape[:-1], *shape)

    def _angles(self, shape: tuple[int, int], dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        x, y = (2 * np.pi * self.trajectory.positions[:, axis] / shape[axis] for axis in (0, 1))
        return np.ascontiguousarray(x, dtype=dtype), np.ascontiguousarray(y, dtype=dtype)

    def _half_pixel(self, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
        """Pixels lie at (j + 1/2)/n - 1/2; the transform counts them from -(n // 2)/n."""
        shift = sum(
            self.trajectory.positions[:, axis] * ((0.5 + shape[axis] // 2) / shape[axis] - 0.5) for axis in (0, 1)
        )
        return np.exp(-2j * np.pi * shift).astype(dtype)


def conjugate_gradients(normal: Any, right: NDArray[Any], iterations: int) -> NDArray[Any]:
    """Solve ``normal(x) = right`` for a Hermitian positive semi-definite operator (Hestenes and Stiefel 1952)."""
    if iterations < 1:
        raise InputError(f"iterations is {iterations}; at least 1 is needed")
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = residual.copy()
    power = float(np.vdot(residual, residual).real)
    start = power
    for _ in range(iterations):
        if power <= 1e-24 * start or power == 0.0:
            break
        image = normal(direction)
        step = power / float(np.vdot(direction, image).real)
        solution = solution + step * direction
        residual = residual - step * image
        following = float(np.vdot(residual, residual).real)
        direction = residual + (following / power) * direction
        power = following
    return solution


def _complex(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.complex64 if array.dtype in (np.float32, np.complex64) else np.complex128, copy=False)


def _finufft() -> ModuleType:
    try:
        import finufft
    except ImportError as error:
        raise MissingDependencyError(
            "radial and golden-angle trajectories need finufft, which is missing; pip install 'CMRSimExtension[radial]'"
        ) from error
    return finufft
