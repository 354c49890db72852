"""Transfer, other networks, volumes: the papers' experiments in miniature."""

import csv
import hashlib
import json
import re
import shutil

import pytest
import torch

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.catalogue import build_network
from CMRSimExtension.segmentation.trained import bundle_of_run
from CMRSimExtension.training.configuration import Transfer, read_configuration, shipped
from CMRSimExtension.training.run import train
from CMRSimExtension.training.transfer import load_start_weights, origin_of, read_weights, training_of_run

DRAW = {"draw": "Testing.training.toy_slices:draw", "chunk": 4, "settings": {"size": 32}}
SHORT = {"rounds": 1, "steps_per_round": 3, "batch_size": 4, "warmup_steps": 0, "precision": "32"}


def run(folder, stop_at_round=None, report=lambda line: None, **changes):
    table = {
        "name": "toy",
        "train": [{"simulated": DRAW, "window": 64}],
        "network": {"settings": {"widths": [8, 16], "detail_width": 4}},
        "optimisation": SHORT,
        "validation": {"count": 4},
    }
    configuration = read_configuration(table | changes)
    (result,) = train(
        configuration, folder, workers=0, device="cpu", progress=False, stop_at_round=stop_at_round, report=report
    )
    return result


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """A network that learnt six classes."""
    classes = ["lv_blood", "lv_myocardium", "rv_blood", "lung", "liver", "body_wall"]
    return run(tmp_path_factory.mktemp("six"), classes=classes, merge={1: 1, 2: 2, 3: 3, 40: 4, 44: 5, 30: 6})


def test_three_classes_start_from_six_with_a_new_head_alone(six):
    network = build_network("slice_unet", 1, 4, widths=(8, 16), detail_width=4)
    left = load_start_weights(network, Transfer(str(six.folder)), "slice_unet")
    assert left == ["head.bias", "head.weight"]
    stored = read_weights(six.weights)
    assert torch.equal(network.state_dict()["down.0.first.weight"], stored["down.0.first.weight"])


def test_partial_fine_tuning_changes_the_named_parts_alone(six, tmp_path):
    transfer = {"weights": str(six.folder), "train_only": ["up", "head"]}
    after = torch.load(run(tmp_path, transfer=transfer).weights, weights_only=True)
    before = torch.load(six.weights, weights_only=True)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("down"))
    assert not torch.equal(after["up.0.first.weight"], before["up.0.first.weight"])


def test_running_statistics_of_a_frozen_part_stay_as_they_were_learnt(tmp_path):
    volumes = {
        "train": [{"simulated": {"draw": "Testing.training.toy_slices:draw_volumes", "chunk": 2}, "window": 8}],
        "network": {"name": "paper_unet_3d", "settings": {"width": 4}},
        "optimisation": SHORT | {"batch_size": 2, "average": None},
    }
    before = read_weights(run(tmp_path / "first", **volumes).weights)
    transfer = {"weights": str(tmp_path / "first"), "train_only": ["narrow", "up", "head"]}
    # Over two starts: a resumed run must hold them too.
    volumes["optimisation"] |= {"rounds": 2}
    run(tmp_path / "second", stop_at_round=1, transfer=transfer, **volumes)
    after = read_weights(run(tmp_path / "second", transfer=transfer, **volumes).weights)
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("down"))
    assert not torch.equal(after["up.0.0.1.running_mean"], before["up.0.0.1.running_mean"])


def test_a_part_that_would_start_anew_is_not_frozen(six):
    network = build_network("slice_unet", 1, 4, widths=(8, 16), detail_width=4)
    with pytest.raises(InputError, match=r"2 weights of 'slice_unet' \(head.bias, head.weight\).*name their parts"):
        load_start_weights(network, Transfer(str(six.folder), ("up",)), "slice_unet")


def test_full_fine_tuning_changes_every_layer(six, tmp_path):
    after = torch.load(run(tmp_path, transfer={"weights": str(six.folder)}).weights, weights_only=True)
    before = torch.load(six.weights, weights_only=True)
    assert all(not torch.equal(after[name], before[name]) for name in before if "first.weight" in name)


def test_a_part_that_the_network_lacks_is_named(six):
    network = build_network("slice_unet", 1, 4, widths=(8, 16), detail_width=4)
    with pytest.raises(InputError, match="it has detail, down, head"):
        load_start_weights(network, Transfer(str(six.folder), ("encoder",)), "slice_unet")


def test_weights_of_another_network_are_refused(six):
    with pytest.raises(InputError, match="another network"):
        load_start_weights(build_network("nnunet", 1, 4, filters=(4, 8, 8)), Transfer(str(six.folder)), "nnunet")


