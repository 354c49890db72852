"""The training run as a whole, on toy images."""

import contextlib
import csv
import dataclasses
import os
import shutil

import pytest
import torch
import yaml

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import InputError
from CMRSimExtension.training import provenance
from CMRSimExtension.training import run as run_module
from CMRSimExtension.training.configuration import read_configuration
from CMRSimExtension.training.provenance import code_sha256, read_trained_by
from CMRSimExtension.training.run import train
from CMRSimExtension.training.scores import write_validation
from CMRSimExtension.training.transfer import training_of_run

pytestmark = pytest.mark.usefixtures("one_thread")

TOY = {
    "name": "toy",
    "seed": 5,
    "train": [
        {"simulated": {"draw": "Testing.training.toy_slices:draw", "chunk": 4, "settings": {"size": 32}}, "window": 64}
    ],
    # With dropout: its random numbers are part of what a run must repeat.
    "network": {"settings": {"widths": [8, 16], "detail_width": 4, "dropout": 0.2}},
    "optimisation": {"rounds": 3, "steps_per_round": 6, "batch_size": 4, "warmup_steps": 2, "precision": "32"},
    "validation": {"count": 8},
}


def weights(result):
    return torch.load(result.weights, weights_only=True)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def column(folder, name):
    with (folder / "rounds.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    torch.set_num_threads(1)
    (result,) = train(
        read_configuration(TOY), tmp_path_factory.mktemp("whole"), workers=0, device="cpu", progress=False
    )
    return result


def test_the_same_seed_gives_the_same_weights_bit_for_bit(whole, tmp_path):
    (again,) = train(read_configuration(TOY), tmp_path, workers=0, device="cpu", progress=False)
    assert same(weights(whole), weights(again))


def test_another_seed_gives_other_weights(whole, tmp_path):
    (other,) = train(read_configuration(TOY | {"seed": 6}), tmp_path, workers=0, device="cpu", progress=False)
    assert not same(weights(whole), weights(other))


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(whole, tmp_path):
    configuration = read_configuration(TOY)
    train(configuration, tmp_path, workers=0, device="cpu", progress=False, stop_at_round=1)
    (resumed,) = train(configuration, tmp_path, workers=0, device="cpu", progress=False)
    assert same(weights(whole), weights(resumed))


def test_the_moving_average_of_the_loss_goes_on_where_a_run_was_stopped(whole, tmp_path):
    configuration = read_configuration(TOY)
    train(configuration, tmp_path, workers=0, device="cpu", progress=False, stop_at_round=1)
    train(configuration, tmp_path, workers=0, device="cpu", progress=False)
    assert column(tmp_path, "training_loss_average") == column(whole.folder, "training_loss_average")


def test_the_loss_of_a_step_and_its_average_are_two_curves(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(whole.folder / "logs" / "tensorboard")).Reload()
    averages = [float(value) for value in column(whole.folder, "training_loss_average")]
    # TensorBoard keeps float32, the table six digits.
    assert [event.value for event in curves.Scalars("training_loss_average")] == pytest.approx(averages, rel=1e-5)
    # One value per round of six steps, none of them between the steps' rounds.
    assert [event.step for event in curves.Scalars("training_loss")] == [5, 11, 17]


def test_a_run_whose_folder_was_moved_goes_on_in_the_new_place(whole, tmp_path):
    configuration = read_configuration(TOY)
    train(configuration, tmp_path / "old", workers=0, device="cpu", progress=False, stop_at_round=1)
    shutil.move(tmp_path / "old", tmp_path / "new")
    (resumed,) = train(configuration, tmp_path / "new", workers=0, device="cpu", progress=False)
    assert same(weights(whole), weights(resumed))
    assert [path.name for path in (tmp_path / "new").glob("last*")] == ["last.ckpt"]
    assert torch.load(tmp_path / "new" / "last.ckpt", weights_only=True)["epoch"] == 2


def test_a_finished_run_is_not_trained_again(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "copy")
    before = (tmp_path / "copy" / "weights.pt").stat().st_mtime_ns
    (again,) = train(read_configuration(TOY), tmp_path / "copy", workers=0, device="cpu", progress=False)
    assert again.scores == whole.scores and again.weights.stat().st_mtime_ns == before


def test_a_run_that_was_killed_before_its_export_is_validated_anew(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "copy")
    for name in ("weights.pt", "scores.json"):
        (tmp_path / "copy" / name).unlink()
    (again,) = train(read_configuration(TOY), tmp_path / "copy", workers=0, device="cpu", progress=False)
    assert again.scores == whole.scores and same(weights(whole), weights(again))


def test_a_run_that_is_to_go_on_is_not_taken_for_a_finished_one(tmp_path):
    configuration = read_configuration(TOY)
    train(configuration, tmp_path, workers=0, device="cpu", progress=False, stop_at_round=1)
    assert (tmp_path / "weights.pt").is_file() and not (tmp_path / "scores.json").exists()


def test_a_finished_run_of_another_configuration_is_refused_without_its_checkpoint_too(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "copy")
    (tmp_path / "copy" / "last.ckpt").unlink()
    with pytest.raises(InputError, match="another configuration"):
        train(read_configuration(TOY | {"seed": 6}), tmp_path / "copy", workers=0, device="cpu", progress=False)


def test_ctrl_c_is_passed_on_and_the_finished_rounds_stay(whole, tmp_path):
    def interrupt(line):
        if line.startswith("round 2"):
            raise KeyboardInterrupt

    configuration = read_configuration(TOY)
    with pytest.raises(KeyboardInterrupt):
        train(configuration, tmp_path, workers=0, device="cpu", progress=False, report=interrupt)
    (resumed,) = train(configuration, tmp_path, workers=0, device="cpu", progress=False)
    assert same(weights(whole), weights(resumed))


def test_the_command_answers_ctrl_c_with_130_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY))
    monkeypatch.setattr(run_module.RoundRecord, "on_train_epoch_end", interrupt)
    command = ["train", str(tmp_path / "toy.yaml"), "--out", str(tmp_path / "run"), "--workers", "0", "--device", "cpu"]
    assert main([*command, "--threads", "1"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def nothing_is_left(folder, capsys, table, message):
    """`cmrsim train` of a configuration that cannot run answers 2, says `message`, and writes nothing."""
    (folder / "toy.yaml").write_text(yaml.safe_dump(table))
    command = ["train", str(folder / "toy.yaml"), "--out", str(folder / "new" / "run"), "--workers", "0"]
    assert main([*command, "--device", "cpu", "--threads", "1"]) == 2
    assert message in capsys.readouterr().err
    return [path.name for path in folder.iterdir()] == ["toy.yaml"]


def test_start_weights_that_are_missing_leave_no_folder(tmp_path, capsys):
    table = TOY | {"transfer": {"weights": str(tmp_path / "absent")}}
    assert nothing_is_left(tmp_path, capsys, table, "absent does not exist; give a bundle folder")


def test_start_weights_that_do_not_fit_leave_no_folder(whole, tmp_path, capsys):
    table = TOY | {"network": {"name": "nnunet", "settings": {"filters": [4, 8, 8]}}}
    assert nothing_is_left(tmp_path, capsys, table | {"transfer": {"weights": str(whole.folder)}}, "another network")


def test_start_weights_that_are_damaged_leave_no_folder(whole, tmp_path, capsys, tmp_path_factory):
    damaged = tmp_path_factory.mktemp("damaged") / "weights.pt"
    damaged.write_bytes(whole.weights.read_bytes()[:-3000])
    table = TOY | {"transfer": {"weights": str(damaged)}}
    assert nothing_is_left(tmp_path, capsys, table, "weights.pt cannot be read as plain weights")


def test_a_labelled_folder_that_is_missing_leaves_no_folder(tmp_path, capsys):
    table = TOY | {"train": [*TOY["train"], {"folder": {"folder": str(tmp_path / "absent")}}]}
    assert nothing_is_left(tmp_path, capsys, table, "absent is no folder")


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_drawn(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(run_module, "validation_set", lambda *arguments: pytest.fail("images were drawn"))
    with pytest.raises(InputError, match="file.* cannot be written"):
        train(read_configuration(TOY), tmp_path / "file" / "run", workers=0, device="cpu", progress=False)


def test_a_run_records_what_trained_it(whole):
    (entry,) = read_trained_by(whole.folder)
    assert entry["torch"] == torch.__version__ and entry["precision"] == "32-true" and entry["device"] == "cpu"
    assert entry["code_sha256"] == code_sha256() and (entry["threads"], entry["processes"]) == (1, 1)
    assert training_of_run(whole.folder)["trained_by"] == [entry]


def test_torch_is_asked_for_algorithms_that_repeat_their_results_while_a_run_lasts(tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    seen = []

    def look(line):
        seen.append((torch.are_deterministic_algorithms_enabled(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")))

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    (result,) = train(read_configuration(TOY), tmp_path, workers=0, device="cpu", progress=False, report=look)
    assert set(seen) == {(True, ":4096:8")}
    assert not torch.are_deterministic_algorithms_enabled() and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert torch.backends.cudnn.benchmark and torch.utils.deterministic.fill_uninitialized_memory
    (entry,) = read_trained_by(result.folder)
    assert (entry["deterministic"], entry["cublas_workspace"]) == (True, ":4096:8") and entry["machine"]


def test_asking_for_such_algorithms_changes_no_bit_on_a_cpu(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "repeatable", contextlib.nullcontext)
    (result,) = train(read_configuration(TOY), tmp_path, workers=0, device="cpu", progress=False)
    assert read_trained_by(tmp_path)[0]["deterministic"] is False
    assert same(weights(whole), weights(result)) and result.scores == whole.scores


def test_going_on_with_other_code_is_told_and_recorded(tmp_path, monkeypatch):
    configuration, said = read_configuration(TOY), []
    train(configuration, tmp_path, workers=0, device="cpu", progress=False, stop_at_round=1)
    monkeypatch.setattr(provenance, "code_sha256", lambda: "another")
    train(configuration, tmp_path, workers=0, device="cpu", progress=False, stop_at_round=2, report=said.append)
    assert [entry["code_sha256"] for entry in read_trained_by(tmp_path)] == [code_sha256(), "another"]
    assert any("code_sha256" in line and "-> another" in line and "torch" not in line for line in said)


def test_the_codes_checksum_is_that_of_names_and_contents(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.py").write_bytes(b"x = 1\n")
    first = code_sha256(tmp_path)
    (tmp_path / "part" / "a.py").write_bytes(b"x = 1\r\n")
    (tmp_path / "notes.txt").write_text("no code")
    assert code_sha256(tmp_path) == first
    (tmp_path / "part" / "a.py").write_bytes(b"x = 2\n")
    changed = code_sha256(tmp_path)
    (tmp_path / "part" / "a.py").rename(tmp_path / "part" / "b.py")
    assert len({first, changed, code_sha256(tmp_path)}) == 3


def test_too_little_memory_for_a_step_names_the_batch_size(tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(run_module.SegmentationModule, "training_step", full)
    with pytest.raises(InputError, match="4 images.*optimisation.batch_size"):
        train(read_configuration(TOY), tmp_path, workers=0, device="cpu", progress=False)


def test_without_torchrun_a_single_process_trains(tmp_path, monkeypatch):
    """Lightning would start one process per GPU, and each would take itself for the only one."""

    class Asked(Exception):
        pass

    def trainer(**settings):
        raise Asked(settings["devices"])

    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(run_module.lightning, "Trainer", trainer)
    with pytest.raises(Asked) as asked:
        train(read_configuration(TOY), tmp_path, workers=0, device="auto", progress=False)
    assert asked.value.args == (1,)


def test_worker_processes_change_nothing(whole, tmp_path):
    (drawn_beside,) = train(read_configuration(TOY), tmp_path, workers=2, device="cpu", progress=False)
    assert same(weights(whole), weights(drawn_beside))


def test_the_record_has_one_row_per_round_with_dice_and_speed(whole):
    with (whole.folder / "rounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["0", "1", "2"]
    assert all(float(row["images_per_second"]) > 0 and 0 <= float(row["dice_lv_blood"]) <= 1 for row in rows)


def test_exported_weights_are_half_precision(whole):
    assert {value.dtype for value in weights(whole).values() if value.is_floating_point()} == {torch.float16}


def test_a_folder_of_another_configuration_is_refused(whole):
    other = dataclasses.replace(read_configuration(TOY), name="other")
    with pytest.raises(InputError, match="another configuration"):
        train(other, whole.folder, workers=0, device="cpu", progress=False)


def test_a_gpu_that_is_not_there_is_named(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="no GPU"):
        train(read_configuration(TOY), tmp_path, device="cuda", progress=False)


def test_repeated_runs_give_their_mean_and_sd(tmp_path):
    configuration = read_configuration(TOY | {"repeats": 2, "optimisation": TOY["optimisation"] | {"rounds": 1}})
    results = train(configuration, tmp_path, workers=0, device="cpu", progress=False)
    with (tmp_path / "repeats.csv").open(newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    values = [result.scores["dice_lv_blood"] for result in results]
    assert float(rows["mean"]["dice_lv_blood"]) == pytest.approx(sum(values) / 2, abs=1e-5)
    assert float(rows["sd"]["dice_lv_blood"]) == pytest.approx(abs(values[0] - values[1]) / 2**0.5, abs=1e-5)


def test_a_score_that_a_run_lacks_has_neither_mean_nor_sd(tmp_path):
    write_validation(
        tmp_path / "repeats.csv", [{"dice_mean": 0.5, "loss": float("nan")}, {"dice_mean": 0.7, "loss": 1}]
    )
    with (tmp_path / "repeats.csv").open(newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert (rows["mean"]["dice_mean"], rows["mean"]["loss"], rows["sd"]["loss"]) == ("0.60000", "nan", "nan")


def test_training_learns_to_segment_the_toy_images(tmp_path):
    longer = TOY | {
        "optimisation": TOY["optimisation"] | {"rounds": 1, "steps_per_round": 250, "batch_size": 8, "average": 0.98},
        "augmentation": None,
    }
    (result,) = train(read_configuration(longer), tmp_path, workers=0, device="cpu", progress=False)
    # Bright pool, dark ring, bright crescent: anything that learns at all passes 0.8 within 250 steps.
    assert result.scores["dice_mean"] > 0.8
