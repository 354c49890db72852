"""Anatomy from a series of label maps: each frame is kept, the motion between them is estimated and called so."""

from functools import lru_cache

import nibabel as nib
import numpy as np
import pytest

from CMRSimExtension.anatomy.label_image import LabelAnatomy
from CMRSimExtension.anatomy.labels.heart_volume import HeartDetail
from CMRSimExtension.anatomy.material import Anatomy, Moment
from CMRSimExtension.errors import InputError
from Testing.anatomy import labelled_phantom as phantom

BARE = HeartDetail(fat_mm=0.0, papillary_radius_mm=0.0, trabeculae=0.0, base=False)
FRAMES = 6


def contracted(amount: float) -> np.ndarray:
    """The phantom with its cavity's and RV's radii shrunk by `amount`; the wall keeps its cross-section."""
    k, j, i = np.indices(phantom.SHAPE).astype(float)
    x, y = (i - 55.0) * 1.5, -(j - 45.0) * 1.5
    z = np.maximum((9.5 - k) * 9.0, 0.0)
    within = k < 9.5
    endo0 = phantom.ENDO_MM * np.sqrt(np.clip(1 - (z / phantom.ENDO_LENGTH_MM) ** 2.5, 0, 1))
    epi0 = phantom.EPI_MM * np.sqrt(np.clip(1 - (z / phantom.LENGTH_MM) ** 2.5, 0, 1))
    endo = endo0 * (1 - amount)
    epi = np.sqrt(endo**2 + epi0**2 - endo0**2)
    r = np.hypot(x, y)
    right = (np.hypot(x + 24, (y - 3) / 1.1) < 36 * (1 - 0.5 * amount) * np.sqrt(np.clip(1 - (z / 68) ** 2, 0, 1))) & (
        x < 0
    )
    out = np.zeros(phantom.SHAPE, np.uint8)
    out[within & right & (r >= epi) & (z < 66)] = 1
    out[within & (r < epi)] = 2
    out[within & (r < endo)] = 3
    return out


AMOUNTS = [0.3 * np.sin(np.pi * f / FRAMES) ** 2 for f in range(FRAMES)]


@lru_cache(maxsize=4)
def series(**options: object) -> LabelAnatomy:
    settings = {"detail": BARE, "background": None, "cycle_ms": 900.0} | options
    labels = np.stack([contracted(a) for a in AMOUNTS])
    return LabelAnatomy(labels, phantom.affine(), "acdc", **settings)  # type: ignore[arg-type]


def centres() -> np.ndarray:
    k, j, i = np.indices(phantom.SHAPE)
    affine = phantom.affine()
    return np.stack([i, j, k], axis=-1).reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.sum(a & b) / (a.sum() + b.sum()))


def test_it_is_an_anatomy():
    assert isinstance(series(), Anatomy)


@pytest.mark.parametrize("frame", range(FRAMES))
def test_at_its_own_phase_every_frame_is_kept(frame):
    found = series().sample(centres(), Moment(frame / FRAMES), rest=False).clinical.reshape(phantom.SHAPE)
    labels = contracted(AMOUNTS[frame])
    for theirs, ours in ((3, 1), (2, 2), (1, 3)):
        assert dice(labels == theirs, found == ours) > 0.96  # smoothing, as for a single label map


def test_between_frames_the_cavity_lies_between_theirs():
    def volume(phase: float) -> int:
        return int(np.sum(series().sample(centres(), Moment(phase), rest=False).clinical == 1))

    assert volume(1 / 6) > volume(1.5 / 6) > volume(2 / 6)


def test_the_estimated_motion_carries_the_wall_with_it():
    anatomy = series()
    material = anatomy.sample(centres(), Moment(0.5))
    then = anatomy.sample(material.rest_mm, Moment(0.0), rest=False).clinical
    assert dice(then == 2, material.clinical == 2) > 0.9


