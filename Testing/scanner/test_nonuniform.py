"""Radial and golden-angle encoding: adjoints, exactness against plain sums, density compensation, reconstructions."""

import sys

import numpy as np
import pytest

from CMRSimExtension.errors import InputError, MissingDependencyError
from CMRSimExtension.scanner import trajectories
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.nonuniform import NonuniformEncoding, conjugate_gradients
from CMRSimExtension.scanner.protocol import Protocol

finufft = pytest.importorskip("finufft")


def complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def smooth_object(rows: int, columns: int) -> np.ndarray:
    r, c = np.meshgrid((np.arange(rows) + 0.5) / rows - 0.5, (np.arange(columns) + 0.5) / columns - 0.5, indexing="ij")
    return np.exp(-0.5 * ((r - 0.05) ** 2 + (c + 0.1) ** 2) / 0.06**2) + 0.5 * np.exp(
        -0.5 * ((r + 0.2) ** 2 + c**2) / 0.05**2
    )


SPOKES = [trajectories.radial(13, 20), trajectories.golden_angle(17, 21, 5)]


@pytest.mark.parametrize("trajectory", SPOKES)
@pytest.mark.parametrize("operator", ["forward", "reconstruct"])
def test_the_adjoint_is_the_adjoint(trajectory, operator: str) -> None:
    rng = np.random.default_rng(1)
    code = NonuniformEncoding((30, 27), (24, 33), trajectory, precision=1e-12)
    image, samples = (30, 27) if operator == "forward" else (24, 33), (len(trajectory.positions),)
    source, target = (image, samples) if operator == "forward" else (samples, image)
    x, y = complex_normal(rng, (2, *source)), complex_normal(rng, (2, *target))
    left, right = np.vdot(y, getattr(code, operator)(x)), np.vdot(getattr(code, operator + "_adjoint")(y), x)
    assert left == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize("trajectory", SPOKES)
def test_the_transform_is_the_sum_over_positions_written_out(trajectory) -> None:
    rho = complex_normal(np.random.default_rng(2), (30, 27))
    r, c = ((np.arange(n) + 0.5) / n - 0.5 for n in (30, 27))
    kr, kc = trajectory.positions.T
    expected = np.einsum(
        "sr,rc,sc->s", np.exp(-2j * np.pi * np.outer(kr, r)), rho, np.exp(-2j * np.pi * np.outer(kc, c))
    )
    got = NonuniformEncoding((30, 27), (30, 27), trajectory, precision=1e-12).forward(rho)
    np.testing.assert_allclose(got, expected / rho.size, atol=1e-10)


@pytest.mark.parametrize("trajectory", [trajectories.radial(50, 64), trajectories.golden_angle(55, 64)])
def test_the_weights_add_up_to_the_area_of_the_disc(trajectory) -> None:
    # Annuli from -32 to 31: the disc of radius 32 less half the outermost ring's one side, within 2 %.
    assert trajectory.weights.sum() == pytest.approx(np.pi * 32**2, rel=0.02)


def test_golden_angle_frames_go_on_where_the_last_one_ended() -> None:
    protocol = Protocol(trajectory="golden_angle", spokes=21, fov_mm=(300.0, 300.0), acquired_resolution_mm=(3.0, 3.0))
    first, second = trajectories.of_protocol(protocol, 0), trajectories.of_protocol(protocol, 1)
    both = trajectories.golden_angle(42, first.read)
    np.testing.assert_allclose(np.concatenate([first.positions, second.positions]), both.positions, atol=1e-9)


def test_on_an_oblong_field_of_view_spokes_are_a_circle_in_cycles_per_millimetre() -> None:
    protocol = Protocol(
        trajectory="radial", fov_mm=(300.0, 360.0), matrix=(216, 256), acquired_resolution_mm=(2.0, 2.0)
    )
    trajectory = trajectories.of_protocol(protocol)
    radius = np.linalg.norm(trajectory.positions / np.array([300.0, 360.0]), axis=-1).reshape(-1, trajectory.read)
    np.testing.assert_allclose(radius, radius[:1].repeat(len(radius), axis=0), atol=1e-12)


@pytest.mark.parametrize("trajectory", [trajectories.radial(202, 128), trajectories.golden_angle(233, 128)])
def test_gridding_gives_a_smooth_object_back(trajectory) -> None:
    rho = smooth_object(128, 128)
    code = NonuniformEncoding((128, 128), (128, 128), trajectory, precision=1e-9)
    error = np.abs(code.reconstruct(code.forward(rho)) - rho)
    r, c = np.meshgrid(np.arange(128) - 63.5, np.arange(128) - 63.5, indexing="ij")
    # Analytic weights are approximate: 1 % of the peak within the circle that spokes of this spacing can hold.
    assert error[np.hypot(r, c) < 54].max() < 0.01


def test_least_squares_beats_gridding() -> None:
    rho = smooth_object(64, 64)
    code = NonuniformEncoding((64, 64), (64, 64), trajectories.golden_angle(34, 64), precision=1e-9)
    samples = code.forward(rho)
    gridded, solved = code.reconstruct(samples), code.least_squares(samples, iterations=25)
    assert np.linalg.norm(solved - rho) < 0.5 * np.linalg.norm(gridded - rho)


def test_several_coils_make_up_for_missing_spokes() -> None:
    affine = np.diag([-4.0, -4.0, 8.0, 1.0])
    affine[:3, 3] = [126.0, 126.0, 0.0]
    maps = CoilArray.ring(8, np.zeros(3)).on(ImageGrid(affine, (1, 64, 64), 8.0))[:, 0]
    rho = smooth_object(64, 64)
    code = NonuniformEncoding((64, 64), (64, 64), trajectories.golden_angle(21, 64))
    many = code.least_squares(code.forward(maps * rho), maps, iterations=25)
    one = code.least_squares(code.forward(rho), iterations=25)
    assert np.linalg.norm(many - rho) < np.linalg.norm(one - rho)


def test_the_noise_of_gridding_is_its_gain() -> None:
    code = NonuniformEncoding((32, 32), (32, 32), trajectories.radial(50, 32))
    rng = np.random.default_rng(3)
    images = code.reconstruct(complex_normal(rng, (200, 1600)))
    # 200 x about 800 independent values: 4 standard errors are 0.7 %.
    assert images.real.std() / code.noise_gain == pytest.approx(1.0, rel=0.01)


def test_conjugate_gradients_solve_a_small_system_exactly() -> None:
    rng = np.random.default_rng(4)
    matrix = complex_normal(rng, (12, 8))
    normal = matrix.conj().T @ matrix
    right = complex_normal(rng, (8,))
    np.testing.assert_allclose(conjugate_gradients(lambda x: normal @ x, right, 30), np.linalg.solve(normal, right))


def test_spokes_beyond_the_grid_are_turned_down() -> None:
    with pytest.raises(InputError, match="reaches 32.0 cycles, the image's 48 rows hold 24.0"):
        NonuniformEncoding((64, 64), (48, 64), trajectories.radial(4, 64))


def test_a_cartesian_protocol_has_no_spokes() -> None:
    with pytest.raises(InputError, match="radial or golden_angle"):
        trajectories.of_protocol(Protocol())


def test_without_finufft_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MissingDependencyError, match="radial"):
        NonuniformEncoding((32, 32), (32, 32), trajectories.radial(4, 16)).forward(np.ones((32, 32)))
