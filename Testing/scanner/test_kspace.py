"""Cartesian encoding: exactness, adjoints, resolution, Gibbs ringing, partial Fourier; on non-square matrices."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.kspace import (
    CartesianEncoding,
    apodisation,
    frequencies,
    homodyne,
    partial_fourier_lines,
)
from CMRSimExtension.scanner.protocol import Protocol

SHAPES = [((48, 40), (24, 30), (36, 32)), ((47, 41), (23, 31), (37, 33)), ((40, 48), (25, 20), (26, 21))]


def encoding(object_shape, acquired, image, *, masked: bool) -> CartesianEncoding:
    rng = np.random.default_rng(0)
    sampled = rng.uniform(size=acquired) < 0.7 if masked else None
    window = np.outer(*(apodisation("hamming", 0.8, n) for n in acquired)) if masked else None
    return CartesianEncoding(object_shape, acquired, image, sampled, window)


def complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("operator", ["forward", "reconstruct"])
def test_the_adjoint_is_the_adjoint(shapes, masked: bool, operator: str) -> None:
    rng = np.random.default_rng(1)
    code = encoding(*shapes, masked=masked)
    source, target = (shapes[0], shapes[1]) if operator == "forward" else (shapes[1], shapes[2])
    x, y = complex_normal(rng, (2, *source)), complex_normal(rng, (2, *target))
    left = np.vdot(y, getattr(code, operator)(x))
    right = np.vdot(getattr(code, operator + "_adjoint")(y), x)
    assert left == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("shapes", SHAPES)
def test_the_transform_is_the_sum_over_positions_written_out(shapes) -> None:
    object_shape, acquired, image = shapes
    rng = np.random.default_rng(2)
    code = encoding(*shapes, masked=False)
    rho = complex_normal(rng, object_shape)

    def matrix(count: int, of: int) -> np.ndarray:
        position = (np.arange(of) + 0.5) / of - 0.5
        return np.exp(-2j * np.pi * np.outer(frequencies(count), position))

    kspace = matrix(acquired[0], object_shape[0]) @ rho @ matrix(acquired[1], object_shape[1]).T / rho.size
    np.testing.assert_allclose(code.forward(rho), kspace, atol=1e-12)
    expected = matrix(acquired[0], image[0]).conj().T @ kspace @ matrix(acquired[1], image[1]).conj()
    np.testing.assert_allclose(code.reconstruct(kspace), expected, atol=1e-12)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("masked", [False, True])
def test_the_image_is_the_reconstruction_of_kspace(shapes, masked: bool) -> None:
    code = encoding(*shapes, masked=masked)
    rho = complex_normal(np.random.default_rng(3), (3, *shapes[0]))
    np.testing.assert_allclose(code.image(rho), code.reconstruct(code.forward(rho)), atol=1e-12)


def test_all_of_kspace_gives_the_object_back() -> None:
    rho = complex_normal(np.random.default_rng(4), (31, 40))
    code = CartesianEncoding((31, 40), (31, 40), (31, 40))
    np.testing.assert_allclose(code.image(rho), rho, atol=1e-12)


def test_the_centre_of_kspace_is_the_mean_of_the_object() -> None:
    rho = complex_normal(np.random.default_rng(5), (30, 40))
    kspace = CartesianEncoding((30, 40), (21, 20), (30, 40)).forward(rho)
    assert kspace[10, 10] == pytest.approx(rho.mean())


@pytest.mark.parametrize("acquired", [(20, 24), (21, 25)])
def test_nothing_shifts_when_matrices_differ(acquired: tuple[int, int]) -> None:
    rows, columns = (np.arange(n) + 0.5 for n in (96, 120))
    # A smooth blob at a known place off the centre, in units of the field of view.
    blob = np.exp(-0.5 * (((rows[:, None] / 96 - 0.4) / 0.06) ** 2 + ((columns / 120 - 0.6) / 0.06) ** 2))
    image = np.abs(CartesianEncoding((96, 120), acquired, (48, 40)).image(blob))
    r, c = (np.arange(n) + 0.5 for n in (48, 40))
    assert np.sum(image * r[:, None]) / image.sum() / 48 == pytest.approx(0.4, abs=2e-3)
    assert np.sum(image * c) / image.sum() / 40 == pytest.approx(0.6, abs=2e-3)


def test_an_edge_rings_by_nine_percent() -> None:
    # The Gibbs overshoot of a unit step: (2/pi) Si(pi)/2 - 1/2 = 8.95 % of the step.
    edge = np.zeros((8, 2048))
    edge[:, 512:1536] = 1.0
    image = np.abs(CartesianEncoding((8, 2048), (8, 255), (8, 2048)).image(edge))
    assert image.max() - 1 == pytest.approx(0.0895, abs=0.002)


def test_apodisation_takes_the_ringing_away() -> None:
    edge = np.zeros((8, 1024))
    edge[:, 256:768] = 1.0
    window = np.outer(np.ones(8), apodisation("hamming", 1.0, 128))
    image = np.abs(CartesianEncoding((8, 1024), (8, 128), (8, 1024), None, window).image(edge))
    assert image.max() - 1 < 0.005


def test_the_point_spread_has_the_acquired_resolution_in_each_direction() -> None:
    protocol = Protocol(fov_mm=(256.0, 256.0), matrix=(1024, 1024), acquired_resolution_mm=(4.0, 2.0), filter="none")
    point = np.zeros((1025, 1025))
    point[512, 512] = 1.0
    code = CartesianEncoding.of_protocol(protocol, (1025, 1025))
    image = np.abs(code.image(point))
    peak = np.unravel_index(np.argmax(image), image.shape)

    def width_mm(line: np.ndarray) -> float:
        return float(np.sum(line > 0.5 * line.max()) * 0.25)

    # A sinc is 1.207 of its zero-crossing distance wide at half maximum; pixels are 0.25 mm.
    assert width_mm(image[:, peak[1]]) == pytest.approx(1.207 * 4.0, abs=0.3)
    assert width_mm(image[peak[0]]) == pytest.approx(1.207 * 2.0, abs=0.3)


@pytest.mark.parametrize("count", [127, 128])
@pytest.mark.parametrize("fraction", [0.625, 0.75, 1.0])
def test_partial_fourier_acquires_its_fraction_of_the_lines(count: int, fraction: float) -> None:
    assert partial_fourier_lines(count, fraction).sum() == pytest.approx(fraction * count, abs=1)


@pytest.mark.parametrize("kind", ["none", "hamming", "tukey", "fermi"])
def test_filters_leave_the_centre_of_kspace_alone(kind: str) -> None:
    # The Fermi filter is 1 - exp(-18) there.
    assert apodisation(kind, 1.0, 64)[32] == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("acquired", [(48, 40), (47, 41)])
def test_homodyne_restores_the_resolution_of_a_real_object(acquired: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    # A real object without the frequency -(n // 2) of an even matrix, which has no mirror image to be made up from.
    paired = CartesianEncoding((96, 80), (47, 39), (96, 80))
    rho = np.real(paired.image(rng.uniform(0.5, 1.0, (96, 80))))
    full = CartesianEncoding((96, 80), acquired, (96, 80))
    sampled = np.broadcast_to(partial_fourier_lines(acquired[0], 0.65)[:, None], acquired)
    part = CartesianEncoding((96, 80), acquired, (96, 80), sampled)
    restored = homodyne(part.forward(rho), part, -2, 0.65)
    # Exact where the object's phase is zero and the low-resolution image keeps its sign.
    np.testing.assert_allclose(restored, np.real(full.image(rho)), atol=1e-12)


def test_single_precision_stays_single() -> None:
    code = CartesianEncoding((32, 32), (16, 16), (24, 24))
    assert code.image(np.ones((32, 32), np.float32)).dtype == np.complex64
    assert code.forward(np.ones((32, 32), np.complex64)).dtype == np.complex64


def test_a_coarse_object_is_turned_down() -> None:
    with pytest.raises(InputError, match="20 rows but 24 are acquired"):
        CartesianEncoding((20, 40), (24, 30), (36, 32))


def test_an_object_of_another_shape_is_turned_down() -> None:
    with pytest.raises(InputError, match="this acquisition needs"):
        CartesianEncoding((32, 32), (16, 16), (24, 24)).forward(np.ones((30, 32)))
