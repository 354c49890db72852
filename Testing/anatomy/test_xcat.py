"""Anatomy from XCAT's files: read as XCAT writes them, every organ known, breathing and beating."""

import hashlib

import numpy as np
import pytest

from CMRSimExtension.anatomy.material import Anatomy, Moment
from CMRSimExtension.anatomy.structures import Structure, Tissue
from CMRSimExtension.anatomy.xcat import XcatAnatomy
from CMRSimExtension.anatomy.xcat_files import read_xcat
from CMRSimExtension.anatomy.xcat_organs import ORGAN_STRUCTURES, USUAL_NUMBERS, organ_named, xcat_tissues
from CMRSimExtension.errors import FileFormatError, InputError
from Testing.anatomy.xcat_phantom import LOG, SIZE, SLICES, contracted, voxels, write


@pytest.fixture(scope="module")
def anatomy(tmp_path_factory) -> XcatAnatomy:
    return XcatAnatomy(write(tmp_path_factory.mktemp("xcat"), frames=2))


def centres(anatomy: XcatAnatomy) -> np.ndarray:
    k, j, i = np.indices((SLICES, SIZE, SIZE))
    affine = anatomy.placement.affine_ras
    return np.stack([i, j, k], axis=-1).reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3]


def test_it_is_an_anatomy(anatomy):
    assert isinstance(anatomy, Anatomy)


def test_the_log_tells_geometry_phase_and_depth_of_breath(tmp_path):
    series = read_xcat(write(tmp_path, frames=3))
    assert series.shape == (18, 96, 96) and series.spacing_mm == pytest.approx((5.0, 2.0, 2.0))
    assert [f.cardiac for f in series.frames] == [0.4, 0.4, 0.4]
    assert [f.inhaled for f in series.frames] == [0.0, 0.42, 0.84]
    assert series.cycle_ms == pytest.approx(900.0)


def test_a_single_frame_finds_its_log(tmp_path):
    write(tmp_path, frames=3)
    series = read_xcat(tmp_path / "sub_act_2.bin")
    assert [f.path.name for f in series.frames] == ["sub_act_2.bin"] and series.frames[0].inhaled == 0.42


def test_big_endian_files_are_read_too(tmp_path):
    series = read_xcat(write(tmp_path))
    little = series.structures(series.frames[0])
    voxels().astype(">f4").tofile(series.frames[0].path)
    np.testing.assert_array_equal(series.structures(series.frames[0]), little)


@pytest.mark.parametrize(
    "spelling, organ",
    [
        ("right lung_activity", "r_lung"),
        ("r_lung_activity", "r_lung"),
        ("left kidney_medulla_activity", "l_kidney_medulla"),
        ("hrt_bldplLV_act", "bldpllv"),
        ("sm_intest_activity", "small_intest"),
        ("esophagus_cont_activity", "esophagus_contents"),
        ("lesn_activity", "lesn"),
        ("array_size", None),
    ],
)
def test_organs_are_known_by_every_spelling(spelling, organ):
    assert organ_named(spelling) == organ


def test_every_usual_number_has_an_organ_and_a_structure():
    listed = [*range(1, 12), *range(13, 38), *range(40, 45), 50, 51, 52, 55, 57, 58, 65, 66, 71]  # PHYSICS: XCAT files
    assert set(listed) <= set(USUAL_NUMBERS.values())
    assert all(ORGAN_STRUCTURES[name] is not Structure.OUTSIDE for name in USUAL_NUMBERS)


def test_only_airways_and_bowel_gas_have_no_signal():
    dark = {s for s in ORGAN_STRUCTURES.values() if xcat_tissues()[s] == Tissue.AIR}
    assert dark == {Structure.AIRWAY, Structure.BOWEL_AIR}


def test_at_the_phantoms_own_phase_its_voxels_are_found_again(anatomy):
    stored = voxels()
    structure = anatomy.sample(centres(anatomy), Moment(0.4)).structure.reshape(stored.shape)
    for value, wanted in ((1, Structure.LV_MYOCARDIUM), (6, Structure.RV_BLOOD), (16, Structure.LUNG_LEFT)):
        # What is drawn new (RV wall, skin) and half a voxel of smoothing are left over.
        assert np.mean(structure[stored == value] == wanted) > 0.9
    pool = np.isin(structure[stored == 5], [Structure.LV_BLOOD, Structure.LV_PAPILLARY, Structure.LV_TRABECULAE])
    assert pool.mean() > 0.95


