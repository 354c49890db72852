"""Ghosts of pulsation: where they lie, how strong they are, and that a modulation of k-space lines makes them."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.ghosts import PulsationGhosts


def vessel() -> np.ndarray:
    image = np.zeros((32, 48), np.complex64)
    image[10, 20] = 2.0
    return image


def test_copies_lie_on_both_sides_along_the_phase_encoding() -> None:
    copies = PulsationGhosts(0.1, 12.0).of(vessel(), -2, 2.0)
    assert set(zip(*(v.tolist() for v in np.nonzero(copies)), strict=True)) == {(4, 20), (16, 20)}


def test_a_copy_has_half_the_modulation() -> None:
    copies = PulsationGhosts(0.1, 12.0, 0.7).of(vessel(), -1, 2.0)
    np.testing.assert_allclose(np.abs(copies[10, [14, 26]]), 0.1, rtol=1e-6)


def test_they_are_what_a_modulation_of_the_lines_makes() -> None:
    ghosts = PulsationGhosts(0.2, 8.0, 0.4)
    k = np.fft.fftfreq(32)[:, None]
    # The shift theorem: a displacement by 4 pixels is a phase of 2 pi k 4.
    modulation = 1.0 + 0.2 * np.cos(2 * np.pi * k * 4 - 0.4)
    expected = np.fft.ifft(np.fft.fft(vessel(), axis=0) * modulation, axis=0)
    np.testing.assert_allclose(vessel() + ghosts.of(vessel(), -2, 2.0), expected, atol=1e-6)


@pytest.mark.parametrize("axis", [-2, -1])
def test_the_adjoint_of_the_ghosts_is_the_ghosts(axis: int) -> None:
    """A real modulation of the lines is its own adjoint."""
    rng, ghosts = np.random.default_rng(3), PulsationGhosts(0.2, 8.0, 0.9)
    x, y = (rng.standard_normal((2, 32, 48, 2)).astype(np.float32) @ np.array([1, 1j], np.complex64))
    assert np.vdot(y, ghosts.of(x, axis, 2.0)) == pytest.approx(np.vdot(ghosts.of(y, axis, 2.0), x), rel=1e-5)


def test_no_modulation_leaves_no_ghost() -> None:
    assert not PulsationGhosts().of(vessel(), -1, 1.0).any()


def test_the_record_makes_them_again() -> None:
    ghosts = PulsationGhosts.draw(np.random.default_rng(2))
    assert PulsationGhosts.from_dict(ghosts.as_dict()) == ghosts


@pytest.mark.parametrize("values", [(-0.1, 20.0), (0.6, 20.0), (0.1, 0.0), (float("nan"), 20.0)])
def test_values_outside_their_range_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(InputError):
        PulsationGhosts(*values)