def test_a_stage_that_was_not_run_yet_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="run 'cmrsim train cine_sax_base' first"):
        read_weights("runs/cine_sax_base")
    elsewhere = tmp_path / "runs" / "tagged_sax_base"
    with pytest.raises(InputError, match=re.escape(f"'cmrsim train tagged_sax_base --out {elsewhere}' first")):
        read_weights(elsewhere)
    with pytest.raises(InputError, match="does not exist; give a bundle folder"):
        read_weights("runs/of_my_own")


def test_a_run_tells_which_weights_start_anew(six, tmp_path):
    lines = []
    result = run(tmp_path / "three", transfer={"weights": str(six.folder)}, report=lines.append)
    count = len(read_weights(six.weights))
    assert any(
        f"{count - 2} of {count} weights taken over from {six.folder}; 2 start anew: head.bias, head.weight" in line
        for line in lines
    )
    assert training_of_run(result.folder)["transfer"]["started_anew"] == ["head.bias", "head.weight"]


def test_a_run_tells_what_it_started_from(tmp_path):
    first = run(tmp_path / "first")
    second = run(tmp_path / "second", transfer={"weights": str(tmp_path / "first")}, seed=9)
    third = run(tmp_path / "third", transfer={"weights": str(tmp_path / "second")}, seed=10)
    before = training_of_run(third.folder)["transfer"]
    assert before["sha256"] == hashlib.sha256(second.weights.read_bytes()).hexdigest()
    assert before["training"]["seed"] == 9
    assert before["training"]["transfer"]["sha256"] == hashlib.sha256(first.weights.read_bytes()).hexdigest()
    shutil.rmtree(tmp_path / "first")
    shutil.rmtree(tmp_path / "second")
    bundle = bundle_of_run(third.folder, tmp_path / "bundle")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert "trained on simulated images alone" in metadata["copyright"]
    assert origin_of(bundle)["training"] == training_of_run(third.folder)


def test_a_bundle_says_truly_what_its_network_was_validated_on(six, tmp_path):
    metadata = [tmp_path / name / "configs" / "metadata.json" for name in ("simulated", "real")]
    bundle_of_run(six.folder, tmp_path / "simulated", scores=six.scores)
    # A run that chose its weights by real images, without the time that such a run takes.
    shutil.copytree(six.folder, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "configuration.json").read_text())
    record["validation"]["folder"] = {"folder": "patients"}
    (tmp_path / "run" / "configuration.json").write_text(json.dumps(record))
    bundle_of_run(tmp_path / "run", tmp_path / "real", scores=six.scores)
    simulated, real = (json.loads(path.read_text(encoding="utf-8")) for path in metadata)
    assert list(simulated["cmrsim"]["accuracy"]) == ["simulated_validation"] and simulated["license"] == "Apache-2.0"
    assert list(real["cmrsim"]["accuracy"]) == ["folder_validation"] and "no licence is given" in real["license"]


def test_a_second_start_replaces_the_record_of_one_that_saw_no_round(tmp_path):
    """As after Ctrl-C in the first round: the folder holds records and no checkpoint."""
    first, other = run(tmp_path / "first"), run(tmp_path / "other", seed=7)
    run(tmp_path / "run", transfer={"weights": str(first.folder)})
    for file in (*(tmp_path / "run").glob("*.ckpt"), tmp_path / "run" / "scores.json"):
        file.unlink()
    run(tmp_path / "run", transfer={"weights": str(other.folder)})
    before = training_of_run(tmp_path / "run")["transfer"]
    assert before["sha256"] == hashlib.sha256(other.weights.read_bytes()).hexdigest()


def test_a_stopped_run_goes_on_without_the_weights_it_started_from(tmp_path):
    first = run(tmp_path / "first")
    transfer = {"weights": str(first.folder), "train_only": ["up", "head"]}
    table = {"transfer": transfer, "optimisation": SHORT | {"rounds": 2}}
    run(tmp_path / "run", stop_at_round=1, **table)
    shutil.rmtree(first.folder)
    result = run(tmp_path / "run", **table)
    assert len((result.folder / "rounds.csv").read_text().splitlines()) == 3


def test_a_stage_that_has_no_weights_yet_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "cine_sax_base").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no weights.*run 'cmrsim train cine_sax_base' first"):
        read_weights("runs/cine_sax_base")


def test_a_run_that_is_not_finished_is_no_start(tmp_path):
    plan = SHORT | {"rounds": 3}
    run(tmp_path / "first", stop_at_round=2, optimisation=plan)
    with pytest.raises(InputError, match=r"first holds a run that is not finished \(round 2\).*name .*last\.ckpt"):
        run(tmp_path / "second", transfer={"weights": str(tmp_path / "first")})
    assert not (tmp_path / "second").exists()
    run(tmp_path / "first", optimisation=plan)
    run(tmp_path / "second", transfer={"weights": str(tmp_path / "first")})
    assert training_of_run(tmp_path / "second")["transfer"]["finished"] is True