def test_it_beats_with_the_logs_ejection_fraction(anatomy):
    assert anatomy.function.lv_ef_percent == pytest.approx(60.0, abs=0.1)


def test_it_breathes_by_its_frames(anatomy):
    # The second frame's heart lies three columns (6 mm) to the right; its breath is 42 % deep, XCAT's at phase 0.1796.
    at = centres(anatomy)
    first = anatomy.sample(at, Moment(0.4, 0.0)).clinical == 1
    second = anatomy.sample(at, Moment(0.4, 0.2)).clinical == 1
    moved = at[second].mean(axis=0) - at[first].mean(axis=0)
    column = anatomy.placement.affine_ras[:3, 0] / 2.0
    assert moved @ column == pytest.approx(6.0, abs=0.5)


def test_breathing_takes_the_rest_position_along(anatomy):
    at = anatomy.heart_frame.to_ras(np.array([[0.0, 0.0, 40.0]]))
    column = anatomy.placement.affine_ras[:3, 0] / 2.0
    inhaled = anatomy.sample(at, Moment(0.0, 0.2)).rest_mm
    assert (at - inhaled) @ column == pytest.approx(6.0, abs=0.5)


def test_a_still_phantom_does_not_beat(tmp_path):
    still = XcatAnatomy(write(tmp_path), beat=False)
    at = centres(still)[::7]
    np.testing.assert_array_equal(still.sample(at, Moment(0.0)).structure, still.sample(at, Moment(0.4)).structure)


def test_the_apex_is_closed_where_the_slices_end(anatomy):
    frame = anatomy.heart_frame
    beyond = frame.to_ras(np.array([[0.0, 0.0, frame.lv_length_mm + 12.0]]))
    assert anatomy.sample(beyond, Moment(0.4)).clinical[0] == 0


def test_what_is_held_equals_what_is_sampled(anatomy):
    at = centres(anatomy)[::11]
    held = anatomy.hold(at, 0.0)
    for phase in (0.0, 0.2, 0.4):
        one, other = held(phase), anatomy.sample(at, Moment(phase))
        np.testing.assert_array_equal(one.structure, other.structure)
        np.testing.assert_allclose(one.rest_mm, other.rest_mm, atol=1e-9)
        chosen = np.arange(len(at))[::-13]
        few = held(phase, chosen)
        np.testing.assert_array_equal(few.structure, other.structure[chosen])
        np.testing.assert_allclose(few.rest_mm, other.rest_mm[chosen], atol=1e-9)


def test_frames_at_several_heart_phases_are_a_beating_series(tmp_path):
    log = write(tmp_path, frames=2, hearts=("0.000", "0.400"))
    contracted().tofile(tmp_path / "sub_act_2.bin")
    anatomy = XcatAnatomy(log)
    at = centres(anatomy)
    pools = [int(np.sum(anatomy.sample(at, Moment(p), rest=False).clinical == 1)) for p in (0.0, 0.2, 0.4)]
    assert pools[0] > pools[1] > pools[2]
    assert pools[2] / pools[0] == pytest.approx(np.sum(contracted() == 5) / np.sum(voxels() == 5), abs=0.05)
    assert "estimated" in anatomy.describe()["motion"]


