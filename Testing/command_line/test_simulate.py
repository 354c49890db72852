"""`cmrsim simulate` and `cmrsim preview` from end to end, at a small size."""

import json
import os
import signal
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.files.cine_files import read_cine

SMALL = ["--matrix", "64", "--phases", "4", "--slices", "3"]


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    """X.nii.gz of a small scan with every truth."""
    path = tmp_path_factory.mktemp("heart") / "X.nii.gz"
    assert main(["simulate", "--out", str(path), "--seed", "5", *SMALL, "--quiet", "--edv-ml", "150", "--esv-ml", "60",
                 "--mass-g", "110", "--truth", "labels,anatomy,motion,fractions"]) == 0
    return path


def test_all_files_of_the_design_are_there(heart):
    assert sorted(p.name for p in heart.parent.iterdir()) == [
        "X.json", "X.nii.gz", "X_anatomy.nii.gz", "X_fractions.nii.gz", "X_labels.nii.gz", "X_motion.nii.gz"]


def test_the_image_is_four_dimensional_floats(heart):
    image = nibabel.load(heart)
    assert image.shape == (64, 53, 3, 4) and image.get_data_dtype() == np.float32


def test_volumes_and_mass_are_what_was_asked_for(heart):
    function = read_cine(heart).function
    # ISSUE: EDV, ESV and mass within 1 %.
    assert function.lv_edv_ml == pytest.approx(150, rel=0.01)
    assert function.lv_esv_ml == pytest.approx(60, rel=0.01)
    assert function.lv_mass_g == pytest.approx(110, rel=0.01)


def test_the_sidecar_tells_seed_protocol_versions_and_times(heart):
    document = json.loads((heart.parent / "X.json").read_text())
    record = document["record"]
    assert record["simulation"]["seed"] == 5
    assert record["protocol"]["name"] == "siemens_1.5t"
    assert {"CMRSimExtension", "numpy", "scipy"} <= set(record["versions"])
    assert np.shape(document["times_ms"]["values"]) == (3, 4)


def test_the_same_seed_gives_the_same_files(heart, tmp_path):
    again = tmp_path / "X.nii.gz"
    assert main(["simulate", "--out", str(again), "--seed", "5", *SMALL, "--quiet", "--edv-ml", "150", "--esv-ml", "60",
                 "--mass-g", "110", "--truth", "labels,anatomy,motion,fractions"]) == 0
    for path in heart.parent.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_written_files_are_the_result(tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "X.nii.gz"), *SMALL]) == 0
    out, err = capsys.readouterr()
    assert out.split() == [str(tmp_path / n) for n in ("X.nii.gz", "X_labels.nii.gz", "X.json")]
    assert "true function" in err


