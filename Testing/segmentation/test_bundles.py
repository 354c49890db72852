"""Bundles and the registry: small, checked, and never run."""

import json
import re
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.networks.catalogue import build_network
from CMRSimExtension.segmentation import registry
from CMRSimExtension.segmentation.bundle import LICENCE, read_bundle, verify_bundle, write_bundle
from CMRSimExtension.segmentation.bundle_run import segment_with_bundle

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = {"widths": [8, 16], "detail_width": 4}


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch):
    monkeypatch.setenv("CMRSIM_MODELS", str(tmp_path / "models"))


@pytest.fixture
def network():
    torch.manual_seed(1)
    return build_network("slice_unet", 1, 4, **SMALL).eval()


@pytest.fixture
def bundle(tmp_path, network):
    return write_bundle(
        tmp_path / "small", name="small", state=network.state_dict(), network="slice_unet", network_settings=SMALL,
        classes=("lv_blood", "lv_myocardium", "rv_blood"), description="a test", size=64,
        training={"seed": 3, "train": [SIMULATED]},
        accuracy={"acdc": {"lv_blood": 0.9}}, known_failures=["everything"],
    )  # fmt: skip


def test_a_bundle_gives_the_same_network_to_half_precision(bundle, network):
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        first, second = network(image), read_bundle(bundle).network.eval()(image)
    # Weights lose 2^-11 of themselves.
    assert torch.allclose(first, second, atol=0.02 * first.abs().max().item())


def test_a_bundle_says_the_labels_of_its_classes_and_has_none_that_are_unknown(tmp_path, network):
    settings = dict(state=network.state_dict(), network="slice_unet", network_settings=SMALL, description="a test")
    folder = write_bundle(tmp_path / "t", name="t", classes=("lv_myocardium", "lung", "liver"), size=64, **settings)
    assert read_bundle(folder).labels == {1: 2, 2: 40, 3: 44}
    with pytest.raises(InputError, match="'scar', which has no label"):
        write_bundle(tmp_path / "s", name="s", classes=("lv_myocardium", "scar", "lung"), size=64, **settings)
    assert not (tmp_path / "s").exists()


def test_weights_are_stored_in_half_precision(bundle):
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert all(value.dtype == torch.float16 for value in state.values())


def test_metadata_holds_recipe_accuracy_and_failures(bundle):
    own = read_bundle(bundle).metadata["cmrsim"]
    assert own["training"]["seed"] == 3 and own["accuracy"]["acdc"]["lv_blood"] == 0.9
    assert own["known_failures"] == ["everything"]


def test_monai_reads_the_bundles_configuration(bundle):
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    built = parser.get_parsed_content("network_def", instantiate=True)
    built.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))


