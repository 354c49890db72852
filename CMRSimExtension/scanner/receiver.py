"""From a slice's objects to its images, whatever the protocol asks for: the scanner's receive chain behind one door.

Four ways lead through it. Cartesian protocols take the fast path, in which the channels' noise follows its combined
law and parallel imaging amplifies it by the analytic geometry factor; or, where every channel is wanted, they go
channel by channel. A segmented acquisition, and faults that act on single lines, put the breath hold together line by
line. Radial protocols go through the non-uniform transform, channel by channel where there is a coil array.

Objects may be NumPy arrays or torch tensors; what comes back is of the same kind, on the same device, and of tensors
differentiable. Heartbeats, faults and noise are drawn alike for both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch
from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.aliasing import fold, widen
from CMRSimExtension.scanner.breath_hold import BreathHold, acquire_channels, line_by_line
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.faults import Fault
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.kspace import noise_gain_of
from CMRSimExtension.scanner.multichannel import ChannelAcquisition, root_sum_of_squares
from CMRSimExtension.scanner.noise import complex_noise
from CMRSimExtension.scanner.nonuniform import NonuniformEncoding
from CMRSimExtension.scanner.planning import finer_grid
from CMRSimExtension.scanner.prescan import NOISE_READOUTS, reference_lines
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.sense import noise_map_on
from CMRSimExtension.scanner.trajectories import of_protocol


@dataclass(frozen=True)
class Reception:
    """What one slice gave.

    Attributes
    ----------
    images
        (frames, rows, columns) float32 magnitude; of tensors, a tensor of their precision.
    breath_hold
        What happened line by line, where the breath hold was put together from lines; else None.
    kspace
        (frames, coils, acquired rows, acquired columns) complex64 with noise, or (frames, coils, samples) of radial
        frames, where it was asked for; else None. Of tensors, a tensor of their precision, as is the next.
    reference
        (coils, acquired rows, acquired columns) complex64: the reference scan of Cartesian parallel imaging
        (`CMRSimExtension.scanner.prescan`), where k-space was asked for and is undersampled; else None.
    """

    images: Any
    breath_hold: BreathHold | None = None
    kspace: Any = None
    reference: Any = None


@dataclass(frozen=True)
class Receiver:
    """The receive chain of one scan.

    Attributes
    ----------
    protocol
        The protocol that is really run (after `Fault.narrow`).
    object_shape
        (rows, columns) of the objects, a whole multiple of the protocol's matrix.
    array
        The coils. Their relative sensitivities are used, normalised to uniform brightness: the shading that is left in
        images belongs to the object (`CMRSimExtension.scanner.bias`). None where neither acceleration nor channels nor
        k-space are wanted.
    faults
        Those that act on lines are applied here; the others act on geometry, field and signal before.
    cycle_ms
        The anatomy's heartbeat.
    by_channel
        Draw and reconstruct every channel instead of taking the fast path.
    keep_kspace
        Hand out k-space; implies `by_channel`.
    prospective
        Whether the series begins anew with each trigger, as a preparation at the R wave wants it.
    folded_pixels
        Pixels by which objects stick out on both ends of the phase direction, to fold into the field of view. Channel
        by channel, what folds in is heard with the sensitivity of where it is; the fast path folds it in at full
        strength.

    Raises
    ------
    InputError
        Where coils are needed and missing, their number is not the protocol's, or faults on lines meet spokes.
    """

    protocol: Protocol
    object_shape: tuple[int, int]
    array: CoilArray | None = None
    faults: tuple[Fault, ...] = ()
    cycle_ms: float = 1000.0
    by_channel: bool = False
    keep_kspace: bool = False
    folded_pixels: int = 0
    prospective: bool = False
    _maps: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        protocol = self.protocol
        if any(n % m for n, m in zip(self.object_shape, protocol.matrix, strict=True)):
            raise InputError(
                f"the object has {self.object_shape} rows and columns; it must be a whole multiple of the matrix "
                f"{protocol.matrix}"
            )
        unfolds = protocol.acceleration > 1 and self.cartesian
        if self.array is None and (unfolds or self.by_channel or self.keep_kspace):
            raise InputError("acceleration, channels and k-space need a coil array; give array")
        if self.array is None and not self.cartesian and protocol.coil_combination == "rss" and protocol.coils > 1:
            raise InputError(
                f"the root sum of squares of {protocol.coils} channels of spokes needs a coil array; give array, or "
                "choose adaptive combination"
            )
        if self.folded_pixels and unfolds and not self._channels_wanted:
            raise InputError("a field of view too small for the body is unfolded channel by channel; set by_channel")
        if self.array is not None and self.array.coils != protocol.coils:
            raise InputError(f"the array has {self.array.coils} coils, the protocol {protocol.coils}; make them agree")
        lined = line_by_line(self.protocol, self.faults)
        if lined and not self.cartesian:
            raise InputError(
                f"{', '.join(lined)} act on Cartesian lines; choose the trajectory cartesian or leave them"
            )

    @property
    def cartesian(self) -> bool:
        """Whether k-space is filled line by line."""
        return self.protocol.trajectory == "cartesian"

    @cached_property
    def acquisition(self) -> Acquisition:
        """The fast path."""
        return Acquisition(self.protocol, self.object_shape)

    @property
    def _channels_wanted(self) -> bool:
        return self.by_channel or self.keep_kspace

    def noise_free(self, objects: Any) -> Any:
        """Magnitude (..., rows, columns) without noise or faults: what the SNR refers to."""
        if self.cartesian:
            return self.acquisition.noise_free(objects)
        encoding = self._spokes(0)
        return _magnitude(encoding.reconstruct(encoding.forward(objects)))

    def plan(self, rng: np.random.Generator) -> BreathHold | None:
        """What happens during one slice's breath hold, where it goes line by line; else None, and nothing is drawn."""
        if not line_by_line(self.protocol, self.faults):
            return None
        return BreathHold.plan(
            self.protocol, self.faults, rng, cycle_ms=self.cycle_ms, prospective=self.prospective
        )

    def noise_map(self, grid: ImageGrid) -> NDArray[np.float32] | None:
        """(slices, rows, columns) amplification by parallel imaging, or None where there is none."""
        if self.array is None or self.protocol.acceleration == 1 or not self.cartesian:
            return None
        return noise_map_on(self.array, grid, self.protocol.acceleration, self.protocol.phase_axis)

    def noise_readouts(self, rng: np.random.Generator, noise_sd: float) -> NDArray[np.complex64]:
        """What the channels hear without a pulse, for prewhitening: noise as in the samples of `receive`.

        Parameters
        ----------
        rng
            Source of the noise.
        noise_sd
            As for `receive`.

        Returns
        -------
        array
            (coils, readouts, samples) complex64, as many samples as a readout of k-space has.
        """
        if self.cartesian:
            # Undersampling leaves the receiver's noise as it is.
            encoding = self.acquisition.encoding
            gain = noise_gain_of(encoding, self.protocol)
            read = encoding.acquired_shape[1 if self.protocol.phase_axis == -2 else 0]
        else:
            spokes = self._spokes(0)
            gain, read = spokes.noise_gain, spokes.trajectory.read
        return complex_noise(rng, (self.protocol.coils, NOISE_READOUTS, read), noise_sd / gain)

    def receive(
        self,
        objects: Any,
        grid: ImageGrid,
        rng: np.random.Generator,
        noise_sd: Any,
        noise_map: Any = None,
        hold: BreathHold | None = None,
    ) -> Reception:
        """Images of one slice.

        Parameters
        ----------
        objects
            (frames, fine rows, fine columns) signal at evenly spaced cardiac phases; with `folded_pixels` they stick
            out of the field of view by as many.
        grid
            Geometry of the slice's images; one slice.
        rng
            Source of heartbeats, faults and noise.
        noise_sd
            SD of the real part of the noise in the image; with parallel imaging, before its amplification.
        noise_map
            (rows, columns) amplification on the fast path: this slice of `noise_map`, so that it need not be made again
            for every slice; None makes it.
        hold
            What `plan` drew from `rng` just before, for callers who need to know it first; None draws it here.
        """
        if not self.cartesian:
            return self._receive_spokes(objects, grid, rng, noise_sd)
        hold = self.plan(rng) if hold is None else hold
        if self._channels_wanted:
            return self._receive_channels(objects, grid, rng, noise_sd, hold)
        objects = self._folded(objects)
        amplified = self.noise_map(grid) if noise_map is None else noise_map
        scale = None if amplified is None else amplified.reshape(self.protocol.matrix)
        if hold is None:
            return Reception(self.acquisition.magnitude(objects, rng, noise_sd, scale))
        samples, spikes = hold.kspace(objects, self.acquisition.encoding, self.protocol, self.faults, rng)
        images = self.acquisition.from_kspace(samples, rng, noise_sd, scale)
        return Reception(images, BreathHold(hold.schedule, hold.trigger_delays_ms, spikes))

    def _receive_channels(
        self,
        objects: Any,
        grid: ImageGrid,
        rng: np.random.Generator,
        noise_sd: Any,
        hold: BreathHold | None,
    ) -> Reception:
        channels = ChannelAcquisition(
            self.protocol,
            self._sensitivities(grid, True),
            self._sensitivities(grid, False),
            folded_samples=self._folded_samples,
        )
        if hold is not None:
            frames, hold = acquire_channels(
                objects, channels, self.faults, rng, cycle_ms=self.cycle_ms, noise_sd=noise_sd, hold=hold
            )
        else:
            frames = (channels.kspace(image, rng, noise_sd) for image in objects)
        both = ((channels.reconstruct(samples), samples) for samples in frames)
        images, kept = self._collected(both, len(objects))
        undersampled = self.keep_kspace and self.protocol.acceleration > 1
        reference = reference_lines(channels, objects, rng, noise_sd) if undersampled else None
        return Reception(images, hold, kept, reference)

    def _receive_spokes(self, objects: Any, grid: ImageGrid, rng: np.random.Generator, noise_sd: Any) -> Reception:
        if self._channels_wanted or (self.protocol.coil_combination == "rss" and self.array is not None):
            fine, coarse = self._sensitivities(grid, True), self._sensitivities(grid, False)
        else:
            objects = self._folded(objects)
            fine = np.ones((1, *self.object_shape), dtype=np.complex64)
            coarse = np.ones((1, *self.protocol.matrix), dtype=np.complex64)
        fine, coarse = beside(fine, objects), beside(coarse, objects)

        def frames() -> Iterator[tuple[Any, Any]]:
            for index, image in enumerate(objects):
                encoding = self._spokes(index)
                if not is_torch(image):
                    image = image.astype(np.complex64, copy=False)
                samples = encoding.forward(self._folded(image * fine))
                sd = noise_sd / encoding.noise_gain
                samples = samples + complex_noise(rng, tuple(samples.shape), sd, samples)
                channels = encoding.reconstruct(samples)
                if self.protocol.coil_combination == "rss":
                    yield root_sum_of_squares(channels), samples
                else:
                    # Maps are of uniform brightness, so the optimal combination needs no division.
                    xp = array_namespace(channels)
                    yield xp.sum(xp.conj(coarse) * channels, axis=0), samples

        images, kept = self._collected(frames(), len(objects))
        return Reception(images, None, kept)

    def _collected(self, frames: Iterable[tuple[Any, Any]], count: int) -> tuple[Any, Any]:
        """Magnitude images, and k-space where it is kept, of `count` frames of (combined image, k-space)."""
        images: Any = None
        tensors, kept = [], []
        for index, (combined, samples) in enumerate(frames):
            if is_torch(combined):
                tensors.append(_magnitude(combined))
            else:
                # Into its place at once: a frame's channels need not outlive it.
                images = np.empty((count, *self.protocol.matrix), dtype=np.float32) if images is None else images
                images[index] = np.abs(combined)
            if self.keep_kspace:
                kept.append(samples if is_torch(samples) else samples.astype(np.complex64))
        if tensors:
            images = array_namespace(tensors[0]).stack(tensors, axis=0)
        return images, array_namespace(kept[0]).stack(kept, axis=0) if kept else None

    @property
    def _folded_samples(self) -> int:
        """`folded_pixels` in samples of the object."""
        axis = self.protocol.phase_axis
        return self.folded_pixels * (self.object_shape[axis] // self.protocol.matrix[axis])

    def _folded(self, objects: Any) -> Any:
        """Objects (..., fine rows, fine columns) as the field of view shows them, also where they are so already."""
        axis = self.protocol.phase_axis
        if objects.shape[axis] == self.object_shape[axis]:
            return objects
        return fold(objects, self.protocol.phase_direction, self._folded_samples)

    def _spokes(self, frame: int) -> NonuniformEncoding:
        return NonuniformEncoding(self.object_shape, self.protocol.matrix, of_protocol(self.protocol, frame))

    def _sensitivities(self, grid: ImageGrid, fine: bool) -> NDArray[np.complex64]:
        """(coils, rows, columns) of uniform root sum of squares, on the object's grid or the image's."""
        assert self.array is not None
        if fine:
            if self.folded_pixels:
                grid = widen(grid, self.protocol.phase_direction, self.folded_pixels)
            down, across = (n // m for n, m in zip(self.object_shape, self.protocol.matrix, strict=True))
            grid = finer_grid(grid, (down, across))
        maps = self.array.on(grid)[:, 0]
        return maps / np.maximum(root_sum_of_squares(maps), np.float32(1e-6))


def amplification_in(noise_map: Any, heart_mask: Any) -> Any:
    """Mean amplification over the heart: divide the noise SD by it, and the SNR asked for is that of the image.

    Parameters
    ----------
    noise_map
        (slices, rows, columns) from `Receiver.noise_map`.
    heart_mask
        Same shape.

    Returns
    -------
    float
        Of a tensor: a tensor without axes.
    """
    xp, mask = array_namespace(noise_map), beside(heart_mask, noise_map)
    if not xp.any(mask):
        raise InputError("the heart mask is empty; there is no heart in which to take the mean amplification")
    mean = xp.mean(noise_map[mask], dtype=xp.float64)
    return mean if is_torch(mean) else float(mean)


def _magnitude(images: Any) -> Any:
    magnitude = array_namespace(images).abs(images)
    return magnitude if is_torch(magnitude) else magnitude.astype(np.float32, copy=False)
