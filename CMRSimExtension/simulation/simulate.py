"""One call from an anatomy and a protocol to a labelled cine."""

import math
import os
import platform
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.noise import noise_sd_for_snr
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.appearance import Appearance
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.scene import SliceScene, VoxelContent
from CMRSimExtension.version import __version__

TRUTHS = ("labels", "anatomy", "motion", "fractions")
_RR_SPREAD = 0.02
"""SD over mean of the heartbeat's length between slices of one breath-hold series in sinus rhythm."""

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and a line of text; may raise `Cancelled` to stop."""


@dataclass(frozen=True)
class Timing:
    """When each image is taken.

    Attributes
    ----------
    phases
        (frames,) cardiac phase of each frame.
    cycle_ms
        (slices,) length of the heartbeat in which each slice was acquired.
    """

    phases: NDArray[np.float64]
    cycle_ms: NDArray[np.float64]

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """(slices, frames) time after the R wave."""
        return self.cycle_ms[:, None] * self.phases[None, :]


def simulate(
    anatomy: Anatomy,
    protocol: Protocol,
    seed: int,
    *,
    plane: str = "sax",
    truth: Collection[str] = ("labels",),
    grid: ImageGrid | None = None,
    sub_samples: int = 6,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Cine:
    """Scan an anatomy.

    Parameters
    ----------
    anatomy
        The subject, label image or XCAT phantom.
    protocol
        What the console is set to.
    seed
        Seed of everything that the scan itself draws (tissue values, fields, heartbeats, noise); 0 or above.
    plane
        One of `CMRSimExtension.scanner.planning.PLANES`; ignored when `grid` is given.
    truth
        Which truths to make: ``labels`` (clinical), ``anatomy`` (every structure), ``motion`` (displacement to end
        diastole), ``fractions`` (tissue shares). What is not asked for costs nothing.
    grid
        Geometry to scan, instead of the planned one. Its matrix and field of view replace the protocol's.
    sub_samples
        Points that stand for one voxel, through the slice and over its area.
    workers
        Threads; None for one per processor. The result does not depend on it.
    progress
        Called as slices are done.

    Returns
    -------
    Cine
        With a sidecar from which `simulate_again` makes the same cine.

    Raises
    ------
    InputError
        For an unknown truth or plane, a negative seed, or a grid that the protocol cannot acquire.
    """
    unknown = sorted(set(truth) - set(TRUTHS))
    if unknown:
        raise InputError(f"truth {', '.join(unknown)} is not known; choose from {', '.join(TRUTHS)}")
    if not (isinstance(seed, int | np.integer) and seed >= 0):
        raise InputError(f"seed is {seed!r}; give a whole number, 0 or above")
    if not 1 <= sub_samples <= 64:
        raise InputError(f"sub_samples is {sub_samples}; choose a number from 1 to 64")
    if grid is None:
        grid = plan(anatomy.heart_frame, protocol, plane)
    else:
        dx, dy, _ = grid.spacing_mm
        rows, columns = grid.shape[1:]
        protocol = protocol.replace(matrix=(rows, columns), fov_mm=(rows * dy, columns * dx))
    appearance_seed, timing_seed, noise_seed = np.random.SeedSequence(int(seed)).spawn(3)
    appearance = Appearance.draw(np.random.default_rng(appearance_seed), anatomy, protocol)
    heartbeats = np.random.default_rng(timing_seed).normal(1.0, _RR_SPREAD, size=grid.shape[0])
    timing = Timing(np.arange(protocol.phases) / protocol.phases, anatomy.cycle_ms * np.clip(heartbeats, 0.85, 1.15))
    run = _Run(anatomy, protocol, appearance, grid, timing, frozenset(truth), sub_samples, progress)
    images = run.acquire(noise_seed.spawn(grid.shape[0]), workers or os.cpu_count() or 1)
    function = getattr(anatomy, "function", None)
    return Cine(
        image=images,
        grid=grid,
        times_ms=timing.times_ms,
        labels=run.labels if "labels" in truth else None,
        anatomy=run.structures,
        fractions=run.fractions,
        displacement_mm=run.displacement,
        function=function,
        sidecar={
            "simulation": {
                "seed": int(seed),
                "plane": plane,
                "truth": sorted(truth),
                "sub_samples": sub_samples,
                "grid": {
                    "affine_ras": grid.affine_ras.tolist(),
                    "shape": list(grid.shape),
                    "slice_thickness_mm": grid.slice_thickness_mm,
                },
            },
            "anatomy": anatomy.describe(),
            "protocol": protocol.as_dict(),
            "appearance": appearance.as_dict(),
            "noise_sd": run.noise_sd,
            "times_ms": timing.times_ms.tolist(),
            "function": None if function is None else function.as_dict(),
            "versions": {
                "CMRSimExtension": __version__,
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "python": platform.python_version(),
            },
        },
    )


class _Run:
    """The work of one `simulate` call."""

    def __init__(
        self,
        anatomy: Anatomy,
        protocol: Protocol,
        appearance: Appearance,
        grid: ImageGrid,
        timing: Timing,
        truth: frozenset[str],
        sub_samples: int,
        progress: Progress | None,
    ) -> None:
        self.anatomy, self.protocol, self.appearance, self.grid = anatomy, protocol, appearance, grid
        self.timing, self.truth, self.sub_samples = timing, truth, sub_samples
        self._progress, self._done = progress, 0
        shape = (len(timing.phases), *grid.shape)
        self.acquisition = Acquisition(protocol, grid.shape[1:])
        self.labels = np.zeros(shape, np.uint8)
        self.structures = np.zeros(shape, np.uint8) if "anatomy" in truth else None
        self.fractions = np.zeros((len(Tissue), *shape), np.float32) if "fractions" in truth else None
        self.displacement = np.zeros((*shape, 3), np.float32) if "motion" in truth else None
        self.noise_sd = 0.0

    def acquire(self, seeds: list[np.random.SeedSequence], workers: int) -> NDArray[np.float32]:
        """(frames, slices, rows, columns) magnitude."""
        slices = self.grid.shape[0]
        images = np.empty((len(self.timing.phases), *self.grid.shape), np.float32)
        with ThreadPoolExecutor(min(workers, slices)) as pool:
            scenes = list(pool.map(self._prepare, range(slices)))
            diastole = np.stack([scene[1] for scene in scenes])
            self.noise_sd = self._noise_level(diastole)

            def finish(index: int) -> None:
                rng = np.random.default_rng(seeds[index])
                images[:, index] = self.acquisition.magnitude(self._frames(scenes[index][0], index), rng, self.noise_sd)
                scenes[index] = (None, None)
                self._report(0.35 + 0.65 * (index + 1) / slices, f"slice {index + 1} of {slices}")

            for future in [pool.submit(finish, index) for index in range(slices)]:
                future.result()
        return images

    def _report(self, share: float, text: str) -> None:
        if self._progress is not None:
            self._progress(min(share, 1.0), text)

    def _prepare(self, index: int) -> tuple[Any, Any]:
        """Scene of a slice, and its object at end diastole, which sets the noise of the whole series."""
        scene = SliceScene(self.anatomy, self.protocol, self.appearance, self.grid, index, sub_samples=self.sub_samples)
        content = scene.beating(0.0, self._blood(0.0))
        self.labels[0, index] = scene.labels(content, "clinical")
        self._done += 1
        self._report(0.35 * self._done / self.grid.shape[0], "sampling anatomy at rest")
        return scene, scene.image(content)

    def _noise_level(self, diastole: NDArray[np.complex64]) -> float:
        """SD of the noise from the SNR asked for; where no heart is in view, from the body's mean signal."""
        magnitude = self.acquisition.noise_free(diastole)
        heart = self.labels[0] > 0
        if not heart.any():
            heart = magnitude > 0.25 * magnitude.max()
        return noise_sd_for_snr(magnitude, heart, self.protocol.snr)

    def _blood(self, phase: float) -> NDArray[np.float32] | None:
        function: CardiacFunction | None = getattr(self.anatomy, "function", None)
        ejection_at = getattr(self.anatomy, "ejection", None)
        if function is None or ejection_at is None:
            return None
        left, right = function.lv_ef_percent, function.rv_ef_percent
        return self.appearance.blood_factors(ejection_at(phase), (left or 0.0) / 100.0, (right or 0.0) / 100.0)

    def _frames(self, scene: SliceScene, index: int) -> NDArray[np.complex64]:
        """(frames, rows, columns) objects of a slice; truths are filled in on the way."""
        objects = np.empty((len(self.timing.phases), *scene.shape), np.complex64)
        for frame, phase in enumerate(self.timing.phases.tolist()):
            content = scene.beating(phase, self._blood(phase))
            objects[frame] = scene.image(content)
            self._keep(scene, content, frame, index, phase)
        return objects

    def _keep(self, scene: SliceScene, content: VoxelContent, frame: int, index: int, phase: float) -> None:
        self.labels[frame, index] = scene.labels(content, "clinical")
        if self.structures is not None:
            self.structures[frame, index] = scene.labels(content, "structure")
        if self.fractions is not None:
            self.fractions[:, frame, index] = scene.fractions(content)
        if self.displacement is not None:
            moved = scene.displacement_mm(phase).reshape(*scene.shape, 3)
            if not math.isfinite(float(np.abs(moved).max())):
                raise InputError(f"the anatomy gave a rest position that is not finite in slice {index}, frame {frame}")
            self.displacement[frame, index] = moved
