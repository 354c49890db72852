import numpy as np
import pytest

from CMRSimExtension.anatomy.material import Material
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import draw_tissues
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.tagging.flow import BloodFlow
from CMRSimExtension.tagging.pattern import TaggedAcquisition, TagPattern
from CMRSimExtension.tagging.preparation import TagTrain
from CMRSimExtension.tagging.readout import TagReadout


def oblique_grid(spacing=(1.3, 1.3, 9.0), shape=(3, 60, 72)):
    rotation = np.linalg.qr(np.array([[0.8, -0.3, 0.5], [0.4, 0.9, -0.1], [-0.3, 0.4, 0.9]]))[0]
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array(spacing)
    affine[:3, 3] = (12.0, -40.0, 25.0)
    return ImageGrid(affine, shape, 8.0)


def lines(spacing=7.0, angle=0.0, cspamm=False, name="1-1", flip=90.0):
    return TagPattern.for_grid(
        oblique_grid(), TagTrain(name, flip), spacing, pattern="lines", angle_deg=angle, cspamm=cspamm
    )


def material(tissue, rest):
    tissue = np.full(len(rest), tissue, np.uint8)
    return Material(tissue, tissue, np.zeros_like(tissue), rest)


def longitudinal(acquisition, rest, time_ms, t1_ms, t2_ms=None, *, blood=False):
    """M / M0 of points that were at `rest` when the tags were laid, written out point by point."""
    modulation = acquisition.pattern.modulation(rest)
    if blood:
        modulation = acquisition.flow.modulation(modulation, acquisition.pattern.mean_modulation, time_ms)
    gain, offset = acquisition.evolution(time_ms, t1_ms, t2_ms, blood=blood)
    return gain * modulation + offset


@pytest.fixture(scope="module")
def tissues():
    return draw_tissues(np.random.default_rng(0), 1.5, spread=0.0)


def dominant_spacing_mm(values, step_mm):
    """Wavelength of the highest spectral peak, refined by zero-filling."""
    spectrum = np.abs(np.fft.rfft((values - values.mean()) * np.hanning(len(values)), 2**20))
    return 1.0 / (np.argmax(spectrum) / (2**20 * step_mm))


@pytest.mark.parametrize("spacing", [5.0, 6.0, 7.0, 9.3])
@pytest.mark.parametrize("train", ["1-1", "1-3-3-1"])
def test_tags_lie_one_spacing_apart(spacing, train):
    pattern = lines(spacing, name=train)
    steps = np.arange(0, 300, 0.25)
    points = pattern.origin_mm + steps[:, None] * pattern.directions_ras[0]
    # 1 % is what is asked for; the peak is found to 0.1 %.
    assert dominant_spacing_mm(pattern.modulation(points), 0.25) == pytest.approx(spacing, rel=0.002)


def test_a_line_through_the_origin_is_dark_along_its_whole_length():
    pattern = lines(angle=30.0)
    along = np.cross(pattern.directions_ras[0], [0.3, 0.5, 0.8])
    points = pattern.origin_mm + np.linspace(-50, 50, 11)[:, None] * along
    np.testing.assert_allclose(pattern.modulation(points), 0.0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0])
def test_lines_make_their_angle_with_the_rows(angle):
    grid, pattern = oblique_grid(), lines(angle=angle)
    right = grid.affine_ras[:3, 0] / grid.spacing_mm[0]
    down = grid.affine_ras[:3, 1] / grid.spacing_mm[1]
    along = np.cos(np.deg2rad(angle)) * right - np.sin(np.deg2rad(angle)) * down
    assert along @ pattern.directions_ras[0] == pytest.approx(0.0, abs=1e-12)


def test_tags_lie_in_the_slice_plane():
    pattern = TagPattern.for_grid(oblique_grid(), TagTrain(), 7.0, angle_deg=20.0)
    normal = oblique_grid().affine_ras[:3, 2]
    np.testing.assert_allclose(pattern.directions_ras @ normal, 0.0, atol=1e-9)
    assert pattern.directions_ras[0] @ pattern.directions_ras[1] == pytest.approx(0.0, abs=1e-12)


def test_a_grid_is_the_product_of_two_sets_of_lines():
    both = TagPattern.for_grid(oblique_grid(), TagTrain("1-2-1", 80.0), 6.0, angle_deg=15.0)
    points = np.random.default_rng(1).normal(0, 30, (200, 3))
    single = [TagPattern(both.train, 6.0, d[None], both.origin_mm).modulation(points) for d in both.directions_ras]
    np.testing.assert_allclose(both.modulation(points), single[0] * single[1], atol=1e-12)


def test_cspamm_of_two_equal_pulses_is_a_pure_cosine():
    pattern = lines(cspamm=True)
    points = pattern.origin_mm + np.arange(0, 14, 0.5)[:, None] * pattern.directions_ras[0]
    # At 90 degrees in total, sin^2 45 = 1/2.
    expected = -0.5 * np.cos(2 * np.pi * np.arange(0, 14, 0.5) / 7.0)
    np.testing.assert_allclose(pattern.modulation(points), expected, atol=1e-12)


def test_cspamm_keeps_full_contrast_when_spamm_has_faded():
    points = lines().origin_mm + np.arange(0, 14, 0.25)[:, None] * lines().directions_ras[0]
    contrast = []
    for cspamm in (False, True):
        signal = np.abs(longitudinal(TaggedAcquisition(lines(cspamm=cspamm)), points, 400.0, 950.0))
        contrast.append((signal.max() - signal.min()) / signal.max())
    assert contrast[0] < 0.2
    assert contrast[1] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("kind", ["gre", "bssfp"])
