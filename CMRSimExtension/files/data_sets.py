"""Data sets for training: nnU-Net's raw layout and MONAI's data list, one case for each labelled frame.

Every case is a 3D NIfTI volume, named after its cine and frame, with its labels; the sidecars of the cines lie in
``sidecars``, from which `read_data_set` puts a cine together again, exactly.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.label_maps import structure_named
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.terminology import structure_of_segment
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.atomic import atomic_folder
from CMRSimExtension.files.cine_files import (
    COMPANIONS,
    as_labels,
    check_cine,
    companion,
    is_nifti_name,
    mean_step_ms,
    names_beside,
    refuse_uneven,
)
from CMRSimExtension.files.nifti import read_nifti, write_nifti
from CMRSimExtension.files.sidecar import json_text, read_sidecar, sidecar_text, with_sidecar
from CMRSimExtension.files.third_party import reading
from CMRSimExtension.simulation.cine import Cine

NNUNET, MONAI = "nnunet", "monai"
_CLASSES = {"background": 0, "LV blood pool": 1, "LV myocardium": 2, "RV blood pool": 3}
_NAME = re.compile(r"^(?P<cine>.+)_frame(?P<frame>\d{3})$")


@dataclass(frozen=True)
class _Case:
    name: str
    image: Path
    labels: Path | None


def write_data_set(cines: Sequence[tuple[str, Cine]], folder: Path | str, layout: str) -> list[Path]:
    """Write cines as one data set into a new folder.

    Parameters
    ----------
    cines
        (name, cine); frames with any label become training cases, those without become test cases.
    folder
        A folder that does not exist, or is empty. nnU-Net wants names such as ``Dataset042_Heart``.
    layout
        ``nnunet`` (imagesTr, labelsTr, imagesTs, dataset.json; nnU-Net version 2) or ``monai`` (images, labels,
        datalist.json).

    Returns
    -------
    list of Path
        The folder.

    Raises
    ------
    InputError
        Two cines of one name, uneven slices, or labels beyond the three clinical ones.
    """
    if layout not in (NNUNET, MONAI):
        raise InputError(f"layout is {layout!r}; choose nnunet or monai")
    names = [name for name, _ in cines]
    if len(set(names)) != len(names):
        raise InputError(f"two cines are called {max(names, key=names.count)!r}; give each a name of its own")
    entries: dict[str, list[dict[str, str]]] = {"training": [], "test": []}
    with atomic_folder(folder) as root:
        (root / "sidecars").mkdir()
        for name, cine in cines:
            _check(name, cine)
            for frame in range(cine.image.shape[0]):
                _write_case(root, layout, f"{name}_frame{frame:03d}", cine, frame, entries)
            text = sidecar_text(cine, {"image": name})
            (root / "sidecars" / f"{name}.json").write_text(text, encoding="utf-8")
        description: dict[str, Any]
        if layout == NNUNET:
            description = {
                "channel_names": {"0": "cine MRI"}, "labels": _CLASSES, "numTraining": len(entries["training"]),
                "file_ending": ".nii.gz", "name": Path(folder).name,
                "description": "For research, not for clinical use",
            }
            (root / "dataset.json").write_text(json_text(description), encoding="utf-8")
        else:
            description = {
                "name": Path(folder).name, "description": "For research, not for clinical use",
                "modality": {"0": "MRI"}, "labels": {str(v): k for k, v in _CLASSES.items()},
                "numTraining": len(entries["training"]), "numTest": len(entries["test"]), **entries,
            }
            (root / "datalist.json").write_text(json_text(description), encoding="utf-8")
    return [Path(folder)]


def is_data_set(folder: Path) -> bool:
    """Whether `folder` is an nnU-Net raw data set or holds a MONAI data list."""
    return (folder / "dataset.json").is_file() or (folder / "datalist.json").is_file()


def cines_in_folder(folder: Path) -> list[Path]:
    """The NIfTI cines right in `folder` (companions such as ``X_labels.nii.gz`` left out); none in a data set."""
    if is_data_set(folder):
        return []
    images = sorted(path for path in folder.iterdir() if is_nifti_name(path))
    companions = {companion(path, name).name for path in images for name in COMPANIONS}
    for path in images:
        companions |= names_beside(path)
    return [path for path in images if path.name not in companions]


def cine_names(folder: Path) -> list[str]:
    """Names of the cines (or of single volumes) in a data set."""
    return sorted({_split(case.name)[0] for case in _cases(folder)})


def read_data_set(folder: Path | str, name: str | None = None) -> Cine:
    """Read one cine of a data set: all frames of its cases, with labels where there are any.

    Parameters
    ----------
    folder
        The data set.
    name
        Which cine; may be None where there is only one.

    Raises
    ------
    InputError
        Several cines and none named, or no cine of that name.
    FileFormatError
        The data set's own description is damaged, names files that are missing or labels that have no number here,
        or frames are missing or differ.
    """
    folder = Path(folder)
    names = cine_names(folder)
    if name is None:
        if len(names) != 1:
            raise InputError(f"{folder} holds {len(names)} cines ({', '.join(names[:5])} ...); name one with --series")
        name = names[0]
    if name not in names:
        raise InputError(f"{folder} has no cine {name!r}; it has {', '.join(names[:10])}")
    cases = sorted((_split(c.name)[1], c) for c in _cases(folder) if _split(c.name)[0] == name)
    numbers = [number for number, _ in cases]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise FileFormatError(f"{folder.name} has the frames {numbers} of {name}: some are missing; export it again")
    images = [read_nifti(case.image) for _, case in cases]
    first = images[0]
    for image, (_, case) in zip(images, cases):
        if image.values.shape != first.values.shape or not np.allclose(image.grid.affine_ras, first.grid.affine_ras):
            raise FileFormatError(f"{case.image.name} has another size or place than the frames before it; export "
                                  "it again")
    labels = np.zeros((len(images), *first.values.shape[1:]), np.uint8)
    for index, (_, case) in enumerate(cases):
        if case.labels is not None:
            values = read_nifti(case.labels).values
            if values.shape != first.values.shape:
                raise FileFormatError(f"{case.labels.name} has another size than its image; export it again")
            labels[index] = _our_numbers(as_labels(values[0], case.labels.name), folder)
    cine = Cine(
        image=np.concatenate([image.values for image in images]).astype(np.float32), grid=first.grid,
        labels=labels if labels.any() else None,
    )
    return with_sidecar(cine, read_sidecar(folder / "sidecars" / f"{name}.json"), name)


def _check(name: str, cine: Cine) -> None:
    check_cine(cine)
    refuse_uneven(cine, f"the volume of {name} in a data set")
    if cine.labels is not None and cine.labels.max() > 3:
        raise InputError(f"{name} has the label {cine.labels.max()}; a data set has the clinical labels 1 to 3 only")


def _write_case(
    root: Path, layout: str, case: str, cine: Cine, frame: int, entries: dict[str, list[dict[str, str]]]
) -> None:
    labelled = cine.labels is not None and bool(cine.labels[frame].any())
    folder = ("imagesTr" if labelled else "imagesTs") if layout == NNUNET else "images"
    image = f"{folder}/{case}_0000.nii.gz" if layout == NNUNET else f"{folder}/{case}.nii.gz"
    (root / folder).mkdir(exist_ok=True)
    affine, step = cine.grid.affine_ras, mean_step_ms(cine)
    write_nifti(root / image, cine.image[frame:frame + 1].astype(np.float32, copy=False), affine, step)
    entry = {"image": image}
    if labelled and cine.labels is not None:
        target = f"labelsTr/{case}.nii.gz" if layout == NNUNET else f"labels/{case}.nii.gz"
        (root / target).parent.mkdir(exist_ok=True)
        labels: NDArray[np.uint8] = cine.labels[frame:frame + 1]
        write_nifti(root / target, labels, affine)
        entry["label"] = target
    entries["training" if labelled else "test"].append(entry)


def _split(case: str) -> tuple[str, int]:
    """(cine, frame) of a case's name; a name without a frame is a cine of its own."""
    match = _NAME.match(case)
    return (match["cine"], int(match["frame"])) if match else (case, 0)


