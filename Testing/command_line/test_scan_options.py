"""Options and YAML files: the same names, checked the same way."""

import argparse

import pytest

from CMRSimExtension.command_line.main import build_parser
from CMRSimExtension.command_line.scan_options import OPTIONS, add_scan_options, build_protocol, chosen, truths
from CMRSimExtension.command_line.scanning import build_anatomy
from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.tissue_settings import TissueSettings


def _parse(*arguments):
    parser = argparse.ArgumentParser()
    add_scan_options(parser)
    return chosen(parser.parse_args(list(arguments)))


def _config(tmp_path, text, *arguments):
    path = tmp_path / "scan.yaml"
    path.write_text(text, encoding="utf-8")
    return _parse("--config", str(path), *arguments)


def test_nothing_given_chooses_nothing():
    assert _parse() == {}


def test_the_command_line_comes_before_the_file(tmp_path):
    assert _config(tmp_path, "seed: 7\npathology: dcm\n", "--seed", "8") == {"seed": 8, "pathology": "dcm"}


@pytest.mark.parametrize("name", ["edv-ml", "edv_ml"])
def test_keys_may_have_dashes_or_underscores(tmp_path, name):
    assert _config(tmp_path, f"{name}: 140") == {"edv_ml": 140.0}


def test_every_design_option_exists():
    # DESIGN section 7.
    wanted = ("seed anatomy labels-map still sex age-years height-cm weight-kg edv-ml esv-ml mass-g pathology protocol "
              "plane field-t tr-ms te-ms flip-deg snr matrix slices phases coils trajectory fault truth").split()
    assert set(wanted) <= {option.name for option in OPTIONS}


def test_an_unknown_key_is_answered_with_a_guess(tmp_path):
    with pytest.raises(InputError, match="unknown key 'patology'; did you mean pathology"):
        _config(tmp_path, "patology: dcm")


@pytest.mark.parametrize(("text", "message"), [
    ("seed: seven", "a whole number"), ("seed: 1.5", "a whole number"), ("edv_ml: [1]", "a number"),
    ("edv_ml: true", "a number"), ("still: maybe", "true or false"), ("plane: 5ch", "choose from sax"),
    ("protocol: [a]", "one word"), ("- a\n- b", "not a list"), ("a: [", "not valid YAML")])
def test_values_of_the_wrong_kind_are_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        _config(tmp_path, text)


@pytest.mark.parametrize("command", ["simulate --out x.nii.gz", "preview --out x.png", "segment x --out y.nii.gz"])
def test_every_command_takes_either_spelling_of_a_sex(command):
    for spelling in ("female", "male", "F", "M"):
        assert build_parser().parse_args([*command.split(), "--sex", spelling]).sex == spelling


def test_either_spelling_of_a_sex_gives_the_same_subject(tmp_path):
    subjects = [build_anatomy(_config(tmp_path, f"sex: {spelling}")) for spelling in ("female", "F", "male")]
    assert [subject.parameters.torso.sex for subject in subjects] == ["F", "F", "M"]
    assert subjects[0].parameters == subjects[1].parameters
    with pytest.raises(InputError, match="choose from female, male, F, M"):
        _config(tmp_path, "sex: woman")


def test_chest_and_heart_are_placed_by_options_and_files_alike(tmp_path):
    given = {"chest_half_width_mm": 160.0, "chest_half_depth_mm": 118.0, "heart_left_mm": -5.0, "frontal_deg": 50.0,
             "transverse_deg": 40.0, "roll_deg": -20.0}
    typed = [part for key, value in given.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    subject = build_anatomy(_parse(*typed)).parameters
    assert {key: getattr(subject if key.endswith("deg") else subject.torso, key) for key in given} == given
    assert build_anatomy(_config(tmp_path, "\n".join(f"{key}: {value}" for key, value in given.items()))).parameters \
        == subject
    with pytest.raises(InputError, match="--roll-deg shape a drawn subject; leave them out with --anatomy"):
        build_anatomy({"anatomy": "x.nii.gz", "roll_deg": 3.0})


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match="nowhere.yaml cannot be read"):
        _parse("--config", "nowhere.yaml")


def test_yaml_that_would_run_code_is_refused(tmp_path):
    with pytest.raises(InputError, match="not valid YAML"):
        _config(tmp_path, "seed: !!python/object/apply:os.getcwd []")