@pytest.mark.parametrize(("tissue", "blood"), [(Tissue.MYOCARDIUM, False), (Tissue.BLOOD_ARTERIAL, True)])
def test_a_point_in_a_simulation_is_tagged_as_the_acquisition_says(tissues, kind, tissue, blood):
    acquisition = TaggedAcquisition(lines(), TagReadout.standard(kind), pause_ms=150.0)
    rest = np.random.default_rng(1).normal(0, 30, (40, 3))
    t1, t2 = tissues.t1_ms[tissue], tissues.t2_ms[tissue]
    expected = longitudinal(acquisition, rest, 120.0, t1, t2, blood=blood) / acquisition.readout.steady_state(t1, t2)
    # The tables of gain and offset are in single precision.
    np.testing.assert_allclose(acquisition.factor(material(tissue, rest), tissues, 120.0), expected, atol=1e-6)


def test_a_ramp_keeps_the_tags_of_a_simulation_as_they_began(tissues):
    readout = TagReadout(flip_angle_deg=30.0, repetition_time_ms=8.0, echo_time_ms=4.0, ramp_pulses=100)
    acquisition = TaggedAcquisition(lines(cspamm=True), readout)
    points = lines().origin_mm + np.arange(0, 14, 0.25)[:, None] * lines().directions_ras[0]
    muscle = tissues.replace(Tissue.MYOCARDIUM, t1_ms=readout.ramp_t1_ms)
    spans = [np.ptp(acquisition.factor(material(Tissue.MYOCARDIUM, points), muscle, t)) for t in (0.0, 400.0, 780.0)]
    # Between two pulses the angle is interpolated, and the tables are in single precision.
    np.testing.assert_allclose(spans, spans[0], rtol=0.01)
    at = points[7:8]
    expected = readout.transverse(longitudinal(acquisition, at, 400.0, 950.0), 400.0, np.inf)
    steady = readout.steady_state(950.0) * np.sin(np.deg2rad(30.0))
    found = acquisition.factor(material(Tissue.MYOCARDIUM, at), muscle, 400.0)
    np.testing.assert_allclose(found, expected / steady, atol=1e-6)


def test_tags_of_a_simulation_keep_single_precision(tissues):
    acquisition, rest = TaggedAcquisition(lines()), np.random.default_rng(2).normal(0, 150, (50, 3))
    single = acquisition.factor(material(Tissue.MYOCARDIUM, rest.astype(np.float32)), tissues, 200.0)
    assert single.dtype == np.float32
    # Phases of up to three hundred radians.
    double = acquisition.factor(material(Tissue.MYOCARDIUM, rest), tissues, 200.0)
    np.testing.assert_allclose(single, double, atol=2e-4)


def test_points_without_rest_positions_cannot_be_tagged(tissues):
    none = np.zeros(1, np.uint8)
    with pytest.raises(InputError, match="rest position"):
        TaggedAcquisition(lines()).factor(Material(none, none, none), tissues, 0.0)


def test_a_pause_before_the_r_wave_brightens_the_first_frame():
    rest = np.random.default_rng(3).normal(0, 20, (50, 3))
    paused = TaggedAcquisition(lines(), pause_ms=1e6)
    # After an endless pause the magnetisation before tagging is M0.
    np.testing.assert_allclose(
        longitudinal(paused, rest, 0.0, 950.0), paused.pattern.modulation(rest), atol=1e-9
    )


def test_blood_loses_its_tags_within_three_frames_and_muscle_does_not():
    acquisition = TaggedAcquisition(lines())
    points = lines().origin_mm + np.arange(0, 14, 0.25)[:, None] * lines().directions_ras[0]
    muscle = longitudinal(acquisition, points, 100.0, 950.0)
    blood = longitudinal(acquisition, points, 100.0, 1441.0, blood=True)
    assert np.ptp(blood) / blood.mean() < 0.05
    assert np.ptp(muscle) / muscle.mean() > 0.5


def test_inflow_makes_blood_brighter():
    points = np.random.default_rng(4).normal(0, 20, (400, 3))
    still, flowing = (
        longitudinal(
            TaggedAcquisition(lines(), flow=BloodFlow(through_plane_mm_s=speed)), points, 200.0, 1441.0, blood=True
        ).mean()
        for speed in (0.0, 60.0)
    )
    assert flowing > 1.5 * still


def test_a_balanced_readout_needs_t2():
    acquisition = TaggedAcquisition(lines(), TagReadout.standard("bssfp"))
    with pytest.raises(InputError, match="needs t2_ms"):
        acquisition.evolution(100.0, 950.0)


def test_a_spacing_under_two_pixels_is_refused_with_the_least_allowed():
    with pytest.raises(InputError, match=r"2.5 mm, 1.92 pixels of 1.3 mm; .* at least 2.6 mm"):
        lines(spacing=2.5)


def test_a_spacing_wider_than_the_image_is_refused():
    with pytest.raises(InputError, match="500 mm, more than the image's 93.6 mm"):
        lines(spacing=500.0)


def test_directions_that_are_not_unit_vectors_are_refused():
    with pytest.raises(InputError, match="unit vectors"):
        TagPattern(TagTrain(), 7.0, np.array([[1.0, 1.0, 0.0]]))
