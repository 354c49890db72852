"""A cine as a set of files: 4D NIfTI, its truths beside it, and the sidecar.

``X.nii.gz`` is the image (x, y, z, t), float32. Beside it lie, where the cine has them, ``X_labels.nii.gz`` and
``X_anatomy.nii.gz`` (uint8), ``X_motion.nii.gz`` (x, y, z, t, 3: RAS mm, see `Cine.displacement_mm`),
``X_fractions.nii.gz`` (x, y, z, t, tissue), ``X_kspace.h5`` (ISMRMRD raw data), and always ``X.json``.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import CMRSimError, FileFormatError, InputError
from CMRSimExtension.files.atomic import StagedFiles, check_writable
from CMRSimExtension.files.nifti import NiftiImage, read_nifti, write_nifti
from CMRSimExtension.files.sidecar import read_sidecar, sidecar_beside, sidecar_text, with_sidecar
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine

NIFTI_ENDINGS = (".nii.gz", ".nii")
TRUTHS = ("labels", "anatomy", "motion", "fractions")
COMPANIONS = (*TRUTHS, "myocardium", "probabilities", "uncertainty")
"""What the commands write as ``X_<name>.nii.gz`` beside an image or label file ``X.nii.gz``."""
_NRRD_ENDINGS = (".seg.nrrd", ".seq.nrrd", ".nrrd", ".nhdr")
_ONE_FILE_SUFFIXES = (".nrrd", ".nhdr", ".h5", ".mrd", ".dcm")


def base_path(path: Path, endings: tuple[str, ...] = NIFTI_ENDINGS) -> Path:
    """`path` without its image ending: companions are named after it.

    Raises
    ------
    InputError
        It has none of `endings`.
    """
    for ending in endings:
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.with_name(path.name[: -len(ending)])
    raise InputError(f"{path.name} does not end in {' or '.join(endings)}; name the output so")


def is_nifti_name(path: Path) -> bool:
    """Whether `path` is named as a NIfTI image: with something before its ending."""
    return any(path.name.lower().endswith(ending) and len(path.name) > len(ending) for ending in NIFTI_ENDINGS)


def companion(path: Path, truth: str) -> Path:
    """Name of the file that holds `truth` ("labels", "anatomy", "motion", "fractions") of the image at `path`."""
    base = base_path(path)
    return base.with_name(f"{base.name}_{truth}{path.name[len(base.name):]}")


def sidecar_path(path: Path) -> Path:
    """Name of the sidecar of the NIfTI image at `path`."""
    base = base_path(path)
    return base.with_name(base.name + ".json")


def check_target(path: Path) -> None:
    """As `check_writable`, for a NIfTI image: its name must have the right ending too."""
    base_path(path)
    check_writable(path)


def refuse_own_input(target: Path | str, inputs: Iterable[Path | str]) -> None:
    """Raise where writing `target` would replace or delete one of the files that it is made from.

    Parameters
    ----------
    target
        Image or label file to write. Its sidecar and every companion that any command writes beside such a file
        (`COMPANIONS`, ``X_kspace.h5``, and what the sidecar of an older `target` lists) count as well.
    inputs
        Files that are read. Those that belong to them, their sidecars and what these list, are protected too.

    Raises
    ------
    InputError
        One of them is meant by both.
    """
    target = Path(target)
    outputs = [path for path in {target, *_files_beside(target), *_possible_companions(target)} if path.exists()]
    for source in map(Path, inputs):
        for path in (source, *sorted(_files_beside(source))):
            # `samefile` sees through links and through file systems that do not tell capital from small letters.
            if path.exists() and any(path.samefile(output) for output in outputs):
                whose = "" if path == source else f", which belongs to {source.name},"
                raise InputError(
                    f"{path}{whose} would be replaced when {target.name} is written; give the output another name or "
                    "folder"
                )


def _files_beside(path: Path) -> set[Path]:
    """Where the sidecar of an image or label file would lie, and the files that it lists."""
    if is_nifti_name(path):
        return {sidecar_path(path), *(path.with_name(name) for name in names_beside(path))}
    # A DICOM folder must be new, and its sidecar (``X.dicom.json``) has a name that nothing else has.
    return {sidecar_beside(path)} if path.suffix.lower() in _ONE_FILE_SUFFIXES else set()


def _possible_companions(path: Path) -> set[Path]:
    if not (is_nifti_name(path) or path.name.lower().endswith(_NRRD_ENDINGS)):
        return set()
    base = base_path(path, (*NIFTI_ENDINGS, *_NRRD_ENDINGS))
    ending = path.name[len(base.name):]
    return {base.with_name(f"{base.name}_{name}{ending}") for name in COMPANIONS} | {
        base.with_name(f"{base.name}_kspace.h5")
    }


def write_cine(
    cine: Cine,
    path: Path | str,
    write_raw: Callable[[Path], None] | None = None,
    *,
    more: Mapping[str, NDArray[np.uint8]] | None = None,
) -> list[Path]:
    """Write image, truths and sidecar; all of them appear together, or none.

    They replace a whole cine that was written under the same name: its truths that this one lacks are deleted.

    Parameters
    ----------
    cine
        Cine to write.
    path
        Name ending in .nii.gz or .nii.
    write_raw
        Writes raw data to the path it is given; they become ``X_kspace.h5``, together with the rest.
    more
        Further labels (frames, slices, rows, columns), each written as ``X_<name>.nii.gz``.

    Returns
    -------
    list of Path
        The files written, the image first.

    Raises
    ------
    InputError
        The name has another ending, the slices are not evenly spaced (NIfTI cannot say so), the image is not finite,
        or the folder cannot be written.
    """
    path = Path(path)
    base_path(path)
    check_cine(cine)
    refuse_uneven(cine, "NIfTI")
    step = mean_step_ms(cine)
    arrays: dict[str, NDArray | None] = {
        "labels": cine.labels, "anatomy": cine.anatomy, "motion": cine.displacement_mm,
        "fractions": None if cine.fractions is None else np.moveaxis(cine.fractions, 0, -1),
        **(more or {}),
    }
    kinds = {"motion": np.float32, "fractions": np.float32}
    names = {"image": path.name}
    written = [path]
    with StagedFiles() as staged:
        affine = cine.grid.affine_ras
        write_nifti(staged.path(path), cine.image.astype(np.float32, copy=False), affine, step, "CMRSimExtension cine")
        for truth, values in arrays.items():
            if values is not None:
                target = companion(path, truth)
                values = values.astype(kinds.get(truth, np.uint8), copy=False)
                write_nifti(staged.path(target), values, affine, step, f"CMRSimExtension {truth}")
                names[truth] = target.name
                written.append(target)
        if write_raw is not None:
            base = base_path(path)
            target = base.with_name(f"{base.name}_kspace.h5")
            write_raw(staged.path(target))
            names["kspace"] = target.name
            written.append(target)
        target = sidecar_path(path)
        staged.path(target).write_text(sidecar_text(cine, names), encoding="utf-8")
        written.append(target)
        for name in names_beside(path) - set(names.values()):
            staged.remove(path.with_name(name))
    return written


def names_beside(path: Path) -> set[str]:
    """Names of the files that were written together with the cine at `path`, as its sidecar lists them."""
    try:
        sidecar = read_sidecar(sidecar_path(path))
    except CMRSimError:
        # A damaged sidecar vouches for nothing.
        return set()
    if sidecar is None or sidecar.files.get("image") != path.name:
        return set()
    base = base_path(path).name
    return {name for name in sidecar.files.values() if name.startswith(f"{base}_") and Path(name).name == name}


def read_cine(path: Path | str, truths: tuple[str, ...] = ("labels",)) -> Cine:
    """Read a NIfTI image, with what lies beside it, as a cine.

    Parameters
    ----------
    path
        3D or 4D NIfTI image; a 3D one is a cine of one frame.
    truths
        Which companion files to read as well where they exist.

    Returns
    -------
    Cine
        Geometry and times from the sidecar (double precision, per slice) where there is one that fits the file (see
        `with_sidecar`), from the header elsewhere.

    Raises
    ------
    InputError
        No such file.
    FileFormatError
        The image or a companion is damaged, or they do not fit each other.
    """
    path = Path(path)
    base_path(path)
    image = read_nifti(path)
    if image.values.ndim != 4:
        raise FileFormatError(
            f"{path.name} holds vectors of {image.values.shape[4]} components, and a cine is grey; give the image that "
            "they belong to"
        )
    shape = image.values.shape
    arrays = {truth: _companion_values(path, truth, shape, image.grid) for truth in truths}
    fractions = _float(arrays.get("fractions"))
    cine = Cine(
        image=np.ascontiguousarray(image.values, dtype=np.float32),
        grid=image.grid,
        times_ms=_times(image, shape),
        labels=_labels(arrays, path, "labels"),
        anatomy=_labels(arrays, path, "anatomy"),
        displacement_mm=_float(arrays.get("motion")),
        fractions=None if fractions is None else np.ascontiguousarray(np.moveaxis(fractions, -1, 0)),
        sidecar={"notes": image.notes} if image.notes else {},
    )
    return with_sidecar(cine, read_sidecar(sidecar_path(path)), path.name, times="step")


def check_cine(cine: Cine) -> None:
    """Raise `InputError` where a cine cannot be written to any file: wrong shapes, NaN."""
    if cine.image.ndim != 4 or cine.image.shape[1:] != cine.grid.shape:
        raise InputError(f"the image has the shape {cine.image.shape}, its grid {cine.grid.shape}; they must agree")
    if not np.all(np.isfinite(cine.image)):
        bad = int(np.count_nonzero(~np.isfinite(cine.image)))
        raise InputError(f"the image holds NaN or infinite values ({bad} of {cine.image.size}); nothing was written: "
                         "replace them first")
    for name in ("labels", "anatomy", "displacement_mm"):
        values = getattr(cine, name)
        if values is not None and values.shape[:4] != cine.image.shape:
            raise InputError(f"{name} has the shape {values.shape}, the image {cine.image.shape}; they must agree")
    if cine.times_ms is not None and cine.times_ms.shape != (cine.image.shape[1], cine.image.shape[0]):
        raise InputError(f"times_ms has the shape {cine.times_ms.shape}; (slices, frames) is needed")


def mean_step_ms(cine: Cine) -> float | None:
    """Mean time between frames over all slices, the one number that a 4D file can hold; None where not known."""
    if cine.times_ms is None or cine.times_ms.shape[1] < 2:
        return None
    return float(np.mean(np.diff(cine.times_ms, axis=1)))


def as_labels(values: NDArray, name: str) -> NDArray[np.uint8]:
    """Values of any type as labels; a `FileFormatError` that names the file where they are none."""
    if values.min() < 0 or values.max() > 255 or np.any(values != np.floor(values)):
        raise FileFormatError(f"{name} holds values that are not labels (0 to 255); give a label image")
    return np.ascontiguousarray(values, dtype=np.uint8)


def refuse_uneven(cine: Cine, target: str) -> None:
    """Raise `InputError` where slices are not evenly spaced, which what is to be written (`target`) cannot hold."""
    if cine.slice_origins_mm is None:
        return
    distances = np.linalg.norm(np.diff(cine.slice_origins_mm, axis=0), axis=1)
    raise InputError(
        f"the slices are not evenly spaced ({', '.join(f'{d:.2f}' for d in distances)} mm) and {target} cannot hold "
        "that; convert the image to DICOM, which keeps each slice's position, or leave the odd slice out"
    )


def _times(image: NiftiImage, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    if image.step_ms is None:
        return None
    return np.tile(np.arange(shape[0]) * image.step_ms, (shape[1], 1))


def _companion_values(path: Path, truth: str, shape: tuple[int, ...], grid: ImageGrid) -> NDArray | None:
    target = companion(path, truth)
    if not target.is_file():
        return None
    image = read_nifti(target)
    if image.values.shape[:4] != shape:
        raise FileFormatError(f"{target.name} has the shape {image.values.shape}, {path.name} {shape}; they must agree")
    if not np.allclose(image.grid.affine_ras, grid.affine_ras, rtol=0, atol=0.01):
        raise FileFormatError(f"{target.name} lies elsewhere than {path.name}; give each image its own labels")
    return image.values


def _labels(arrays: Mapping[str, NDArray | None], path: Path, truth: str) -> NDArray[np.uint8] | None:
    values = arrays.get(truth)
    return None if values is None else as_labels(values, companion(path, truth).name)


def _float(values: NDArray | None) -> NDArray[np.float32] | None:
    return None if values is None else np.ascontiguousarray(values, dtype=np.float32)
