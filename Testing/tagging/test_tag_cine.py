import json
from dataclasses import replace

import numpy as np
import pytest

from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.flow import BloodFlow
from CMRSimExtension.tagging.options import TagOptions
from CMRSimExtension.tagging.preparation import TagTrain
from CMRSimExtension.tagging.readout import TagReadout
from CMRSimExtension.tagging.tag_cine import myocardium_label, tag_cine


@pytest.fixture(scope="module")
def tagged(beating):
    return tag_cine(beating)


def uniform(frames=3, pixel=1.5, labelled=True):
    """Still muscle everywhere: what is seen is the tags alone."""
    grid = ImageGrid(np.diag([pixel, pixel, 8.0, 1.0]), (2, 96, 96), 8.0)
    labels = np.full((frames, 2, 96, 96), 2, np.uint8)
    labels[:, :, 40:56, 40:56] = 1
    image = np.where(labels == 1, 300, 100).astype(np.float32)
    still = np.zeros((*image.shape, 3), np.float32)
    times = np.tile(np.arange(frames) * 300.0, (2, 1))
    return Cine(image, grid, times_ms=times, labels=labels if labelled else None, displacement_mm=still)


def line_profile(cine, frame=0, row=10):
    return cine.image[frame, 0, row]


@pytest.mark.parametrize("spacing", [5.0, 7.0])
def test_tags_in_the_image_lie_their_spacing_apart(spacing):
    lines = TagOptions(pattern="lines", angle_deg=90.0, spacing_mm=spacing)
    profile = line_profile(tag_cine(uniform(), lines))
    spectrum = np.abs(np.fft.rfft((profile - profile.mean()) * np.hanning(96), 2**16))
    found = 1.5 / (np.argmax(spectrum) / 2**16)
    # 1 % is asked for.
    assert found == pytest.approx(spacing, rel=0.01)


def test_lines_at_90_degrees_run_down_the_columns():
    image = tag_cine(uniform(), TagOptions(pattern="lines", angle_deg=90.0)).image[0, 0]
    assert np.ptp(image[:30], axis=0).max() < 1e-3 * image.max()
    assert np.ptp(image[:30], axis=1).max() > 0.5 * image.max()


def test_muscle_tags_fade_by_the_law_of_the_readout():
    options = TagOptions(pattern="lines", angle_deg=90.0, train="1-1")
    image = tag_cine(uniform(), options).image
    depth = [np.ptp(image[frame, 0, 10]) for frame in range(3)]
    readout = TagReadout.standard("gre")
    kept = (np.cos(np.deg2rad(10.0)) * np.exp(-8.2 / 950.0)) ** (300.0 / readout.repetition_time_ms)
    assert depth[1] / depth[0] == pytest.approx(kept, rel=1e-3)
    assert depth[2] / depth[0] == pytest.approx(kept**2, rel=1e-3)


def test_blood_loses_its_tags_before_muscle():
    cine = replace(uniform(), times_ms=np.tile([0.0, 100.0, 200.0], (2, 1)))
    image = tag_cine(cine, TagOptions(pattern="lines", angle_deg=90.0)).image
    contrast = [np.ptp(image[1, 0, row, 44:52]) / image[1, 0, row, 44:52].mean() for row in (48, 10)]
    assert contrast[0] < 0.05 < 0.3 < contrast[1]


def test_cspamm_keeps_its_tags_to_the_end_of_the_beat():
    # Lines twice as dense as their spacing: wide ones, which the pixels do not blur.
    image = tag_cine(uniform(), TagOptions(pattern="lines", angle_deg=90.0, cspamm=True, spacing_mm=16.0)).image
    contrast = [np.ptp(image[t, 0, 10]) / image[t, 0, 10].max() for t in range(3)]
    assert min(contrast) > 0.7
    np.testing.assert_allclose(image[2, 0, 10].max(), image[0, 0, 10].max(), rtol=0.01)


def test_tags_move_with_the_tissue(beating, tagged):
    """A tagged frame equals the first frame's tags pulled along by the true motion."""
    systole = 3
    pattern = TagOptions().tag_pattern(beating.grid)
    rest = beating.grid.points_mm() + beating.displacement_mm[systole]
    expected = pattern.modulation(rest)
    wall = beating.labels[systole] == 2
    found = tagged.image[systole]
    # The image averages over pixels, the formula does not; contrast is flat within the wall.
    assert np.corrcoef(found[wall], expected[wall])[0, 1] > 0.97


def test_a_static_pattern_would_not_fit(beating, tagged):
    wall = beating.labels[3] == 2
    static = TagOptions().tag_pattern(beating.grid).modulation(beating.grid.points_mm())
    assert np.corrcoef(tagged.image[3][wall], static[wall])[0, 1] < 0.5