def test_monai_runs_a_bundle_as_cmrsim_segments(bundle, tmp_path):
    import monai.bundle

    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(5)
    volume = gaussian_filter(rng.random((48, 48, 3)), (3.0, 3.0, 0.0)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.5, 1.5, 8.0, 1.0])), images / "one.nii.gz")
    configuration = str(bundle / "configs" / "inference.json")
    told = {"bundle_root": str(bundle), "dataset_dir": str(images), "options": {"views": "none"}}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "parsing config_file")  # that a bundle's configuration is code
        monai.bundle.run(config_file=configuration, output_dir=str(tmp_path / "labels"), **told)
    assert main(["segment", str(images), "--model", str(bundle), "--views", "none", "--out", str(tmp_path / "o")]) == 0
    first, second = (nibabel.load(tmp_path / folder / "one.nii.gz") for folder in ("labels", "o"))
    assert np.array_equal(first.get_fdata(), second.get_fdata()) and np.array_equal(first.affine, second.affine)
    verify_bundle(bundle)
    with pytest.raises(InputError, match="lies in the bundle"):
        segment_with_bundle(str(bundle), str(images), str(bundle / "labels"))
    with pytest.raises(InputError, match="is no folder"):
        segment_with_bundle(str(bundle), str(tmp_path / "nothing"), str(tmp_path / "p"))
    with pytest.raises(InputError, match="colour"):
        segment_with_bundle(str(bundle), str(images), str(tmp_path / "p"), {"colour": 1})
    (images / "one.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match="none of the 1 cases"):
        segment_with_bundle(str(bundle), str(images), str(tmp_path / "p"))


@pytest.mark.parametrize("name", ["models/model.pt", "configs/metadata.json", "LICENSE"])
def test_an_altered_file_is_named(bundle, name):
    path = bundle / name
    path.write_bytes(path.read_bytes()[:-3] + b"\n \n")
    with pytest.raises(FileFormatError, match=f"{name} was altered"):
        read_bundle(bundle)


def test_a_missing_file_is_named(bundle):
    (bundle / "LICENSE").unlink()
    with pytest.raises(FileFormatError, match="LICENSE is missing"):
        verify_bundle(bundle)


@pytest.mark.parametrize("name", ["run_me.py", "models/checksums.json"])
def test_a_file_that_does_not_belong_is_named(bundle, name):
    (bundle / name).write_text("print()")
    with pytest.raises(FileFormatError, match=f"{re.escape(name)} does not belong"):
        verify_bundle(bundle)


def test_a_bundle_without_weights_is_named(bundle):
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(InputError, match=r"models/model\.pt is missing"):
        read_bundle(bundle)


class Harmful:
    def __reduce__(self):
        return (print, ("code was run",))


def test_a_pickle_that_would_run_code_is_refused(bundle, capsys):
    torch.save({"weights": Harmful()}, bundle / "models" / "model.pt")
    with pytest.raises(FileFormatError, match="run code"):
        read_bundle(bundle, verify=False)
    assert "code was run" not in capsys.readouterr().out


def test_weights_of_another_network_are_refused(bundle):
    state = build_network("slice_unet", 1, 4, widths=(8, 24), detail_width=4).state_dict()
    torch.save(state, bundle / "models" / "model.pt")
    with pytest.raises(FileFormatError, match="do not fit"):
        read_bundle(bundle, verify=False)


def test_a_bundle_that_is_interrupted_leaves_nothing_behind(tmp_path, network, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("CMRSimExtension.segmentation.bundle.checksums", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(
            tmp_path / "half", name="half", state=network.state_dict(), network="slice_unet", network_settings=SMALL,
            classes=("lv_blood", "lv_myocardium", "rv_blood"), description="a test", size=64,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_holds_the_text_of_its_licence(bundle):
    text = (bundle / "LICENSE").read_text(encoding="utf-8")
    assert text.split() == (REPOSITORY / "LICENSE").read_text(encoding="utf-8").split()
    assert "END OF TERMS AND CONDITIONS" in text


SIMULATED, REAL = {"simulated": {"draw": "a:b"}, "folder": None}, {"simulated": None, "folder": {"folder": "x"}}


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"train": [{"simulated": {"draw": "a:b"}, "folder": None}]}, "trained on simulated images alone"),
        ({"train": [{"simulated": None, "folder": {"folder": "x"}}]}, "trained on more than simulated images"),
        ({"train": [{"simulated": {"draw": "a:b"}}], "transfer": {"weights": "x"}}, "trained on more than simulated"),
        ({"train": [SIMULATED], "transfer": {"training": {"train": [SIMULATED]}}}, "trained on simulated images alone"),
        ({"train": [SIMULATED], "transfer": {"training": {"train": [REAL]}}}, "trained on more than simulated"),
        ({"train": [SIMULATED], "validation": REAL}, "trained on more than simulated"),
        (
            {"train": [SIMULATED], "transfer": {"training": {"train": [SIMULATED], "transfer": {"weights": "y"}}}},
            "trained on more than simulated",
        ),
        ({}, "not recorded"),
    ],
)
def test_a_bundle_says_what_its_weights_learnt_from(tmp_path, network, training, says):
    folder = write_bundle(
        tmp_path / "told", name="told", state=network.state_dict(), network="slice_unet", network_settings=SMALL,
        classes=("lv_blood", "lv_myocardium", "rv_blood"), description="a test", size=64, training=training,
    )  # fmt: skip
    assert says in json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))["copyright"]
    readme = (folder / "docs" / "README.md").read_text(encoding="utf-8").lower()
    assert says in readme
    # Nobody here can license what learnt from somebody's patients.
    licence = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))["license"]
    alone = "simulated images alone" in says
    assert (folder / "LICENSE").is_file() == alone == (licence == "Apache-2.0")
    assert ("no licence is given" in licence and "no licence is given" in readme) == (not alone)
    read_bundle(folder)


