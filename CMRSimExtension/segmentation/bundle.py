"""Trained networks as MONAI bundles: weights, configuration, metadata and licence in one folder, with checksums.

Nothing in a bundle is ever run: weights are read with `weights_only=True`, and a network is built by its name from
this library's catalogue or from MONAI's own networks, never by an expression of the bundle.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.atomic import atomic_folder
from CMRSimExtension.networks.catalogue import build_network
from CMRSimExtension.networks.class_labels import labels_of_classes
from CMRSimExtension.segmentation.foreign_bundle import ASSUMED, read_foreign
from CMRSimExtension.segmentation.model import SegmentationModel
from CMRSimExtension.version import __version__

METADATA, INFERENCE, WEIGHTS, CHECKSUMS = (
    "configs/metadata.json",
    "configs/inference.json",
    "models/model.pt",
    "checksums.json",
)
"""Where things lie in a bundle."""

_NO_LICENCE = (
    "no licence is given: the weights learnt from labelled folders or from what is not recorded, and the terms of "
    "those images decide what may be done with them"
)
LICENCE = Path(__file__).parent / "models" / "LICENSE"
"""Text of the Apache License 2.0, under which this library and its own weights stand."""


def write_bundle(
    folder: Path,
    *,
    name: str,
    state: Mapping[str, Tensor],
    network: str,
    network_settings: Mapping[str, Any],
    classes: Sequence[str],
    description: str,
    normalisation: str = "robust",
    pixel_mm: float = 1.5,
    size: int = 128,
    slice_mm: float | None = None,
    training: Mapping[str, Any] | None = None,
    accuracy: Mapping[str, Any] | None = None,
    known_failures: Sequence[str] = (),
    licence: str = "",
) -> Path:
    """Write a bundle, whole or not at all; its weights are stored in half precision.

    Parameters
    ----------
    folder
        Made; must not exist.
    state
        Weights by name.
    network, network_settings
        As `networks.catalogue.build_network` takes them.
    classes
        Names of structures, which say the labels in files; see `networks.class_labels`.
    training, accuracy, known_failures
        Recipe (the training configuration, seed included), measured accuracy and what goes wrong, for the metadata.
    licence
        Text of the licence file. Empty writes that of the Apache License 2.0 for weights that learnt from simulated
        images alone, and none for others: their images' terms, often for research only, are not this library's to
        waive.

    Raises
    ------
    InputError
        When the folder exists, a class is not known or named twice, or the weights do not fit the network.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another folder for the bundle")
    built = build_network(network, 1, len(classes) + 1, **network_settings)
    _load(built, state, name)
    half = {
        key: (value.half() if value.is_floating_point() else value).contiguous().cpu() for key, value in state.items()
    }
    own: dict[str, Any] = {
        "network": network,
        "network_settings": dict(network_settings),
        "classes": list(classes),
        "labels": {str(number): label for number, label in labels_of_classes(classes).items()},
        "normalisation": normalisation,
        "pixel_mm": pixel_mm,
        "size": size,
        "slice_mm": slice_mm,
        "training": dict(training or {}),
        "accuracy": dict(accuracy or {}),
        "known_failures": list(known_failures),
    }
    with atomic_folder(folder) as staged:
        for part in ("configs", "models", "docs"):
            (staged / part).mkdir()
        torch.save(half, staged / WEIGHTS)
        text = licence.encode("utf-8") or (LICENCE.read_bytes() if _simulated_alone(own["training"]) else b"")
        says = "see LICENSE" if licence else "Apache-2.0" if text else _NO_LICENCE
        _write_json(staged / METADATA, _metadata(name, description, classes, size, slice_mm, own, says))
        _write_json(staged / INFERENCE, _inference(network, network_settings, len(classes)))
        if text:
            (staged / "LICENSE").write_bytes(text)
        readme = _readme(name, description, own, "" if text else _NO_LICENCE)
        (staged / "docs" / "README.md").write_text(readme, "utf-8")
        _write_json(staged / CHECKSUMS, {"sha256": checksums(staged)})
    return folder


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a bundle but the list of checksums itself, by path relative to the bundle."""
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS)
    return {str(PurePosixPath(path.relative_to(folder))): _sha256(path) for path in files}


def verify_bundle(folder: Path) -> None:
    """Check a bundle against its list of checksums.

    Raises
    ------
    InputError
        When the folder is missing, or the list: a bundle from elsewhere has none until it is added.
    FileFormatError
        When a file is missing, was altered, or is not in the list; the message names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder of a bundle")
    if not (folder / CHECKSUMS).is_file():
        raise InputError(
            f"{folder.name} has no {CHECKSUMS}, which this library's bundles come with; a bundle from elsewhere is "
            f"made usable by 'cmrsim models add {folder}' and then called by its name"
        )
    listed = _read_json(folder / CHECKSUMS).get("sha256")
    if not isinstance(listed, dict):
        raise FileFormatError(f"{folder.name}: {CHECKSUMS} holds no list of checksums; add the bundle anew")
    found = checksums(folder)
    for name, expected in listed.items():
        if name not in found:
            raise FileFormatError(f"bundle {folder.name}: {name} is missing; copy the bundle again")
        if found[name] != expected:
            raise FileFormatError(f"bundle {folder.name}: {name} was altered (SHA-256 differs); copy the bundle again")
    extra = sorted(set(found) - set(listed))
    if extra:
        raise FileFormatError(f"bundle {folder.name}: {extra[0]} does not belong to it; remove it or copy it again")


