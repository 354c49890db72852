"""The training run as a whole, on toy images."""

import csv
import dataclasses

import pytest
import torch

from CMRSimExtension.errors import InputError
from CMRSimExtension.training.configuration import read_configuration
from CMRSimExtension.training.run import train

TOY = {
    "name": "toy",
    "seed": 5,
    "train": [
        {"simulated": {"draw": "Testing.training.toy_slices:draw", "chunk": 4, "settings": {"size": 32}}, "window": 64}
    ],
    "network": {"settings": {"widths": [8, 16], "detail_width": 4}},
    "optimisation": {"rounds": 3, "steps_per_round": 6, "batch_size": 4, "warmup_steps": 2, "precision": "32"},
    "validation": {"count": 8},
}


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in another order differ in the last bit: the number of threads is part of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(result):
    return torch.load(result.weights, weights_only=True)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


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


def test_training_learns_to_segment_the_toy_images(tmp_path):
    longer = TOY | {
        "optimisation": TOY["optimisation"] | {"rounds": 1, "steps_per_round": 250, "batch_size": 8, "average": 0.98},
        "augmentation": None,
    }
    (result,) = train(read_configuration(longer), tmp_path, workers=0, device="cpu", progress=False)
    # Bright pool, dark ring, bright crescent: anything that learns at all passes 0.8 within 250 steps.
    assert result.scores["dice_mean"] > 0.8