def test_faults_and_truths_may_be_lists(tmp_path):
    values = _config(tmp_path, "fault: [spikes, banding=0.5]\ntruth: [labels, motion]")
    assert values["fault"] == ["spikes", "banding=0.5"]
    assert truths(values) == {"labels", "motion"}


def test_tissues_of_the_command_line_are_laid_over_those_of_the_file(tmp_path):
    text = "tissue:\n  myocardium: {t1_ms: 1100, t2_ms: 45}\n  fat: {proton_density: 0.5}\n"
    values = _config(tmp_path, text, "--tissue", "myocardium:t1_ms=900", "--tissue", "blood_arterial:t2_ms=200")
    assert TissueSettings.parse(values["tissue"]).as_dict() == {
        "MYOCARDIUM": {"t1_ms": 900.0, "t2_ms": 45.0}, "BLOOD_ARTERIAL": {"t2_ms": 200.0},
        "FAT": {"proton_density": 0.5},
    }


@pytest.mark.parametrize("text", ["tissue: {fat: 3}", "tissue: {fat: {t1_ms: [300]}}"])
def test_tissues_that_are_no_table_of_numbers_are_refused(tmp_path, text):
    with pytest.raises(InputError, match="with a number for each value"):
        _config(tmp_path, text)


def test_the_labels_are_the_default_truth():
    assert truths({}) == {"labels"}


def test_an_unknown_truth_is_named():
    with pytest.raises(InputError, match="--truth has strain; choose from labels"):
        truths({"truth": "labels,strain"})


def test_options_change_the_preset():
    protocol = build_protocol(_parse("--protocol", "philips_3t", "--flip-deg", "50", "--phases", "20", "--snr", "12"))
    assert (protocol.vendor, protocol.flip_angle_deg, protocol.phases, protocol.snr) == ("Philips", 50.0, 20, 12.0)


def test_a_protocol_in_the_file_may_change_any_value(tmp_path):
    protocol = build_protocol(_config(tmp_path, "protocol: {preset: siemens_3t, slice-gap-mm: 4, fov_mm: [300, 350]}"))
    assert (protocol.field_t, protocol.slice_gap_mm, protocol.fov_mm) == (3.0, 4, (300.0, 350.0))


@pytest.mark.parametrize("text", ["protocol: {snrr: 3}", "protocol: {snr: many}", "protocol: {preset: nokia}"])
def test_a_wrong_protocol_in_the_file_is_refused(tmp_path, text):
    with pytest.raises(InputError):
        build_protocol(_config(tmp_path, text))


def test_a_matrix_keeps_the_field_of_view_with_square_pixels():
    preset, changed = build_protocol({}), build_protocol({"matrix": 128})
    assert max(changed.matrix) == 128
    assert changed.pixel_mm[0] == pytest.approx(changed.pixel_mm[1])
    # The shorter side is rounded to whole pixels.
    assert max(abs(a - b) for a, b in zip(changed.fov_mm, preset.fov_mm)) <= max(changed.pixel_mm)


@pytest.mark.parametrize("longest", [4, 2100])
def test_a_matrix_that_no_scan_has_is_refused_by_the_number_given(longest):
    with pytest.raises(InputError, match=f"--matrix is {longest}; choose a value from 16 to 2048"):
        build_protocol({"matrix": longest})


@pytest.mark.parametrize(("acceleration", "coils"), [(1, 12), (2, 12), (3, 12), (3, 2)])
def test_a_matrix_can_be_unfolded_along_its_shorter_side(acceleration, coils):
    for longest in (64, 96, 97, 128):
        scan = {"preset": "siemens_3t", "acceleration": acceleration, "coils": coils} if coils > 2 else "siemens_3t"
        changed = build_protocol({"protocol": scan, "matrix": longest, "coils": coils})
        assert changed.matrix[1] == longest and changed.matrix[0] % changed.acceleration == 0
        assert abs(changed.matrix[0] - longest * 216 / 256) <= 0.5 * changed.acceleration + 0.5
        assert changed.fov_mm[0] / changed.matrix[0] == pytest.approx(changed.fov_mm[1] / changed.matrix[1])


def test_a_coarse_matrix_lowers_the_acquired_resolution_with_it():
    changed = build_protocol({"matrix": 96})
    assert min(changed.acquired_resolution_mm) >= max(changed.pixel_mm) - 1e-9