def test_a_checkpoint_that_is_named_itself_is_a_start_and_recorded_as_what_it_is(tmp_path):
    run(tmp_path / "first", stop_at_round=1, optimisation=SHORT | {"rounds": 2})
    transfer, lines = {"weights": str(tmp_path / "first" / "last.ckpt")}, []
    second = run(tmp_path / "second", report=lines.append, transfer=transfer)
    assert any("last.ckpt, of a run that is not finished, round 1" in line for line in lines)
    bundle = bundle_of_run(second.folder, tmp_path / "bundle")
    before = origin_of(bundle)["training"]["transfer"]
    assert (before["finished"], before["round"]) == (False, 1)
    assert before["training"]["name"] == "toy"


def test_the_resnet_vae_trains_with_its_variational_loss(tmp_path):
    network = {
        "name": "resnet_vae", "initialisation": "xavier_normal", "normalisation": "paper4",
        "settings": {"input_image_size": [32, 32], "vae_nz": 8},
    }  # fmt: skip
    loss = {"name": "shape_aware"}
    result = run(tmp_path, network=network, loss=loss, classes=["lv_myocardium"], merge={2: 1})
    assert set(result.scores) == {"dice_lv_myocardium", "dice_mean", "validation_loss"}


def test_a_volume_network_trains_on_volumes(tmp_path):
    source = {"draw": "Testing.training.toy_slices:draw_volumes", "chunk": 2}
    network = {"name": "paper_unet_3d", "settings": {"width": 4}}
    result = run(tmp_path, train=[{"simulated": source, "window": 8}], network=network, loss={"name": "focal_tversky"})
    assert 0.0 <= result.scores["dice_lv_blood"] <= 1.0


@pytest.mark.parametrize(
    ("schedule", "watch"),
    [("plateau", "training_loss"), ("plateau", "validation_loss"), ("polynomial", "validation_loss")],
)
def test_every_schedule_runs(tmp_path, schedule, watch):
    run(tmp_path, optimisation=SHORT | {"schedule": schedule, "watch": watch, "rounds": 2, "stop_after": 5})


def test_early_stopping_ends_a_run_that_does_not_improve(tmp_path):
    plan = SHORT | {"rounds": 12, "stop_after": 2, "learning_rate": 1e-12, "schedule": "constant", "average": None}
    result = run(tmp_path, optimisation=plan)
    rounds = (result.folder / "rounds.csv").read_text().splitlines()
    # The first round sets the mark, two more do not pass it (or by rounding only).
    assert len(rounds) - 1 < 12