@pytest.mark.parametrize(("arguments", "message"), [
    (["--edv-ml", "100", "--esv-ml", "120"], "ESV 120 ml is not below EDV 100 ml"),
    (["--seed", "-3"], "--seed is -3"),
    (["--pathology", "flu"], "flu"),
    (["--protocol", "nokia"], "there is no protocol 'nokia'; choose from siemens_1.5t"),
    (["--field-t", "7"], "field_t is 7.0; choose 1.5 or 3.0"),
    (["--te-ms", "9"], "echo_time_ms is 9.0"),
    (["--phases", "0"], "phases is 0"),
    (["--fault", "gremlins"], "there is no fault 'gremlins'; choose from"),
    (["--truth", "labels,strain"], "--truth has strain"),
    (["--labels-map", "acdc"], "--labels-map belongs to --anatomy"),
    (["--phase-of-labels", "0"], "--phase-of-labels belongs to --anatomy"),
    (["--xcat-vectors", "a.txt"], "--xcat-vectors belongs to --anatomy"),
    (["--anatomy", "nowhere.nii.gz", "--labels-map", "acdc"], "nowhere.nii.gz does not exist"),
])
def test_bad_input_is_named_and_leaves_nothing(tmp_path, capsys, arguments, message):
    assert main(["simulate", "--out", str(tmp_path / "X.nii.gz"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused_before_the_work(tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "X.png")]) == 2
    assert "X.png does not end in .nii.gz" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(["simulate", "--out", str(tmp_path / "locked" / "X.nii.gz")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_where_a_folder_should_be_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(["simulate", "--out", str(tmp_path / "file" / "X.nii.gz")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def _long_simulation(folder):
    """A simulation in a process of its own that has begun and has seconds to go."""
    command = [sys.executable, "-m", "CMRSimExtension.command_line.main", "simulate", "--out", str(folder / "X.nii.gz"),
               "--slices", "8", "--phases", "40"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env=os.environ | {"OMP_NUM_THREADS": "1"})
    # The first progress line tells that the work has begun.
    assert process.stderr.readline().startswith("simulating")
    return process


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_in_the_middle_ends_with_130_and_leaves_nothing(tmp_path):
    process = _long_simulation(tmp_path)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_label_image_without_a_meaning_asks_for_it(small_cine, tmp_path, capsys):
    nibabel.save(nibabel.Nifti1Image(small_cine.labels[0].T, np.eye(4)), tmp_path / "gt.nii.gz")
    assert main(["simulate", "--out", str(tmp_path / "X.nii.gz"), "--anatomy", str(tmp_path / "gt.nii.gz")]) == 2
    assert "add --labels-map acdc" in capsys.readouterr().err


def test_the_phase_of_a_label_image_may_be_told(small_cine, tmp_path):
    nibabel.save(nibabel.Nifti1Image(small_cine.labels[0].T, small_cine.grid.affine_ras), tmp_path / "gt.nii.gz")
    given = ["--anatomy", str(tmp_path / "gt.nii.gz"), "--labels-map", "cmrsim", "--phases", "2", "--slices", "1",
             "--matrix", "64"]
    volumes = []
    for more in ([], ["--phase-of-labels", "0.39"]):
        assert main(["simulate", "--out", str(tmp_path / "X.nii.gz"), *given, *more]) == 0
        labels = np.asarray(nibabel.load(tmp_path / "X_labels.nii.gz").dataobj)[..., 0]
        volumes.append((labels == 1).sum())
    # Labels told to be those of end systole belong to a heart that is fuller at end diastole.
    assert volumes[1] > 1.2 * volumes[0]


@pytest.mark.parametrize(("frames", "given", "message"), [
    (1, ["--phase-of-labels", "1.5"], "1.5"), (2, ["--phase-of-labels", "0.4"], "belongs to a single label image")])
def test_a_phase_that_labels_cannot_have_is_refused(small_cine, tmp_path, capsys, frames, given, message):
    labels = np.stack([small_cine.labels[0].T] * frames, axis=-1)
    nibabel.save(nibabel.Nifti1Image(labels, small_cine.grid.affine_ras), tmp_path / "gt.nii.gz")
    arguments = ["--anatomy", str(tmp_path / "gt.nii.gz"), "--labels-map", "cmrsim", *given]
    assert main(["simulate", "--out", str(tmp_path / "X.nii.gz"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_empty_label_map_is_refused(tmp_path, capsys):
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 20, 5), np.uint8), np.eye(4)), tmp_path / "gt.nii.gz")
    arguments = ["--anatomy", str(tmp_path / "gt.nii.gz"), "--labels-map", "acdc"]
    assert main(["simulate", "--out", str(tmp_path / "X.nii.gz"), *arguments]) == 2
    assert "cmrsim: error:" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["gt.nii.gz"]


def test_a_preview_is_a_picture_of_one_slice(tmp_path, capsys):
    from PIL import Image

    assert main(["preview", "--out", str(tmp_path / "p.png"), "--matrix", "64", "--overlay"]) == 0
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[0] == 512 and picture.mode == "RGB"
    assert capsys.readouterr().out.split() == [str(tmp_path / "p.png")]


def test_a_preview_is_turned_as_the_scan_is(tmp_path):
    pictures = []
    for turn in ("0", "30"):
        path = tmp_path / f"{turn}.png"
        assert main(["preview", "--out", str(path), "--matrix", "64", "--rotation-deg", turn, "--quiet"]) == 0
        pictures.append(path.read_bytes())
    assert pictures[0] != pictures[1]


def test_a_preview_shows_every_fault(tmp_path):
    from CMRSimExtension.scanner.faults import FAULTS

    for name in FAULTS:
        path = tmp_path / f"{name}.png"
        fault = ["--fault", f"{name}=0.5"] if name == "aliasing" else ["--fault", name]
        assert main(["preview", "--out", str(path), "--matrix", "64", "--phases", "4", *fault, "--quiet"]) == 0
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == len(FAULTS)


def test_a_preview_shows_a_file_that_is_there_already(heart, tmp_path):
    assert main(["preview", str(heart), "--out", str(tmp_path / "p.gif"), "--slice", "1"]) == 0
    from PIL import Image

    with Image.open(tmp_path / "p.gif") as picture:
        assert picture.n_frames == 4 and picture.info["loop"] == 0


@pytest.mark.parametrize(("arguments", "message"), [
    (["--slice", "99"], "--slice is 99"), (["--frame", "99"], "--frame is 99")])
def test_a_slice_or_frame_that_is_not_there_is_named(tmp_path, capsys, arguments, message):
    assert main(["preview", "--out", str(tmp_path / "p.png"), "--matrix", "64", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_preview_of_another_ending_is_refused(tmp_path, capsys):
    assert main(["preview", "--out", str(tmp_path / "p.jpg")]) == 2
    assert ".png, .gif or .webp" in capsys.readouterr().err


def test_killing_the_process_politely_leaves_nothing_either(tmp_path):
    if os.name == "nt":
        pytest.skip("POSIX signals")
    process = _long_simulation(tmp_path)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trajectory", ["cartesian", "golden_angle"])
def test_k_space_is_written_as_raw_data_beside_the_image(tmp_path, trajectory):
    import ismrmrd

    from CMRSimExtension.files.ismrmrd_reading import read_ismrmrd

    path = tmp_path / "new" / "folder" / "X.nii.gz"
    assert main(["simulate", "--out", str(path), "--matrix", "64", "--phases", "2", "--slices", "2", "--coils", "3",
                 "--trajectory", trajectory, "--truth", "kspace", "--quiet"]) == 0
    assert sorted(p.name for p in path.parent.iterdir()) == ["X.json", "X.nii.gz", "X_kspace.h5"]
    np.testing.assert_array_equal(read_ismrmrd(path.with_name("X_kspace.h5")).image, read_cine(path).image)
    with ismrmrd.File(path.with_name("X_kspace.h5"), "r") as file:
        noise, line = file["dataset"].acquisitions[0], file["dataset"].acquisitions[64]
        assert noise.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) and not line.flags & noise.flags
        assert line.active_channels == noise.active_channels == 3
        assert line.trajectory_dimensions == (0 if trajectory == "cartesian" else 2)
        if trajectory != "cartesian":
            assert np.abs(line.traj).max() == pytest.approx(0.5, abs=0.02)


def test_k_space_that_could_not_be_written_leaves_no_folder(tmp_path):
    from CMRSimExtension.command_line.kspace_store import KspaceStore

    with pytest.raises(ZeroDivisionError), KspaceStore(tmp_path / "new" / "folder") as store:
        store(0, np.zeros(3, np.complex64))
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_a_fault_is_named_in_the_record(tmp_path):
    path = tmp_path / "X.nii.gz"
    assert main(["simulate", "--out", str(path), *SMALL, "--fault", "spikes=2", "--quiet"]) == 0
    assert [f["name"] for f in read_cine(path).sidecar["simulation"]["faults"]] == ["spikes"]


def test_tags_are_laid_on_by_the_scan_and_told_in_the_record(tmp_path):
    path = tmp_path / "X.nii.gz"
    assert main(["simulate", "--out", str(path), "--matrix", "128", "--phases", "2", "--slices", "5", "--tag", "lines",
                 "--spacing-mm", "8", "--truth", "labels,motion", "--quiet"]) == 0
    cine = read_cine(path)
    tagging, protocol = cine.sidecar["tagging"], cine.sidecar["protocol"]
    assert (tagging["acquisition"]["spacing_mm"], tagging["motion"]["source"]) == (8.0, "true")
    assert protocol["sequence"] == "gre"
    # In the myocardium at end diastole the tags are the strongest wave: 1/8 per mm along the direction of the lines.
    heart = cine.labels[0, 4] > 0
    spectrum = np.abs(np.fft.fft2((cine.image[0, 4] - cine.image[0, 4][heart].mean()) * heart))
    dx = cine.grid.spacing_mm[0]
    ky, kx = np.meshgrid(np.fft.fftfreq(spectrum.shape[0], dx), np.fft.fftfreq(spectrum.shape[1], dx), indexing="ij")
    spectrum[np.hypot(kx, ky) < 0.05] = 0  # the heart's own shape
    peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
    # One bin of the discrete spectrum.
    assert np.hypot(kx[peak], ky[peak]) == pytest.approx(1 / 8, abs=1 / (128 * dx))


@pytest.mark.parametrize(("arguments", "message"), [
    (["--spacing-mm", "6"], "--spacing-mm belongs to --tag"),
    (["--tag", "grid", "--train", "1-2"], "1-2"),
    (["--tag", "grid", "--spacing-mm", "0.5"], "spacing"),
])
def test_tags_that_cannot_be_are_refused(tmp_path, capsys, arguments, message):
    assert main(["simulate", "--out", str(tmp_path / "X.nii.gz"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