CHANNELS = ("background", "lv_blood", "lv_myocardium", "rv_blood")


def foreign(folder, definition, channels=CHANNELS, transforms=None):
    """A bundle as MONAI's zoo has them, without this library's section."""
    from monai.networks.nets import UNet

    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True)
    network = UNet(2, 1, 4, channels=(4, 8), strides=(2,))
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    data = {
        "inputs": {"image": {"num_channels": 1, "spatial_shape": [64, 64]}},
        "outputs": {"pred": {"channel_def": {str(index): name for index, name in enumerate(channels)}}},
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": data}))
    inference = {"network_def": definition}
    if transforms is not None:
        inference["preprocessing"] = {"_target_": "Compose", "transforms": transforms}
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    return folder


UNET = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 4, "channels": [4, 8], "strides": [2]}


def test_a_bundle_of_monais_own_networks_works_the_same_way(tmp_path):
    model = read_bundle(foreign(tmp_path / "zoo", UNET), verify=False)
    assert model.classes == ("lv_blood", "lv_myocardium", "rv_blood") and model.size == 64


# As ventricular_short_axis_3label of MONAI's model zoo begins.
LOAD = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]
SCALE, ZSCORE = {"_target_": "ScaleIntensityd", "keys": "image"}, {"_target_": "monai.transforms.NormalizeIntensityd"}


@pytest.mark.parametrize(
    ("transforms", "normalisation", "pixel_mm", "assumed"),
    [
        ([*LOAD, SCALE], "minmax", 1.5, ["pixel_mm; 1.5 is assumed"]),
        ([*LOAD, {"_target_": "Spacingd", "pixdim": [1.25, 1.25]}, ZSCORE], "zscore", 1.25, []),
        ([*LOAD, {"_target_": "Spacingd", "pixdim": [-1.0, 1.25]}, SCALE], "minmax", 1.5, ["pixel_mm"]),
        (None, "zscore", 1.5, ["normalisation; zscore is assumed", "pixel_mm"]),
    ],
)
def test_a_bundles_own_preprocessing_is_followed_and_what_it_leaves_open_told(
    tmp_path, transforms, normalisation, pixel_mm, assumed
):
    model = read_bundle(foreign(tmp_path / "zoo", UNET, transforms=transforms), verify=False)
    assert (model.normalisation, model.pixel_mm) == (normalisation, pixel_mm)
    assert len(model.metadata["assumed"]) == len(assumed)
    assert all(part in told for part, told in zip(assumed, model.metadata["assumed"], strict=True))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"_target_": "ScaleIntensityRanged", "a_min": 0}, "ScaleIntensityRange of its preprocessing is not known"),
        ({"_target_": "ScaleIntensityd", "minv": -1}, "ScaleIntensity with minv = -1 is not known here; 0 is"),
        ({"_target_": "NormalizeIntensityd", "nonzero": True}, "nonzero = True is not known here; False is"),
        ({"_target_": "Spacingd", "pixdim": "$@spacing"}, "two or three numbers are needed"),
        ("$import os", "no transform that can be read"),
    ],
)
def test_preprocessing_that_is_not_understood_is_refused(tmp_path, step, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read_bundle(foreign(tmp_path / "zoo", UNET, transforms=[*LOAD, step]), verify=False)


def test_what_was_assumed_of_an_added_model_is_told(tmp_path, capsys):
    assert main(["models", "add", str(foreign(tmp_path / "zoo", UNET))]) == 0
    assert "does not say its normalisation; zscore is assumed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("channels", "labels"),
    [
        # As ventricular_short_axis_3label of MONAI's model zoo calls them.
        (("background", "lv_pool", "myocardium", "rv_pool"), {1: 1, 2: 2, 3: 3}),
        (("background", "RV", "MYO", "LV"), {1: 3, 2: 2, 3: 1}),
        (("Background", "LV blood pool", "RV blood pool", "LV myocardium"), {1: 1, 2: 3, 3: 2}),
        (("background", "myocardium", "la", "liver"), {1: 2, 2: 5, 3: 44}),
    ],
)
def test_channels_are_told_by_their_names_and_not_by_their_order(tmp_path, channels, labels):
    assert read_bundle(foreign(tmp_path / "zoo", UNET, channels), verify=False).labels == labels


