"""Labels on a fine grid with sub-voxel boundaries, and the fast look-up of any point in them."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_MIXED = 255
_CHUNK = 65536


class SolidsInOrder:
    """Constructive geometry: structures are added one after another, and each takes only the room left by the earlier.

    Keeps, for every fine cell, the winner and its margin (half the lead over the runner-up, which is the distance to
    the nearest boundary), so that any number of structures costs two arrays.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.label = np.zeros(shape, dtype=np.uint8)
        self._union = np.full(shape, np.inf, dtype=np.float32)
        self._edge = np.full(shape, np.inf, dtype=np.float32)

    def add(self, structure: int, distance_mm: NDArray[np.float32]) -> None:
        """Add a solid by its signed distance, negative inside."""
        # Boundaries that the solid cannot cross: those of what is there already.
        inside = (distance_mm < 0) & (self._union >= 0)
        self.label[inside] = structure
        free = self._union >= 0
        np.minimum(self._edge, np.abs(distance_mm), out=self._edge, where=free)
        np.minimum(self._union, distance_mm, out=self._union)

    @property
    def union(self) -> NDArray[np.float32]:
        """Signed distance to everything added so far."""
        return self._union

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Labels, and each cell's distance to the nearest boundary in mm."""
        return self.label, np.minimum(self._edge, 100.0)