def read_bundle(folder: Path, *, verify: bool = True) -> SegmentationModel:
    """Read a bundle, this library's or any MONAI bundle of a segmentation network with one input channel.

    A bundle without this library's section in its metadata must name its network as ``network_def`` in
    ``configs/inference.json`` with a class of `monai.networks.nets`, and its channels, the background first, by names
    of structures (``lv``, ``myo``, ``rv``, ``LV blood pool`` ...); their order is free. How its images are to be
    prepared is taken from its preprocessing as far as that is understood (`foreign_bundle`); what had to be assumed
    stands in the model's metadata under ``assumed``.

    Raises
    ------
    InputError
        When a file is missing, or the network or the name of a channel is unknown.
    FileFormatError
        When a file was altered, is damaged, would run code, or does not fit the network.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder of a bundle")
    for name in (METADATA, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder.name} is no complete bundle: {name} is missing")
    if verify:
        verify_bundle(folder)
    metadata = _read_json(folder / METADATA)
    own = metadata.get("cmrsim")
    try:
        if isinstance(own, dict):
            classes = [str(label) for label in own["classes"]]
            network = build_network(own["network"], 1, len(classes) + 1, **own["network_settings"])
            labels = {int(key): int(value) for key, value in own["labels"].items()}
            options = {key: own[key] for key in ("normalisation", "pixel_mm", "size", "slice_mm")}
        else:
            foreign = read_foreign(folder.name, _read_json(folder / INFERENCE), metadata)
            network, classes, labels = foreign.network, foreign.classes, foreign.labels
            options, metadata = foreign.options, {**metadata, ASSUMED: list(foreign.assumed)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise FileFormatError(f"bundle {folder.name}: {METADATA} is incomplete or wrong ({error!r})") from error
    _load(network, _read_weights(folder / WEIGHTS), folder.name)
    model = SegmentationModel(folder.name, network, tuple(classes), labels, metadata=metadata, **options)
    model.check_size()
    return model


def _load(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    whole = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    try:
        network.load_state_dict(whole)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise FileFormatError(f"{name}: the weights do not fit the network ({first[0].strip()[:200]})") from error


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a broken byte leads it to; each means the same to the user
        raise FileFormatError(
            f"{path.name} cannot be read as plain weights: it is damaged, or a pickle that would run code, which is "
            "refused; use a bundle from a source you trust"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise FileFormatError(f"{path.name} holds no table of tensors")
    return state


def _metadata(
    name: str,
    description: str,
    classes: Sequence[str],
    size: int,
    slice_mm: float | None,
    own: Mapping[str, Any],
    licence: str,
) -> dict[str, Any]:
    import monai
    import numpy

    shape = [size, size] if slice_mm is None else ["*", size, size]
    channels = {"0": "background"} | {str(index + 1): label for index, label in enumerate(classes)}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": __version__,
        "changelog": {__version__: "trained"},
        "monai_version": monai.__version__.split("+")[0],
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": numpy.__version__,
        "required_packages_version": {},
        "supported_apps": {},
        "name": name,
        "task": "Segmentation of the left and right ventricle in cardiac magnetic resonance images",
        "description": description,
        "authors": "CMRSimExtension contributors",
        "copyright": f"CMRSimExtension contributors; weights {_origin(own['training'])}",
        "license": licence,
        "intended_use": "Research only, not for clinical use",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    "num_channels": 1,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(classes) + 1,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": channels,
                }
            },
        },
        "cmrsim": own,
    }


def _inference(network: str, settings: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """``python -m monai.bundle run --config_file configs/inference.json --dataset_dir D --output_dir O`` obeys it."""
    return {
        "imports": ["$from CMRSimExtension.segmentation.bundle_run import segment_with_bundle"],
        "bundle_root": ".",
        "dataset_dir": "images",
        "output_dir": "../segmentations",
        "device": "auto",
        "network_def": {
            "_target_": "CMRSimExtension.networks.catalogue.build_network",
            "name": network,
            "in_channels": 1,
            "out_channels": classes + 1,
            **settings,
        },
        "checkpoint": f"$@bundle_root + '/{WEIGHTS}'",
        "options": {"views": "four", "device": "@device"},
        "run": ["$segment_with_bundle(@bundle_root, @dataset_dir, @output_dir, @options)"],
    }


def _origin(training: Mapping[str, Any]) -> str:
    """What the weights learnt from, as far as the recipe tells."""
    if not training.get("train"):
        return "trained on images that are not recorded"
    alone = _simulated_alone(training)
    return "trained on simulated images alone" if alone else "trained on more than simulated images"


def _simulated_alone(training: Mapping[str, Any]) -> bool:
    sources, before = training.get("train"), training.get("transfer")
    # What a run validates on may choose its weights and its learning rate.
    learnt_from = [*(sources or ()), training.get("validation") or {}]
    if not sources or any(source.get("folder") is not None for source in learnt_from):
        return False
    # Start weights whose own training is not recorded may have learnt from anything.
    return not before or _simulated_alone(before.get("training", {}))


def _readme(name: str, description: str, own: Mapping[str, Any], no_licence: str) -> str:
    accuracy = json.dumps(own["accuracy"], indent=2) if own["accuracy"] else "not measured yet"
    failures = "\n".join(f"- {line}" for line in own["known_failures"]) or "- none recorded"
    origin = _origin(own["training"])
    return (
        f"# {name}\n\n{description}\n\nFor research, not for clinical use. {origin[0].upper()}{origin[1:]}; the "
        f"recipe is in `{METADATA}`.\n\n"
        "## Use\n\nIn 3D Slicer the CMRSegment module offers it; elsewhere\n\n```\n"
        f"cmrsim segment FOLDER --model {name} --out LABELS\n"
        f"python -m monai.bundle run --config_file {INFERENCE} --dataset_dir FOLDER --output_dir LABELS\n```\n\n"
        "The second is run in this folder, with CMRSimExtension and fire (which MONAI wants) installed, and gives the "
        "same labels.\n\n"
        f"## Accuracy\n\n```\n{accuracy}\n```\n\n## Known failures\n\n{failures}\n"
        + (f"\n## Licence\n\n{no_licence[0].upper()}{no_licence[1:]}.\n" if no_licence else "")
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path.parent.name}/{path.name} is missing; this is no complete bundle")
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise FileFormatError(f"{path.name} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{path.name} holds no table")
    return content
