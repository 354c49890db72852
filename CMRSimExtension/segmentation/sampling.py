"""From the image's own grid to the small square a network looks at, and back, without ever rounding the geometry."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_DIHEDRAL = (
    ((1.0, 0.0), (0.0, 1.0)),
    ((-1.0, 0.0), (0.0, 1.0)),
    ((1.0, 0.0), (0.0, -1.0)),
    ((-1.0, 0.0), (0.0, -1.0)),
    ((0.0, 1.0), (1.0, 0.0)),
    ((0.0, 1.0), (-1.0, 0.0)),
    ((0.0, -1.0), (1.0, 0.0)),
    ((0.0, -1.0), (-1.0, 0.0)),
)
"""The eight flips, quarter turns and transposes of a square, acting on (x, y)."""


@dataclass(frozen=True)
class View:
    """One way of looking at a slice.

    Attributes
    ----------
    orientation
        0 to 7: one of the eight flips, quarter turns and transposes; 0 leaves the slice as it is.
    magnification
        Of the working pixel: above 1 the heart appears larger to the network.
    """

    orientation: int = 0
    magnification: float = 1.0


VIEWS: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "four": (View(0), View(3, 1.1), View(5, 0.9), View(6)),
    "eight": tuple(
        View(turn, scale) for turn, scale in zip(range(8), (1.0, 1.1, 0.9, 1.0, 1.0, 0.9, 1.1, 1.0), strict=True)
    ),
}
"""Sets of views whose probabilities are averaged."""


@dataclass(frozen=True)
class Window:
    """A square region of the slices, in pixels of the image.

    Attributes
    ----------
    centre
        (row, column) of its centre, in pixel centres' coordinates.
    pixel
        (row, column) size of one working pixel, in image pixels.
    size
        Side of the square, in working pixels.
    """

    centre: tuple[float, float]
    pixel: tuple[float, float]
    size: int

    def look(self, images: Tensor, view: View) -> Tensor:
        """Working images (n, 1, size, size) of slices (n, 1, rows, columns)."""
        step = max(self.pixel) / view.magnification
        if step > 1.25:
            images, shrink = _shrunk(images, [side / view.magnification for side in self.pixel])
        else:
            shrink = (1.0, 1.0)
        rows, columns = images.shape[-2:]
        matrix, offset = self._matrix(view)
        scale = torch.tensor([shrink[1], shrink[0]])
        # Working offset from the centre -> image offset -> position, in the pixels of the (shrunk) image.
        centre = (torch.tensor([self.centre[1], self.centre[0]]) + 0.5) * scale
        inner = (matrix * scale.view(2, 1)) * offset
        side = torch.tensor([columns, rows], dtype=torch.float32)
        theta = torch.cat([inner * 2.0 / side.view(2, 1), (2.0 * centre / side - 1.0).view(2, 1)], 1)
        grid = functional.affine_grid(theta[None], [1, 1, self.size, self.size], align_corners=False)
        grid = grid.expand(len(images), -1, -1, -1)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def back(self, values: Tensor, shape: Sequence[int], view: View) -> Tensor:
        """Values (n, channels, size, size) of a view at the image's own pixels (n, channels, rows, columns).

        Channel 0 is the background: what the window does not reach gets 1 there and 0 elsewhere.
        """
        rows, columns = shape
        matrix, offset = self._matrix(view)
        inverse = torch.linalg.inv(matrix * offset)
        side = torch.tensor([columns, rows], dtype=torch.float32)
        centre = torch.tensor([self.centre[1], self.centre[0]]) + 0.5
        theta = torch.cat([inverse * (side / 2.0).view(1, 2), (inverse @ (side / 2.0 - centre)).view(2, 1)], 1)
        grid = functional.affine_grid(theta[None], [1, 1, rows, columns], align_corners=False)
        grid = grid.expand(len(values), -1, -1, -1)
        values = values.clone()
        values[:, 0] -= 1.0
        result = functional.grid_sample(values, grid, padding_mode="zeros", align_corners=False)
        result[:, 0] += 1.0
        return result

    def _matrix(self, view: View) -> tuple[Tensor, float]:
        """Matrix from working offsets (x, y) to image offsets, and half the side in working pixels."""
        pixel = torch.tensor([self.pixel[1], self.pixel[0]]) / view.magnification
        return pixel.view(2, 1) * torch.tensor(_DIHEDRAL[view.orientation]), self.size / 2.0


def _shrunk(images: Tensor, steps: Sequence[float]) -> tuple[Tensor, tuple[float, float]]:
    """Reduce images so that one pixel is at most one step, averaging what falls together (no aliasing)."""
    shape = [max(1, round(side / max(1.0, step))) for side, step in zip(images.shape[-2:], steps, strict=True)]
    smaller = functional.interpolate(images, shape, mode="bilinear", antialias=True, align_corners=False)
    return smaller, (shape[0] / images.shape[-2], shape[1] / images.shape[-1])


def whole_slice(shape: Sequence[int], pixel: Sequence[float], multiple: int) -> Window:
    """The window that shows all of a slice of (rows, columns) pixels."""
    rows, columns = shape
    longest = max(rows / pixel[0], columns / pixel[1])
    size = max(multiple, int(-(-longest // multiple)) * multiple)
    return Window(((rows - 1) / 2.0, (columns - 1) / 2.0), (float(pixel[0]), float(pixel[1])), size)
