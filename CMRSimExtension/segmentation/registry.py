"""Which models there are: those that ship with the library, and those that a user added."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CMRSimExtension.errors import InputError

SHIPPED = Path(__file__).parent / "models"
"""Folder of the bundles that ship with the library."""


def user_folder() -> Path:
    """Folder of the models that the user added: ``CMRSIM_MODELS``, or ``.cmrsim/models`` in the home folder."""
    named = os.environ.get("CMRSIM_MODELS")
    return Path(named).expanduser() if named else Path.home() / ".cmrsim" / "models"


@dataclass(frozen=True)
class ModelEntry:
    """One model of the registry.

    Attributes
    ----------
    name
        What `--model` calls it.
    folder
        Its bundle.
    shipped
        Whether it came with the library.
    metadata
        Its ``configs/metadata.json``; empty where that cannot be read.
    """

    name: str
    folder: Path
    shipped: bool
    metadata: Mapping[str, Any]

    @property
    def description(self) -> str:
        """One line on what it segments."""
        return str(self.metadata.get("description", "its metadata cannot be read"))


def list_models() -> list[ModelEntry]:
    """All models, the shipped ones first; a user's model of the same name takes precedence over a shipped one."""
    found: dict[str, ModelEntry] = {}
    for place, shipped in ((SHIPPED, True), (user_folder(), False)):
        if place.is_dir():
            for folder in sorted(path for path in place.iterdir() if (path / "configs" / "metadata.json").is_file()):
                found[folder.name] = ModelEntry(folder.name, folder, shipped, _metadata(folder))
    return list(found.values())


def find_model(name: str | Path) -> Path:
    """Bundle folder of the model called `name`, or `name` itself where that is a folder.

    Raises
    ------
    InputError
        When there is no such model; the message lists those there are.
    """
    for entry in list_models():
        if entry.name == str(name):
            return entry.folder
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    names = ", ".join(entry.name for entry in list_models()) or "none yet"
    raise InputError(f"no model is called {str(name)!r}; there are {names}; or give the folder of a bundle")


def add_model(folder: Path, name: str | None = None) -> Path:
    """Copy a bundle into the user's models, after reading it once and writing its checksums.

    Raises
    ------
    InputError
        When it is no bundle, its network cannot be built, or the name is taken.
    FileFormatError
        When its files are damaged, altered or would run code.
    """
    from CMRSimExtension.segmentation.bundle import CHECKSUMS, checksums, read_bundle

    folder = Path(folder).expanduser()
    name = name or folder.resolve().name
    if not name.replace("_", "").replace("-", "").replace(".", "").isalnum() or name.startswith("."):
        raise InputError(f"model name {name!r}: use letters, digits, '-', '_' and '.'")
    target = user_folder() / name
    if target.exists():
        raise InputError(f"a model called {name!r} was added before ({target}); remove it or choose another --name")
    read_bundle(folder, verify=(folder / CHECKSUMS).is_file())
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".adding-{name}")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        shutil.copytree(folder, staging)
        sums = json.dumps({"sha256": checksums(staging)}, indent=1)
        (staging / CHECKSUMS).write_text(sums + "\n", encoding="utf-8")
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _metadata(folder: Path) -> Mapping[str, Any]:
    try:
        content = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