def test_early_stopping_exports_the_round_with_the_lowest_validation_loss(tmp_path):
    # So fast that the loss soon goes up and down.
    plan = SHORT | {"rounds": 20, "stop_after": 2, "learning_rate": 0.2, "schedule": "constant", "average": None}
    result = run(tmp_path, optimisation=plan)
    with (tmp_path / "rounds.csv").open(newline="") as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    lowest = losses.index(min(losses))
    assert len(losses) == lowest + 3 < 20
    # The record keeps six digits.
    assert result.scores["validation_loss"] == pytest.approx(losses[lowest], rel=1e-5)
    exported = torch.load(result.weights, weights_only=True)
    best = read_weights(tmp_path / f"best-epoch={lowest:03d}.ckpt")
    last = read_weights(tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == len(losses) - 1
    assert all(torch.equal(exported[name], best[name].half()) for name in best)
    assert not all(torch.equal(exported[name], last[name].half()) for name in last)


def test_a_run_that_stopped_early_is_not_trained_on(tmp_path):
    plan = SHORT | {"rounds": 12, "stop_after": 2, "learning_rate": 1e-12, "schedule": "constant", "average": None}
    first, rounds = run(tmp_path, optimisation=plan), (tmp_path / "rounds.csv").read_text()
    assert run(tmp_path, optimisation=plan).scores == first.scores
    assert (tmp_path / "rounds.csv").read_text() == rounds


def test_a_learning_rate_that_diverges_is_named(tmp_path):
    with pytest.raises(InputError, match="lower learning_rate"):
        run(
            tmp_path,
            optimisation=SHORT | {"learning_rate": 1e30, "optimiser": "sgd", "steps_per_round": 10, "clip": None},
        )


def test_labels_beyond_the_classes_are_named(tmp_path):
    with pytest.raises(InputError, match="only 1 classes are named"):
        run(tmp_path, classes=["lv_blood"])


def test_the_configurations_cover_the_papers_experiments():
    names = set(shipped())
    strategies = {f"paper4_{network}_{step}" for network in ("resnet_vae", "nnunet") for step in (
        "scratch", "pretrain_cine", "pretrain_physics", "pretrain_generator", "finetune")}  # fmt: skip
    depths = {"paper2_scratch_acdc", "paper2_scratch_clinical", "paper2_finetune_acdc", "paper2_finetune_acdc_partial"}
    assert (
        strategies | depths | {"paper2_pretrain_six_tissues", "paper2_pretrain_cavities", "cine_sax", "tagged_sax"}
        <= names
    )


def test_the_papers_settings_are_theirs():
    paper2, paper4 = (read_configuration(shipped()[n]) for n in ("paper2_scratch_acdc", "paper4_resnet_vae_scratch"))
    assert paper2.optimisation.learning_rate == 5e-3 and paper2.optimisation.weight_decay == 3e-5
    assert (paper2.optimisation.factor, paper2.optimisation.patience, paper2.repeats) == (0.1, 50, 10)
    assert paper4.loss.settings == {"gamma": 0.05, "softness": 0.2} and paper4.optimisation.batch_size == 128


@pytest.mark.parametrize(
    ("name", "layers", "pretrained", "cases"),
    [
        ("paper2_scratch_clinical", 6, None, (83, 63, 43, 23)),
        ("paper2_finetune_clinical", 6, "paper2_pretrain_six_layers", (83, 63, 43, 23)),
        ("paper2_scratch_acdc", 5, None, (100, 80, 60, 40)),
        ("paper2_finetune_acdc", 5, "paper2_pretrain_six_tissues", (100, 80, 60, 40)),
    ],
)
def test_the_rows_of_paper_2s_tables_have_their_configurations(name, layers, pretrained, cases):
    configuration = read_configuration(shipped()[name])
    assert configuration.network.settings["layers"] == layers and configuration.repeats == 10
    if pretrained is None:
        assert configuration.transfer is None and configuration.optimisation.learning_rate == 5e-3
    else:
        assert configuration.transfer.weights == f"runs/{pretrained}"
        assert configuration.optimisation.learning_rate == 5e-5
        # All of its weights are those of the pre-training.
        assert read_configuration(shipped()[pretrained]).network == configuration.network
    for count in cases:
        fewer = configuration.on_cases(count)
        assert (fewer.train[0].folder.count, fewer.name) == (count, f"{name}_{count}")
        assert fewer.validation == configuration.validation and fewer.test == configuration.test


def test_a_number_of_cases_is_of_a_labelled_folder():
    with pytest.raises(InputError, match="trains on 0 labelled folders"):
        read_configuration(shipped()["cine_sax_base"]).on_cases(5)


@pytest.mark.parametrize("count", [0, -3])
def test_a_number_of_cases_below_one_is_refused(count):
    with pytest.raises(InputError, match=f"data:acdc: the number of cases is {count}; take at least 1"):
        read_configuration(shipped()["paper2_scratch_acdc"]).on_cases(count)


def test_a_configuration_changes_single_settings_of_the_one_it_is_based_on():
    base, tuned = (read_configuration(shipped()[n]) for n in ("paper2_scratch_acdc", "paper2_finetune_acdc"))
    assert tuned.optimisation.learning_rate == 5e-5 and tuned.optimisation.batch_size == base.optimisation.batch_size
    assert tuned.train == base.train


def test_simulated_volumes_are_drawn_with_either_truth():
    from numpy.random import SeedSequence

    from CMRSimExtension.training.simulated_volumes import draw_volumes

    size = {"slices": 4, "rows": 32, "columns": 48, "pixel_mm": 6.0, "slice_mm": 20.0, "sub_samples": 1}
    images, labels, records = draw_volumes(SeedSequence(1), 2, **size)
    structures = draw_volumes(SeedSequence(1), 1, truth="anatomy", **size)[1]
    assert images.shape == labels.shape == (2, 4, 32, 48) and len(records) == 2
    assert set(labels.ravel()) <= {0, 1, 2, 3} and structures.max() > 3


def test_a_shipped_models_configuration_trains_on_simulation_alone():
    # A stage that goes on from another names it by the folder that the other's run writes.
    for name, count in {"cine_sax": 5, "tagged_sax": 5}.items():
        stages = (*(f"{name}_{stage}" for stage in ("base", "second", "third", "fourth", "fifth")[:count]), name)
        for stage, earlier in zip(stages, (None, *stages[:-1]), strict=True):
            configuration = read_configuration(shipped()[stage])
            assert all(source.folder is None for source in configuration.train)
            assert configuration.validation.folder is None
            start = configuration.transfer and configuration.transfer.weights
            assert start == (earlier and f"runs/{earlier}")
