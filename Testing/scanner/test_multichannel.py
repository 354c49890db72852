"""Channel by channel acquisition: exact unfolding, noise against theory, agreement with the fast path, flat memory."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.acquisition import Acquisition
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.kspace import CartesianEncoding
from CMRSimExtension.scanner.multichannel import ChannelAcquisition, root_sum_of_squares
from CMRSimExtension.scanner.planning import finer_grid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.sense import SenseUnfolding

ROWS, COLUMNS = 72, 60
PROTOCOL = Protocol(
    fov_mm=(288.0, 240.0), matrix=(ROWS, COLUMNS), acquired_resolution_mm=(4.0, 4.0), filter="none", coils=8
)  # fmt: skip


def grid() -> ImageGrid:
    affine = np.diag([-4.0, -4.0, 8.0, 1.0])
    affine[:3, 3] = [118.0, 142.0, 0.0]
    return ImageGrid(affine, (1, ROWS, COLUMNS), 8.0)


def maps(fine: int = 1) -> np.ndarray:
    return CoilArray.body_and_spine(8, np.zeros(3), chest_wall_mm=110.0).on(finer_grid(grid(), fine))[:, 0]


def disc(fine: int = 1) -> np.ndarray:
    rows, columns = ROWS * fine, COLUMNS * fine
    r, c = np.meshgrid((np.arange(rows) + 0.5) / rows - 0.5, (np.arange(columns) + 0.5) / columns - 0.5, indexing="ij")
    return ((r**2 + c**2 < 0.4**2) + 1.0 * (r**2 + (c - 0.1) ** 2 < 0.15**2)).astype(np.complex64)


@pytest.mark.parametrize(("acceleration", "direction"), [(1, "rows"), (2, "rows"), (3, "rows"), (2, "columns")])
def test_without_noise_unfolding_gives_the_object_back(acceleration: int, direction: str) -> None:
    protocol = PROTOCOL.replace(acceleration=acceleration, phase_direction=direction)
    acquisition = ChannelAcquisition(protocol, maps().astype(np.complex128), maps().astype(np.complex128))
    image = acquisition.reconstruct(acquisition.kspace(disc().astype(np.complex128)))
    # Exact but for the regularisation of 1e-12.
    np.testing.assert_allclose(image, disc(), atol=1e-7)


@pytest.mark.parametrize(("acceleration", "direction"), [(1, "rows"), (2, "rows"), (3, "rows"), (2, "columns")])
def test_the_reconstructed_noise_is_the_analytic_amplification(acceleration: int, direction: str) -> None:
    protocol = PROTOCOL.replace(acceleration=acceleration, phase_direction=direction)
    acquisition = ChannelAcquisition(protocol, maps(), maps())
    rng = np.random.default_rng(acceleration)
    nothing = np.zeros((ROWS, COLUMNS), np.complex64)
    images = np.stack([acquisition.reconstruct(acquisition.kspace(nothing, rng, 1.0)) for _ in range(300)])
    assert acquisition.unfolding is not None
    ratio = np.std(images.real, axis=0) / acquisition.unfolding.noise_sd
    # The SD of 300 draws scatters by 4.1 %; over 4320 pixels its mean is good to 0.3 % even if half are correlated.
    assert ratio.mean() == pytest.approx(1.0, abs=0.005)
    assert np.abs(ratio - 1).max() < 0.25


@pytest.mark.parametrize("folded", [0, 6])
@pytest.mark.parametrize("acceleration", [1, 3])
def test_the_adjoint_of_all_channels_is_the_adjoint(acceleration: int, folded: int) -> None:
    rng = np.random.default_rng(8)
    wide = np.pad(maps(2).astype(np.complex128), ((0, 0), (folded, folded), (0, 0)), mode="edge")
    acquisition = ChannelAcquisition(
        PROTOCOL.replace(acceleration=acceleration), wide, maps().astype(np.complex128), folded_samples=folded
    )
    shape = wide.shape[1:]
    x = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    y = rng.standard_normal((8, ROWS, COLUMNS)) + 1j * rng.standard_normal((8, ROWS, COLUMNS))
    left, right = np.vdot(y, acquisition.kspace(x)), np.vdot(acquisition.forward_adjoint(y), x)
    assert left == pytest.approx(right, rel=1e-10)


@pytest.mark.parametrize("axis", [-2, -1])
def test_unfolding_on_torch_gives_the_numbers_of_numpy(axis: int) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    rng = np.random.default_rng(9)
    channels = (rng.standard_normal((8, ROWS, COLUMNS)) + 1j * rng.standard_normal((8, ROWS, COLUMNS))).astype(
        np.complex64
    )
    unfolding = SenseUnfolding(maps(), 2, axis)
    expected = unfolding.unfold(channels)
    got = unfolding.unfold(torch.from_numpy(channels)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize("acceleration", [1, 2, 4])
def test_the_adjoint_of_unfolding_is_the_adjoint(acceleration: int, axis: int) -> None:
    unfolding, rng = SenseUnfolding(maps(), acceleration, axis), np.random.default_rng(acceleration)
    shape = maps().shape
    channels = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    image = rng.standard_normal(shape[1:]) + 1j * rng.standard_normal(shape[1:])
    left, right = np.vdot(image, unfolding.unfold(channels)), np.vdot(unfolding.unfold_adjoint(image), channels)
    assert left == pytest.approx(right, rel=1e-6)


def test_the_geometry_factor_is_one_without_acceleration() -> None:
    np.testing.assert_allclose(SenseUnfolding(maps(), 1).g_factor, 1.0, atol=1e-4)


def test_the_geometry_factor_grows_with_acceleration() -> None:
    means = [SenseUnfolding(maps(), r).g_factor.mean() for r in (2, 3, 4)]
    assert 1.0 < means[0] < means[1] < means[2]


def test_the_geometry_factor_of_two_pixels_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    sensitivities = rng.standard_normal((4, 2, 1)) + 1j * rng.standard_normal((4, 2, 1))
    a, b = sensitivities[:, 0, 0], sensitivities[:, 1, 0]
    overlap = abs(np.vdot(a, b)) ** 2 / (np.vdot(a, a).real * np.vdot(b, b).real)
    np.testing.assert_allclose(SenseUnfolding(sensitivities, 2).g_factor, 1 / np.sqrt(1 - overlap), rtol=1e-6)


def test_channels_that_see_nothing_do_not_break_unfolding() -> None:
    sensitivities = maps().copy()
    sensitivities[:, :, :5] = 0
    assert np.all(np.isfinite(SenseUnfolding(sensitivities, 2).noise_sd))


def test_adaptive_combination_undoes_the_sensitivities_and_rss_keeps_their_shading() -> None:
    fine = maps(2)
    adaptive = ChannelAcquisition(PROTOCOL, fine, maps())
    rss = ChannelAcquisition(PROTOCOL.replace(coil_combination="rss"), fine)
    smooth = np.full((2 * ROWS, 2 * COLUMNS), 0.5, np.complex64)
    middle = (slice(20, -20), slice(20, -20))
    flat, shaded = (np.abs(a.reconstruct(a.kspace(smooth))) for a in (adaptive, rss))
    # The wrap of sensitivities around the field of view rings a little even in the middle.
    np.testing.assert_allclose(flat[middle], 0.5, rtol=0.1)
    np.testing.assert_allclose(shaded[middle], 0.5 * np.linalg.norm(maps(), axis=0)[middle], rtol=0.1)


@pytest.mark.parametrize("signal", [0.0, 4.0])
def test_the_fast_path_has_the_distribution_of_the_full_one(signal: float) -> None:
    protocol = PROTOCOL.replace(coil_combination="rss", filter="hamming", filter_strength=1.0)
    flat = np.full((8, ROWS, COLUMNS), 1 / np.sqrt(8), np.complex64)
    rng = np.random.default_rng(5)
    level = np.full((ROWS, COLUMNS), signal, np.complex64)
    full = np.stack(list(ChannelAcquisition(protocol, flat).stream([level] * 30, rng, 1.0)))
    fast = Acquisition(protocol, (ROWS, COLUMNS)).magnitude(np.stack([level] * 30), rng, 1.0)
    # Every third pixel: neighbours are correlated by the filter and would make the test too sharp.
    assert stats.ks_2samp(full[:, ::3, ::3].ravel(), fast[:, ::3, ::3].ravel()).pvalue > 1e-3


def test_noise_of_full_sampling_has_the_sd_asked_for_in_each_channel() -> None:
    protocol = PROTOCOL.replace(filter="hamming", filter_strength=1.0, partial_fourier=0.7)
    acquisition = ChannelAcquisition(protocol.replace(coil_combination="rss"), maps())
    rng = np.random.default_rng(0)
    nothing = np.zeros((ROWS, COLUMNS), np.complex64)
    channels = np.stack([acquisition.encoding.reconstruct(acquisition.kspace(nothing, rng, 0.3)) for _ in range(40)])
    # 40 x 8 x about 1000 independent values: 4 standard errors are 0.5 %.
    assert channels.real.std() == pytest.approx(0.3, rel=0.006)


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    acquisition = ChannelAcquisition(PROTOCOL, maps(), maps())
    rng = np.random.default_rng(0)

    def peak(frames: int) -> int:
        tracemalloc.start()
        for _ in acquisition.stream((disc() for _ in range(frames)), rng, 0.1):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(2)
    # One image of eight channels is 276 kB; twenty more frames may not cost even one of them.
    assert peak(24) - peak(4) < 276_000


def test_root_sum_of_squares_is_the_norm_over_channels() -> None:
    rng = np.random.default_rng(1)
    channels = rng.standard_normal((5, 7, 9)) + 1j * rng.standard_normal((5, 7, 9))
    np.testing.assert_allclose(root_sum_of_squares(channels), np.linalg.norm(channels, axis=0))


def test_undersampling_acquires_its_share_of_the_lines() -> None:
    encoding = CartesianEncoding.of_protocol(PROTOCOL.replace(acceleration=3), (ROWS, COLUMNS), undersampled=True)
    assert encoding.sampled is not None and encoding.sampled.mean() == pytest.approx(1 / 3)


def test_a_matrix_that_cannot_be_folded_is_turned_down_with_the_cure() -> None:
    with pytest.raises(InputError, match="72 pixels.*folded 5 times; choose a matrix that is a multiple"):
        SenseUnfolding(maps(), 5)


def test_missing_maps_are_turned_down() -> None:
    with pytest.raises(InputError, match="image_sensitivities"):
        ChannelAcquisition(PROTOCOL, maps())