def test_the_estimated_motion_is_radial_as_the_phantoms_is():
    anatomy = series()
    affine = phantom.affine()
    # At level 45 mm the endocardium lies at 24 * sqrt(1 - (45 / 77)^2.5) = 20.6 mm, and contracted by 30 % at 14.4.
    at = (affine @ np.array([55 + 14.4 / 1.5, 45.0, 9.5 - 45.0 / 9.0, 1.0]))[None, :3]
    displacement = (anatomy.sample(at, Moment(0.5)).rest_mm - at)[0]
    lateral = affine[:3, 0] / 1.5
    assert displacement @ lateral == pytest.approx(6.2, abs=0.8)  # half a voxel


def test_the_record_calls_the_motion_estimated():
    assert "estimated" in series().describe()["motion"]


def test_function_is_that_of_the_labels():
    volumes = [np.sum(contracted(a) == 3) * np.prod(phantom.SPACING_MM) / 1000 for a in AMOUNTS]
    function = series().function
    assert function.lv_edv_ml == pytest.approx(max(volumes), rel=0.03)
    assert function.lv_esv_ml == pytest.approx(min(volumes), rel=0.03)


def test_empty_frames_are_left_out():
    labels = np.stack([contracted(a) for a in AMOUNTS])
    labels[[1, 2, 4, 5]] = 0
    anatomy = LabelAnatomy(labels, phantom.affine(), "acdc", detail=BARE, background=None)
    assert anatomy.describe()["phases_of_labels"] == [0.0, 0.5]


def test_of_two_frames_the_larger_is_end_diastole():
    labels = np.stack([contracted(0.3), contracted(0.0)])
    anatomy = LabelAnatomy(labels, phantom.affine(), "acdc", detail=BARE, background=None)
    found = anatomy.sample(centres(), Moment(), rest=False).clinical.reshape(phantom.SHAPE)
    assert dice(found == 1, contracted(0.0) == 3) > 0.97


def test_a_still_series_shows_its_first_frame():
    still = series(beat=False)
    at = centres()[::5]
    np.testing.assert_array_equal(still.sample(at, Moment(0.5)).structure, still.sample(at, Moment()).structure)


def test_what_may_not_move_does_not_move():
    anatomy = series()
    at = anatomy.heart_frame.to_ras(np.random.default_rng(0).uniform(-130, 130, (20000, 3)))
    held = at[~anatomy.may_move(at)]
    assert len(held) > 100
    for phase in (0.1, 0.5, 0.7):
        assert np.abs(anatomy.sample(held, Moment(phase)).rest_mm - held).max() < 1e-9


@pytest.mark.parametrize(
    "phases, said",
    [([0.0, 0.5], "2 frame phases for 6"), ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "rise"), ([0.0] * 6, "rise")],
)
def test_unusable_phases_are_refused(phases, said):
    with pytest.raises(InputError, match=said):
        series(frame_phases=tuple(phases))


def test_a_frame_without_its_cavity_is_refused():
    labels = np.stack([contracted(a) for a in AMOUNTS])
    labels[2][labels[2] == 3] = 0
    with pytest.raises(InputError, match="frame 2"):
        LabelAnatomy(labels, phantom.affine(), "acdc")


@pytest.mark.parametrize("patient", ["patient061", "patient003", "patient030"])
def test_real_pairs_keep_both_frames_and_match_them(cmrsim_data, patient):
    files = sorted((cmrsim_data / "acdc").glob(f"{patient}_frame*_gt.nii.gz"))
    images = [nib.load(f) for f in files]
    labels = np.stack([np.asarray(i.dataobj).transpose(2, 1, 0) for i in images])
    anatomy = LabelAnatomy(labels, images[0].affine, "acdc", background=None)
    k, j, i = np.indices(labels.shape[1:])
    affine = anatomy.placement.affine_ras
    at = np.stack([i, j, k], axis=-1).reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3]
    systole = anatomy.sample(at, Moment(0.36))
    assert dice(labels[1] == 2, systole.clinical.reshape(labels.shape[1:]) == 2) > 0.97
    carried = anatomy.sample(systole.rest_mm, Moment(), rest=False).clinical.reshape(labels.shape[1:])
    # An untuned demons registration gives 0.80, doing nothing 0.62.
    assert dice(labels[1] == 2, carried == 2) > 0.9
