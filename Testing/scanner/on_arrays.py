"""Every numeric function of the scanner as a function of one array, for the tests that run it on several libraries."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from CMRSimExtension.physics.array_namespace import array_namespace, beside
from CMRSimExtension.scanner.acquisition import Acquisition, acquire
from CMRSimExtension.scanner.aliasing import crop, fold, fold_adjoint
from CMRSimExtension.scanner.bias import ReceiveField
from CMRSimExtension.scanner.breath_hold import BreathHold, acquire_channels
from CMRSimExtension.scanner.coils import CoilArray, field_of_polygon
from CMRSimExtension.scanner.faults import BloodFlow, RespiratoryGhosting, Spikes
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.ghosts import PulsationGhosts
from CMRSimExtension.scanner.kspace import CartesianEncoding, homodyne, in_phase, padded_ifft, pruned_fft
from CMRSimExtension.scanner.multichannel import ChannelAcquisition, root_sum_of_squares
from CMRSimExtension.scanner.noise import (
    ColouredChiSquare,
    complex_noise,
    expected_magnitude,
    noise_sd_for_snr,
    rss_magnitude,
)
from CMRSimExtension.scanner.nonuniform import NonuniformEncoding, conjugate_gradients
from CMRSimExtension.scanner.off_resonance import OffResonanceField
from CMRSimExtension.scanner.prescan import estimated_sensitivities, reference_lines
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.receiver import Receiver, amplification_in
from CMRSimExtension.scanner.segmented import LineSchedule, assemble, assemble_adjoint, cardiac_phase, segmented
from CMRSimExtension.scanner.sense import SenseUnfolding
from CMRSimExtension.scanner.slice_profile import slice_profile
from CMRSimExtension.scanner.trajectories import golden_angle

ROWS, COLUMNS, COILS = 20, 16, 3
OBJECT = (22, 18)
PROTOCOL = Protocol(
    fov_mm=(80.0, 64.0), matrix=(ROWS, COLUMNS), acquired_resolution_mm=(5.0, 4.0), coils=COILS, phases=4,
    views_per_segment=6, filter="hamming", filter_strength=0.7,
)  # fmt: skip
SIDEWAYS = PROTOCOL.replace(phase_direction="columns")
KSPACE = PROTOCOL.acquired_matrix
PARTIAL = {"partial_fourier": 0.7, "partial_fourier_method": "homodyne"}
SPOKES = golden_angle(9, 14, 3)
HEART = np.zeros((ROWS, COLUMNS), bool)
HEART[6:14, 5:11] = True


def _maps(rows: int, columns: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.standard_normal((COILS, rows, columns)) + 1j * rng.standard_normal((COILS, rows, columns))


MAPS, FINE = _maps(ROWS, COLUMNS), _maps(*OBJECT)
ARRAY = CoilArray.body_and_spine(COILS, np.zeros(3), chest_wall_mm=60.0)
GRID = ImageGrid(np.diag([-4.0, -4.0, 8.0, 1.0]), (1, ROWS, COLUMNS), 8.0)


def _rng() -> np.random.Generator:
    return np.random.default_rng(3)


@dataclass(frozen=True)
class Numerics:
    """A function of the scanner.

    Attributes
    ----------
    name
        As in its module, a class and its method with a point between.
    variant
        What is special about this call of it.
    shape
        Of the array that it takes.
    work
        The function.
    real
        Whether the array is real.
    batched
        Whether axes before `shape` are a batch of arrays that do not know of each other.
    reads
        Whether it looks at values (are there any in the heart?), for which it has to wait for a device.
    """

    name: str
    variant: str
    shape: tuple[int, ...]
    work: Callable[[Any], Any]
    real: bool = False
    batched: bool = True
    reads: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.variant}".strip()

    def values(self, *leading: int) -> np.ndarray:
        """An array that it takes, in double precision."""
        rng = np.random.default_rng(11)
        real = rng.standard_normal((*leading, *self.shape))
        return real if self.real else real + 1j * rng.standard_normal((*leading, *self.shape))


def _encoding() -> CartesianEncoding:
    sampled = np.random.default_rng(0).uniform(size=KSPACE) < 0.7
    return replace(CartesianEncoding.of_protocol(PROTOCOL, OBJECT), sampled=sampled)


def _channels(folded: int = 0, **changes: Any) -> ChannelAcquisition:
    maps = np.pad(FINE, ((0, 0), (folded, folded), (0, 0)), mode="edge")
    return ChannelAcquisition(PROTOCOL.replace(**changes), maps, MAPS, folded_samples=folded)


def _schedule(protocol: Protocol = PROTOCOL) -> LineSchedule:
    schedule = segmented(protocol, np.array([700.0, 1000.0, 850.0]), 900.0)
    moved = np.random.default_rng(2).normal(0.0, 5.0, (*schedule.heartbeat.shape, 2))
    return replace(schedule, displacement_mm=moved)


def _received(objects: Any, **keywords: Any) -> Any:
    protocol = PROTOCOL.replace(**keywords.pop("changes", {}))
    receiver = Receiver(protocol, (ROWS, COLUMNS), ARRAY, cycle_ms=900.0, **keywords)
    return receiver.receive(objects, GRID, _rng(), 0.05)


def _breath_held_channels(objects: Any) -> Any:
    frames, _ = acquire_channels(
        objects, _channels(), [RespiratoryGhosting(amount=8.0)], _rng(), cycle_ms=900.0, noise_sd=0.1
    )
    return array_namespace(objects).stack(list(frames), axis=0)


def _spiked(samples: Any) -> Any:
    return Spikes(amount=3.0).kspace(samples, _rng())[0]


def _sparking(objects: Any) -> Any:
    hold = BreathHold.plan(PROTOCOL, [], _rng(), cycle_ms=900.0)
    return hold.kspace(objects, ASYMMETRIC, PROTOCOL.replace(**PARTIAL), [Spikes(amount=9.0)], _rng())[0]


def _solved(right: Any) -> Any:
    return conjugate_gradients(lambda x: 2.5 * x, right, 3)


CARTESIAN, HOLES = CartesianEncoding.of_protocol(PROTOCOL, OBJECT), _encoding()
ASYMMETRIC = CartesianEncoding.of_protocol(PROTOCOL.replace(**PARTIAL), OBJECT)
RADIAL = NonuniformEncoding(OBJECT, (ROWS, COLUMNS), SPOKES, precision=1e-12)
SAMPLES = (len(SPOKES.positions),)
FAST = Acquisition(PROTOCOL, OBJECT)
SQUARES = Acquisition(PROTOCOL.replace(coil_combination="rss"), OBJECT)
HALF = Acquisition(PROTOCOL.replace(**PARTIAL), OBJECT)
AMPLIFIED = 1.0 + np.random.default_rng(4).uniform(size=(ROWS, COLUMNS))
SHADING = ReceiveField(ARRAY.centres_mm, 80.0, np.zeros(3), 0.7)
BENT = OffResonanceField(
    1.5, np.array([3.0, 2.0, -5.0]), 40.0 * np.eye(3), np.array([22.0, 25.0, 30.0]), np.array([0.5, 0.7, 1.0]),
    np.linspace(-0.5, 0.7, 7), np.array([0.1, -0.2, 0.3, 0.05]), 12.0,
)  # fmt: skip
STATES, SLICE = (4, *KSPACE), (4, ROWS, COLUMNS)
POLYGON = ARRAY.centres_mm[:, None] + np.array([[9.0, 0.0, 0.0], [0.0, 8.0, 0.0], [-9.0, 0.0, 7.0]])

NUMERICS = [
    Numerics("fold", "rows", (26, 18), lambda x: fold(x, "rows", 3)),
    Numerics("fold", "columns, far", (22, 50), lambda x: fold(x, "columns", 20)),
    Numerics("crop", "", (26, 18), lambda x: crop(x, "rows", 3)),
    Numerics("fold_adjoint", "", (20, 18), lambda x: fold_adjoint(x, "rows", 25)),
    Numerics("CartesianEncoding.forward", "", OBJECT, HOLES.forward),
    Numerics("CartesianEncoding.forward_adjoint", "", KSPACE, HOLES.forward_adjoint),
    Numerics("CartesianEncoding.reconstruct", "", KSPACE, HOLES.reconstruct),
    Numerics("CartesianEncoding.reconstruct_adjoint", "", (ROWS, COLUMNS), HOLES.reconstruct_adjoint),
    Numerics("CartesianEncoding.image", "", OBJECT, HOLES.image),
    Numerics("CartesianEncoding.image", "real", OBJECT, HOLES.image, real=True),
    Numerics("CartesianEncoding.masked", "", KSPACE, HOLES.masked),
    Numerics("pruned_fft", "", OBJECT, lambda x: pruned_fft(x, CARTESIAN._table("forward", x))),
    Numerics("padded_ifft", "", KSPACE, lambda x: padded_ifft(x, None, OBJECT)),
    Numerics("homodyne", "", KSPACE, lambda x: homodyne(x, ASYMMETRIC, -2, 0.7)),
    Numerics("in_phase", "", (5, 6), lambda x: in_phase(x, x[..., ::1] ** 2)),
    Numerics("Acquisition.noise_free", "", OBJECT, FAST.noise_free),
    Numerics("Acquisition.noise_free", "homodyne", OBJECT, HALF.noise_free),
    Numerics("Acquisition.magnitude", "", OBJECT, lambda x: FAST.magnitude(x, _rng(), 0.1), batched=False),
    Numerics(
        "Acquisition.magnitude", "map", OBJECT, lambda x: FAST.magnitude(x, _rng(), 0.1, AMPLIFIED), batched=False
    ),
    Numerics("Acquisition.magnitude", "rss", OBJECT, lambda x: SQUARES.magnitude(x, _rng(), 0.1), batched=False),
    Numerics(
        "Acquisition.magnitude", "rss, map", (11, *OBJECT), lambda x: SQUARES.magnitude(x, _rng(), 0.1, AMPLIFIED),
        batched=False,
    ),
    Numerics("Acquisition.from_kspace", "", KSPACE, lambda x: HALF.from_kspace(x, _rng(), 0.1), batched=False),
    Numerics("acquire", "", OBJECT, lambda x: acquire(x, PROTOCOL, _rng(), noise_sd=0.1), batched=False),
    Numerics(
        "acquire", "by SNR", OBJECT, lambda x: acquire(x, PROTOCOL, _rng(), heart_mask=HEART), batched=False,
        reads=True,
    ),
    Numerics("ChannelAcquisition.kspace", "", OBJECT, _channels().kspace),
    Numerics("ChannelAcquisition.kspace", "noisy", OBJECT, lambda x: _channels().kspace(x, _rng(), 0.1), batched=False),
    Numerics("ChannelAcquisition.kspace", "folded", (26, 18), _channels(2).kspace),
    Numerics("ChannelAcquisition.encoded", "", OBJECT, lambda x: _channels(acceleration=2).encoded(x, 2 * FINE)),
    Numerics(
        "ChannelAcquisition.with_noise", "", (COILS, *KSPACE),
        lambda x: _channels(acceleration=2).with_noise(x, _rng(), 0.1), batched=False,
    ),
    Numerics("ChannelAcquisition.forward_adjoint", "", (COILS, *KSPACE), _channels(2).forward_adjoint),
    Numerics("ChannelAcquisition.reconstruct", "adaptive", (COILS, *KSPACE), _channels().reconstruct),
    Numerics("ChannelAcquisition.reconstruct", "rss", (COILS, *KSPACE), _channels(coil_combination="rss").reconstruct),
    Numerics("ChannelAcquisition.reconstruct", "SENSE", (COILS, *KSPACE), _channels(acceleration=2).reconstruct),
    Numerics("ChannelAcquisition.reconstruct", "homodyne", (COILS, *KSPACE), _channels(**PARTIAL).reconstruct),
    Numerics(
        "ChannelAcquisition.reconstruct", "homodyne, rss", (COILS, *KSPACE),
        _channels(**PARTIAL, coil_combination="rss").reconstruct,
    ),
    Numerics(
        "ChannelAcquisition.stream", "", (2, *OBJECT),
        lambda x: array_namespace(x).stack(list(_channels().stream(x, _rng(), 0.1)), axis=0), batched=False,
    ),
    Numerics("root_sum_of_squares", "", (COILS, 7, 5), root_sum_of_squares),
    Numerics("root_sum_of_squares", "real", (COILS, 7, 5), root_sum_of_squares, real=True),
    Numerics("SenseUnfolding.unfold", "rows", MAPS.shape, SenseUnfolding(MAPS, 2, -2).unfold),
    Numerics("SenseUnfolding.unfold", "columns", MAPS.shape, SenseUnfolding(MAPS, 2, -1).unfold),
    Numerics("SenseUnfolding.unfold_adjoint", "", (ROWS, COLUMNS), SenseUnfolding(MAPS, 2, -1).unfold_adjoint),
    Numerics("SenseUnfolding.g_factor", "", MAPS.shape, lambda x: SenseUnfolding(x, 2, -2).g_factor, batched=False),
    Numerics("SenseUnfolding.noise_sd", "", MAPS.shape, lambda x: SenseUnfolding(x, 2, -1).noise_sd, batched=False),
    Numerics("complex_noise", "", (2, 6), lambda x: x + complex_noise(_rng(), (2, 6), 0.3, x), batched=False),
    Numerics("rss_magnitude", "", (4, 6), lambda x: rss_magnitude(x, 0.3, 5, _rng()), real=True, batched=False),
    Numerics(
        "ColouredChiSquare.draw", "", (3, ROWS, COLUMNS),
        lambda x: x + ColouredChiSquare(CARTESIAN, 5).draw(_rng(), 3, x), real=True, batched=False,
    ),
    Numerics(
        "noise_sd_for_snr", "", (2, ROWS, COLUMNS), lambda x: x / noise_sd_for_snr(x**2, HEART, 20.0), real=True,
        batched=False, reads=True,
    ),
    Numerics(
        "amplification_in", "", (2, ROWS, COLUMNS),
        lambda x: x * amplification_in(x, np.broadcast_to(HEART, x.shape)), real=True, batched=False, reads=True,
    ),
    Numerics("assemble", "rows", STATES, lambda x: assemble(x, _schedule(), PROTOCOL), batched=False),
    Numerics(
        "assemble", "columns, coils", (4, 2, *SIDEWAYS.acquired_matrix),
        lambda x: assemble(x, _schedule(SIDEWAYS), SIDEWAYS), batched=False,
    ),
    Numerics(
        "assemble_adjoint", "", STATES, lambda x: assemble_adjoint(x, _schedule(), PROTOCOL, 7), batched=False
    ),
    Numerics(
        "BreathHold.kspace", "", (4, *OBJECT),
        lambda x: BreathHold.plan(PROTOCOL, [], _rng(), cycle_ms=900.0).kspace(x, CARTESIAN, PROTOCOL, [], _rng())[0],
        batched=False,
    ),
    Numerics("BreathHold.kspace", "spikes", (4, *OBJECT), _sparking, batched=False, reads=True),
    Numerics("acquire_channels", "", (4, *OBJECT), _breath_held_channels, batched=False),
    Numerics(
        "reference_lines", "", (4, *OBJECT), lambda x: reference_lines(_channels(), x, _rng(), 0.1), batched=False
    ),
    Numerics("estimated_sensitivities", "", (COILS, 12, 9), estimated_sensitivities, batched=False, reads=True),
    Numerics("Spikes.kspace", "", STATES, _spiked, batched=False, reads=True),
    Numerics("BloodFlow.blood", "", (6, 3), lambda x: BloodFlow().blood(100 * x, np.eye(3)[2], PROTOCOL), real=True),
    Numerics("PulsationGhosts.of", "", (9, 8), lambda x: PulsationGhosts(0.2, 8.0, 0.9).of(x, -2, 2.0)),
    Numerics("NonuniformEncoding.forward", "", OBJECT, RADIAL.forward),
    Numerics("NonuniformEncoding.forward_adjoint", "", SAMPLES, RADIAL.forward_adjoint),
    Numerics("NonuniformEncoding.reconstruct", "", SAMPLES, RADIAL.reconstruct),
    Numerics("NonuniformEncoding.reconstruct_adjoint", "", (ROWS, COLUMNS), RADIAL.reconstruct_adjoint),
    Numerics("NonuniformEncoding.least_squares", "", SAMPLES, lambda x: RADIAL.least_squares(x, iterations=3)),
    Numerics(
        "NonuniformEncoding.least_squares", "coils", (COILS, *SAMPLES),
        lambda x: RADIAL.least_squares(x, MAPS, iterations=3),
    ),
    Numerics("conjugate_gradients", "", (6,), _solved, batched=False),
    Numerics("Receiver.noise_free", "", SLICE, lambda x: Receiver(PROTOCOL, (ROWS, COLUMNS)).noise_free(x)),
    Numerics(
        "Receiver.noise_free", "spokes", SLICE,
        lambda x: Receiver(PROTOCOL.replace(trajectory="radial", spokes=9), (ROWS, COLUMNS)).noise_free(x),
    ),
    Numerics("Receiver.receive", "", SLICE, lambda x: _received(x).images, batched=False),
    Numerics(
        "Receiver.receive", "amplified", SLICE, lambda x: _received(x, changes={"acceleration": 2}).images,
        batched=False,
    ),
    Numerics("Receiver.receive", "channels", SLICE, lambda x: _received(x, by_channel=True).images, batched=False),
    Numerics("Receiver.receive", "k-space", SLICE, lambda x: _received(x, keep_kspace=True).kspace, batched=False),
    Numerics(
        "Receiver.receive", "reference", SLICE,
        lambda x: _received(x, keep_kspace=True, changes={"acceleration": 2}).reference, batched=False,
    ),
    Numerics(
        "Receiver.receive", "breath", SLICE, lambda x: _received(x, faults=(RespiratoryGhosting(amount=6.0),)).images,
        batched=False,
    ),
    Numerics(
        "Receiver.receive", "breath, channels", SLICE,
        lambda x: _received(x, faults=(RespiratoryGhosting(amount=6.0),), by_channel=True).images, batched=False,
    ),
    Numerics(
        "Receiver.receive", "spokes", SLICE,
        lambda x: _received(x, changes={"trajectory": "golden_angle", "spokes": 9}).images, batched=False,
    ),
    Numerics(
        "Receiver.receive", "spokes, rss", SLICE,
        lambda x: _received(x, changes={"trajectory": "radial", "spokes": 9, "coil_combination": "rss"}).images,
        batched=False,
    ),
    Numerics("CoilArray.sensitivities", "", (5, 3), lambda x: ARRAY.sensitivities(9 * x), real=True, batched=False),
    Numerics(
        "field_of_polygon", "", (5, 3), lambda x: field_of_polygon(x, beside(POLYGON, x)), real=True, batched=False
    ),
    Numerics(
        "expected_magnitude", "", (6, 7), lambda x: expected_magnitude(9 * x, 0.4, 8), real=True
    ),
    Numerics("cardiac_phase", "", (8,), lambda x: cardiac_phase(700 * x, 950.0, 850.0), real=True, reads=True),
    Numerics("ReceiveField.at", "", (5, 3), lambda x: SHADING.at(30 * x), real=True, batched=False),
    Numerics("OffResonanceField.at", "", (5, 3), lambda x: BENT.at(30 * x), real=True, batched=False),
    Numerics("slice_profile", "", (6, 7), lambda x: slice_profile(4 * x, 8.0), real=True),
]  # fmt: skip
"""Rendering and the signal equations have their own tests beside them."""