def test_its_record_tells_the_frames_by_their_contents(tmp_path):
    log = write(tmp_path, frames=2, hearts=("0.000", "0.400"))
    contracted().tofile(tmp_path / "sub_act_2.bin")
    digests = [frame["sha256"] for frame in XcatAnatomy(log).describe()["frames"]]
    files = [tmp_path / f"sub_act_{number}.bin" for number in (1, 2)]
    assert digests == [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def test_a_series_without_end_diastole_is_refused(tmp_path):
    with pytest.raises(InputError, match="end diastole"):
        XcatAnatomy(write(tmp_path, frames=2, hearts=("0.200", "0.400")))


def test_a_file_of_the_wrong_size_is_refused(tmp_path):
    log = write(tmp_path)
    (tmp_path / "sub_act_1.bin").write_bytes(b"\0" * 1000)
    with pytest.raises(FileFormatError, match="1000 bytes.*663552"):
        XcatAnatomy(log)


def test_an_unknown_activity_is_refused(tmp_path):
    log = write(tmp_path)
    strange = voxels()
    strange[0, 0, 0] = 99.0
    strange.tofile(tmp_path / "sub_act_1.bin")
    with pytest.raises(FileFormatError, match="99"):
        XcatAnatomy(log)


def test_not_a_number_is_refused(tmp_path):
    log = write(tmp_path)
    strange = voxels()
    strange[0, 0, 0] = np.nan
    strange.tofile(tmp_path / "sub_act_1.bin")
    with pytest.raises(FileFormatError, match="nan"):
        XcatAnatomy(log)


def test_a_frame_without_its_log_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "sub_log").unlink()
    with pytest.raises(FileFormatError, match="sub_log"):
        read_xcat(tmp_path / "sub_act_1.bin")


def test_a_log_without_frames_is_refused(tmp_path):
    log = write(tmp_path)
    (tmp_path / "sub_act_1.bin").unlink()
    with pytest.raises(FileFormatError, match="_act_"):
        read_xcat(log)


def test_an_incomplete_log_is_refused(tmp_path):
    log = write(tmp_path, log=LOG.replace(" array_size = 96\n", ""))
    with pytest.raises(FileFormatError, match="array_size"):
        read_xcat(log)


def test_a_heart_that_shares_its_activity_is_refused(tmp_path):
    log = write(tmp_path, log=LOG.replace("body_activity = 9", "body_activity = 5"))
    with pytest.raises(InputError, match="bldpllv, body"):
        read_xcat(log)


def test_slices_without_a_heart_are_refused(tmp_path):
    log = write(tmp_path)
    np.where(np.isin(voxels(), (1, 5, 6)), 9, voxels()).astype("<f4").tofile(tmp_path / "sub_act_1.bin")
    with pytest.raises(FileFormatError, match="lv blood"):
        XcatAnatomy(log)


def test_a_file_that_is_not_xcats_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FileFormatError, match="no XCAT file"):
        read_xcat(tmp_path / "notes.txt")


def test_the_real_phantom_has_every_voxel_of_its_body_known(cmrsim_data):
    series = read_xcat(cmrsim_data / "xcat" / "perfusion_log")
    assert len(series.frames) == 3
    raw = np.fromfile(series.frames[0].path, "<f4").reshape(series.shape)
    structures = series.structures(series.frames[0])
    assert np.array_equal(structures == Structure.OUTSIDE, raw == 0)


def test_the_real_phantom_lies_as_a_patient_does(cmrsim_data):
    anatomy = XcatAnatomy(cmrsim_data / "xcat" / "perfusion_act_1.bin")
    structures = anatomy._series.structures(anatomy._frames[0])

    def centre(structure: Structure) -> np.ndarray:
        k, j, i = np.nonzero(structures == structure)
        affine = anatomy.placement.affine_ras
        return (np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]).mean(axis=0)

    liver, spleen, heart, spine = (
        centre(s) for s in (Structure.LIVER, Structure.SPLEEN, Structure.LV_BLOOD, Structure.VERTEBRA)
    )
    assert liver[0] > heart[0] > spleen[0]  # right, middle, left
    assert spine[1] < heart[1]  # behind
    assert liver[2] < heart[2]  # below


def test_two_files_of_one_frame_beside_a_parameter_file_are_refused(tmp_path):
    log = write(tmp_path, frames=2)
    par = log.rename(tmp_path / "sub.par")
    assert [f.path.name for f in read_xcat(par).frames] == ["sub_act_1.bin", "sub_act_2.bin"]
    (tmp_path / "other_act_2.bin").write_bytes((tmp_path / "sub_act_2.bin").read_bytes())
    with pytest.raises(InputError, match="other_act_2.bin and sub_act_2.bin .* both frame 2: give the _log of one run"):
        read_xcat(par)
