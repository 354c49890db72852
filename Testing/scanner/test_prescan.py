"""The prescan: noise and reference lines that fit the data they come with, and the sensitivities they tell."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.faults import Spikes
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.multichannel import root_sum_of_squares
from CMRSimExtension.scanner.prescan import NOISE_READOUTS, estimated_sensitivities
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.receiver import Receiver
from CMRSimExtension.scanner.trajectories import of_protocol

PROTOCOL = Protocol(
    fov_mm=(288.0, 240.0), matrix=(96, 80), acquired_resolution_mm=(4.0, 4.0), coils=6, phases=3, acceleration=2,
    filter="none",
)  # fmt: skip
ARRAY = CoilArray.body_and_spine(6, np.zeros(3), chest_wall_mm=100.0)
AFFINE = np.array([[-3.0, 0, 0, 118.5], [0, -3.0, 0, 142.5], [0, 0, 8.0, 0], [0, 0, 0, 1.0]])
GRID = ImageGrid(AFFINE, (1, 96, 80), 8.0)


def discs() -> np.ndarray:
    r, c = np.meshgrid((np.arange(96) + 0.5) / 96 - 0.5, (np.arange(80) + 0.5) / 80 - 0.5, indexing="ij")
    radius = np.array([0.26, 0.22, 0.24])[:, None, None]
    return (1 / (1 + np.exp((np.hypot(r, c) - radius) / 0.025))).astype(np.complex64)


def receiver(**changes) -> Receiver:  # type: ignore[no-untyped-def]
    return Receiver(PROTOCOL.replace(**changes), (96, 80), ARRAY, keep_kspace=True)


@pytest.mark.parametrize("changes", [
    {}, {"partial_fourier": 0.7}, {"filter": "hamming", "filter_strength": 1.0},
    {"trajectory": "radial"}, {"trajectory": "golden_angle", "spokes": 40},
])  # fmt: skip
def test_the_noise_is_that_of_the_samples(changes: dict) -> None:
    if "trajectory" in changes:
        pytest.importorskip("finufft")
    scanner, rng = receiver(**changes), np.random.default_rng(2)
    got = scanner.receive(np.zeros_like(discs()), GRID, rng, 0.5).kspace
    assert got is not None
    samples = got[got != 0]
    noise = scanner.noise_readouts(rng, 0.5)
    assert noise.shape[:2] == (6, NOISE_READOUTS) and noise.dtype == np.complex64
    # Four standard errors of both SDs: 1 / sqrt(4 n) each, real and imaginary part counted.
    bound = 4 * np.sqrt(1 / (4 * noise.size) + 1 / (4 * samples.size))
    assert np.std(noise) / np.std(samples) == pytest.approx(1.0, abs=bound)
    channels = noise.reshape(6, -1)
    covariance = channels @ np.conj(channels.T) / channels.shape[1] / np.var(noise)
    np.testing.assert_allclose(covariance, np.eye(6), atol=5 / np.sqrt(channels.shape[1]))


def test_golden_angle_frames_share_one_noise_gain() -> None:
    # Any run of spokes of the series is another one turned, so that one prescan serves all frames.
    protocol = PROTOCOL.replace(trajectory="golden_angle", spokes=37)
    gains = [np.sum(of_protocol(protocol, frame).weights ** 2) for frame in range(5)]
    np.testing.assert_allclose(gains, gains[0], rtol=1e-9)


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_the_reference_is_all_of_k_space_of_the_average_heart(direction: str) -> None:
    quiet = receiver(phase_direction=direction, partial_fourier=0.8)
    got = quiet.receive(discs(), GRID, np.random.default_rng(0), 0.0)
    assert got.reference is not None and got.kspace is not None
    whole = receiver(phase_direction=direction, acceleration=1).receive(discs(), GRID, np.random.default_rng(0), 0.0)
    assert whole.kspace is not None and whole.reference is None
    np.testing.assert_allclose(got.reference, whole.kspace.mean(axis=0), atol=1e-6)
    # What the images acquire is the same k-space.
    acquired = got.kspace.mean(axis=0)
    np.testing.assert_allclose(acquired[acquired != 0], got.reference[acquired != 0], atol=1e-6)


def test_the_images_do_not_depend_on_whether_a_reference_is_acquired() -> None:
    with_it = receiver().receive(discs(), GRID, np.random.default_rng(1), 0.1).images
    without = Receiver(PROTOCOL, (96, 80), ARRAY, by_channel=True).receive(discs(), GRID, np.random.default_rng(1), 0.1)
    np.testing.assert_array_equal(with_it, without.images)


@pytest.mark.parametrize("by_channel", [True, False])
def test_sparks_fall_on_lines_that_are_acquired(by_channel: bool) -> None:
    # 72 lines less a fourth of them; channel by channel, of these every other one.
    scanner = Receiver(
        PROTOCOL.replace(partial_fourier=0.75), (96, 80), ARRAY, faults=(Spikes(amount=200.0),), keep_kspace=by_channel)
    got = scanner.receive(discs(), GRID, np.random.default_rng(4), 0.0)
    assert got.breath_hold is not None
    rows = {spike["row"] for spike in got.breath_hold.spikes}
    assert len(rows) > 10 and min(rows) >= 18
    if by_channel:
        assert got.kspace is not None and len({row % 2 for row in rows}) == 1
        acquired = np.flatnonzero(np.abs(got.kspace).sum(axis=(0, 1, 3)))
        assert acquired.tolist() == list(range(18, 72, 2))


def test_sensitivities_are_found_up_to_a_common_phase() -> None:
    maps = ARRAY.on(GRID)[:, 0]
    maps = maps / root_sum_of_squares(maps)
    # Fat beside water: the object's own phase turns by half a cycle from one pixel to the next.
    phase = np.exp(1j * np.pi * (np.arange(80) > 37))
    rng = np.random.default_rng(3)
    noise = 0.002 * (rng.standard_normal((6, 96, 80)) + 1j * rng.standard_normal((6, 96, 80)))
    found = estimated_sensitivities((discs()[0] * phase * maps + noise).astype(np.complex64))
    np.testing.assert_allclose(root_sum_of_squares(found), 1.0, rtol=1e-5)
    agreement = np.abs(np.sum(np.conj(found) * maps, axis=0))
    body = np.abs(discs()[0]) > 0.1
    # Noise of a hundredth of the local signal, averaged over 4 pi pixels; and the field's change within the blur.
    assert 1 - agreement[body].min() < 2e-3


def test_channels_without_signal_are_refused() -> None:
    with pytest.raises(InputError, match="zero"):
        estimated_sensitivities(np.zeros((2, 8, 8), np.complex64))
    with pytest.raises(InputError, match=r"shape \(8, 8\)"):
        estimated_sensitivities(np.zeros((8, 8), np.complex64))