class FineField:
    """A number on the fine grid, trilinear at any point.

    Parameters
    ----------
    values
        (k, j, i).
    affine
        (4, 4): (i, j, k, 1) to mm.
    """

    def __init__(self, values: NDArray[np.floating], affine: NDArray) -> None:
        self.values = np.ascontiguousarray(values, dtype=np.float32)
        inverse = np.linalg.inv(affine)
        self._matrix = np.ascontiguousarray(inverse[:3, :3].T)
        self._shift = inverse[:3, 3]

    def at(self, points_mm: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n,) values at (n, 3) points; the nearest one outside the grid."""
        nk, nj, ni = self.values.shape
        index = points_mm @ self._matrix + self._shift
        np.clip(index, 0.0, np.array([ni, nj, nk]) - 1.001, out=index)
        whole = index.astype(np.int32)
        fi, fj, fk = (index - whole).astype(np.float32).T
        start = (whole[:, 2] * nj + whole[:, 1]) * ni + whole[:, 0]
        flat = self.values.reshape(-1)

        def row(offset: int) -> NDArray:
            low = flat[start + offset]
            return low + (flat[start + offset + 1] - low) * fi

        below = row(0)
        below += (row(ni) - below) * fj
        above = row(nj * ni)
        above += (row(nj * ni + ni) - above) * fj
        return below + (above - below) * fk


class LabelVolume:
    """Structure numbers at any point.

    A point in a cell whose eight corners agree gets their label. In a mixed cell the corners' signed margins decide:
    for two labels this is the trilinear zero level of the signed distance, so boundaries are smooth within cells.

    Parameters
    ----------
    label, margin
        (k, j, i) structure numbers and distances to the nearest boundary, mm.
    affine
        (4, 4): (i, j, k, 1) to mm.
    clamp
        Points outside the grid get the nearest cell's label instead of 0.
    """

    def __init__(
        self, label: NDArray[np.uint8], margin: NDArray[np.float32], affine: NDArray, *, clamp: bool = False
    ) -> None:
        self.label = np.ascontiguousarray(label)
        self.margin = np.ascontiguousarray(margin, dtype=np.float32)
        self.affine = np.asarray(affine, dtype=np.float64)
        self._clamp = clamp
        inverse = np.linalg.inv(self.affine)
        self._matrix = np.ascontiguousarray(inverse[:3, :3].T)
        self._shift = inverse[:3, 3]
        self._cells = self._mixed_cells()
        nk, nj, ni = self.label.shape
        self._steps = np.array([a * nj * ni + b * ni + c for a in (0, 1) for b in (0, 1) for c in (0, 1)])

    def _mixed_cells(self) -> NDArray[np.uint8]:
        low = self.label.copy()
        high = self.label.copy()
        for axis in range(3):
            moved = [slice(None)] * 3
            kept = [slice(None)] * 3
            moved[axis], kept[axis] = slice(1, None), slice(None, -1)
            low[tuple(kept)] = np.minimum(low[tuple(kept)], low[tuple(moved)])
            high[tuple(kept)] = np.maximum(high[tuple(kept)], high[tuple(moved)])
        return np.where(low == high, low, _MIXED).astype(np.uint8)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one fine cell."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def cell_centres(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n, 3) positions in mm of the cells in `mask`."""
        k, j, i = np.nonzero(mask)
        return np.stack([i, j, k], axis=-1) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def depth(self, points_mm: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n,) distance in mm from (n, 3) points to the nearest boundary, of the nearest cell."""
        nk, nj, ni = self.label.shape
        index = np.rint(points_mm @ self._matrix + self._shift).astype(np.int64)
        np.clip(index, 0, np.array([ni, nj, nk]) - 1, out=index)
        return self.margin[index[:, 2], index[:, 1], index[:, 0]]

    def look_up(self, points_mm: NDArray[np.floating]) -> NDArray[np.uint8]:
        """(n,) structure numbers at (n, 3) points."""
        out = np.zeros(len(points_mm), dtype=np.uint8)
        for start in range(0, len(points_mm), _CHUNK):
            out[start : start + _CHUNK] = self._look_up(points_mm[start : start + _CHUNK])
        return out

    def _look_up(self, points_mm: NDArray) -> NDArray[np.uint8]:
        nk, nj, ni = self.label.shape
        index = points_mm @ self._matrix
        index += self._shift
        i, j, k = index[:, 0], index[:, 1], index[:, 2]
        if self._clamp:
            i, j, k = np.clip(i, 0, ni - 1.001), np.clip(j, 0, nj - 1.001), np.clip(k, 0, nk - 1.001)
            where = None
        else:
            inside = (i >= 0) & (i < ni - 1) & (j >= 0) & (j < nj - 1) & (k >= 0) & (k < nk - 1)
            where = None if inside.all() else np.flatnonzero(inside)
            if where is not None:
                i, j, k = i[where], j[where], k[where]
        ki, ji, ii = k.astype(np.int32), j.astype(np.int32), i.astype(np.int32)
        flat = (ki * nj + ji) * np.int64(ni) + ii
        found = self._cells.reshape(-1)[flat]
        mixed = np.flatnonzero(found == _MIXED)
        if mixed.size:
            fractions = (k[mixed] - ki[mixed], j[mixed] - ji[mixed], i[mixed] - ii[mixed])
            found[mixed] = self._vote(flat[mixed], fractions)
        if where is None:
            return found
        out = np.zeros(len(points_mm), dtype=np.uint8)
        out[where] = found
        return out

    def _vote(self, flat: NDArray, fractions: Iterable[NDArray]) -> NDArray[np.uint8]:
        fk, fj, fi = (np.asarray(f, dtype=np.float32) for f in fractions)
        corners = flat[:, None] + self._steps
        labels = self.label.reshape(-1)[corners]
        weight = np.empty(corners.shape, dtype=np.float32)
        ek, ej, ei = 1 - fk, 1 - fj, 1 - fi
        for corner, (a, b, c) in enumerate(np.ndindex(2, 2, 2)):
            weight[:, corner] = (fk if a else ek) * (fj if b else ej) * (fi if c else ei)
        weight *= self.margin.reshape(-1)[corners] + np.float32(1e-6)
        total = weight.sum(axis=1)
        winner = labels[:, 0].copy()
        best = 2 * np.sum(weight * (labels == winner[:, None]), axis=1) - total
        # A label that wins more than half the weight has won; only the rest is counted out.
        rest = np.flatnonzero(best < 0)
        for corner in range(1, 8):
            if not rest.size:
                break
            candidate = labels[rest, corner]
            score = 2 * np.sum(weight[rest] * (labels[rest] == candidate[:, None]), axis=1) - total[rest]
            better = score > best[rest]
            changed = rest[better]
            winner[changed], best[changed] = candidate[better], score[better]
            rest = rest[best[rest] < 0]
        return winner