def test_estimated_motion_moves_the_tags_too(beating):
    untruthful = replace(beating, displacement_mm=None)
    found = tag_cine(untruthful)
    pattern = TagOptions().tag_pattern(beating.grid)
    rest = beating.grid.points_mm() + found.displacement_mm[3]
    wall = beating.labels[3] == 2
    assert np.corrcoef(found.image[3][wall], pattern.modulation(rest)[wall])[0, 1] > 0.97
    assert found.sidecar["tagging"]["motion"]["source"] == "estimated"


def test_the_sidecar_says_true_motion_where_the_cine_has_it(tagged):
    assert tagged.sidecar["tagging"]["motion"]["source"] == "true"


def test_the_sidecar_is_json(tagged):
    assert json.loads(json.dumps(tagged.sidecar))["tagging"]["acquisition"]["train"] == "1-3-3-1"


def test_labels_travel_unchanged(beating, tagged):
    np.testing.assert_array_equal(tagged.labels, beating.labels)


def test_the_myocardium_label_is_the_wall_alone(beating):
    np.testing.assert_array_equal(myocardium_label(beating.labels) == 1, beating.labels == 2)


def test_labels_of_end_diastole_are_carried_to_systole(beating):
    unlabelled = replace(beating, labels=None)
    found = tag_cine(unlabelled, labels=beating.labels[0]).labels
    wall = [x[3] == 2 for x in (found, beating.labels)]
    # True motion: only the interpolation of labels errs.
    assert 2 * np.sum(wall[0] & wall[1]) / (wall[0].sum() + wall[1].sum()) > 0.96


def test_frames_that_nobody_labelled_take_the_labels_of_end_diastole(beating):
    """As `cmrsim segment --frames edes` leaves them: blood must lose its tags in all frames alike."""
    real = replace(beating, displacement_mm=None)
    some = np.where(np.isin(np.arange(len(beating.labels)), (0, 3))[:, None, None, None], beating.labels, 0)
    given, carried = tag_cine(real, labels=some), tag_cine(real, labels=beating.labels[0])
    np.testing.assert_array_equal(given.image, carried.image)
    assert given.labels.any(axis=(1, 2, 3)).all()
    assert "carried to the other frames" in given.sidecar["tagging"]["labels"]


def test_without_muscle_among_the_labels_blood_is_guessed(beating):
    cavities = np.where(beating.labels == 2, 0, beating.labels)
    without = tag_cine(replace(beating, labels=None))
    found = tag_cine(replace(beating, labels=None), labels=cavities)
    np.testing.assert_array_equal(found.image, without.image)
    assert "blood guessed" in found.sidecar["tagging"]["contrast"]


def test_a_series_may_have_half_the_frames(beating):
    tagged = tag_cine(beating, TagOptions(frames=5))
    assert tagged.image.shape[0] == tagged.labels.shape[0] == tagged.displacement_mm.shape[0] == 5
    np.testing.assert_allclose(tagged.times_ms[0], 200.0 * np.arange(5))
    np.testing.assert_array_equal(tagged.labels, beating.labels[::2])


def test_frames_between_frames_follow_the_motion(cylinder):
    fine, coarse = cylinder().cine(frames=20, slices=1), cylinder().cine(frames=10, slices=1)
    between = tag_cine(coarse, TagOptions(frames=20)).displacement_mm[5]
    wall = fine.labels[5] == 2
    missed = np.linalg.norm(between - fine.displacement_mm[5], axis=-1)[wall]
    # Linear interpolation over 100 ms of the fastest contraction; a pixel is 1.5 mm.
    assert missed.max() < 0.75


def test_a_pair_without_times_is_given_035_of_a_75_bpm_beat(beating):
    pair = replace(
        beating, image=beating.image[[0, 3]], labels=beating.labels[[0, 3]], times_ms=None,
        displacement_mm=beating.displacement_mm[[0, 3]],
    )
    tagged = tag_cine(pair)
    np.testing.assert_allclose(tagged.times_ms[0], [0.0, 280.0])
    assert "0.35 of a heartbeat of 800 ms (75 bpm)" in tagged.sidecar["tagging"]["times"]


def test_the_paper_method_is_square_root_times_its_static_grid(beating):
    tagged = tag_cine(beating, TagOptions(method="paper"))
    pixel = 2 * np.pi / 5.0
    y, x = np.indices(beating.grid.shape[1:])
    y, x = y - (y.max() / 2), x - (x.max() / 2)
    train = TagTrain("1-3-3-1", 70.0)
    grid = train.rotated(pixel * (x + y) / np.sqrt(2)) * train.rotated(pixel * (x - y) / np.sqrt(2))
    expected = np.sqrt(beating.image) * grid
    # Single precision phases of up to a hundred radians.
    np.testing.assert_allclose(tagged.image, expected, atol=1e-3)


def test_the_paper_method_needs_no_motion(beating):
    still = Cine(beating.image[:1], beating.grid)
    assert tag_cine(still, TagOptions(method="paper")).image.shape == still.image.shape


