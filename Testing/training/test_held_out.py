"""What was held out: scored once the weights are final, once only, and never part of the training."""

import csv
import fnmatch
import gzip
import json
import shutil
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import CMRSimWarning, FileFormatError, InputError
from CMRSimExtension.files.nifti import write_nifti
from CMRSimExtension.segmentation import held_out as scoring
from CMRSimExtension.segmentation.bundle import read_bundle
from CMRSimExtension.segmentation.held_out import score_source
from CMRSimExtension.segmentation.model import SegmentationModel
from CMRSimExtension.segmentation.registry import find_model
from CMRSimExtension.training.configuration import as_table, read_configuration, shipped
from CMRSimExtension.training.held_out import HeldOutSource, held_out_images, within_reach
from CMRSimExtension.training.labelled_folder import LabelledFolder
from CMRSimExtension.training.run import train
from CMRSimExtension.training.scores import accuracy_of, over_repeats, score_run
from CMRSimExtension.training.simulated_source import SimulatedSource, chunks
from Testing.segmentation.conftest import Oracle, heart_labels, picture

pytestmark = pytest.mark.usefixtures("one_thread")

DRAW = {"draw": "Testing.training.toy_slices:draw", "chunk": 4, "settings": {"size": 32}}
TOY = {
    "name": "toy",
    "seed": 5,
    "train": [{"simulated": DRAW, "window": 64}],
    "network": {"settings": {"widths": [8, 16], "detail_width": 4}},
    "optimisation": {"rounds": 1, "steps_per_round": 2, "batch_size": 4, "warmup_steps": 0, "precision": "32"},
    "validation": {"count": 4},
    "use": {"pixel_mm": 1.5, "size": 64},
}
SCORER = partial(score_source, device="cpu")
SPACING = (8.0, 1.6, 1.3)


def write_heart(folder: Path, name: str, shown=(1, 2, 3), scale=1.0) -> None:
    """A volume and its labels, in voxels of 1.3 x 1.6 x 8 mm; of the labels those that are `shown`."""
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
    labels = heart_labels(scale=scale)
    write_nifti(folder / f"{name}.nii.gz", picture(labels)[None], affine)
    write_nifti(
        folder / f"{name}_gt.nii.gz", np.where(np.isin(labels, shown), labels, 0)[None].astype(np.uint8), affine
    )


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    """A labelled folder of two patients, one of them with two frames."""
    folder = tmp_path_factory.mktemp("data") / "hearts"
    for name, scale in (("p1_ED", 1.0), ("p1_ES", 0.9), ("p2", 1.05)):
        write_heart(folder, name, scale=scale)
    return folder


def with_tests(hearts, **source):
    return TOY | {"test": [{"folder": {"folder": str(hearts)}, **source}, {"simulated": DRAW, "count": 6}]}


def run(table, folder, **options):
    said: list[str] = []
    options = {"workers": 0, "device": "cpu", "progress": False, "scorer": SCORER, "report": said.append} | options
    return train(read_configuration(table), folder, **options), said


@pytest.fixture(scope="module")
def finished(hearts, tmp_path_factory):
    """A run that is finished and scored."""
    torch.set_num_threads(1)
    (result,), _ = run(with_tests(hearts), tmp_path_factory.mktemp("finished"))
    return result


