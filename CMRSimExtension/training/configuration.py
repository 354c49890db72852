"""What a training run is: one YAML file, read into frozen values and checked before anything starts."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.class_labels import labels_of_classes
from CMRSimExtension.training.augmentation import Augmentation
from CMRSimExtension.training.held_out import DATA_PREFIX, HeldOutSource, check_titles
from CMRSimExtension.training.labelled_folder import FolderSource, LabelledFolder
from CMRSimExtension.training.optimisation import Optimisation
from CMRSimExtension.training.simulated_source import SimulatedSource
from CMRSimExtension.training.typed_values import python_number, typed

CLASS_NAMES = ("lv_blood", "lv_myocardium", "rv_blood")
"""Names of the classes 1, 2 and 3."""

_LARGEST_LABEL = 255
"""Labels are bytes."""

_WHOLE = ("merge", "labels_map")
"""Tables that a configuration replaces as a whole: what the one it is based on says of other labels must not stay."""


@dataclass(frozen=True)
class NetworkChoice:
    """Which network, and how its weights begin.

    Attributes
    ----------
    name, settings
        See `networks.catalogue`.
    initialisation
        See `networks.initialisation`.
    normalisation
        See `networks.normalisation`.
    """

    name: str = "slice_unet"
    settings: Mapping[str, Any] = field(default_factory=dict)
    initialisation: str = "he"
    normalisation: str = "robust"


@dataclass(frozen=True)
class LossChoice:
    """Which loss; see `training.losses`."""

    name: str = "dice_cross_entropy"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingSource:
    """One source of training images and its weight; exactly one of `simulated` and `folder` is given.

    Attributes
    ----------
    weight
        Share of each batch, relative to the other sources.
    reuse, window
        Of a simulated source; see `SimulatedPool`.
    """

    simulated: SimulatedSource | None = None
    folder: FolderSource | None = None
    weight: float = 1.0
    reuse: float = 2.0
    window: int = 1024

    def __post_init__(self) -> None:
        if (self.simulated is None) == (self.folder is None):
            raise InputError("each training source is either 'simulated' or 'folder'; give one of the two")


@dataclass(frozen=True)
class Validation:
    """What is measured after each round.

    Attributes
    ----------
    simulated, count
        Simulated images from a stream of their own, and how many.
    folder
        A labelled folder instead. For weights that are to be shipped it must hold simulated images.
    """

    simulated: SimulatedSource | None = None
    folder: FolderSource | None = None
    count: int = 512

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"validation: count is {self.count}; it must be at least 1 image")


@dataclass(frozen=True)
class Transfer:
    """Weights to start from.

    Attributes
    ----------
    weights
        A bundle folder, the folder of a finished run, or a file: a ``weights.pt``, or a checkpoint of any run.
    train_only
        Names (prefixes) of the network parts that go on learning; empty means all (P2's best), else the rest is frozen,
        the running statistics of its normalisation too.
    """

    weights: str
    train_only: Sequence[str] = ()


@dataclass(frozen=True)
class Use:
    """How the finished network is to be fed.

    Attributes
    ----------
    pixel_mm
        In-plane pixel that images are resampled to: the middle of what was trained on.
    size
        Side of the square around the heart that it looks at.
    """

    pixel_mm: float = 1.5
    size: int = 128

    def __post_init__(self) -> None:
        if not self.pixel_mm > 0 or self.size < 16:
            raise InputError(f"use: pixel_mm {self.pixel_mm} and size {self.size}; above 0, and at least 16 pixels")


@dataclass(frozen=True)
class TrainingConfiguration:
    """A whole training run.

    Attributes
    ----------
    name
        Name of the run and of the bundle it exports.
    description
        What it is for, copied into the bundle's metadata.
    classes
        Names of the foreground classes 1, 2, ...: structures, whose numbers they have in files, or compounds of several
        (`networks.class_labels`).
    merge
        Label -> class, where the source's labels are not the network's classes: labels not named become background
        (P4: ``{2: 1}`` leaves the myocardium alone). Empty keeps the labels as they are, so the classes' own labels in
        files must be 1, 2, ... in this order. A configuration that is based on another replaces this table as a whole.
    seed
        Base of every random number of the run.
    repeats
        Independent runs with seeds `seed`, `seed` + 1, ...; their mean and SD are reported.
    test
        What each finished network is scored on. It plays no part in the training, so it may be changed and added to
        when a run is finished.
    """

    name: str
    train: Sequence[TrainingSource]
    description: str = ""
    classes: Sequence[str] = CLASS_NAMES
    merge: Mapping[int, int] = field(default_factory=dict)
    seed: int = 0
    repeats: int = 1
    network: NetworkChoice = NetworkChoice()
    loss: LossChoice = LossChoice()
    optimisation: Optimisation = Optimisation()
    augmentation: Augmentation | None = Augmentation()
    validation: Validation = Validation()
    transfer: Transfer | None = None
    use: Use = Use()
    test: Sequence[HeldOutSource] = ()

    def __post_init__(self) -> None:
        check_titles(self.test)
        if not self.train:
            raise InputError(f"training configuration {self.name!r} has no training source; give at least one")
        if self.repeats < 1:
            raise InputError(f"repeats is {self.repeats}; it must be at least 1")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it must be 0 or above")
        if not isinstance(self.classes, Sequence) or isinstance(self.classes, str) or not self.classes:
            raise InputError(f"classes is {self.classes!r}; write a list of names, such as [{', '.join(CLASS_NAMES)}]")
        labels = labels_of_classes(self.classes)
        self._check_merge()
        if not self.merge and any(label != number for number, label in labels.items()):
            table = ", ".join(f"{label}: {number}" for number, label in labels.items())
            raise InputError(
                f"the classes {', '.join(self.classes)} have the labels {', '.join(map(str, labels.values()))} in "
                f"files, which without a merge table are taken for their numbers 1 to {len(labels)}; write "
                f"merge: {{{table}}} (label: class), with every other label that a class is to have"
            )

    def learnt_from(self) -> list[FolderSource]:
        """The labelled folders that the run trains or validates on."""
        folders = (*(source.folder for source in self.train), self.validation.folder)
        return [folder for folder in folders if folder is not None]

    def on_cases(self, count: int) -> "TrainingConfiguration":
        """The same run on so many cases of its labelled folder, the number in its name (P2, tables 2 and 3).

        Raises
        ------
        InputError
            When it has not exactly one labelled folder to train on, or `count` is below 1.
        """
        folders = [source.folder for source in self.train if source.folder is not None]
        if len(folders) != 1:
            raise InputError(
                f"{self.name} trains on {len(folders)} labelled folders, and a number of cases is of one; write "
                "'count' into each in a copy of the configuration"
            )
        train = tuple(
            source if source.folder is None
            else dataclasses.replace(source, folder=dataclasses.replace(source.folder, count=count))
            for source in self.train
        )  # fmt: skip
        return dataclasses.replace(self, name=f"{self.name}_{count}", train=train)

    def _check_merge(self) -> None:
        if not isinstance(self.merge, Mapping):
            raise InputError(f"merge is {self.merge!r}; write a table of label: class, or {{}} to keep the labels")
        classes = len(self.classes)
        for label, number in self.merge.items():
            try:
                fits = 0 <= int(label) <= _LARGEST_LABEL and 0 <= int(number) <= classes
            except (TypeError, ValueError):
                fits = False
            if not fits:
                raise InputError(
                    f"merge says {label}: {number}; a label lies between 0 and {_LARGEST_LABEL}, and a class between 0 "
                    f"and {classes}, the number of classes that are named ({', '.join(self.classes)})"
                )


_PARTS: Mapping[str, type] = {
    "network": NetworkChoice,
    "loss": LossChoice,
    "optimisation": Optimisation,
    "augmentation": Augmentation,
    "validation": Validation,
    "transfer": Transfer,
    "use": Use,
    "simulated": SimulatedSource,
    "folder": FolderSource,
}

_LISTS: Mapping[str, type] = {"train": TrainingSource, "test": HeldOutSource}


def shipped() -> dict[str, Path]:
    """The configurations that come with the library, by name."""
    folder = Path(__file__).parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_configuration(source: Path | Mapping[str, Any], data: str | None = None) -> TrainingConfiguration:
    """Read a training configuration from a YAML file or a table of the same structure.

    Parameters
    ----------
    data
        Folder that ``data:`` stands for in the configuration's folders; without it they stay as they are.

    Raises
    ------
    InputError
        When the file does not exist, is no YAML table, has a key that is not known (the message names the nearest
        one), or a value that is out of range.
    """
    if isinstance(source, Mapping):
        return _build(TrainingConfiguration, _placed(source, data), "configuration")
    path = Path(source)
    return _build(TrainingConfiguration, _placed(_read_yaml(path), data), path.name)


def _read_yaml(path: Path, depth: int = 0) -> dict[str, Any]:
    """A YAML table; with ``based_on: NAME`` it changes single settings of another configuration beside it."""
    import yaml

    if depth > 5:
        raise InputError(f"{path.name}: configurations are based on each other in a circle")
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a YAML file, or a name that 'cmrsim train --list' shows")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is no valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path.name} holds no table of settings")
    base = content.pop("based_on", None)
    if base is None:
        return content
    beside = path.with_name(f"{base}.yaml")
    return _changed(_read_yaml(beside if beside.is_file() else shipped().get(str(base), beside), depth + 1), content)


def _changed(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`: tables of settings are changed entry by entry, everything else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in _WHOLE:
            value = _changed(old, value)
        result[key] = value
    return result


def _placed(content: Any, data: str | None) -> Any:
    """The same values with every ``data:`` replaced by the data folder."""
    if data is None:
        return content
    if isinstance(content, Mapping):
        return {key: _placed(value, data) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_placed(value, data) for value in content]
    if isinstance(content, str) and content.startswith(DATA_PREFIX):
        return str(Path(data) / content.removeprefix(DATA_PREFIX))
    return content


def _build(kind: type, content: object, where: str) -> Any:
    if not isinstance(content, Mapping):
        raise InputError(f"{where} must be a table of settings, got {content!r}")
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise InputError(f"{where} has the unknown setting {key!r}{hint}")
        values[key] = _value(kind, str(key), value, f"{where}: {key}")
    for name, entry in known.items():
        required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise InputError(f"{where} lacks the setting {name!r}")
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{where}: a value has the wrong type ({error})") from error


def _value(kind: type, key: str, value: Any, where: str) -> Any:
    if kind is TrainingConfiguration and key in _LISTS:
        if not isinstance(value, list):
            raise InputError(f"{where} must be a list of sources")
        return tuple(_build(_LISTS[key], entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if key in _PARTS and not issubclass(kind, LabelledFolder) and value is not None:
        return _build(LabelledFolder if (kind, key) == (HeldOutSource, "folder") else _PARTS[key], value, where)
    return typed(get_type_hints(kind)[key], value, where)


def as_table(configuration: TrainingConfiguration) -> dict[str, Any]:
    """The configuration as JSON-able values, for records; `read_configuration` reads it back."""
    return _plain(dataclasses.asdict(configuration))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {python_number(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return python_number(value)
