"""From object to magnitude image: SNR, noise floor, reproducibility, errors."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.acquisition import Acquisition, acquire
from CMRSimExtension.scanner.noise import expected_magnitude
from CMRSimExtension.scanner.protocol import Protocol

PROTOCOL = Protocol(
    fov_mm=(300.0, 360.0), matrix=(120, 144), acquired_resolution_mm=(4.0, 3.2), snr=25.0, coil_combination="adaptive"
)


def disc(rows: int, columns: int, value: float = 1.0) -> np.ndarray:
    r, c = np.meshgrid((np.arange(rows) + 0.5) / rows - 0.5, (np.arange(columns) + 0.5) / columns - 0.5, indexing="ij")
    return np.where(r**2 + c**2 < 0.3**2, value, 0.0).astype(np.float32)


def heart_mask() -> np.ndarray:
    return disc(120, 144) > 0


@pytest.mark.parametrize("combination", ["adaptive", "rss"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"partial_fourier": 0.7},
        {"filter": "hamming", "filter_strength": 1.0},
        {"partial_fourier": 0.7, "partial_fourier_method": "homodyne"},
    ],
)
def test_the_snr_is_what_was_asked_for(combination: str, changes: dict) -> None:
    protocol = PROTOCOL.replace(coil_combination=combination, **changes)
    objects = np.stack([disc(240, 288)] * 40)
    noisy = acquire(objects, protocol, np.random.default_rng(0), heart_mask=heart_mask())
    clean = Acquisition(protocol, (240, 288)).noise_free(objects[0])
    inside = disc(120, 144) * (clean > 0.97) > 0
    # Over repetitions, so that ringing does not count as noise; at SNR 25 the magnitude's SD is the noise's to 0.1 %,
    # and the other channels of a root sum of squares add C / SNR^2, about 1 %.
    sd = np.sqrt(np.mean(np.var(noisy[:, inside], axis=0, ddof=1)))
    assert clean[heart_mask()].mean() / sd == pytest.approx(25.0, rel=0.02)


@pytest.mark.parametrize(("combination", "coils", "channels"), [("adaptive", 12, 1), ("rss", 12, 12), ("rss", 1, 1)])
def test_the_background_has_the_noise_floor_of_theory(combination: str, coils: int, channels: int) -> None:
    protocol = PROTOCOL.replace(coil_combination=combination, coils=coils)
    noise = acquire(np.zeros((30, 240, 288), np.float32), protocol, np.random.default_rng(1), noise_sd=0.2)
    # About 30 x 8000 independent values, and 0.5 % of the cube-root approximation.
    assert noise.mean() == pytest.approx(float(expected_magnitude(0.0, 0.2, channels)), rel=0.008)


def test_without_noise_a_large_uniform_object_keeps_its_signal() -> None:
    image = Acquisition(PROTOCOL, (240, 288)).noise_free(np.full((240, 288), 0.37, np.float32))
    np.testing.assert_allclose(image, 0.37, rtol=1e-5)


def test_images_do_not_depend_on_how_many_come_at_once() -> None:
    objects = np.stack([disc(240, 288, 1.0 + 0.1 * i) for i in range(11)])
    together = Acquisition(PROTOCOL, (240, 288)).magnitude(objects, np.random.default_rng(3), 0.05)
    rng = np.random.default_rng(3)
    alone = np.stack([Acquisition(PROTOCOL, (240, 288)).magnitude(o, rng, 0.05) for o in objects])
    np.testing.assert_array_equal(together, alone)


def test_the_same_seed_makes_the_same_image() -> None:
    first, second = (
        acquire(disc(240, 288), PROTOCOL, np.random.default_rng(8), heart_mask=heart_mask()) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_frames_and_slices_keep_their_places() -> None:
    objects = disc(240, 288) * np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3, 1, 1)
    images = Acquisition(PROTOCOL, (240, 288)).noise_free(objects)
    assert images.shape == (2, 3, 120, 144) and images.dtype == np.float32
    np.testing.assert_allclose(images[1, 2], 6 * images[0, 0], rtol=1e-4, atol=1e-5)


def test_off_resonance_between_neighbours_cancels_their_signal() -> None:
    # Stripes of alternate sign, finer than the acquired resolution: a voxel holds both and their sum is nothing.
    stripes = np.where(np.arange(288) % 2 == 0, 1.0, -1.0)[None].repeat(240, axis=0).astype(np.complex64)
    assert Acquisition(PROTOCOL, (240, 288)).noise_free(stripes).max() < 1e-3


def test_homodyne_sharpens_what_partial_fourier_blurs() -> None:
    full, blurred, sharp = (
        Acquisition(PROTOCOL.replace(**change), (240, 288)).noise_free(disc(240, 288))
        for change in (
            {},
            {"partial_fourier": 0.6},
            {"partial_fourier": 0.6, "partial_fourier_method": "homodyne"},
        )
    )
    assert np.abs(sharp - full).max() < 0.5 * np.abs(blurred - full).max()


def test_noise_needs_exactly_one_reference() -> None:
    with pytest.raises(InputError, match="either heart_mask or noise_sd"):
        acquire(disc(240, 288), PROTOCOL, np.random.default_rng(0))


def test_negative_noise_is_turned_down() -> None:
    with pytest.raises(InputError, match="noise_sd is -1"):
        acquire(disc(240, 288), PROTOCOL, np.random.default_rng(0), noise_sd=-1.0)