def test_a_channel_of_an_unknown_name_is_refused_with_those_that_are_known(tmp_path):
    with pytest.raises(InputError, match=r"channel 2 cannot be told.*'scarf'.*known are: lv, .*rename it"):
        read_bundle(foreign(tmp_path / "zoo", UNET, ("background", "lv", "scarf", "rv")), verify=False)


def test_a_bundle_whose_first_channel_is_no_background_is_refused(tmp_path):
    with pytest.raises(InputError, match="0 must be the background"):
        read_bundle(foreign(tmp_path / "zoo", UNET, ("rv", "myo", "lv", "la")), verify=False)


def test_a_bundle_from_elsewhere_is_answered_with_how_to_make_it_usable(tmp_path):
    folder = foreign(tmp_path / "zoo", UNET)
    with pytest.raises(InputError, match="cmrsim models add"):
        read_bundle(folder)
    registry.add_model(folder)
    assert read_bundle(registry.find_model("zoo")).labels == {1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "monai.bundle.run"])
def test_a_bundle_cannot_name_anything_but_a_network(tmp_path, target):
    with pytest.raises(InputError, match=r"no network of monai\.networks\.nets"):
        read_bundle(foreign(tmp_path / "zoo", UNET | {"_target_": target}), verify=False)


def test_an_expression_in_a_bundle_is_not_run(tmp_path):
    with pytest.raises(InputError, match="never run"):
        read_bundle(foreign(tmp_path / "zoo", UNET | {"strides": "$print('code was run')"}), verify=False)


def test_an_added_model_is_found_by_name(bundle):
    registry.add_model(bundle, "mine")
    assert [entry.name for entry in registry.list_models() if not entry.shipped] == ["mine"]
    assert read_bundle(registry.find_model("mine")).name == "mine"


def test_a_name_that_is_taken_is_refused(bundle):
    registry.add_model(bundle, "mine")
    with pytest.raises(InputError, match="added before"):
        registry.add_model(bundle, "mine")


def test_a_damaged_bundle_is_not_added(bundle):
    (bundle / "models" / "model.pt").write_bytes(b"nothing")
    with pytest.raises(FileFormatError):
        registry.add_model(bundle)
    assert not [entry for entry in registry.list_models() if not entry.shipped]


def test_an_unknown_model_is_answered_with_those_there_are(bundle):
    registry.add_model(bundle, "mine")
    with pytest.raises(InputError, match="mine"):
        registry.find_model("yours")


@pytest.mark.parametrize("name", ["../escape", ".hidden", "a b"])
def test_a_name_that_is_no_plain_name_is_refused(bundle, name):
    with pytest.raises(InputError, match="use letters"):
        registry.add_model(bundle, name)


@pytest.mark.parametrize("entry", registry.list_models(), ids=lambda entry: entry.name)
def test_every_shipped_model_is_intact_small_and_says_what_it_is(entry):
    model = read_bundle(entry.folder)
    size = sum(path.stat().st_size for path in entry.folder.rglob("*") if path.is_file())
    own = model.metadata["cmrsim"]
    assert size < 15e6 and own["training"] and own["accuracy"] and own["known_failures"]
    assert all(source.get("folder") is None for source in own["training"]["train"]), "trained on files, not simulation"
    assert (entry.folder / "LICENSE").read_bytes() == LICENCE.read_bytes()