@pytest.fixture
def copy(finished, tmp_path):
    """Its folder, to be changed."""
    return Path(shutil.copytree(finished.folder, tmp_path / "copy"))


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_command_scores_every_repeat_and_says_mean_and_sd_over_them(hearts, tmp_path, capsys, monkeypatch):
    config, out = tmp_path / "toy.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(with_tests(hearts) | {"repeats": 2}), encoding="utf-8")
    command = ["train", str(config), "--out", str(out), "--workers", "0", "--device", "cpu", "--threads", "1"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "mean and SD over 2 runs" in said and said.count("HD95 mean") == 3
    means = []
    for repeat in ("run_00", "run_01"):
        record = json.loads((out / repeat / "test.json").read_text(encoding="utf-8"))
        assert set(record["sources"]) == {"hearts", "simulated"}
        cases = record["sources"]["hearts"]["cases"]
        assert {(case["case"], case["frame"]) for case in cases} == {("p1_ED", "ED"), ("p1_ES", "ES"), ("p2", "0")}
        found = [case["dice"] for case in cases if case["structure"] == "lv_myocardium"]
        whole = [row for row in rows_of(out / repeat / "test_hearts.csv") if row["position"] == "volume"]
        assert found == [float(row["dice"]) for row in whole if row["structure"] == "lv_myocardium"]
        means.append(statistics.fmean(found))
        assert len(rows_of(out / repeat / "test_simulated.csv")) == 3 * 6
        metadata = json.loads((out / repeat / "bundle" / "configs" / "metadata.json").read_text(encoding="utf-8"))
        kept = metadata["cmrsim"]["accuracy"]["test"]["hearts"]["lv_myocardium"]["dice"]
        assert kept["mean"] == pytest.approx(means[-1]) and kept["n"] == 3
    (row,) = [
        row
        for row in rows_of(out / "test_repeats.csv")
        if (row["source"], row["structure"], row["metric"]) == ("hearts", "lv_myocardium", "dice")
    ]
    assert float(row["run_01"]) == pytest.approx(means[1], abs=1e-5)
    assert float(row["mean"]) == pytest.approx(statistics.fmean(means), abs=1e-5)
    assert float(row["sd"]) == pytest.approx(statistics.stdev(means), abs=1e-5)
    summary = json.loads((out / "test_repeats.json").read_text(encoding="utf-8"))
    assert summary["hearts"]["lv_myocardium"]["dice"]["runs"] == pytest.approx(means)

    monkeypatch.setattr(scoring, "segment", lambda *_, **__: pytest.fail("scored twice"))
    monkeypatch.setattr(scoring, "held_out_images", lambda *_: pytest.fail("scored twice"))
    assert main(command) == 0
    assert "mean and SD over 2 runs" in capsys.readouterr().err


def test_a_test_source_changes_nothing_in_the_training(finished, tmp_path):
    (without,), _ = run(TOY, tmp_path / "without")
    first, second = (torch.load(result.weights, weights_only=True) for result in (finished, without))
    assert finished.scores == without.scores and all(torch.equal(first[name], second[name]) for name in first)
    records = [(result.folder / "configuration.json").read_text() for result in (finished, without)]
    assert records[0] == records[1] and not (without.folder / "test.json").exists()


def test_nothing_is_scored_before_the_weights_are_final(hearts, tmp_path):
    table = with_tests(hearts) | {"optimisation": TOY["optimisation"] | {"rounds": 2}}
    run(table, tmp_path, stop_at_round=1, scorer=lambda *_: pytest.fail("scored too early"))
    seen = []

    def scorer(folder, configuration, source, report):
        seen.append((source.title, (folder / "scores.json").is_file()))
        return SCORER(folder, configuration, source, report)

    run(table, tmp_path, scorer=scorer)
    assert seen == [("hearts", True), ("simulated", True)]


def test_a_source_that_is_added_later_is_scored_alone_and_without_training(hearts, copy):
    rounds, first = (copy / "rounds.csv").read_text(), (copy / "test_hearts.csv").stat().st_mtime_ns
    table = with_tests(hearts)
    table["test"] = [*table["test"], {"name": "second", "folder": {"folder": str(hearts), "only": ["p2"]}}]
    _, said = run(table, copy)
    assert (copy / "rounds.csv").read_text() == rounds
    assert (copy / "test_hearts.csv").stat().st_mtime_ns == first
    assert len(rows_of(copy / "test_second.csv")) > 3 and any("second" in line for line in said)


def test_stopping_between_two_sources_keeps_the_first(hearts, tmp_path):
    def stops(folder, configuration, source, report):
        if source.simulated is not None:
            raise KeyboardInterrupt
        return SCORER(folder, configuration, source, report)

    with pytest.raises(KeyboardInterrupt):
        run(with_tests(hearts), tmp_path, scorer=stops)
    seen = []

    def goes_on(folder, configuration, source, report):
        seen.append(source.title)
        return SCORER(folder, configuration, source, report)

    run(with_tests(hearts), tmp_path, scorer=goes_on)
    assert seen == ["simulated"]


def test_other_weights_are_scored_anew(hearts, finished, copy):
    state = torch.load(finished.weights, weights_only=True)
    changed = {name: value * 0.5 if value.is_floating_point() else value for name, value in state.items()}
    torch.save(changed, copy / "weights.pt")
    seen = []

    def scorer(folder, configuration, source, report):
        seen.append(source.title)
        return SCORER(folder, configuration, source, report)

    assert accuracy_of(finished.folder).keys() == {"hearts", "simulated"} and not accuracy_of(copy)
    score_run(copy, read_configuration(with_tests(hearts)), scorer, lambda line: None)
    assert seen == ["hearts", "simulated"]


def test_a_patient_to_test_on_must_not_be_one_to_train_on(hearts, tmp_path):
    learns = {"folder": {"folder": str(hearts), "only": ["p1_ED"], "size": [32, 32]}}
    table = TOY | {"train": [*TOY["train"], learns], "test": [{"folder": {"folder": str(hearts), "only": ["p1_ES"]}}]}
    with pytest.raises(InputError, match=r"1 of 1 cases of the test source hearts.*\(p1_ES\).*'only' or 'without'"):
        run(table, tmp_path / "new")
    table["train"], table["validation"] = TOY["train"], learns
    with pytest.raises(InputError, match="trains or validates on"):
        run(table, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("packed", [".nii.gz", ".nii"])
def test_a_copied_image_must_not_be_one_to_train_on(hearts, tmp_path, packed):
    """In another folder, under another name and packed anew, it is still the same patient."""
    write_heart(tmp_path / "copies", "somebody")
    write_heart(tmp_path / "copies", "p9", scale=0.8)
    with gzip.open(hearts / "p1_ED.nii.gz") as file:
        content = file.read()
    copy = tmp_path / "copies" / "somebody.nii.gz"
    copy.unlink()
    copy.with_name(f"somebody{packed}").write_bytes(content if packed == ".nii" else gzip.compress(content, 1, mtime=0))
    tested = HeldOutSource("copies", LabelledFolder(str(tmp_path / "copies")))
    learnt = LabelledFolder(str(hearts))
    with pytest.raises(InputError, match=r"1 of 2 cases .* copies .*somebody is the file .*p1_ED.nii.gz"):
        within_reach([tested], [learnt])
    assert within_reach([tested], [LabelledFolder(str(hearts), only=("p2",))]) == [tested]


def test_equal_names_of_patients_in_two_folders_are_told(hearts, tmp_path):
    write_heart(tmp_path / "others", "p1_ED", scale=0.7)
    tested = HeldOutSource("others", LabelledFolder(str(tmp_path / "others")))
    with pytest.warns(CMRSimWarning, match=r"1 patients of the test source others are called as some .*\(p1\)"):
        within_reach([tested], [LabelledFolder(str(hearts))])


def test_a_folder_to_test_on_that_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="absent is no folder"):
        run(with_tests(tmp_path / "absent"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_without_a_data_folder_its_sources_are_left_and_scored_once_it_is_named(hearts, tmp_path):
    table = TOY | {"test": [{"folder": {"folder": "data:hearts"}}]}
    with pytest.warns(CMRSimWarning, match="not scored on hearts: no data folder was named.*--data DIR"):
        run(table, tmp_path)
    assert not (tmp_path / "test.json").exists()
    rounds = (tmp_path / "rounds.csv").read_text()
    train(read_configuration(table, str(hearts.parent)), tmp_path, workers=0, device="cpu", progress=False,
          scorer=SCORER)  # fmt: skip
    assert (tmp_path / "test_hearts.csv").is_file() and (tmp_path / "rounds.csv").read_text() == rounds


def test_training_with_test_sources_and_no_scorer_is_refused(hearts, tmp_path):
    with pytest.raises(InputError, match="score_source"):
        run(with_tests(hearts), tmp_path / "new", scorer=None)


def test_damaged_scores_are_named(hearts, copy):
    (copy / "test.json").write_text('{"weights_sha256": 3')
    with pytest.raises(FileFormatError, match=r"test\.json is damaged.*delete it"):
        run(with_tests(hearts), copy)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([{}], "either 'simulated' or 'folder'"),
        ([{"simulated": DRAW, "name": "../up"}], "only letters"),
        ([{"simulated": DRAW}, {"simulated": DRAW, "name": "Simulated"}], "two test sources are called 'Simulated'"),
        ([{"folder": {"folder": "a", "size": [3, 3]}}], "unknown setting 'size'"),
        ([{"folder": {"folder": "a"}, "spacing": "maybe"}], "auto, trust, ignore"),
        ([{"simulated": DRAW, "count": 0}], "at least 1 image"),
    ],
)
def test_a_test_source_that_cannot_be_meant_is_refused(sources, message):
    with pytest.raises(InputError, match=message):
        read_configuration(TOY | {"test": sources})


def test_test_sources_survive_their_record(hearts):
    configuration = read_configuration(with_tests(hearts, spacing="trust"))
    assert read_configuration(json.loads(json.dumps(as_table(configuration)))) == configuration


def test_simulated_images_to_test_on_are_nobody_elses_and_the_same_for_every_run():
    source = SimulatedSource(**DRAW)
    images, labels, spacing = held_out_images(source, 0, 6)
    again = held_out_images(source, 0, 6, workers=1)[0]
    assert images.shape == (6, 1, 32, 32) and labels.shape == (6, 32, 32) and bool(spacing.isnan().all())
    assert torch.equal(images, again)
    streams = [supply for key in ((1, 0), (2,)) for supply in [chunks(source, 0, key)]]
    learnt = torch.cat([next(supply)[0] for supply in streams for _ in range(5)])
    assert not any(torch.equal(one, other) for one in images for other in learnt)


@pytest.fixture
def oracle(monkeypatch):
    """Any run's network is one that cannot be wrong."""

    def put(classes=("lv_blood", "lv_myocardium", "rv_blood"), labels=None, keep=None):
        network = Oracle() if keep is None else Picks(keep)
        model = SegmentationModel(
            "oracle", network, classes, labels or {1: 1, 2: 2, 3: 3}, "zscore", pixel_mm=1.5, size=96
        )
        monkeypatch.setattr(scoring, "model_of_run", lambda folder: model)

    return put


class Picks(torch.nn.Module):
    """The oracle's background and one of its classes."""

    multiple = 16

    def __init__(self, keep):
        super().__init__()
        self.oracle, self.keep = Oracle(), keep

    def forward(self, images):
        logits = self.oracle(images)
        others = [number for number in range(4) if number != self.keep]
        return torch.stack([logits[:, others].logsumexp(1), logits[:, self.keep]], 1)


def test_a_right_network_gets_full_marks_on_the_grid_of_the_files(hearts, oracle):
    oracle()
    source = HeldOutSource(folder=LabelledFolder(str(hearts)))
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    whole = [row for row in scored.rows if row.position == "volume"]
    assert len(whole) == 9 and min(row.dice for row in whole) > 0.97
    # At most a pixel of 1.6 mm at a border.
    assert max(row.hd95_mm for row in whole) <= 1.6 and not scored.notes
    truth = heart_labels()
    (wall,) = [row for row in whole if (row.case, row.structure) == ("p1_ED", "lv_myocardium")]
    assert wall.reference_ml == pytest.approx((truth == 2).sum() * np.prod(SPACING) / 1000.0)


def test_structures_that_no_reference_shows_are_left_out_and_named(tmp_path, oracle):
    oracle()
    write_heart(tmp_path, "a", shown=(1, 2))
    source = HeldOutSource("two", folder=LabelledFolder(str(tmp_path)))
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    assert {row.structure for row in scored.rows} == {"lv_blood", "lv_myocardium"}
    assert any("no reference shows rv_blood" in note for note in scored.notes)


def test_a_network_of_one_class_is_scored_on_that_class(hearts, oracle):
    """P4: the myocardium alone, class 1 of the network and label 2 of files."""
    oracle(("lv_myocardium",), {1: 2}, keep=2)
    configuration = read_configuration(TOY | {"classes": ["lv_myocardium"], "merge": {2: 1}})
    source = HeldOutSource(folder=LabelledFolder(str(hearts), only=("p1_ED",)))
    scored = score_source(Path(), configuration, source, lambda line: None, device="cpu")
    whole = [row for row in scored.rows if row.position == "volume"]
    assert [row.structure for row in whole] == ["lv_myocardium"] and whole[0].reference_ml > 10.0


def test_a_network_of_volumes_is_scored_on_files_and_on_simulated_volumes(hearts, tmp_path):
    """P2: files are segmented at the network's own slice distance and come back on their grid."""
    volumes = {"draw": "Testing.training.toy_slices:draw_volumes", "chunk": 2}
    table = TOY | {
        "train": [{"simulated": volumes, "window": 8}],
        "network": {"name": "paper_unet_3d", "settings": {"width": 4}},
        "loss": {"name": "focal_tversky"},
        "test": [{"folder": {"folder": str(hearts), "only": ["p2"]}}, {"simulated": volumes, "count": 2}],
    }
    run(table, tmp_path)
    slices = rows_of(tmp_path / "test_hearts.csv")
    assert {row["position"] for row in slices} == {"volume", "basal", "mid", "apical"}
    truth = (heart_labels(scale=1.05) == 1).sum() * np.prod(SPACING) / 1000.0
    (pool,) = [row for row in slices if (row["position"], row["structure"]) == ("volume", "lv_blood")]
    assert float(pool["reference_ml"]) == pytest.approx(truth)
    cases = {row["case"] for row in rows_of(tmp_path / "test_simulated.csv")}
    assert cases == {"simulated_0000", "simulated_0001"}


def test_voxel_sizes_that_are_not_to_be_believed_give_no_distances(hearts, oracle):
    oracle()
    source = HeldOutSource(folder=LabelledFolder(str(hearts)), spacing="ignore")
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    assert all(np.isnan(row.hd95_mm) for row in scored.rows)
    assert any("no distances for 3 of 3 cases" in note for note in scored.notes)


def draw_with_pixels(seed_sequence, count):
    """Slices that the oracle reads, with pixels of 2 mm."""
    labels = np.stack([heart_labels((1, 96, 96), (8.0, 1.5, 1.5))[0]] * count)
    return picture(labels), labels, [{"pixel_mm": 2.0}] * count


def test_simulated_slices_are_measured_in_their_own_pixels(oracle, monkeypatch):
    oracle()
    source = HeldOutSource(simulated=SimulatedSource(f"{__name__}:draw_with_pixels", chunk=2), count=3)
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    assert {row.position for row in scored.rows} == {"volume"} and {row.hd95_mm for row in scored.rows} == {0.0}
    assert all(np.isnan(row.reference_ml) for row in scored.rows)  # one slice has no volume
    moved = type("Moved", (Oracle,), {"forward": lambda self, images: Oracle.forward(self, images).roll(1, 3)})
    model = SegmentationModel("moved", moved(), normalisation="zscore", pixel_mm=1.5, size=96)
    monkeypatch.setattr(scoring, "model_of_run", lambda folder: model)
    scored = score_source(Path(), read_configuration(TOY), source, lambda line: None, device="cpu")
    assert {row.hd_mm for row in scored.rows} == {2.0}


def test_what_one_run_lacks_has_no_mean_over_the_runs(hearts, finished):
    configuration = read_configuration(with_tests(hearts))
    scores = score_run(finished.folder, configuration, lambda *_: pytest.fail("scored twice"), lambda line: None)
    assert set(over_repeats([scores, scores])) == {"hearts", "simulated"}
    assert set(over_repeats([scores, scores[:1]])) == {"hearts"}
    simulated = over_repeats([scores, scores])["simulated"]["lv_blood"]
    assert np.isnan(simulated["hd95_mm"]["mean"])  # the toy's pixels have no size


def test_acdc_is_split_into_patients_to_train_to_validate_and_to_test_on():
    """P2: 120 of the 200 volumes to train on; its 80 to test on are here 20 to validate and 60 to test on."""
    names = [f"patient{number:03d}_frame{frame}" for number in range(1, 101) for frame in ("01", "12")]

    def chosen(folder):
        return {
            name
            for name in names
            if (not folder.only or any(fnmatch.fnmatch(name, pattern) for pattern in folder.only))
            and not any(fnmatch.fnmatch(name, pattern) for pattern in folder.without)
        }

    for config in ("scratch_acdc", "finetune_acdc", "finetune_acdc_24", "finetune_acdc_partial"):
        configuration = read_configuration(shipped()[f"paper2_{config}"])
        parts = [chosen(configuration.train[0].folder), chosen(configuration.validation.folder)]
        (source,) = configuration.test
        parts.append(chosen(source.folder))
        assert [len(part) for part in parts] == [120, 20, 60] and len(set.union(*parts)) == 200


@pytest.mark.parametrize("name", [name for name in shipped() if name.startswith("paper")])
def test_every_experiment_of_the_papers_is_scored_on_what_it_held_out(name):
    configuration = read_configuration(shipped()[name])
    assert configuration.test
    learnt = {folder.folder for folder in configuration.learnt_from()}
    for source in configuration.test:
        assert source.folder is not None
        assert source.folder.folder not in learnt or source.folder.only


def test_real_volumes_are_scored_as_users_segment_them(cmrsim_data, tmp_path, monkeypatch):
    if not (cmrsim_data / "acdc").is_dir():
        pytest.skip(f"needs ACDC: {cmrsim_data / 'acdc'} is not there")
    shutil.copytree(find_model("cine_sax"), tmp_path / "bundle")
    monkeypatch.setattr(scoring, "model_of_run", lambda folder: read_bundle(tmp_path / "bundle"))
    folder = LabelledFolder(str(cmrsim_data / "acdc"), "acdc", only=("patient001_frame01",))
    scored = score_source(Path(), read_configuration(TOY), HeldOutSource(folder=folder), print, device="cpu")
    pools = [row for row in scored.rows if (row.position, row.structure) == ("volume", "lv_blood")]
    assert len(pools) == 1 and pools[0].dice > 0.85 and pools[0].hd95_mm < 20.0