def _cases(folder: Path) -> list[_Case]:
    listing = folder / "datalist.json"
    if listing.is_file():
        return _monai_cases(folder, listing)
    description = folder / "dataset.json"
    with reading(description, "an nnU-Net dataset.json"):
        ending = str(json.loads(description.read_text(encoding="utf-8")).get("file_ending", ".nii.gz"))
    if ending not in (".nii.gz", ".nii"):
        raise FileFormatError(f"{folder.name} keeps its images as {ending}; NIfTI (.nii.gz) is read here")
    found = []
    for sub, labels in (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")):
        for image in sorted((folder / sub).glob(f"*_0000{ending}")):
            name = image.name.removesuffix(f"_0000{ending}")
            label = folder / labels / f"{name}{ending}"
            found.append(_Case(name, image, label if label.is_file() else None))
    if not found:
        raise FileFormatError(f"{folder.name} has a dataset.json and no images (imagesTr, imagesTs); copy the whole "
                              "folder")
    return found


def _monai_cases(folder: Path, listing: Path) -> list[_Case]:
    found = []
    with reading(listing, "a MONAI data list"):
        document = json.loads(listing.read_text(encoding="utf-8"))
        for section in ("training", "validation", "test", "testing"):
            for entry in document.get(section, []):
                entry = {"image": entry} if isinstance(entry, str) else entry
                image = _inside(folder, str(entry["image"]))
                label = _inside(folder, str(entry["label"])) if entry.get("label") else None
                for path in (image, label):
                    if path is not None and not path.is_file():
                        raise FileFormatError(f"{listing.name} names {path.name}, which is not there; copy the "
                                              "whole folder")
                name = re.sub(r"\.nii(\.gz)?$", "", image.name)
                found.append(_Case(name, image, label))
        if not found:
            raise FileFormatError(f"{listing.name} lists no image; export it again")
    return found


def _our_numbers(labels: NDArray[np.uint8], folder: Path) -> NDArray[np.uint8]:
    """The labels of a data set by what its description calls them; as they are where it names none."""
    listing = folder / "datalist.json"
    description = listing if listing.is_file() else folder / "dataset.json"
    with reading(description, "the description of a data set"):
        named = json.loads(description.read_text(encoding="utf-8")).get("labels")
        if not named:
            return labels
        # nnU-Net 2 maps names to numbers, its first version and MONAI numbers to names.
        names = {int(k): str(v) for k, v in named.items()} if all(str(k).isdigit() for k in named) else {
            int(v): str(k) for k, v in named.items()}
    table = np.zeros(256, np.uint8)
    for number in (int(n) for n in np.unique(labels) if n):
        structure = _structure(names.get(number, ""))
        if structure is None:
            raise FileFormatError(
                f"{description.name} calls label {number} {names.get(number, 'nothing')!r}, which has no number here; "
                "rename it there to a known structure such as 'LV blood pool'"
            )
        table[number] = int(structure)
    return table[labels]


def _structure(name: str) -> Structure | None:
    structure = structure_of_segment("", name)
    if structure is not None:
        return structure
    try:
        return structure_named(name)
    except InputError:
        return None


def _inside(folder: Path, name: str) -> Path:
    """A path named by a data list, which must not lead out of its folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise FileFormatError(f"the data list names {name}, which lies outside its folder; correct it")
    return path
