"""What the scanner costs: 256 x 256 x 20 slices x 25 frames, in CPU seconds of one core.

Run with ``python -m pytest Testing/benchmarks/test_scanner_speed.py -s``. CPU time is what is compared and printed,
because it depends little on what else the machine is doing; pytest-benchmark's own table shows wall time.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import scipy.fft

from CMRSimExtension.anatomy.tissues import draw_tissues
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.multichannel import ChannelAcquisition
from CMRSimExtension.scanner.noise import complex_noise
from CMRSimExtension.scanner.protocol import Protocol

SLICES, FRAMES, COILS, SIDE = 20, 25, 8, 256
FULL = Protocol(
    fov_mm=(340.0, 340.0), matrix=(SIDE, SIDE), acquired_resolution_mm=(340.0 / SIDE, 340.0 / SIDE), coils=COILS,
    coil_combination="rss",
)  # fmt: skip
TYPICAL = Protocol(fov_mm=(340.0, 340.0), matrix=(SIDE, SIDE), acquired_resolution_mm=(1.9, 1.7), coils=COILS)


def grid(slices: int) -> ImageGrid:
    affine = np.diag([-340.0 / SIDE, -340.0 / SIDE, 10.0, 1.0])
    affine[:3, 3] = [169.0, 169.0, -5.0 * slices]
    return ImageGrid(affine, (slices, SIDE, SIDE), 8.0)


def frames(count: int) -> Iterator[np.ndarray]:
    image = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32).astype(np.complex64)
    for _ in range(count):
        yield image


def report(benchmark: object, work: Callable[[], object], what: str) -> float:
    """Run once under the benchmark and print the CPU time."""
    start = time.process_time()
    benchmark.pedantic(work, rounds=1, iterations=1)  # type: ignore[attr-defined]
    spent = time.process_time() - start
    benchmark.extra_info["cpu_s"] = round(spent, 2)  # type: ignore[attr-defined]
    print(f"\n{what}: {spent:.2f} CPU s")
    return spent


@pytest.mark.parametrize("combination", ["adaptive", "rss"])
def test_fast_magnitude_cine(benchmark, combination: str) -> None:
    acquisition = Acquisition(TYPICAL.replace(coil_combination=combination), (SIDE, SIDE))
    rng = np.random.default_rng(1)

    def work() -> None:
        for _ in range(SLICES):
            acquisition.magnitude(np.stack(list(frames(FRAMES))), rng, 0.1)

    report(benchmark, work, f"fast path, {combination}: k-space, zero-filling, noise, magnitude")


def test_full_channel_kspace_round_trip_against_its_raw_cost(benchmark) -> None:
    maps = CoilArray.body_and_spine(COILS, np.zeros(3)).on(grid(1))[:, 0]
    acquisition = ChannelAcquisition(FULL, maps)
    rng = np.random.default_rng(1)

    def raw() -> float:
        """Transforms there and back and normal numbers for as many channels, nothing else."""
        objects = next(frames(1))[None] * maps
        start = time.process_time()
        for _ in range(FRAMES * 2):
            channels = scipy.fft.fft2(objects)
            channels += complex_noise(rng, channels.shape, 1.0)
            scipy.fft.ifft2(channels, overwrite_x=True)
        return (time.process_time() - start) * SLICES / 2

    def work() -> None:
        for _ in acquisition.stream(frames(SLICES * FRAMES), rng, 0.1):
            pass

    bare = raw()
    spent = report(benchmark, work, "8 channels: k-space, noise, reconstruction, root sum of squares")
    benchmark.extra_info["raw_cpu_s"] = round(bare, 2)
    print(f"raw transforms and random numbers: {bare:.2f} CPU s; ratio {spent / bare:.2f}")


def test_memory_of_the_channel_stream(benchmark) -> None:
    maps = CoilArray.body_and_spine(COILS, np.zeros(3)).on(grid(1))[:, 0]
    acquisition = ChannelAcquisition(FULL, maps)
    rng = np.random.default_rng(1)
    scale = 1024 if sys.platform == "darwin" else 1

    def peak_mib(count: int) -> float:
        for _ in acquisition.stream(frames(count), rng, 0.1):
            pass
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / scale

    few = peak_mib(5)
    many: list[float] = []
    report(benchmark, lambda: many.append(peak_mib(50)), "50 frames of 8 channels")
    print(f"peak memory after 5 frames {few:.0f} MiB, after 50 more {many[0]:.0f} MiB")


def test_coil_maps(benchmark) -> None:
    array = CoilArray.body_and_spine(COILS, np.zeros(3))
    report(benchmark, lambda: array.on(grid(SLICES)), "Biot-Savart maps of 8 coils on 256 x 256 x 20")


def test_unfolding(benchmark) -> None:
    maps = CoilArray.body_and_spine(COILS, np.zeros(3)).on(grid(1))[:, 0]
    acquisition = ChannelAcquisition(FULL.replace(acceleration=2), maps, maps)
    rng = np.random.default_rng(1)
    report(benchmark, lambda: list(acquisition.stream(frames(FRAMES), rng, 0.1)), "SENSE x 2, one slice of 25 frames")


def test_signal_of_every_voxel(benchmark) -> None:
    values = draw_tissues(np.random.default_rng(0), 1.5)
    off = np.linspace(-200.0, 200.0, SLICES * SIDE * SIDE, dtype=np.float32)

    def work() -> None:
        for tissue in range(3):
            bssfp_signal(
                float(values.t1_ms[tissue]), float(values.t2_ms[tissue]), 1.0, off,
                repetition_time_ms=3.0, echo_time_ms=1.5, flip_angle_deg=60.0,
            )  # fmt: skip

    report(benchmark, work, "bSSFP of three tissues on 256 x 256 x 20 voxels")


def test_golden_angle_slice(benchmark) -> None:
    pytest.importorskip("finufft")
    from CMRSimExtension.scanner.nonuniform import NonuniformEncoding
    from CMRSimExtension.scanner.trajectories import golden_angle

    code = NonuniformEncoding((SIDE, SIDE), (SIDE, SIDE), golden_angle(200, SIDE))
    maps = CoilArray.body_and_spine(COILS, np.zeros(3)).on(grid(1))[:, 0]
    image = next(frames(1))
    report(benchmark, lambda: code.reconstruct(code.forward(maps * image)), "golden angle, 8 channels, one frame")
