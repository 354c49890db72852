"""What was held out: scored once the weights are final, once only, and never part of the training."""

import fnmatch
import gzip
import json
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import CMRSimWarning, FileFormatError, InputError
from CMRSimExtension.segmentation import held_out as scoring
from CMRSimExtension.training.configuration import as_table, read_configuration, shipped
from CMRSimExtension.training.held_out import HeldOutSource, within_reach
from CMRSimExtension.training.labelled_folder import LabelledFolder
from CMRSimExtension.training.run import train
from CMRSimExtension.training.scores import accuracy_of, over_repeats, score_run
from Testing.training.held_out_hearts import DRAW, SCORER, TOY, rows_of, run, with_tests, write_heart

pytestmark = pytest.mark.usefixtures("one_thread")


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


@pytest.mark.parametrize(("learnt", "tested"), [(("a0", "a1"), ("b0", "b1")), (("a0", "a1"), ("b0",))])
def test_equal_file_names_in_folders_of_patients_are_no_equal_patients(tmp_path, learnt, tested, recwarn):
    for number, place in enumerate((*(f"train/{name}" for name in learnt), *(f"test/{name}" for name in tested))):
        write_heart(tmp_path / place, "image", scale=0.7 + 0.05 * number)
    source = HeldOutSource("theirs", LabelledFolder(str(tmp_path / "test")))
    assert within_reach([source], [LabelledFolder(str(tmp_path / "train"))]) == [source]
    assert not [warning for warning in recwarn if issubclass(warning.category, CMRSimWarning)]


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
