"""What tagging costs: 256 x 256 x 10 slices x 25 frames, with known and with estimated motion; and Dice on real hearts.

Run with ``python -m pytest Testing/benchmarks/test_tagging_speed.py -s``.
"""

import time
from dataclasses import replace

import numpy as np
import pytest

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.tagging.motion import estimate_motion
from CMRSimExtension.tagging.tag_cine import tag_cine


@pytest.fixture(scope="module")
def big_cine(cylinder):
    return cylinder().cine(frames=25, slices=10, rows=256, columns=256, pixel_mm=1.4, noise=4.0)


def report(benchmark, work, what, limit):
    start, cpu = time.perf_counter(), time.process_time()
    benchmark.pedantic(work, rounds=1, iterations=1)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    benchmark.extra_info.update(wall_s=round(wall, 1), cpu_s=round(cpu, 1))
    print(f"\n{what}: {wall:.1f} s of wall time, {cpu:.1f} CPU s (asked for: {limit})")


def test_tagging_with_known_motion(benchmark, big_cine):
    report(benchmark, lambda: tag_cine(big_cine), "256 x 256 x 10 x 25, motion known", "under 5 s on two cores")


def test_tagging_with_estimated_motion(benchmark, big_cine):
    cine = replace(big_cine, displacement_mm=None, labels=None)
    report(
        benchmark, lambda: tag_cine(cine, labels=big_cine.labels[0]), "256 x 256 x 10 x 25, motion estimated",
        "about 60 s on two cores",
    )


def test_overlap_of_registered_real_hearts(benchmark, cmrsim_data):
    """Dice of the end-systolic myocardium warped to end diastole, guided by the end-diastolic label alone."""
    nibabel = pytest.importorskip("nibabel")
    scores, in_slice, before = [], [], []

    def overlap(one, other):
        return 2 * np.sum(one & other) / (one.sum() + other.sum())

    def pair(names):
        images = [nibabel.load(name) for name in names]
        frames = np.stack([np.asarray(i.dataobj, np.float32).T for i in images])
        truth = [nibabel.load(str(name).replace(".nii.gz", "_gt.nii.gz")) for name in names]
        numbers = np.stack([np.asarray(t.dataobj).astype(np.uint8).T for t in truth])
        labels = np.array([0, 3, 2, 1], np.uint8)[numbers]
        # Two frames: the one with the larger pool is end diastole (patient 90's is the second).
        order = np.argsort([-(frame == 1).sum() for frame in labels])
        spacing = [float(z) for z in images[0].header.get_zooms()[:3]]
        return frames[order], labels[order], ImageGrid(np.diag([*spacing, 1.0]), frames.shape[1:], spacing[2])

    def all_patients():
        folder = cmrsim_data / "acdc"
        for patient in sorted({path.name[:10] for path in folder.glob("patient*")}):
            frames, labels, grid = pair([p for p in sorted(folder.glob(f"{patient}_frame*")) if "_gt" not in p.name])
            motion = estimate_motion(frames, grid, diastole_labels=labels[0])
            wall = labels == 2
            scores.append(overlap(motion.pull_back(wall[1].astype(np.float32), 1) > 0.5, wall[0]))
            in_slice.append(overlap(motion.push_forward(wall[0].astype(np.float32), 1) > 0.5, wall[1]))
            before.append(overlap(wall[1], wall[0]))

    report(benchmark, all_patients, "pairs registered", "-")
    print(f"myocardium, ES to ED: Dice median {np.median(scores):.3f} (unregistered {np.median(before):.3f}), "
          f"quartiles {np.percentile(scores, 25):.3f} to {np.percentile(scores, 75):.3f}, {len(scores)} patients")
    print(f"without the descent of the base, ED to ES within each slice: {np.median(in_slice):.3f}")