def test_noise_has_the_snr_asked_for_and_comes_from_the_seed(beating):
    clean, noisy, again = (tag_cine(beating, TagOptions(snr=snr), seed=4) for snr in (None, 15.0, 15.0))
    np.testing.assert_array_equal(noisy.image, again.image)
    bright = clean.image[0] > np.percentile(clean.image[0], 80)
    level = clean.image[0][clean.labels[0] > 0].mean() / 15.0
    # Where signal is well above noise the magnitude's SD is that of one channel; some 8000 pixels give it to 1 %.
    assert np.std((noisy.image[0] - clean.image[0])[bright]) == pytest.approx(level, rel=0.05)


def test_the_result_does_not_depend_on_the_number_of_threads(beating):
    one, two = (tag_cine(beating, TagOptions(snr=20), workers=n).image for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_one_frame_where_motion_is_asked_for_is_refused(beating):
    with pytest.raises(InputError, match="1 frame, and motion needs 2 or more.*method paper"):
        tag_cine(Cine(beating.image[:1], beating.grid))


def test_labels_that_lie_elsewhere_are_refused(beating):
    affine = beating.grid.affine_ras.copy()
    affine[0, 3] += 1.0
    elsewhere = ImageGrid(affine, beating.grid.shape, 8.0)
    with pytest.raises(InputError, match="different geometry .*1 mm"):
        tag_cine(beating, labels=beating.labels, labels_grid=elsewhere)


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [(255, np.uint8, "0 to 255"), (300, np.int16, "0 to 300"), (-1, np.int16, "-1 to"), (2, np.float32, "float32")],
)
def test_label_numbers_that_cannot_be_kept_are_refused(beating, number, kind, said):
    labels = beating.labels.astype(kind)
    labels[0, 0, 0, 0] = number
    with pytest.raises(InputError, match=said):
        tag_cine(beating, labels=labels)
    if kind is not np.float32:
        with pytest.raises(InputError, match=said):
            tag_cine(replace(beating, labels=labels))


def test_labels_of_another_shape_are_refused(beating):
    with pytest.raises(InputError, match="labels have the shape"):
        tag_cine(beating, labels=beating.labels[:2])


def test_a_spacing_under_two_pixels_is_refused(beating):
    with pytest.raises(InputError, match="1.50 pixels .* at least 3 mm"):
        tag_cine(beating, TagOptions(spacing_px=1.5))


def test_two_spacings_are_refused():
    with pytest.raises(InputError, match="give one of them"):
        TagOptions(spacing_mm=7, spacing_px=5)


def test_a_flip_out_of_range_is_refused_when_the_options_are_made():
    with pytest.raises(InputError, match="200 degrees"):
        TagOptions(flip_deg=200)


def test_too_short_a_series_is_not_interpolated(beating):
    pair = replace(beating, image=beating.image[:2], labels=None, times_ms=None, displacement_mm=None)
    with pytest.raises(InputError, match="2 frames, too few to make 25"):
        tag_cine(pair, TagOptions(frames=25))


def test_nan_is_refused(beating):
    image = beating.image.copy()
    image[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        tag_cine(replace(beating, image=image))


def test_still_blood_keeps_its_tags():
    image = tag_cine(
        uniform(), TagOptions(pattern="lines", angle_deg=90.0, flow=BloodFlow(np.inf, 0.0))
    ).image
    assert np.ptp(image[1, 0, 48, 42:54]) / image[1, 0, 48, 42:54].mean() > 0.2


def field_of_tissues(cine, **options):
    return tag_cine(cine, TagOptions(**options)).sidecar["tagging"]["tissues"]["field_t"]


@pytest.mark.parametrize("record, field", [
    ({}, 1.5),
    ({"protocol": {"field_t": 3.0}}, 3.0),
    ({"source": {"kind": "DICOM", "field_t": 1.494}}, 1.5),
    ({"tagging": {}, "source": {"source": {"kind": "DICOM", "field_t": 2.8936}}}, 3.0),
])
def test_tissues_are_those_of_the_field_that_the_record_tells(record, field):
    assert field_of_tissues(replace(uniform(), sidecar=record)) == field


def test_a_dicom_cine_of_3_tesla_is_tagged_at_3_tesla(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from CMRSimExtension.files.dicom_reading import read_dicom
    from CMRSimExtension.files.dicom_writing import write_dicom

    write_dicom(uniform(), tmp_path / "study")
    for path in (tmp_path / "study").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.MagneticFieldStrength = "2.8936"
        dataset.save_as(path)
    (tmp_path / "study.dicom.json").unlink()
    cine = read_dicom(tmp_path / "study")
    assert cine.sidecar["source"]["field_t"] == 2.8936
    assert field_of_tissues(cine) == 3.0
    assert field_of_tissues(cine, field_t=1.5) == 1.5


def test_a_field_that_the_tissue_table_lacks_is_told():
    with pytest.warns(CMRSimWarning, match="scanned at 0.55 T .* values at 1.5 T are taken"):
        assert field_of_tissues(replace(uniform(), sidecar={"source": {"field_t": 0.55}})) == 1.5
