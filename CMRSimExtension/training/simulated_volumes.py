"""Simulated short-axis volumes for networks that take a whole stack (P2)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.simulate import simulate


def draw_volumes(
    seed: np.random.SeedSequence,
    count: int,
    *,
    slices: int = 10,
    rows: int = 224,
    columns: int = 256,
    pixel_mm: float = 1.5625,
    slice_mm: float = 10.0,
    truth: str = "labels",
    sub_samples: int = 3,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[dict[str, Any]]]:
    """End-diastolic and end-systolic stacks of one random subject under one random scan.

    Parameters
    ----------
    seed
        The same seed gives the same volumes.
    count
        1 or 2 volumes: end diastole, end systole.
    slices, rows, columns, pixel_mm, slice_mm
        Geometry; the stack covers the heart from above its base as far as its slices reach.
    truth
        ``labels`` for the clinical three, ``anatomy`` for every structure.

    Returns
    -------
    tuple
        Images (count, slices, rows, columns) float32, labels uint8, a record per volume.

    Raises
    ------
    InputError
        When `count` is not 1 or 2, or `truth` is unknown.
    """
    if count not in (1, 2):
        raise InputError(f"chunk is {count}; a chunk of volumes holds 1 (end diastole) or 2 (end systole too)")
    if truth not in ("labels", "anatomy"):
        raise InputError(f"truth is {truth!r}; choose labels or anatomy")
    subject_seed, scan_seed = seed.spawn(2)
    subject = Subject.random(subject_seed, pathology=None)
    rng = np.random.default_rng(scan_seed)
    protocol = Protocol.random(rng)
    phase, read = protocol.acquired_resolution_mm
    thickness = min(protocol.slice_thickness_mm, slice_mm)
    protocol = protocol.replace(
        matrix=(rows, columns),
        fov_mm=(rows * pixel_mm, columns * pixel_mm),
        acquired_resolution_mm=(max(phase, pixel_mm), max(read, pixel_mm)),
        slice_thickness_mm=thickness,
        slice_gap_mm=slice_mm - thickness,
        slices=slices,
    )
    grid = plan(subject.heart_frame, protocol, "sax", slices=slices)
    phases = (0.0, subject.heart.timing.end_systole)[:count]
    cine = simulate(
        subject, protocol, int(rng.integers(2**31)), grid=grid, phases=phases, truth=(truth,), sub_samples=sub_samples,
        workers=1,
    )  # fmt: skip
    labels = cine.labels if truth == "labels" else cine.anatomy
    assert labels is not None
    record = {
        "pathology": subject.parameters.pathology,
        "field_t": protocol.field_t,
        "vendor": protocol.vendor,
        "pixel_mm": pixel_mm,
        "slice_mm": slice_mm,
    }
    return cine.image, labels, [record | {"phase": phase} for phase in phases]
