"""An endless, repeatable supply of simulated slices, made by worker processes while the network learns.

The supply is a numbered sequence of *chunks*: chunk i is what the drawing function makes from the seed sequence
``SeedSequence(seed, spawn_key=(*stream, i))``. Worker w of W makes the chunks w, w + W, w + 2 W ..., and they are taken
in turn, so that the sequence does not depend on how many workers make it.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from CMRSimExtension.errors import InputError

Draw = Callable[..., tuple[NDArray[np.float32], NDArray[np.uint8], list]]
"""A drawing function: ``draw(seed_sequence, count, **settings) -> (images, labels, meta)``, images (n, rows, columns)
or (n, slices, rows, columns) float32, labels the same shape uint8, meta one record per image, which may give its
``pixel_mm`` and ``slice_mm``."""


def drawing_function(name: str) -> Draw:
    """The function called `name`, ``package.module:function``.

    Raises
    ------
    InputError
        When there is no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    if not function_name:
        raise InputError(f"drawing function {name!r}: write it as package.module:function")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"drawing function {name!r} cannot be loaded: {error}") from error
    if not callable(function):
        raise InputError(f"drawing function {name!r} is {type(function).__name__}, which cannot be called")
    return function


@dataclass(frozen=True)
class SimulatedSource:
    """Where simulated images come from.

    Attributes
    ----------
    draw
        Drawing function, ``package.module:function``.
    chunk
        Images per chunk: a few slices and frames of one subject.
    settings
        Further keyword arguments of the drawing function.
    """

    draw: str
    chunk: int = 8
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise InputError(f"chunk is {self.chunk}; it must be at least 1 image")

    def make(self, seed: int, stream: Sequence[int], index: int) -> tuple[Tensor, Tensor]:
        """Chunk `index` of a stream: images (n, 1, ...) float32 and labels (n, ...) uint8.

        Raises
        ------
        InputError
            When the drawing function returns arrays of another kind, or values that are not finite.
        """
        return self._drawn(seed, stream, index)[:2]

    def make_measured(self, seed: int, stream: Sequence[int], index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images and labels of `make`, and their (slice, row, column) distances in mm, (n, 3) float64.

        The distances are what the drawing function's records call ``slice_mm`` and ``pixel_mm``; NaN where they do not
        say.

        Raises
        ------
        InputError
            As `make`; when there is not one record per image.
        """
        images, labels, records = self._drawn(seed, stream, index)
        if len(records) != len(images):
            raise InputError(f"{self.draw} returned {len(records)} records of {len(images)} images; give one each")
        names = ("slice_mm", "pixel_mm", "pixel_mm")
        sides = [[float(record.get(name, np.nan)) for name in names] for record in records]
        return images, labels, torch.tensor(sides, dtype=torch.float64)

    def _drawn(self, seed: int, stream: Sequence[int], index: int) -> tuple[Tensor, Tensor, list[Any]]:
        sequence = np.random.SeedSequence(seed, spawn_key=(*stream, index))
        images, labels, records = drawing_function(self.draw)(sequence, self.chunk, **self.settings)
        images, labels = np.asarray(images, np.float32), np.asarray(labels)
        if images.ndim not in (3, 4) or images.shape != labels.shape or not len(images):
            raise InputError(
                f"{self.draw} returned images {images.shape} and labels {labels.shape}; both must be "
                "(n, rows, columns) or (n, slices, rows, columns), n at least 1"
            )
        if not np.all(np.isfinite(images)):
            raise InputError(f"{self.draw} returned values that are not finite in chunk {index} of seed {seed}")
        return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.uint8)), records


class _Chunks(IterableDataset):
    """The chunks of one worker, each made by its number."""

    def __init__(self, make: Callable[[int], tuple[Tensor, ...]], start: int, stop: int | None) -> None:
        super().__init__()
        self.make, self.start, self.stop = make, start, stop

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        index = self.start + first
        while self.stop is None or index < self.stop:
            yield self.make(index)
            index += step


def chunks(
    source: SimulatedSource,
    seed: int,
    stream: Sequence[int] = (),
    start: int = 0,
    stop: int | None = None,
    workers: int = 0,
    ahead: int = 8,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks from number `start` on, the same for any number of workers.

    Parameters
    ----------
    stop
        Number of the chunk to stop before; None for chunks without end.
    workers
        Processes that draw, spawned; 0 draws in this process.
    ahead
        Chunks that each worker keeps ready.
    """
    return _supply(partial(source.make, seed, tuple(stream)), start, stop, workers, ahead)


def measured_chunks(
    source: SimulatedSource, seed: int, stream: Sequence[int], stop: int, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The chunks of a stream before number `stop`, as `chunks`, with the distances of `make_measured`."""
    return _supply(partial(source.make_measured, seed, tuple(stream)), 0, stop, workers, ahead=2)


def _supply(make: Callable[[int], Any], start: int, stop: int | None, workers: int, ahead: int) -> Iterator[Any]:
    loader = DataLoader(
        _Chunks(make, start, stop),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=ahead if workers else None,
    )
    return iter(loader)
