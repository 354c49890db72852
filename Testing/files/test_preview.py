"""Pictures: turned as a reader expects, labels where they belong, moving as the heart does."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.dicom_reading import read_dicom
from CMRSimExtension.files.display import LABEL_COLOURS, Turn, heart_window, outline, overlay, reader_turn, window
from CMRSimExtension.files.preview import heart_crop, heartbeat_ms, picture, smooth_labels, write_animation, write_still

AS_IT_IS = Turn(False, False, False)


def _affine(column, row):
    """RAS affine from the directions of columns and rows."""
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = column, row, np.cross(column, row)
    return affine


@pytest.mark.parametrize(("column", "row"), [
    ((-1, 0, 0), (0, -1, 0)),  # transverse: left on the right, back at the bottom
    ((-1, 0, 0), (0, 0, -1)),  # coronal: left on the right, feet at the bottom
    ((0, -1, 0), (0, 0, -1)),  # sagittal: back on the right, feet at the bottom
])
def test_images_as_scanners_order_them_stay_as_they_are(column, row):
    assert reader_turn(_affine(column, row)) == AS_IT_IS


def test_the_real_study_stays_as_the_scanner_ordered_it(cmrsim_data):
    for series in ("cine_trufi_retro", "16001"):
        assert reader_turn(read_dicom(cmrsim_data / "cine_dicom", series).grid.affine_ras) == AS_IT_IS


@pytest.mark.parametrize("plane", ["sax", "2ch", "3ch", "4ch", "axial"])
def test_simulated_planes_stay_as_they_were_planned(plane):
    from CMRSimExtension.anatomy.subject import Subject
    from CMRSimExtension.scanner.planning import plan
    from CMRSimExtension.scanner.protocol import Protocol

    assert reader_turn(plan(Subject.random(1).heart_frame, Protocol(), plane).affine_ras) == AS_IT_IS


def test_a_transverse_image_stored_upside_down_is_turned():
    # As many converters store it: columns to the right, rows to the front.
    turn = reader_turn(_affine((1, 0, 0), (0, 1, 0)))
    np.testing.assert_array_equal(turn.apply(np.array([[1, 2], [3, 4]])), [[4, 3], [2, 1]])


def test_a_transposed_image_is_turned_with_its_pixel_size():
    turn = reader_turn(_affine((0, -1, 0), (-1, 0, 0)))
    assert turn.transpose
    np.testing.assert_array_equal(turn.apply(np.array([[1, 2], [3, 4]])), [[1, 3], [2, 4]])
    assert turn.spacing_mm((1.0, 2.0, 8.0)) == (2.0, 1.0)


def test_bright_spots_do_not_darken_the_window():
    image = np.full((100, 100), 100.0)
    image[0] = 0.0
    image[50, :50] = 1e6  # half a percent
    assert window(image)[1] == 100.0


def test_the_window_of_a_labelled_heart_shows_its_blood_bright_and_lets_brighter_fat_saturate():
    image, labels = np.full((1, 60, 60), 30.0), np.zeros((1, 60, 60), np.uint8)
    labels[:, 20:40, 20:40], image[:, 20:40, 20:40] = 1, 100.0
    image[:, :10] = 400.0  # a sixth of the image, fat in front of the coil
    low, high = heart_window(image, labels)
    assert (100 - low) / (high - low) == pytest.approx(1 / 1.3)
    assert heart_window(image, None)[1] == 400.0


def test_a_flat_image_has_a_window_too():
    low, high = window(np.zeros((5, 5)))
    assert high > low


def test_labels_are_drawn_in_their_fixed_colours():
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 2
    shown = overlay(np.zeros((9, 9), np.uint8), labels, opacity=0.5)
    assert tuple(shown[4, 4]) == tuple(round(c * 0.5) for c in LABEL_COLOURS[2])
    assert tuple(shown[2, 2]) == LABEL_COLOURS[2]  # the outline is firm
    assert not shown[0, 0].any()


# What is left of linear RGB to people without red cones, green cones, blue cones (Machado, Oliveira and Fernandes, IEEE
# TVCG 15 (2009), table 1, severity 1).
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}


def seen(rgb, sight: str) -> np.ndarray:
    """CIELAB of an sRGB colour (0 to 255) to somebody with that sight."""
    share = np.asarray(rgb, float) / 255
    linear = SIGHTS[sight] @ np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(
        linear, 0, 1) / (0.9505, 1.0, 1.089)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_three_labels_are_told_apart_with_any_sight(sight):
    one, two, three = (seen(LABEL_COLOURS[label], sight) for label in (1, 2, 3))
    # Unlike at a glance, ten times what is just noticeable, and twice that around the myocardium.
    assert np.linalg.norm(one - three) > 23
    assert min(np.linalg.norm(one - two), np.linalg.norm(two - three)) > 46


@pytest.mark.parametrize("sight", ["normal", "protanopia", "deuteranopia"])
def test_the_myocardium_s_label_stands_out_from_every_grey(sight):
    colour = seen(LABEL_COLOURS[2], sight)
    assert min(np.linalg.norm(colour - seen((grey,) * 3, sight)) for grey in range(256)) > 46


def test_the_outline_lies_on_both_sides_of_a_border():
    np.testing.assert_array_equal(outline(np.array([[0, 0, 1, 1]], np.uint8)), [[False, True, True, False]])


def test_enlarged_labels_keep_their_area():
    y, x = np.mgrid[:32, :32]
    disc = (np.hypot(x - 15.5, y - 15.5) < 9).astype(np.uint8)
    # A disc of radius 9 has 254 pixels; its border, 57 pixels long, may move by a tenth of one.
    assert smooth_labels(disc, (320, 320)).sum() / 100 == pytest.approx(disc.sum(), abs=6)


def test_pixels_of_a_picture_are_square(small_cine):
    affine = np.array(small_cine.grid.affine_ras)
    affine[:3, 1] *= 2  # pixels twice as high as wide
    shown = picture(replace(small_cine, grid=replace(small_cine.grid, affine_ras=affine)), pixels_across=96)
    assert shown.shape == (160, 96, 3)


def test_the_crop_holds_the_heart_with_room_around_it(small_cine):
    crop = heart_crop(small_cine, margin=0.1)
    heart = (small_cine.labels > 0).any(axis=(0, 1))
    assert heart[crop.rows, crop.columns].sum() == heart.sum()
    assert heart[crop.rows, crop.columns].size < heart.size


def test_a_still_is_a_png(small_cine, tmp_path):
    write_still(small_cine, tmp_path / "a.png", labels=True)
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (512, 427))


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
@pytest.mark.parametrize("labels", [False, True])
def test_an_animation_has_every_frame_and_lasts_a_heartbeat(small_cine, tmp_path, name, labels):
    write_animation(small_cine, tmp_path / name, labels=labels, pixels_across=96)
    total = 0
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == 6
        for frame in range(image.n_frames):
            image.seek(frame)
            image.load()
            total += image.info["duration"]
    # GIF counts hundredths of a second: each of six frames is off by 5 ms at most.
    assert total == pytest.approx(heartbeat_ms(small_cine), abs=30)


@pytest.mark.parametrize(("options", "message"), [
    ({"slice_index": 3}, "slices 0 to 2"), ({"frame": 6}, "frames 0 to 5"), ({"slice_index": -1}, "slices 0 to 2")])
def test_a_slice_or_frame_that_is_not_there_is_named(small_cine, options, message):
    with pytest.raises(InputError, match=message):
        picture(small_cine, **options)


def test_labels_that_are_not_there_are_named(small_cine):
    with pytest.raises(InputError, match="this cine has none"):
        picture(replace(small_cine, labels=None), labels=True)


def test_other_endings_are_refused(small_cine, tmp_path):
    with pytest.raises(InputError, match="does not end in .png"):
        write_still(small_cine, tmp_path / "a.jpg")
    with pytest.raises(InputError, match="does not end in .gif or .webp"):
        write_animation(small_cine, tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []
