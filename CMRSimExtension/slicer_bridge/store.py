"""A request and its result as a folder, for handing them between 3D Slicer and a child process.

Arrays are ``.npy`` files and everything else one ``.json``: exact, fast, and readable with what Slicer's own Python
has. The JSON is written last, so a folder with one is whole.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine

RECORD = "record.json"


def write_values(folder: Path, values: dict[str, Any]) -> None:
    """Write JSON-able values, arrays, grids, functions and cines, and dictionaries of them, by name.

    `read_values` is its inverse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {name: _pack(folder, name, value) for name, value in values.items()}
    unfinished = folder / f"{RECORD}.part"
    unfinished.write_text(json.dumps(record), encoding="utf-8")
    unfinished.replace(folder / RECORD)


def read_values(folder: Path) -> dict[str, Any]:
    """Read what `write_values` wrote.

    Raises
    ------
    FileFormatError
        If the folder holds no complete record.
    """
    path = folder / RECORD
    if not path.is_file():
        raise FileFormatError(f"{folder} holds no complete result; run the job again")
    record = json.loads(path.read_text(encoding="utf-8"))
    return {name: _unpack(folder, value) for name, value in record.items()}


def _pack(folder: Path, name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        np.save(folder / f"{name}.npy", value, allow_pickle=False)
        return {"array": f"{name}.npy"}
    if isinstance(value, ImageGrid):
        return {"grid": {
            "affine_ras": value.affine_ras.tolist(), "shape": list(value.shape),
            "slice_thickness_mm": value.slice_thickness_mm}}
    if isinstance(value, CardiacFunction):
        return {"function": dataclasses.asdict(value)}
    if isinstance(value, Cine):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"cine": {part: _pack(folder, f"{name}_{part}", item) for part, item in parts.items()}}
    if isinstance(value, dict) and any(isinstance(item, np.ndarray | ImageGrid) for item in value.values()):
        return {"parts": {part: _pack(folder, f"{name}_{part}", item) for part, item in value.items()}}
    return {"value": value}


def _unpack(folder: Path, packed: dict[str, Any]) -> Any:
    kind, content = next(iter(packed.items()))
    if kind == "array":
        return np.load(folder / content, allow_pickle=False)
    if kind == "grid":
        return ImageGrid(
            np.array(content["affine_ras"]), tuple(content["shape"]), content["slice_thickness_mm"])
    if kind == "function":
        return CardiacFunction(**content)
    if kind == "cine":
        return Cine(**{part: _unpack(folder, item) for part, item in content.items()})
    if kind == "parts":
        return {part: _unpack(folder, item) for part, item in content.items()}
    return content
