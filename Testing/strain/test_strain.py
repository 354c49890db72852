import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.strain.series import StrainSeries, strain_from_displacement
from CMRSimExtension.strain.tensor import masked_gradient, strain_from_rest_gradient

SYSTOLE = 4
FRAMES = 10


@pytest.fixture(scope="module")
def shortening(cylinder):
    return cylinder(stretch_z=0.85)


@pytest.fixture(scope="module")
def truth(shortening):
    return strain_from_displacement(shortening.cine(frames=FRAMES, slices=5, pixel_mm=1.0, rows=84, columns=84))


def wall_median(shortening, component):
    """The wall's volume fills with the square of the radius; half of it lies within this rest radius."""
    radius = np.sqrt((shortening.inner_mm**2 + shortening.outer_mm**2) / 2)
    return shortening.strains(radius, SYSTOLE / FRAMES)[component]


def test_the_gradient_of_a_linear_field_is_exact_on_an_oblique_grid():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array([1.2, 1.5, 8.0])
    grid = ImageGrid(affine, (4, 12, 15), 8.0)
    gradient = np.random.default_rng(1).normal(size=(3, 3))
    mask = np.random.default_rng(2).random(grid.shape) > 0.2
    found = masked_gradient(grid.points_mm() @ gradient.T, mask, grid)
    known = np.isfinite(found[:, 0, 0])
    assert known.mean() > 0.95
    np.testing.assert_allclose(found[known], np.broadcast_to(gradient, found[known].shape), atol=1e-8)


def test_what_lies_outside_the_mask_does_not_enter_its_gradient():
    grid = ImageGrid(np.diag([1.0, 1.0, 8.0, 1.0]), (1, 20, 20), 8.0)
    field = grid.points_mm().copy()
    mask = np.zeros(grid.shape, bool)
    mask[:, 5:15, 5:15] = True
    field[~mask] = 1e6
    found = masked_gradient(field, mask, grid, through=False)
    np.testing.assert_allclose(found[:, :2, :2], np.broadcast_to(np.eye(2), (100, 2, 2)), atol=1e-9)


def test_a_rotation_strains_nothing():
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    strain = strain_from_rest_gradient((np.linalg.inv(turn) - np.eye(3))[None])
    np.testing.assert_allclose(strain, 0, atol=1e-12)


def test_a_stretch_has_the_green_lagrange_strain():
    stretch = np.diag([1.5, 0.8, 1.0])
    strain = strain_from_rest_gradient((np.linalg.inv(stretch) - np.eye(3))[None])
    np.testing.assert_allclose(strain[0], np.diag([(1.5**2 - 1) / 2, (0.8**2 - 1) / 2, 0]), atol=1e-12)


@pytest.mark.parametrize(("component", "name"), enumerate(("radial", "circumferential", "longitudinal")))
def test_systolic_strain_is_that_of_the_closed_form(truth, shortening, component, name):
    expected = wall_median(shortening, component)
    # Differences over 2 mm of a wall of 11 mm; strain varies by 0.1 across it.
    assert truth.whole[SYSTOLE, component] == pytest.approx(expected, abs=0.012)


def test_every_segment_of_an_even_cylinder_strains_alike(truth):
    values = truth.segments[SYSTOLE, :16]
    assert np.isfinite(values).all()
    assert np.ptp(values[:, 1]) < 0.01


def test_end_diastole_has_no_strain(truth):
    np.testing.assert_allclose(truth.whole[0], 0, atol=1e-6)


def test_the_peaks_are_the_systolic_values(truth):
    np.testing.assert_allclose(truth.peaks()[:16, 1], truth.segments[3:5, :16, 1].min(axis=0), atol=1e-9)


def test_peaks_pass_over_frames_that_are_not_reliable(truth):
    reliable = truth.reliable.copy()
    reliable[2:] = False
    early = StrainSeries(truth.times_ms, truth.segments, truth.whole, truth.voxels, "harp", reliable)
    assert np.abs(early.peaks()[:16, 1]).max() < np.abs(truth.peaks()[:16, 1]).min()


def test_the_table_has_a_row_for_the_wall_and_each_segment_of_every_frame(truth):
    lines = truth.table().splitlines()
    assert lines[0] == "frame,time_ms,segment,name,radial,circumferential,longitudinal,reliable"
    assert len(lines) == 1 + FRAMES * (1 + int((truth.voxels > 0).sum()))


def test_motion_within_the_plane_has_no_longitudinal_strain(beating):
    series = strain_from_displacement(beating, source="registration")
    assert np.isnan(series.segments[:, :, 2]).all()
    assert np.isfinite(series.whole[:, :2]).all()


def test_a_cine_without_displacement_is_refused(beating):
    from dataclasses import replace

    with pytest.raises(InputError, match="carries no displacement"):
        strain_from_displacement(replace(beating, displacement_mm=None))


def test_curves_and_bulls_eye_are_pictures(truth, tmp_path):
    from PIL import Image

    from CMRSimExtension.strain.figures import write_bulls_eye, write_curves

    for path in (write_curves(truth, tmp_path / "c.png", truth=truth), write_bulls_eye(truth, tmp_path / "b.png")):
        with Image.open(path) as image:
            colours = len(image.convert("RGB").getcolors(1 << 24))
        assert colours > 50
