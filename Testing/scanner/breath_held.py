"""One slice's breath hold with channels combined, put together from its parts as the receive chain does."""

from collections.abc import Sequence

import numpy as np

from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.breath_hold import BreathHold
from CMRSimExtension.scanner.faults import Fault
from CMRSimExtension.scanner.protocol import Protocol


def breath_held(
    objects: np.ndarray, protocol: Protocol, faults: Sequence[Fault], seed: int = 0, noise_sd: float = 0.0
) -> tuple[np.ndarray, BreathHold]:
    """Images and what happened, of a heart of 900 ms; without faults too, when no `Receiver` goes line by line."""
    rng = np.random.default_rng(seed)
    acquisition = Acquisition(protocol, objects.shape[-2:])
    hold = BreathHold.plan(protocol, faults, rng, cycle_ms=900.0)
    samples, spikes = hold.kspace(objects, acquisition.encoding, protocol, faults, rng)
    images = acquisition.from_kspace(samples.astype(np.complex64, copy=False), rng, noise_sd)
    return images, BreathHold(hold.schedule, hold.trigger_delays_ms, spikes)
