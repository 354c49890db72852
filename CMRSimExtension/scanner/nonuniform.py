"""Non-Cartesian encoding through a non-uniform Fourier transform (finufft), with adjoint and reconstructions.

Barnett AH, Magland J, af Klinteberg L, A parallel non-uniform fast Fourier transform library based on an exponential of
semicircle kernel. SIAM J Sci Comput 2019;41:C479-C504. The package comes with the extra ``radial``.

Torch tensors give tensors, of their own precision and differentiably: the gradient of each operator is its adjoint.
finufft works in the processor's memory, which it shares with tensors there. Tensors elsewhere (on a GPU) stay where
they are: for them the sums over all pixels are written out as two matrix products, which is exact, and quick on what
can do many at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError, MissingDependencyError
from CMRSimExtension.physics.array_namespace import (
    array_namespace,
    beside,
    complex_dtype,
    is_torch,
    linear,
    on_device_of,
)
from CMRSimExtension.scanner.trajectories import Trajectory

_AT_ONCE = 1 << 24
"""Values of a product of images and waves that are held at once: 128 MiB in single precision."""


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

    def forward(self, objects: Any) -> Any:
        """Samples (..., samples) of objects (..., rows, columns); the zero frequency is the object's mean."""
        self._expect_image(objects, self.object_shape)
        return linear(objects, self._forward, self._forward_adjoint)

    def forward_adjoint(self, samples: Any) -> Any:
        """The adjoint of `forward`, which is also its gradient: objects from samples."""
        self._expect_samples(samples)
        return linear(samples, self._forward_adjoint, self._forward)

    def reconstruct(self, samples: Any) -> Any:
        """Gridding reconstruction: images from samples weighted by their density compensation."""
        self._expect_samples(samples)
        return linear(samples, self._reconstruct, self._reconstruct_adjoint)

    def reconstruct_adjoint(self, images: Any) -> Any:
        """The adjoint of `reconstruct`, which is also its gradient: samples from images."""
        self._expect_image(images, self.image_shape)
        return linear(images, self._reconstruct_adjoint, self._reconstruct)

    def _forward(self, objects: Any) -> Any:
        return self._transform(objects, self.object_shape) / (self.object_shape[0] * self.object_shape[1])

    def _forward_adjoint(self, samples: Any) -> Any:
        return self._adjoint(samples, self.object_shape) / (self.object_shape[0] * self.object_shape[1])

    def _reconstruct(self, samples: Any) -> Any:
        return self._adjoint(samples * beside(self.trajectory.weights, samples), self.image_shape)

    def _reconstruct_adjoint(self, images: Any) -> Any:
        samples = self._transform(images, self.image_shape)
        return samples * beside(self.trajectory.weights, samples)

    @property
    def noise_gain(self) -> float:
        """SD of the gridded image's noise over that of each sample, both of the real part."""
        return float(np.sqrt(np.sum(self.trajectory.weights**2)))

    def least_squares(self, samples: Any, sensitivities: Any = None, *, iterations: int = 12) -> Any:
        """Image that best explains the samples, by conjugate gradients.

        Pruessmann KP et al., Advances in sensitivity encoding with arbitrary k-space trajectories. Magn Reson Med
        2001;46:638-651.

        Parameters
        ----------
        samples
            (..., coils, samples), or (..., samples) without `sensitivities`.
        sensitivities
            (coils, rows, columns) on the image's grid.
        iterations
            Few suffice from density-compensated data; more bring out noise.

        Returns
        -------
        array
            (..., rows, columns) complex.
        """
        maps = beside(np.ones((1, *self.image_shape)) if sensitivities is None else sensitivities, samples)
        if tuple(maps.shape[1:]) != self.image_shape:
            raise InputError(f"sensitivities have shape {tuple(maps.shape)}; the image has {self.image_shape}")
        data = samples[..., None, :] if sensitivities is None else samples
        if data.ndim < 2 or data.shape[-2] != maps.shape[0]:
            raise InputError(
                f"samples have shape {tuple(samples.shape)}; give (..., coils, samples) with the {maps.shape[0]} coils "
                "of the sensitivities"
            )
        xp, on_image = array_namespace(data), replace(self, object_shape=self.image_shape)

        def combined(channels: Any) -> Any:
            return xp.sum(xp.conj(maps) * channels, axis=-3)

        def normal(image: Any) -> Any:
            # Weighted samples of every channel, and what they are made of.
            return combined(on_image.forward_adjoint(self.reconstruct_adjoint(maps * image[..., None, :, :])))

        return conjugate_gradients(normal, combined(self.reconstruct(data)), iterations, axes=(-2, -1))

    def _expect_image(self, images: Any, shape: tuple[int, int]) -> None:
        if tuple(images.shape[-2:]) != shape:
            raise InputError(
                f"the array has {tuple(images.shape[-2:])} rows and columns; this acquisition needs {shape}"
            )

    def _expect_samples(self, samples: Any) -> None:
        count = len(self.trajectory.positions)
        if samples.shape[-1] != count:
            raise InputError(f"there are {samples.shape[-1]} samples; the trajectory has {count}")

    def _transform(self, images: Any, shape: tuple[int, int]) -> Any:
        """Unnormalised sums over pixels at the sample positions."""
        if is_torch(images):
            return self._with_finufft(images, shape, self._transform) if _near(images) else self._sums(images, shape)
        stack = images.astype(complex_dtype(images), copy=False).reshape(-1, *shape)
        x, y = self._angles(shape, stack.real.dtype)
        values = np.stack(
            [_finufft().nufft2d2(x, y, np.ascontiguousarray(i), isign=-1, eps=self.precision) for i in stack]
        )
        values = values * self._half_pixel(shape, stack.dtype)
        return values.reshape(*images.shape[:-2], -1)

    def _adjoint(self, samples: Any, shape: tuple[int, int]) -> Any:
        if is_torch(samples):
            return self._with_finufft(samples, shape, self._adjoint) if _near(samples) else self._spread(samples, shape)
        stack = samples.astype(complex_dtype(samples), copy=False).reshape(-1, samples.shape[-1])
        x, y = self._angles(shape, stack.real.dtype)
        turned = stack * np.conj(self._half_pixel(shape, stack.dtype))
        images = [
            _finufft().nufft2d1(x, y, np.ascontiguousarray(s), shape, isign=1, eps=self.precision) for s in turned
        ]
        return np.stack(images).reshape(*samples.shape[:-1], *shape)

    @staticmethod
    def _with_finufft(tensor: Any, shape: tuple[int, int], work: Any) -> Any:
        """`work` on the memory of a tensor of the processor; `linear` has taken its gradients off."""
        import torch

        return torch.from_numpy(work(tensor.detach().resolve_conj().resolve_neg().numpy(), shape))

    def _sums(self, images: Any, shape: tuple[int, int]) -> Any:
        """`_transform` written out: over rows by a matrix product, over columns by a sum."""
        xp = array_namespace(images)
        stack = xp.reshape(images, (-1, *shape))
        parts = [xp.sum(columns * xp.matmul(rows, stack), axis=-1) for _, rows, columns in self._waves(stack, shape)]
        return xp.reshape(xp.concat(parts, axis=-1), (*images.shape[:-2], -1))

    def _spread(self, samples: Any, shape: tuple[int, int]) -> Any:
        """`_adjoint` written out."""
        xp = array_namespace(samples)
        stack = xp.reshape(samples, (-1, samples.shape[-1]))
        total = None
        for some, rows, columns in self._waves(stack, shape):
            part = xp.matmul(xp.conj(xp.matrix_transpose(rows)), stack[:, some, None] * xp.conj(columns))
            total = part if total is None else total + part
        return xp.reshape(total, (*samples.shape[:-1], *shape))

    def _waves(self, stack: Any, shape: tuple[int, int]) -> Iterator[tuple[slice, Any, Any]]:
        """Plane waves of some samples after others: which, along the rows (samples, rows), and along the columns."""
        xp, kind = array_namespace(stack), complex_dtype(stack)
        double = xp.zeros((), dtype=xp.float64, **on_device_of(stack))
        positions = beside(self.trajectory.positions, double)
        at_rows, at_columns = (beside((np.arange(n) + 0.5) / n - 0.5, double) for n in shape)
        step = max(1, _AT_ONCE // (stack.shape[0] * shape[1]))
        for start in range(0, positions.shape[0], step):
            some = slice(start, start + step)
            rows, columns = (positions[some, axis, None] * at for axis, at in ((0, at_rows), (1, at_columns)))
            yield some, xp.astype(xp.exp(-2j * np.pi * rows), kind), xp.astype(xp.exp(-2j * np.pi * columns), kind)

    def _angles(self, shape: tuple[int, int], dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        x, y = (2 * np.pi * self.trajectory.positions[:, axis] / shape[axis] for axis in (0, 1))
        return np.ascontiguousarray(x, dtype=dtype), np.ascontiguousarray(y, dtype=dtype)

    def _half_pixel(self, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
        """Pixels lie at (j + 1/2)/n - 1/2; the transform counts them from -(n // 2)/n."""
        shift = sum(
            self.trajectory.positions[:, axis] * ((0.5 + shape[axis] // 2) / shape[axis] - 0.5) for axis in (0, 1)
        )
        return np.exp(-2j * np.pi * shift).astype(dtype)


def conjugate_gradients(normal: Any, right: Any, iterations: int, axes: tuple[int, ...] | None = None) -> Any:
    """Solve ``normal(x) = right`` for a Hermitian positive semi-definite operator (Hestenes and Stiefel 1952).

    Parameters
    ----------
    normal
        The operator.
    right
        The right side; with `axes`, one for each system.
    iterations
        How many at most; a system that is solved stays as it is.
    axes
        The axes of a system where there are several; None is all of them.
    """
    if iterations < 1:
        raise InputError(f"iterations is {iterations}; at least 1 is needed")
    xp = array_namespace(right)

    def inner(left: Any, with_: Any) -> Any:
        across = tuple(range(right.ndim)) if axes is None else axes
        return xp.sum(xp.real(xp.conj(left) * with_), axis=across, keepdims=True)

    solution = xp.zeros_like(right)
    residual = direction = right
    start = power = inner(residual, residual)
    for _ in range(iterations):
        going = (power > 1e-24 * start) & (power > 0)
        # Asking a tensor would wait for its device.
        if not is_torch(power) and not np.any(going):
            break
        image = normal(direction)
        along = inner(direction, image)
        step = xp.where(going, power / xp.where(going, along, xp.ones_like(along)), xp.zeros_like(along))
        solution = solution + step * direction
        residual = residual - step * image
        following = inner(residual, residual)
        direction = residual + following / xp.where(going, power, xp.ones_like(power)) * direction
        power = following
    return solution


def _near(tensor: Any) -> bool:
    """Whether a tensor lies in the processor's memory, where finufft works."""
    return bool(tensor.device.type == "cpu")


def _finufft() -> ModuleType:
    try:
        import finufft
    except ImportError as error:
        raise MissingDependencyError(
            "radial and golden-angle trajectories need finufft, which is missing; pip install 'CMRSimExtension[radial]'"
        ) from error
    return finufft
