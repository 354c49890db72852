"""What users get wrong in a configuration is said before anything is written, with its cure."""

import json

import numpy as np
import pytest
import yaml

from CMRSimExtension.errors import InputError
from CMRSimExtension.training.configuration import as_table, read_configuration
from CMRSimExtension.training.run import train

SIMULATED = {"draw": "Testing.training.toy_slices:draw", "chunk": 4, "settings": {"size": 32}}
SMALL = {"settings": {"widths": [8, 16], "detail_width": 4}}
TOY = {
    "name": "toy", "train": [{"simulated": SIMULATED, "window": 64}], "network": SMALL, "validation": {"count": 4},
    "optimisation": {"rounds": 1, "steps_per_round": 1, "batch_size": 4, "warmup_steps": 0, "precision": "32"},
}  # fmt: skip


def of_folder(**settings):
    return {"train": [{"folder": {"folder": "somewhere", **settings}}]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimisation": {"weight_decay": -1}}, "weight_decay is -1; it cannot be below 0"),
        ({"optimisation": {"patience": -3}}, "patience is -3"),
        ({"optimisation": {"warmup_steps": -1}}, "warmup_steps is -1"),
        ({"optimisation": {"factor": 2.0}}, "factor is 2.0; .* between 0 and 1"),
        ({"optimisation": {"stop_after": 0}}, "stop_after is 0; it must be at least 1 round"),
        ({"optimisation": {"clip": 0}}, "clip is 0"),
        ({"optimisation": {"learning_rate": "fast"}}, "learning_rate is 'fast'; write a number, such as 0.5 or 1.0e-3"),
        ({"optimisation": {"learning_rate": float("inf")}}, "learning_rate is inf; write a number"),
        ({"optimisation": {"batch_size": "4"}}, "batch_size is '4'; write a whole number"),
        ({"optimisation": {"rounds": True}}, "rounds is True; write a whole number"),
        ({"optimisation": None}, "optimisation is left empty; write its settings, or leave the line out"),
        ({"seed": -1}, "seed is -1; it must be 0 or above"),
        ({"validation": {"count": 0}}, "count is 0"),
        ({"augmentation": {"scale": "a"}}, "scale is 'a'; write a list"),
        ({"augmentation": {"scale": [1.0]}}, "write 2 of them"),
        ({"network": {"settings": 3}}, "settings is 3; write a table"),
        (of_folder(size=[-64, 64]), "somewhere: size is .*-64, 64.*at least 1 pixel"),
        (of_folder(size=[64]), "write .rows, columns. for slices"),
        (of_folder(spacing_mm=[0, 1.5]), "each distance must be above 0 mm"),
        (of_folder(count=0), "somewhere: the number of cases is 0; take at least 1, or leave it out"),
        ({"test": [{"folder": {"folder": "somewhere", "count": -2}}]}, "somewhere: the number of cases is -2"),
        (of_folder(size=[10, 64, 64]), "write as many distances as sides"),
        (of_folder(spacing_mm=[8, 1.5, 1.5]), "write as many distances as sides"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_cure(changes, says):
    with pytest.raises(InputError, match=says):
        read_configuration(TOY | changes)


def test_a_number_that_yaml_takes_for_a_text_is_a_number(tmp_path):
    file = tmp_path / "toy.yaml"
    file.write_text("{name: x, train: [{simulated: {draw: a:b}}], optimisation: {learning_rate: 1e-3, precision: 32}}")
    plan = read_configuration(file).optimisation
    assert plan.learning_rate == 1e-3 and plan.precision == "32"


def test_numbers_of_numpy_are_numbers_and_are_recorded_as_pythons():
    plan = {"rounds": np.int64(3), "learning_rate": np.float32(0.5), "clip": np.int32(2), "precision": np.int64(32)}
    source = of_folder(size=[np.int16(64), np.uint8(96)], spacing_mm=[np.float32(1.5), np.float64(2.0)])
    merged = {"merge": {np.int64(2): np.int64(1)}, "network": {"settings": {"widths": [np.int64(8), np.int64(16)]}}}
    configuration = read_configuration(TOY | source | merged | {"optimisation": plan})
    found = configuration.optimisation
    assert (found.rounds, found.learning_rate, found.clip, found.precision) == (3, 0.5, 2, "32")
    assert configuration.train[0].folder.size == (64, 96)
    again = read_configuration(yaml.safe_load(yaml.safe_dump(as_table(configuration))))
    assert again == configuration and json.loads(json.dumps(as_table(configuration)))["merge"] == {"2": 1}


@pytest.mark.parametrize("value", [np.float32(3.0), np.bool_(True), np.nan, 3.0])
def test_numbers_of_numpy_that_are_not_whole_are_no_count(value):
    with pytest.raises(InputError, match="rounds is .*; write a whole number"):
        read_configuration(TOY | {"optimisation": {"rounds": value}})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"use": {"size": 71}}, "use: size is 71, .* takes multiples of 4"),
        ({"network": {"name": "resnet_vae"}}, "images to validate on are 32 x 32 pixels, .* takes 256 x 256"),
        ({"network": {"name": "nnunet", "settings": {"filters": [8]}}}, "nnunet's filters are .* three resolutions"),
        ({"network": {"name": "resnet_vae", "settings": {"init_filters": 3}}}, "cannot be built from settings"),
        ({"network": {"name": "paper_unet_3d", "settings": {"width": 4}}}, "32 x 32 pixels, .* takes volumes"),
        (of_folder(size=[66, 66]) | {"use": {"size": 64}}, "images of somewhere are 66 x 66 pixels, .* multiples of"),
        (of_folder(size=[8, 64, 64], spacing_mm=None), "8 x 64 x 64 pixels, .* takes single slices"),
    ],
)
def test_images_that_the_network_cannot_take_are_named_before_anything_is_written(tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        train(read_configuration(TOY | changes), tmp_path / "run", workers=0, device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


def test_simulated_images_that_the_network_cannot_take_are_named(tmp_path):
    odd = {"train": [{"simulated": SIMULATED | {"settings": {"size": 34}}, "window": 64}]}
    validation = {"validation": {"simulated": SIMULATED, "count": 4}}
    with pytest.raises(InputError, match="images to learn from are 34 x 34 pixels, .* multiples of 4 x 4"):
        train(read_configuration(TOY | odd | validation), tmp_path, workers=0, device="cpu", progress=False)
