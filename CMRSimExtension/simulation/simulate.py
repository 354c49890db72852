"""One call from an anatomy and a protocol to a labelled cine."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.faults import Fault
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.options import ScanOptions
from CMRSimExtension.simulation.run import KspaceSink, Progress, Run
from CMRSimExtension.simulation.scene import Preparation
from CMRSimExtension.simulation.tissue_settings import TissueSettings


def simulate(
    anatomy: Anatomy,
    protocol: Protocol,
    seed: int,
    *,
    plane: str = "sax",
    truth: Collection[str] = ("labels",),
    grid: ImageGrid | None = None,
    faults: Sequence[Fault] = (),
    preparation: Callable[[ImageGrid, float], Preparation] | None = None,
    sub_samples: int = 6,
    by_channel: bool = False,
    phases: Sequence[float] | None = None,
    array: CoilArray | None = None,
    rotation_deg: float = 0.0,
    tissues: Mapping[str, Mapping[str, float]] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    on_kspace: KspaceSink | None = None,
) -> Cine:
    """Scan an anatomy.

    Parameters
    ----------
    anatomy
        The subject, label image or XCAT phantom.
    protocol
        What the console is set to.
    seed
        Seed of everything that the scan itself draws (tissue values, fields, heartbeats, faults, noise); 0 or above.
    plane, truth, grid, faults, preparation, sub_samples, by_channel, phases, array, rotation_deg
        As in `ScanOptions`. Truths: ``labels`` (clinical), ``anatomy`` (every structure), ``motion`` (displacement to
        end diastole), ``fractions`` (tissue shares).
    tissues
        Values that tissues are to have, e.g. ``{"myocardium": {"t1_ms": 1100, "t2_ms": 45}}``, in place of the drawn
        ones: what `TissueSettings.of` takes. See `ScanOptions` for what stays drawn.
    workers
        Threads; None for one per processor. The result does not depend on it.
    progress
        Called as slices are done.
    on_kspace
        Called with each slice's index and its k-space (frames, coils, acquired rows, acquired columns); slices come in
        any order.

    Returns
    -------
    Cine
        With a sidecar from which `CMRSimExtension.simulation.record.simulate_again` makes the same cine.

    Raises
    ------
    InputError
        For an unknown truth or plane, a negative seed, a grid that the protocol cannot acquire or that a rotation is
        asked of, an array of another number of coils, a tissue that is not known or a value that it cannot have, or a
        segmented protocol of one phase or with `phases`.
    """
    wanted = None if phases is None else tuple(float(phase) for phase in phases)
    options = ScanOptions(
        plane, frozenset(truth), grid, tuple(faults), preparation, sub_samples, by_channel, wanted, array,
        float(rotation_deg), TissueSettings.of(tissues or {}),
    )  # fmt: skip
    if not (isinstance(seed, int | np.integer) and seed >= 0):
        raise InputError(f"seed is {seed!r}; give a whole number, 0 or above")
    run = Run.prepare(anatomy, protocol, int(seed), options, progress, on_kspace)
    images = run.acquire(workers or os.cpu_count() or 1)
    return Cine(
        image=images,
        grid=run.grid,
        times_ms=run.timing.times_ms,
        labels=run.labels if "labels" in truth else None,
        anatomy=run.structures,
        fractions=run.fractions,
        displacement_mm=run.displacement,
        function=getattr(anatomy, "function", None),
        heartbeats_ms=run.timing.cycle_ms,
        sidecar=run.record(int(seed)),
    )
