"""The receive chain: every way through it gives the same image and the noise that theory says."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.aliasing import fold, widen
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.faults import Banding, RespiratoryGhosting, Spikes
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.planning import finer_grid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.receiver import Receiver, amplification_in
from CMRSimExtension.scanner.sense import SenseUnfolding, noise_map_on

PROTOCOL = Protocol(
    fov_mm=(288.0, 240.0), matrix=(96, 80), acquired_resolution_mm=(4.0, 4.0), coils=6, phases=6, filter="none",
    views_per_segment=6,
)  # fmt: skip
ARRAY = CoilArray.body_and_spine(6, np.zeros(3), chest_wall_mm=100.0)


def grid() -> ImageGrid:
    affine = np.diag([-3.0, -3.0, 8.0, 1.0])
    affine[:3, 3] = [118.5, 142.5, 0.0]
    return ImageGrid(affine, (1, 96, 80), 8.0)


def objects(frames: int = 6) -> np.ndarray:
    r, c = np.meshgrid((np.arange(96) + 0.5) / 96 - 0.5, (np.arange(80) + 0.5) / 80 - 0.5, indexing="ij")
    radius = 0.22 + 0.04 * np.cos(2 * np.pi * np.arange(frames) / frames)
    return (1 / (1 + np.exp((np.hypot(r, c) - radius[:, None, None]) / 0.025))).astype(np.complex64)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"coil_combination": "rss"},
        {"acceleration": 2},
        {"acceleration": 3, "phase_direction": "columns", "matrix": (96, 81), "fov_mm": (288.0, 243.0)},
        {"partial_fourier": 0.75},
        {"partial_fourier": 0.7, "partial_fourier_method": "homodyne"},
        {"partial_fourier": 0.7, "partial_fourier_method": "homodyne", "coil_combination": "rss"},
    ],
)
def test_channel_by_channel_gives_the_image_of_the_fast_path(changes: dict) -> None:
    protocol = PROTOCOL.replace(**changes)
    shape = protocol.matrix
    where = ImageGrid(grid().affine_ras, (1, *shape), 8.0)
    image = np.zeros((1, *shape), np.complex64)
    image[:, :, :80] = objects(1)
    fast = Receiver(protocol, shape, ARRAY).receive(image, where, np.random.default_rng(0), 0.0).images
    slow = Receiver(protocol, shape, ARRAY, by_channel=True).receive(image, where, np.random.default_rng(0), 0.0).images
    # The sensitivities are blurred with the object channel by channel; their change within a pixel is a few percent.
    assert np.abs(fast - slow).max() < 0.06
    assert np.abs(fast - slow).mean() < 0.006


@pytest.mark.parametrize("acceleration", [1, 2])
def test_both_ways_have_the_same_noise_in_every_pixel(acceleration: int) -> None:
    protocol = PROTOCOL.replace(acceleration=acceleration)
    # A strong uniform signal makes the magnitude's SD that of the noise's real part.
    bright = np.full((60, 96, 80), 40.0, np.complex64)
    rng = np.random.default_rng(1)
    fast, slow = (
        Receiver(protocol, (96, 80), ARRAY, by_channel=way).receive(bright, grid(), rng, 1.0).images
        for way in (False, True)
    )
    inner = (slice(4, -4), slice(4, -4))
    ratio = fast.std(axis=0)[inner] / slow.std(axis=0)[inner]
    # 60 frames: each SD scatters by 9 %; the mean over pixels is good to 1 %.
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("acceleration", [1, 2])
@pytest.mark.parametrize("combination", ["adaptive", "rss"])
def test_both_ways_have_the_same_noise_floor(combination: str, acceleration: int) -> None:
    protocol = PROTOCOL.replace(acceleration=acceleration, coil_combination=combination)
    nothing = np.zeros((60, 96, 80), np.complex64)
    rng = np.random.default_rng(1)
    fast, slow = (
        Receiver(protocol, (96, 80), ARRAY, by_channel=way).receive(nothing, grid(), rng, 1.0).images
        for way in (False, True)
    )
    # 60 frames of about 4000 independent values; the amplification is interpolated to 2 %. Both mean and spread of the
    # magnitude tell a Rayleigh law from the chi law of several channels.
    assert fast.mean() == pytest.approx(slow.mean(), rel=0.03)
    assert fast.std() == pytest.approx(slow.std(), rel=0.03)


def test_spokes_combined_by_rss_have_the_noise_floor_of_every_channel() -> None:
    pytest.importorskip("finufft")
    protocol = PROTOCOL.replace(trajectory="golden_angle", spokes=60, coil_combination="rss")
    nothing = np.zeros((4, 96, 80), np.complex64)
    images = Receiver(protocol, (96, 80), ARRAY).receive(nothing, grid(), np.random.default_rng(0), 0.5).images
    # The mean of the chi law with 12 degrees of freedom (6 complex channels): sqrt(2) Gamma(6.5) / Gamma(6).
    assert images.mean() == pytest.approx(0.5 * 3.3927, rel=0.015)


@pytest.mark.parametrize("finer", [1, 2])
@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_what_folds_in_is_heard_by_the_coils_where_it_is(direction: str, finer: int) -> None:
    """Small tissue beyond the field of view: its share in each channel is the sensitivity there, not where it lands."""
    protocol = PROTOCOL.replace(phase_direction=direction)
    receiver = Receiver(protocol, (96 * finer, 80 * finer), ARRAY, keep_kspace=True, folded_pixels=12)
    shape = (120, 80) if direction == "rows" else (96, 104)
    place = (4, 40) if direction == "rows" else (48, 4)
    image = np.zeros(shape, np.complex64)
    image[place] = 1.0
    image = np.repeat(np.repeat(image, finer, axis=0), finer, axis=1)[None]
    kspace = receiver.receive(image, grid(), np.random.default_rng(0), 0.0).kspace
    assert kspace is not None
    maps = ARRAY.on(widen(grid(), direction, 12))[:, 0]
    maps = maps / np.linalg.norm(maps, axis=0)
    heard = np.linalg.norm(kspace[0], axis=(1, 2))
    there = np.abs(maps[:, *place])
    # Maps change by a few percent within the pixel.
    np.testing.assert_allclose(heard / np.linalg.norm(heard), there, atol=0.03)
    # Where it lands: 96 rows or 80 columns on.
    lands = (100, 40) if direction == "rows" else (48, 84)
    assert np.abs(np.abs(maps[:, *lands]) - there).max() > 0.2


def test_folded_tissue_is_not_unfolded_on_the_fast_path() -> None:
    with pytest.raises(InputError, match="set by_channel"):
        Receiver(PROTOCOL.replace(acceleration=2), (96, 80), ARRAY, folded_pixels=8)


def test_the_fast_path_folds_what_sticks_out() -> None:
    wide = np.zeros((6, 112, 80), np.complex64)
    wide[:, 8:-8] = objects()
    wide[:, :8] = 0.3
    got, expected = (
        Receiver(PROTOCOL, (96, 80), folded_pixels=n).receive(o, grid(), np.random.default_rng(0), 0.02).images
        for n, o in ((8, wide), (0, fold(wide, "rows", 8)))
    )
    np.testing.assert_array_equal(got, expected)


def test_a_breath_hold_planned_before_is_the_one_that_happens() -> None:
    for way in (False, True):
        receiver = Receiver(
            PROTOCOL, (96, 80), ARRAY, faults=(RespiratoryGhosting(amount=10.0),), cycle_ms=900.0, by_channel=way
        )
        rng = np.random.default_rng(3)
        hold = receiver.plan(rng)
        planned = receiver.receive(objects(), grid(), rng, 0.02, hold=hold)
        at_once = receiver.receive(objects(), grid(), np.random.default_rng(3), 0.02)
        np.testing.assert_array_equal(planned.images, at_once.images)
        assert hold is not None and hold.nominal_ms == pytest.approx(900.0, rel=0.03)


@pytest.mark.parametrize(("acceleration", "axis"), [(2, -2), (3, -2), (2, -1)])
def test_the_interpolated_amplification_is_the_exact_one(acceleration: int, axis: int) -> None:
    maps = ARRAY.on(grid())[:, 0].astype(np.complex128)
    exact = SenseUnfolding(maps, acceleration, axis).g_factor * np.sqrt(acceleration)
    fast = noise_map_on(ARRAY, grid(), acceleration, axis)[0]
    # Interpolated from every second pixel; near the coils, at the edges, g bends within that distance.
    assert np.mean(np.abs(fast / exact - 1)) < 0.02


def test_a_matrix_that_cannot_be_folded_evenly_is_amplified_all_the_same() -> None:
    odd = ImageGrid(grid().affine_ras, (1, 95, 80), 8.0)
    even, uneven = noise_map_on(ARRAY, grid(), 2)[0], noise_map_on(ARRAY, odd, 2)[0]
    # One row less moves the fold by half a pixel.
    assert np.median(np.abs(uneven[:40] / even[:40] - 1)) < 0.02


def test_without_acceleration_there_is_no_amplification() -> None:
    np.testing.assert_array_equal(noise_map_on(ARRAY, grid(), 1), 1.0)


def test_the_snr_asked_for_is_reached_with_parallel_imaging() -> None:
    protocol = PROTOCOL.replace(acceleration=2)
    receiver = Receiver(protocol, (96, 80), ARRAY)
    image = np.repeat(objects(1), 80, axis=0)
    clean = receiver.noise_free(image[0])
    heart = clean > 0.9
    amplification = receiver.noise_map(grid())
    assert amplification is not None
    sd = clean[heart].mean() / 25.0 / amplification_in(amplification, heart[None])
    noisy = receiver.receive(image, grid(), np.random.default_rng(2), sd, amplification[0]).images
    measured = clean[heart].mean() / noisy.std(axis=0, ddof=1)[heart].mean()
    assert measured == pytest.approx(25.0, rel=0.02)


def test_kspace_comes_with_every_channel_and_gives_the_images_again() -> None:
    receiver = Receiver(PROTOCOL, (96, 80), ARRAY, keep_kspace=True)
    got = receiver.receive(objects(), grid(), np.random.default_rng(0), 0.02)
    assert got.kspace is not None and got.kspace.shape == (6, 6, *PROTOCOL.acquired_matrix)
    maps = ARRAY.on(grid())[:, 0]
    maps = maps / np.linalg.norm(maps, axis=0)
    channels = receiver.acquisition.encoding.reconstruct(got.kspace)
    np.testing.assert_allclose(np.abs(np.sum(np.conj(maps) * channels, axis=1)), got.images, atol=1e-4)


def test_faults_on_lines_come_with_their_truth_by_either_way() -> None:
    for way in (False, True):
        receiver = Receiver(
            PROTOCOL, (96, 80), ARRAY, faults=(RespiratoryGhosting(amount=10.0),), cycle_ms=900.0, by_channel=way
        )
        got = receiver.receive(objects(), grid(), np.random.default_rng(3), 0.0)
        assert got.breath_hold is not None and got.breath_hold.schedule.displacement_mm.max() > 1.0
        assert np.abs(got.images[0] - receiver.noise_free(objects()[0])).max() > 0.1


def test_the_same_ghosts_appear_by_either_way() -> None:
    fast, slow = (
        Receiver(PROTOCOL, (96, 80), ARRAY, faults=(RespiratoryGhosting(amount=6.0),), cycle_ms=900.0, by_channel=way)
        .receive(objects(), grid(), np.random.default_rng(3), 0.0)
        .images
        for way in (False, True)
    )
    # The fast path has no coils that the object could move through: alike, not equal.
    assert np.corrcoef(fast.ravel(), slow.ravel())[0, 1] > 0.98


def test_faults_elsewhere_leave_the_lines_alone() -> None:
    got = Receiver(PROTOCOL, (96, 80), ARRAY, faults=(Banding(),)).receive(
        objects(), grid(), np.random.default_rng(0), 0.0
    )
    assert got.breath_hold is None


@pytest.mark.parametrize("trajectory", ["radial", "golden_angle"])
@pytest.mark.parametrize("way", [False, True])
def test_spokes_image_the_object(trajectory: str, way: bool) -> None:
    pytest.importorskip("finufft")
    protocol = PROTOCOL.replace(trajectory=trajectory)
    receiver = Receiver(protocol, (96, 80), ARRAY, by_channel=way)
    images = receiver.receive(objects(2), grid(), np.random.default_rng(0), 0.0).images
    inside = np.abs(objects(2)) > 0.95
    # Gridding of an object with an edge rings by a few percent.
    assert images[inside].mean() == pytest.approx(1.0, abs=0.05)
    assert images[np.abs(objects(2)) < 0.01].mean() < 0.05


def test_acceleration_leaves_spokes_out() -> None:
    from CMRSimExtension.scanner.trajectories import of_protocol

    full, half = (of_protocol(PROTOCOL.replace(trajectory="radial", acceleration=r)).spokes for r in (1, 2))
    assert half == pytest.approx(full / 2, abs=1)


def test_spokes_are_apodised_towards_their_ends() -> None:
    from CMRSimExtension.scanner.trajectories import of_protocol

    plain, filtered = (
        of_protocol(PROTOCOL.replace(trajectory="radial", filter=kind, filter_strength=1.0)).weights
        for kind in ("none", "hamming")
    )
    ratio = filtered / plain
    assert ratio.min() == pytest.approx(0.08, abs=0.01) and ratio.max() == pytest.approx(1.0)


def test_few_spokes_streak() -> None:
    pytest.importorskip("finufft")
    error = []
    for spokes in (12, 40, 120):
        protocol = PROTOCOL.replace(trajectory="radial", spokes=spokes)
        images = Receiver(protocol, (96, 80)).receive(objects(1), grid(), np.random.default_rng(0), 0.0).images
        error.append(np.abs(images - np.abs(objects(1))).mean())
    assert error[0] > error[1] > error[2]


def test_the_noise_of_spokes_has_its_sd() -> None:
    pytest.importorskip("finufft")
    protocol = PROTOCOL.replace(trajectory="golden_angle", spokes=60)
    nothing = np.zeros((20, 96, 80), np.complex64)
    images = Receiver(protocol, (96, 80)).receive(nothing, grid(), np.random.default_rng(0), 0.5).images
    # The Rayleigh mean; 20 x about 4000 independent values.
    assert images.mean() == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=0.015)


@pytest.mark.parametrize("by_channel", [False, True])
def test_a_heart_that_stands_still_is_the_same_in_segments(by_channel: bool) -> None:
    still = np.repeat(objects(1), 6, axis=0)
    whole, segments = (
        Receiver(protocol, (96, 80), ARRAY, by_channel=by_channel).receive(still, grid(), np.random.default_rng(0), 0.0)
        for protocol in (PROTOCOL, PROTOCOL.replace(segmented=True))
    )
    np.testing.assert_allclose(segments.images, whole.images, atol=1e-5)
    assert whole.breath_hold is None and segments.breath_hold is not None
    assert segments.breath_hold.schedule.heartbeat.max() == PROTOCOL.heartbeats - 1


def test_motion_blurs_within_a_segment_and_more_in_a_longer_one() -> None:
    """A disc that swings along the phase direction: at rest when farthest out, fastest a quarter of a beat later."""
    phases = 24
    r, c = np.meshgrid((np.arange(96) + 0.5) / 96 - 0.5, (np.arange(80) + 0.5) / 80 - 0.5, indexing="ij")
    place = 0.05 * np.cos(2 * np.pi * np.arange(phases) / phases)
    moving = (1 / (1 + np.exp((np.hypot(r - place[:, None, None], c) - 0.22) / 0.004))).astype(np.complex64)

    def change(views: int) -> np.ndarray:
        protocol = PROTOCOL.replace(phases=phases, views_per_segment=views, segmented=True)
        sharp, blurred = (
            Receiver(p, (96, 80)).receive(moving, grid(), np.random.default_rng(0), 0.0).images
            for p in (protocol.replace(segmented=False), protocol)
        )
        return np.abs(blurred - sharp).mean(axis=(1, 2))

    short, long = change(6), change(72)
    assert long[phases // 4] > 2.0 * long[0]
    assert long[phases // 4] > 3.0 * short[phases // 4]


def test_objects_may_be_finer_than_the_image() -> None:
    fine = np.repeat(np.repeat(objects(1), 2, axis=1), 2, axis=2)
    receiver = Receiver(PROTOCOL.replace(acceleration=2), (192, 160), ARRAY, by_channel=True)
    images = receiver.receive(fine, grid(), np.random.default_rng(0), 0.0).images
    assert images.shape == (1, 96, 80)
    assert finer_grid(grid(), 2).shape == (1, 192, 160)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"protocol": PROTOCOL.replace(acceleration=2)}, "coil array"),
        ({"protocol": PROTOCOL, "keep_kspace": True}, "coil array"),
        ({"protocol": PROTOCOL.replace(trajectory="radial", coil_combination="rss")}, "needs a coil array"),
        ({"protocol": PROTOCOL.replace(coils=4), "array": ARRAY}, "6 coils, the protocol 4"),
        ({"protocol": PROTOCOL.replace(trajectory="radial"), "faults": (Spikes(),)}, "spikes act on Cartesian lines"),
    ],
)
def test_what_cannot_be_received_is_turned_down(keywords: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Receiver(object_shape=(96, 80), **keywords)


def test_spokes_with_partial_fourier_are_turned_down() -> None:
    protocol = PROTOCOL.replace(trajectory="radial", partial_fourier=0.7)
    with pytest.raises(InputError, match="spokes pass through the centre"):
        Receiver(protocol, (96, 80)).noise_free(objects(1))


def test_objects_that_are_no_multiple_of_the_matrix_are_turned_down() -> None:
    with pytest.raises(InputError, match="whole multiple"):
        Receiver(PROTOCOL, (100, 80))
