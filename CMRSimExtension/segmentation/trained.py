"""From a training run to a model that can be used, shipped or measured."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.catalogue import build_network, fixed_input_shape
from CMRSimExtension.networks.class_labels import labels_of_classes
from CMRSimExtension.segmentation.bundle import read_bundle, write_bundle
from CMRSimExtension.segmentation.model import SegmentationModel
from CMRSimExtension.segmentation.registry import find_model
from CMRSimExtension.training.configuration import TrainingConfiguration, read_configuration
from CMRSimExtension.training.result import CONFIGURATION
from CMRSimExtension.training.transfer import read_weights, training_of_run


def model_of_run(folder: Path) -> SegmentationModel:
    """The network of a training run as it stands, for measuring while it goes on.

    Raises
    ------
    InputError
        When the folder holds no run.
    """
    configuration = _configuration(folder)
    choice = configuration.network
    network = build_network(choice.name, 1, len(configuration.classes) + 1, **choice.settings)
    network.load_state_dict(read_weights(_newest(folder)))
    return SegmentationModel(
        configuration.name,
        network,
        tuple(configuration.classes),
        labels_of_classes(configuration.classes),
        choice.normalisation,
        configuration.use.pixel_mm,
        (fixed_input_shape(network) or (configuration.use.size,))[-1],
        _slice_mm(configuration),
    )


def model_of(name: str) -> SegmentationModel:
    """A model by its name in the registry, its bundle folder, or the folder of the run that trains it."""
    path = Path(name).expanduser()
    if (path / CONFIGURATION).is_file():
        return model_of_run(path)
    return read_bundle(find_model(name))


def bundle_of_run(
    folder: Path,
    target: Path,
    *,
    scores: Mapping[str, float] | None = None,
    accuracy: Mapping[str, Any] | None = None,
    known_failures: Sequence[str] = (),
    licence: str = "",
) -> Path:
    """Write the bundle of a finished run.

    Parameters
    ----------
    scores
        Dice on the run's own validation images: ``simulated_validation``, or ``folder_validation`` where these came
        from a labelled folder.
    accuracy
        What was measured elsewhere, for instance on real images.

    Raises
    ------
    InputError
        When the folder holds no run, or the target exists.
    """
    configuration, model = _configuration(folder), model_of_run(folder)
    validated = "simulated_validation" if configuration.validation.folder is None else "folder_validation"
    return write_bundle(
        target,
        name=configuration.name,
        state=model.network.state_dict(),
        network=configuration.network.name,
        network_settings=configuration.network.settings,
        classes=configuration.classes,
        description=configuration.description,
        normalisation=model.normalisation,
        pixel_mm=model.pixel_mm,
        size=model.size,
        slice_mm=model.slice_mm,
        training=training_of_run(folder),
        accuracy={validated: dict(scores or {}), **(accuracy or {})},
        known_failures=known_failures,
        licence=licence,
    )


def _configuration(folder: Path) -> TrainingConfiguration:
    file = Path(folder) / CONFIGURATION
    if not file.is_file():
        raise InputError(f"{folder} holds no training run: {CONFIGURATION} is missing")
    return read_configuration(json.loads(file.read_text(encoding="utf-8")))


def _newest(folder: Path) -> Path:
    """The weights of a finished run, or those of the last round of one that goes on."""
    for name in ("weights.pt", "last.ckpt"):
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise InputError(f"{folder} holds no weights yet; wait for the run's first round")


def _slice_mm(configuration: TrainingConfiguration) -> float | None:
    """Slice distance of a network that takes volumes: that of the folder it learnt from, or 10 mm."""
    three = configuration.network.name == "paper_unet_3d" or configuration.network.settings.get("spatial_dims") == 3
    if not three:
        return None
    folders = [source.folder for source in configuration.train if source.folder is not None]
    spacing = folders[0].spacing_mm if folders else None
    return float(spacing[0]) if spacing is not None else 10.0
