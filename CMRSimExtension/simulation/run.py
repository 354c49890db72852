"""The work of one scan: plan, sample, receive, keep the truths, write the record."""

import platform
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.aliasing import crop, fold, margin_of_body, widen
from CMRSimExtension.scanner.breath_hold import BreathHold
from CMRSimExtension.scanner.faults import narrowed
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.noise import noise_sd_for_snr
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.receiver import Receiver, amplification_in
from CMRSimExtension.simulation.appearance import Appearance
from CMRSimExtension.simulation.coil_placement import usual_array
from CMRSimExtension.simulation.options import ScanOptions
from CMRSimExtension.simulation.scene import Preparation, SliceScene, VoxelContent, blood_factor_of, one_slice
from CMRSimExtension.version import __version__

_RR_SPREAD = 0.02
"""SD over mean of the heartbeat's length between slices of one breath-hold series in sinus rhythm."""

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and a line of text; may raise `Cancelled` to stop."""
KspaceSink = Callable[[int, NDArray[np.complexfloating]], None]
"""Called with a slice's index and its k-space. One that has the methods ``take_noise`` and ``take_reference`` is handed
the prescan too (`CMRSimExtension.scanner.prescan`): ``take_noise(samples)``, before the first slice, the noise (coils,
readouts, samples) of the series, and ``take_reference(index, kspace)`` the reference scan (coils, acquired rows,
acquired columns) of each slice that is undersampled for parallel imaging."""


@dataclass(frozen=True)
class Timing:
    """When each image is taken.

    Attributes
    ----------
    phases
        (frames,) cardiac phase of each frame.
    cycle_ms
        (slices,) length of the heartbeat in which each slice was acquired; their mean where it took several.
    """

    phases: NDArray[np.float64]
    cycle_ms: NDArray[np.float64]

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """(slices, frames) time after the R wave."""
        return self.cycle_ms[:, None] * self.phases[None, :]


class Run:
    """One scan on its way; `prepare` makes it, `acquire` runs it."""

    def __init__(
        self,
        anatomy: Anatomy,
        protocol: Protocol,
        appearance: Appearance,
        grid: ImageGrid,
        timing: Timing,
        options: ScanOptions,
        folded_pixels: int,
        shifts_mm: NDArray[np.float64],
        seeds: list[np.random.SeedSequence],
        progress: Progress | None,
        on_kspace: KspaceSink | None,
        asked: Protocol,
    ) -> None:
        self.asked = asked
        self.anatomy, self.protocol, self.appearance, self.grid = anatomy, protocol, appearance, grid
        self.timing, self.options, self.seeds = timing, options, seeds
        self._fold, self._shifts = folded_pixels, shifts_mm
        self._wide = widen(grid, protocol.phase_direction, folded_pixels) if folded_pixels else grid
        self._progress, self._on_kspace = progress, on_kspace
        self._done, self._lock = 0.0, threading.Lock()
        shape = (len(timing.phases), *grid.shape)
        truth = options.truth
        self.labels = np.zeros(shape, np.uint8)
        self.structures = np.zeros(shape, np.uint8) if "anatomy" in truth else None
        self.fractions = np.zeros((len(Tissue), *shape), np.float32) if "fractions" in truth else None
        self.displacement = np.zeros((*shape, 3), np.float32) if "motion" in truth else None
        self.noise_sd = 0.0
        self._holds: dict[int, BreathHold] = {}
        cycle = float(timing.cycle_ms.mean())
        self._preparation: Preparation | None = None
        if options.preparation is not None:
            self._preparation = options.preparation(grid, cycle)
        kept = on_kspace is not None
        cartesian = protocol.trajectory == "cartesian"
        # The fast path cannot unfold what folds in with the sensitivity of another place.
        unfolds_wide = bool(folded_pixels and cartesian and protocol.acceleration > 1)
        self._by_channel = options.by_channel or kept or unfolds_wide or options.array is not None
        array = options.array
        if array is not None and len(array.centres_mm) != protocol.coils:
            raise InputError(
                f"the coil array has {len(array.centres_mm)} coils and the protocol {protocol.coils}; give as many"
            )
        needed = self._by_channel or protocol.acceleration > 1 or (protocol.coil_combination == "rss" and not cartesian)
        if array is None and needed:
            array = usual_array(anatomy, protocol.coils)
        self.receiver = Receiver(
            protocol,
            grid.shape[1:],
            array,
            tuple(f for f in options.faults if f.by_line),
            anatomy.cycle_ms,
            self._by_channel,
            kept,
            folded_pixels,
            options.preparation is not None,
        )
        self._noise_map = self.receiver.noise_map(grid)

    @classmethod
    def prepare(
        cls,
        anatomy: Anatomy,
        protocol: Protocol,
        seed: int,
        options: ScanOptions,
        progress: Progress | None = None,
        on_kspace: KspaceSink | None = None,
    ) -> "Run":
        """Plan the slices and draw what this scan draws, each part from a seed of its own."""
        asked = protocol
        if protocol.segmented:
            _check_segments(protocol, options)
        protocol = narrowed(protocol, options.faults)
        axis = 0 if protocol.phase_direction == "rows" else 1
        # All of the body folds over, also what lies beyond the field of view that was asked for.
        lost = (asked.matrix[axis] - protocol.matrix[axis] + 1) // 2
        folded = max(lost, margin_of_body(protocol.matrix[axis], protocol.pixel_mm[axis])) if lost else 0
        if options.grid is None:
            grid = plan(anatomy.heart_frame, protocol, options.plane, in_plane_rotation_deg=options.rotation_deg)
        else:
            grid = options.grid
            dx, dy, _ = grid.spacing_mm
            rows, columns = grid.shape[1:]
            if folded and (rows, columns) != protocol.matrix:
                raise InputError(
                    "a field of view made too small on purpose (aliasing) needs a planned one: leave grid out, or plan "
                    f"one of {protocol.matrix[0]} x {protocol.matrix[1]} pixels with the narrowed protocol; this one "
                    f"has {rows} x {columns}"
                )
            protocol = protocol.replace(matrix=(rows, columns), fov_mm=(rows * dy, columns * dx))
        streams = np.random.SeedSequence(seed).spawn(4)
        appearance = Appearance.draw(np.random.default_rng(streams[0]), anatomy, protocol)
        appearance = replace(appearance, tissues=options.tissues.applied(appearance.tissues))
        heartbeats = np.random.default_rng(streams[1]).normal(1.0, _RR_SPREAD, size=grid.shape[0])
        rng = np.random.default_rng(streams[3])
        shifts = np.zeros((grid.shape[0], 3))
        field = appearance.off_resonance
        for fault in options.faults:
            shifts = shifts + fault.slice_shifts_mm(grid.shape[0], rng)
            field = fault.off_resonance(field, rng)
        if options.phases is None:
            phases = np.arange(protocol.phases) / protocol.phases
        else:
            phases = np.array(options.phases, dtype=np.float64)
            protocol = protocol.replace(phases=len(phases))
        timing = Timing(phases, anatomy.cycle_ms * np.clip(heartbeats, 0.85, 1.15))
        return cls(
            anatomy, protocol, appearance.with_off_resonance(field), grid, timing, options, folded, shifts,
            streams[2].spawn(grid.shape[0]), progress, on_kspace, asked,
        )  # fmt: skip

    def acquire(self, workers: int) -> NDArray[np.float32]:
        """(frames, slices, rows, columns) magnitude."""
        slices = self.grid.shape[0]
        images = np.empty((len(self.timing.phases), *self.grid.shape), np.float32)
        with ThreadPoolExecutor(min(workers, slices)) as pool:
            scenes: list[SliceScene | None] = [None] * slices
            diastole = np.empty(self.grid.shape, np.complex64)

            def start(index: int) -> None:
                scenes[index], diastole[index] = self._start(index)

            def finish(index: int) -> None:
                scene = scenes[index]
                assert scene is not None
                images[:, index] = self._receive(scene, index)
                scenes[index] = None
                self._report(0.65 / slices, f"slice {index + 1} of {slices}")

            _run_all(pool, start, slices)
            self.noise_sd = self._noise_level(diastole)
            take_noise = getattr(self._on_kspace, "take_noise", None)
            if take_noise is not None:
                # A stream of its own, so that what is drawn for the slices does not depend on it.
                rng = np.random.default_rng(self.seeds[0].spawn(1)[0])
                take_noise(self.receiver.noise_readouts(rng, self.noise_sd))
            _run_all(pool, finish, slices)
        cycles = self.timing.cycle_ms.copy()
        for index, hold in self._holds.items():
            cycles[index] = hold.nominal_ms
        self.timing = replace(self.timing, cycle_ms=cycles)
        return images

    def _report(self, share: float, text: str) -> None:
        with self._lock:
            self._done += share
            if self._progress is not None:
                self._progress(min(self._done, 1.0), text)

    def _start(self, index: int) -> tuple[SliceScene, NDArray[np.complex64]]:
        """Scene of a slice, and its object at end diastole, which sets the noise of the whole series."""
        scene = SliceScene(
            self.anatomy,
            self.protocol,
            self.appearance,
            self._wide,
            index,
            sub_samples=self.options.sub_samples,
            shift_mm=self._shifts[index],
            preparation=self._preparation,
            flow=blood_factor_of(self.options.faults, self.protocol),
        )
        content = scene.beating(0.0, self.appearance.blood_at(self.anatomy, 0.0))
        self.labels[0, index] = self._cropped(scene.labels(content, "clinical"))
        self._report(0.35 / self.grid.shape[0], "sampling anatomy at rest")
        return scene, self._folded(scene.image(content))

    def _folded(self, image: NDArray[np.complex64]) -> NDArray[np.complex64]:
        return fold(image, self.protocol.phase_direction, self._fold) if self._fold else image

    def _cropped(self, values: NDArray) -> NDArray:
        """Values (..., rows, columns) on the narrow grid; what folds over has no label there."""
        return crop(values, self.protocol.phase_direction, self._fold)

    def _noise_level(self, diastole: NDArray[np.complex64]) -> float:
        """SD of the noise from the SNR asked for; where no heart is in view, from the body's mean signal."""
        magnitude = self.receiver.noise_free(diastole)
        heart = self.labels[0] > 0
        if not heart.any():
            heart = magnitude > 0.25 * magnitude.max()
        level = noise_sd_for_snr(magnitude, heart, self.protocol.snr)
        return level if self._noise_map is None else level / amplification_in(self._noise_map, heart)

    def _receive(self, scene: SliceScene, index: int) -> NDArray[np.float32]:
        """(frames, rows, columns) images of a slice; truths are filled in on the way."""
        objects = np.empty((len(self.timing.phases), *self._wide.shape[1:]), np.complex64)
        rng = np.random.default_rng(self.seeds[index])
        hold = self.receiver.plan(rng)
        times = self.timing.times_ms[index] if hold is None else hold.nominal_ms * self.timing.phases
        for frame, phase in enumerate(self.timing.phases.tolist()):
            time = float(times[frame])
            content = scene.beating(phase, self.appearance.blood_at(self.anatomy, phase), time)
            objects[frame] = scene.image(content, time)
            self._keep(scene, content, frame, index, phase)
        noise_map = None if self._noise_map is None else self._noise_map[index]
        reception = self.receiver.receive(objects, one_slice(self.grid, index), rng, self.noise_sd, noise_map, hold)
        if reception.breath_hold is not None:
            self._holds[index] = reception.breath_hold
        if self._on_kspace is not None and reception.kspace is not None:
            take_reference = getattr(self._on_kspace, "take_reference", None)
            with self._lock:
                self._on_kspace(index, reception.kspace)
                if take_reference is not None and reception.reference is not None:
                    take_reference(index, reception.reference)
        return reception.images

    def _keep(self, scene: SliceScene, content: VoxelContent, frame: int, index: int, phase: float) -> None:
        self.labels[frame, index] = self._cropped(scene.labels(content, "clinical"))
        if self.structures is not None:
            self.structures[frame, index] = self._cropped(scene.labels(content, "structure"))
        if self.fractions is not None:
            self.fractions[:, frame, index] = self._cropped(scene.fractions(content))
        if self.displacement is not None:
            moved = scene.displacement_mm(phase)
            if not np.isfinite(moved).all():
                raise InputError(f"the anatomy gave a rest position that is not finite in slice {index}, frame {frame}")
            for axis in range(3):
                self.displacement[frame, index, ..., axis] = self._cropped(moved[:, axis].reshape(scene.shape))

    def record(self, seed: int) -> dict[str, Any]:
        """The sidecar: everything that makes this cine again, and what was drawn on the way."""
        function = getattr(self.anatomy, "function", None)
        describe = getattr(self._preparation, "describe", None)
        options, array = self.options, self.receiver.array
        return {
            "simulation": {
                "seed": seed,
                "plane": options.plane,
                "rotation_deg": options.rotation_deg,
                "tissues": options.tissues.as_dict(),
                "truth": sorted(options.truth),
                "sub_samples": options.sub_samples,
                "by_channel": self._by_channel,
                "array_given": options.array is not None,
                "phases": None if options.phases is None else list(options.phases),
                "grid_given": options.grid is not None,
                "grid": {
                    "affine_ras": self.grid.affine_ras.tolist(),
                    "shape": list(self.grid.shape),
                    "slice_thickness_mm": self.grid.slice_thickness_mm,
                },
                "faults": [fault.as_dict() for fault in options.faults],
            },
            "anatomy": self.anatomy.describe(),
            "protocol": self.protocol.as_dict(),
            "protocol_asked": self.asked.as_dict(),
            "appearance": self.appearance.as_dict(),
            "coil_array": None if array is None else array.as_dict(),
            "preparation": None if describe is None else describe(),
            "noise_sd": self.noise_sd,
            "slice_shifts_mm": self._shifts.tolist(),
            "breath_holds": [self._holds[index].as_dict() for index in sorted(self._holds)],
            "times_ms": self.timing.times_ms.tolist(),
            "function": None if function is None else function.as_dict(),
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """What a cine depends on to the last bit."""
    return {
        "CMRSimExtension": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }


def _check_segments(protocol: Protocol, options: ScanOptions) -> None:
    if options.phases is not None:
        raise InputError("segments are spread over the whole heartbeat; leave segmented or the phases out")
    if protocol.phases == 1:
        raise InputError("segmented is true and phases is 1, which has no motion; raise it or leave segmented out")


def _run_all(pool: ThreadPoolExecutor, work: Callable[[int], None], count: int) -> None:
    """`work` of every number; the first error ends the others that have not begun."""
    futures = [pool.submit(work, index) for index in range(count)]
    try:
        for future in futures:
            future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        raise
