"""Batches for training: drawn from simulated streams, labelled folders or both, repeatable from any step on."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.training.label_numbers import label_table
from CMRSimExtension.training.labelled_folder import FolderSource, LabelledVolume, read_case
from CMRSimExtension.training.simulated_source import SimulatedSource, chunks

_TRAIN, _VALIDATION, _PICK = 1, 2, 3
"""First element of the spawn keys: what a stream of random numbers is for."""

_FIRST_FILL = 64
"""Images that must be there before the first step: fewer make the first batches of one or two subjects."""


class Pool(Protocol):
    """Something that labelled images can be picked from."""

    def start(self, step: int, share: int) -> None:
        """Be ready for `step`, given how many images of each batch come from here."""

    def pick(self, step: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """`count` images (n, 1, ...) and their labels (n, ...) for `step`; steps come in rising order."""


class SimulatedPool:
    """A sliding window over an endless stream of simulated images.

    Each image serves about `reuse` times, changed anew by the augmentation each time, while the window slides on; it
    takes that long because drawing an image costs about as much as learning from it. What the window holds at a step
    depends on that step alone, so that a resumed run sees what an uninterrupted one would.

    Parameters
    ----------
    source
        What draws.
    seed, rank
        Base seed and number of the training process: each process has a stream of its own.
    reuse
        How often an image is seen on average.
    window
        Images kept.
    workers
        Processes that draw.
    """

    def __init__(
        self,
        source: SimulatedSource,
        seed: int,
        rank: int = 0,
        reuse: float = 2.0,
        window: int = 1024,
        workers: int = 0,
    ) -> None:
        if not reuse > 0 or window < source.chunk:
            raise InputError(f"reuse {reuse} and window {window}: reuse must be above 0, the window hold a chunk")
        self.source, self.seed, self.stream, self.reuse, self.workers = source, seed, (_TRAIN, rank), reuse, workers
        self.window = max(1, window // source.chunk)
        self._held: deque[tuple[Tensor, Tensor]] = deque(maxlen=self.window)
        self._share = 0
        self._next = 0
        self._supply: Iterator[tuple[Tensor, Tensor]] | None = None

    def _needed(self, step: int) -> int:
        """Chunks that must have been drawn before `step`."""
        first = -(-_FIRST_FILL // self.source.chunk)
        return first + int(step * self._share / (self.reuse * self.source.chunk))

    def start(self, step: int, share: int) -> None:
        self._share = share
        first = max(0, self._needed(step) - self.window)
        # Steps that follow one another need no new start: the window has only to slide.
        if self._supply is None or not first <= self._next <= self._needed(step):
            self._held.clear()
            self._next = first
            self._supply = chunks(self.source, self.seed, self.stream, first, workers=self.workers)

    def pick(self, step: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        assert self._supply is not None
        while self._next < self._needed(step):
            self._held.append(next(self._supply))
            self._next += 1
        sizes = [len(images) for images, _ in self._held]
        edges = np.cumsum([0, *sizes])
        picked = rng.choice(edges[-1], count, replace=count > edges[-1])
        where = np.searchsorted(edges, picked, side="right") - 1
        images = [self._held[chunk][0][index - edges[chunk]] for chunk, index in zip(where, picked, strict=True)]
        labels = [self._held[chunk][1][index - edges[chunk]] for chunk, index in zip(where, picked, strict=True)]
        return torch.stack(images), torch.stack(labels)


class FolderPool:
    """The labelled images of a folder, in memory.

    Raises
    ------
    InputError
        When nothing is left after `only` and `without`.
    """

    def __init__(self, source: FolderSource) -> None:
        self.images, self.labels = read_folder(source)

    def start(self, step: int, share: int) -> None:
        return None

    def pick(self, step: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        picked = torch.from_numpy(rng.choice(len(self.images), count, replace=count > len(self.images)))
        return self.images[picked], self.labels[picked]


def read_folder(source: FolderSource) -> tuple[Tensor, Tensor]:
    """All slices (n, 1, rows, columns) or volumes (n, 1, slices, rows, columns) of a folder, and their labels.

    A `CMRSimWarning` says how many frames were left out for want of labels (see `read_case`).
    """
    table = label_table(source.labels_map)
    images, labels = [], []
    frames = taken = 0
    for case in source.cases():
        volumes = read_case(case, table)
        frames += volumes[0].file_frames
        taken += len(volumes)
        for volume in volumes:
            picture, truth = _fit(volume, source)
            images.append(picture)
            labels.append(truth)
    if taken < frames:
        warnings.warn(
            f"{source.folder}: {frames - taken} of {frames} frames have no labels, while others of their files do, and "
            "were left out",
            CMRSimWarning,
            stacklevel=2,
        )
    stack, truths = torch.cat(images), torch.cat(labels)
    return stack.unsqueeze(1), truths


def _fit(volume: LabelledVolume, source: FolderSource) -> tuple[Tensor, Tensor]:
    """Resample and cut one volume: (n, ...) images and labels of `source.size`."""
    image, labels = torch.from_numpy(volume.image), torch.from_numpy(volume.labels)
    flat = len(source.size) == 2
    if source.spacing_mm is not None:
        target = (volume.spacing_mm[0], *source.spacing_mm) if flat else tuple(source.spacing_mm)
        extents = [n * distance for n, distance in zip(image.shape, volume.spacing_mm, strict=True)]
        shape = [max(1, round(extent / distance)) for extent, distance in zip(extents, target, strict=True)]
        image = functional.interpolate(image[None, None], shape, mode="trilinear", align_corners=False)[0, 0]
        labels = functional.interpolate(labels[None, None].float(), shape, mode="nearest-exact")[0, 0].byte()
    size = (image.shape[0], *source.size) if flat else tuple(source.size)
    found = torch.nonzero(labels)
    centre = found.float().mean(0) if len(found) else torch.tensor(image.shape) / 2.0
    starts = [round(float(middle) - side / 2.0) for middle, side in zip(centre, size, strict=True)]
    if flat:
        starts[0] = 0
    image, labels = cut(image, starts, size), cut(labels, starts, size)
    return (image, labels) if flat else (image.unsqueeze(0), labels.unsqueeze(0))


def cut(values: Tensor, starts: Sequence[int], size: Sequence[int]) -> Tensor:
    """A box of `size` from index `starts` on, zero where it lies outside."""
    result = torch.zeros(tuple(size), dtype=values.dtype)
    inside = [(max(0, start), min(n, start + side)) for start, side, n in zip(starts, size, values.shape, strict=True)]
    if all(low < high for low, high in inside):
        target = tuple(slice(low - start, high - start) for (low, high), start in zip(inside, starts, strict=True))
        result[target] = values[tuple(slice(low, high) for low, high in inside)]
    return result


class BatchStream:
    """Rounds of training batches from one or more pools.

    Parameters
    ----------
    pools, weights
        Where images come from and their shares of each batch.
    batch_size
        Images per batch.
    seed, rank
        Base seed and number of the training process.
    steps
        Batches per round.
    position
        Tells the number of the round that is about to start; asked at each start, so that a resumed run goes on where
        it stopped.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        weights: Sequence[float],
        batch_size: int,
        seed: int,
        rank: int,
        steps: int,
        position: Callable[[], int],
    ) -> None:
        if not pools or len(pools) != len(weights) or min(weights) < 0 or not sum(weights) > 0:
            raise InputError(f"{len(pools)} sources with weights {list(weights)}: give a positive weight for each")
        self.pools, self.batch_size, self.seed, self.rank, self.steps = list(pools), batch_size, seed, rank, steps
        self.position = position
        self.waited_s = 0.0
        share = np.asarray(weights, float) / sum(weights) * batch_size
        self._shares = np.floor(share).astype(int)
        # What rounding leaves over goes to the largest remainders, so that shares are the same in every batch.
        for index in np.argsort(self._shares - share, kind="stable")[: batch_size - self._shares.sum()]:
            self._shares[index] += 1

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor | int]]:
        first = self.position() * self.steps
        for pool, share in zip(self.pools, self._shares, strict=True):
            pool.start(first, int(share))
        for step in range(first, first + self.steps):
            began = time.perf_counter()
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(_PICK, self.rank, step)))
            parts = [
                pool.pick(step, int(share), rng) for pool, share in zip(self.pools, self._shares, strict=True) if share
            ]
            shapes = {tuple(images.shape[1:]) for images, _ in parts}
            if len(shapes) > 1:
                raise InputError(f"the sources give images of different shapes {sorted(shapes)}; set their sizes alike")
            images, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
            self.waited_s += time.perf_counter() - began
            yield {"image": images, "label": labels, "step": step}


def validation_set(source: SimulatedSource, seed: int, count: int, workers: int = 0) -> tuple[Tensor, Tensor]:
    """A fixed set of at least `count` simulated images that no training stream contains."""
    drawn = list(chunks(source, seed, (_VALIDATION,), stop=-(-count // source.chunk), workers=workers, ahead=2))
    images, labels = (torch.cat(parts)[:count] for parts in zip(*drawn, strict=True))
    return images, labels
