"""Reading ISMRMRD raw data; see `ismrmrd_writing` for what lies where in the files written here."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.ismrmrd_reconstruction import reconstruct
from CMRSimExtension.files.sidecar import SINGLE_PRECISION_MM, read_sidecar, sidecar_beside, with_sidecar
from CMRSimExtension.files.third_party import GeometryWarning, reading
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine

_LPS = np.diag([-1.0, -1.0, 1.0])


def read_ismrmrd(path: Path | str) -> Cine:
    """Read the cine in an ISMRMRD file: its images where it has them, else what its k-space gives.

    Raises
    ------
    InputError
        No such file.
    FileFormatError
        It is damaged, has no header, or holds k-space of which `CMRSimExtension.files.ismrmrd_reconstruction` makes no
        images: other than of one Cartesian 2D cine, lines missing, or undersampled without reference lines.
    """
    import h5py
    from ismrmrd.xsd import CreateFromDocument

    path = Path(path)
    with reading(path, "an ISMRMRD file"), h5py.File(path, "r") as file:
        group = next((file[name] for name in file if isinstance(file[name], h5py.Group) and "xml" in file[name]), None)
        if group is None:
            raise FileFormatError(f"{path.name} has no ISMRMRD header (no 'xml' beside its data), so its k-space has "
                                  "no meaning; export it again with its header")
        header = CreateFromDocument(group["xml"][0])
        texts = {p.name: p.value for p in (header.userParameters.userParameterString if header.userParameters else [])}
        exact = json.loads(texts["cmrsim_cine"]) if "cmrsim_cine" in texts else None
        reconstructed = exact is None or "cine" not in file
        if exact is not None and not reconstructed:
            image = np.asarray(file["cine"]["data"], dtype=np.float32)
            image = image.reshape(-1, *image.shape[-2:])
            frames, slices = int(exact["frames"]), int(exact["slices"])
            if frames * slices != len(image):
                raise FileFormatError(f"{path.name} has {len(image)} images, its header says {frames * slices}; export "
                                      "it again")
            image = np.ascontiguousarray(np.moveaxis(image.reshape(slices, frames, *image.shape[1:]), 1, 0))
        else:
            image, heads = reconstruct(path.name, group, header)
            if exact is not None and exact["phase_direction"] == "columns":
                image = np.ascontiguousarray(np.swapaxes(image, -1, -2))
        if exact is None:
            place, times, beats = _place_of(path, header, heads, image.shape), None, None
        else:
            place = _Place(
                np.array(exact["affine_ras"]), float(exact["slice_thickness_mm"]), _table(exact, "slice_origins_mm"))
            times, beats = _table(exact, "times_ms"), _table(exact, "heartbeats_ms")
        grid = ImageGrid(place.affine, image.shape[1:], place.thickness_mm)
    for note in place.notes:
        warnings.warn(f"{path.name}: {note}", GeometryWarning, stacklevel=2)
    cine = Cine(
        image=image, grid=grid, times_ms=times, heartbeats_ms=beats, slice_origins_mm=place.origins_mm,
        sidecar={"notes": list(place.notes)} if place.notes else {},
    )
    return with_sidecar(cine, read_sidecar(sidecar_beside(path)), path.name, reconstructed=reconstructed)


def _table(exact: dict[str, Any], name: str) -> NDArray[np.float64] | None:
    return None if exact.get(name) is None else np.array(exact[name], dtype=np.float64)


@dataclass(frozen=True)
class _Place:
    """Where slices lie: affine, thickness, (slices, 3) origins where they are not evenly spaced, and what to note."""

    affine: NDArray[np.float64]
    thickness_mm: float
    origins_mm: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


def _place_of(path: Path, header: Any, heads: NDArray[Any], shape: tuple[int, ...]) -> _Place:
    """Geometry from the headers of slices alone; the read direction runs along the columns' index."""
    slices, rows, columns = shape[1:]
    space = header.encoding[int(heads["encoding_space_ref"][0])].reconSpace
    directions = np.stack([heads[name].astype(np.float64) for name in ("read_dir", "phase_dir")], axis=1)
    positions = heads["position"].astype(np.float64)
    notes: tuple[str, ...] = ()
    if slices == 1 and not directions.any():
        # Phantoms lie nowhere; the image is as good.
        directions[:] = np.eye(3)[:2]
        notes = ("the raw data do not tell where the slice lies; it is taken to be axial",)
    if not np.allclose(directions, directions[0], rtol=0, atol=1e-4):
        raise FileFormatError(f"{path.name} has slices of several orientations, which make no stack; split it into one "
                              "file for each")
    x, y = directions[0] @ _LPS
    positions = positions @ _LPS
    dx, dy = space.fieldOfView_mm.x / columns, space.fieldOfView_mm.y / rows
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = x * dx, y * dy
    thickness = float(space.fieldOfView_mm.z)
    affine[:3, 2] = np.cross(x, y) * thickness if slices == 1 else (positions[-1] - positions[0]) / (slices - 1)
    to_corner = affine[:3, 0] * (columns // 2) + affine[:3, 1] * (rows // 2)
    affine[:3, 3] = positions[0] - to_corner
    if not np.all(np.isfinite(affine)) or abs(np.linalg.det(affine[:3, :3])) < 1e-9 or not thickness > 0:
        raise FileFormatError(f"{path.name} has directions or a field of view that make no grid; export it again")
    even = positions[0] + np.arange(slices)[:, None] * affine[:3, 2]
    uneven = not np.allclose(positions, even, rtol=0, atol=SINGLE_PRECISION_MM)
    return _Place(affine, thickness, positions - to_corner if uneven else None, notes)
