"""What `cmrsim tag` and `cmrsim strain` read: a cine, or a pair of volumes, with labels and true motion beside them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.label_maps import parse_label_map
from CMRSimExtension.command_line.console import Console
from CMRSimExtension.errors import InputError
from CMRSimExtension.files.formats import Content, labels_of, read_content, read_image
from CMRSimExtension.files.unknown_labels import check_known_labels, refuse_label_map
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.options import METHODS, Method

_SAME_MM = 0.01


def tag_method(name: str) -> Method:
    """The library's method of that name.

    Raises
    ------
    InputError
        There is none, and no trained generator of that name either.
    """
    if name not in METHODS:
        raise InputError(f"--method is '{name}'; choose moving or paper (no generator of that name is installed)")
    return name


def read_tag_input(
    paths: Sequence[Path],
    label_paths: Sequence[Path],
    label_map: str | None,
    series: str | None,
    console: Console,
    *,
    want_motion: bool,
) -> tuple[Cine, NDArray[np.uint8] | None]:
    """A cine and the labels given for it (None where it has its own, or none).

    Parameters
    ----------
    paths
        One cine, or two single volumes that become a pair.
    label_paths
        Labels of the whole series in one file, or one file per volume; may be empty.
    label_map
        What their numbers mean; None for those of this project.
    series
        Which stack, where a folder holds several.
    console
        Told what was found beside the image.
    want_motion
        Look for true motion: X_motion beside X, or the anatomy that the sidecar describes.

    Raises
    ------
    InputError
        Geometry or numbers of frames differ, there are more than two inputs, the image is a label map, or `label_map`
        has no labels to explain.
    """
    if label_map is not None and not label_paths:
        raise InputError("--labels-map says what the numbers of --labels mean; give --labels too, or leave it out")
    if len(paths) > 2:
        raise InputError(f"{len(paths)} inputs were given; give one cine, or two volumes (end diastole, end systole)")
    if len(paths) == 2:
        cine = _pair([read_image(path) for path in paths], paths)
    else:
        cine = read_image(paths[0], series, ("labels", "anatomy", "motion") if want_motion else ("labels", "anatomy"))
    if np.all(np.isfinite(cine.image)) and cine.image.any():  # else told in words of its own
        refuse_label_map(cine.image)
    if want_motion and cine.displacement_mm is None and len(paths) == 1:
        cine = _with_true_motion(cine, console)
    if not label_paths:
        return cine, None
    parts = [_labels(read_content(path), path, label_map or "cmrsim", cine.grid) for path in label_paths]
    labels = np.concatenate(parts)
    frames = len(cine.image)
    if len(labels) == 1 and frames > 1:
        console.say("labels of end diastole: carried to the other frames by the motion")
        return cine, labels[0]
    if len(labels) != frames:
        raise InputError(f"the labels have {len(labels)} frames, the cine {frames}; give all, or end diastole's")
    return cine, labels


def _pair(volumes: Sequence[Cine], paths: Sequence[Path]) -> Cine:
    first, second = volumes
    for volume, path in zip(volumes, paths, strict=True):
        if len(volume.image) != 1:
            raise InputError(f"{path.name} has {len(volume.image)} frames; a pair is made of single volumes")
    if first.grid.shape != second.grid.shape or not np.allclose(
        first.grid.affine_ras, second.grid.affine_ras, atol=_SAME_MM
    ):
        raise InputError(f"{paths[0].name} and {paths[1].name} have different geometry; resample one to the other")
    labels = None
    if first.labels is not None and second.labels is not None:
        labels = np.concatenate([first.labels, second.labels])
    return Cine(np.concatenate([first.image, second.image]), first.grid, labels=labels, sidecar=first.sidecar)


def _labels(content: Content, path: Path, label_map: str, grid: ImageGrid) -> NDArray[np.uint8]:
    """Clinical labels (frames, slices, rows, columns), checked against the image's geometry."""
    if content.grid.shape != grid.shape:
        raise InputError(f"{path.name} has the shape {content.grid.shape}, the cine {grid.shape}; resample the labels")
    away = float(np.abs(content.grid.affine_ras - grid.affine_ras).max())
    if away > _SAME_MM:
        raise InputError(
            f"{path.name} lies elsewhere than the cine (affines differ by up to {away:.3g} mm); resample the labels"
        )
    meanings = parse_label_map(label_map)
    numbers = labels_of(content, path)
    check_known_labels(
        numbers, meanings, path.name, "give a --labels-map such as 1=rv,2=myo,3=lv that names them all")
    # The cine labels are the first three structures: LV blood pool, LV myocardium, RV blood pool.
    table = np.zeros(256, np.uint8)
    for number, structure in meanings.items():
        if number < len(table) and int(structure) in (1, 2, 3):
            table[number] = int(structure)
    return table[numbers]


def _with_true_motion(cine: Cine, console: Console) -> Cine:
    """The cine with the displacement that its own anatomy has, made again from the sidecar, where that is possible."""
    from CMRSimExtension.simulation.record import subject_of
    from CMRSimExtension.tagging.simulated import simulation_of, true_displacement

    record = simulation_of(cine)
    if record is None:
        if "anatomy" in cine.sidecar:
            console.say("the motion of this simulated image is estimated from its frames: it was made from a file, or "
                        "moved since")
        return cine
    console.say("simulated image: its anatomy is made again for the true motion")
    return replace(cine, displacement_mm=true_displacement(subject_of(record), cine, record.get("slice_shifts_mm")))
