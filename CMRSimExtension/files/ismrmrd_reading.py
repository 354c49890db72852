"""Reading ISMRMRD raw data; see `ismrmrd_writing` for what lies where in the files written here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.ismrmrd_reconstruction import reconstruct
from CMRSimExtension.files.sidecar import read_sidecar, sidecar_beside, with_sidecar
from CMRSimExtension.files.third_party import reading
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
        reconstructed = False
        if "cine" in file and exact is not None:
            image = np.asarray(file["cine"]["data"], dtype=np.float32)
            image = image.reshape(-1, *image.shape[-2:])
            frames, slices = int(exact["frames"]), int(exact["slices"])
            if frames * slices != len(image):
                raise FileFormatError(f"{path.name} has {len(image)} images, its header says {frames * slices}; export "
                                      "it again")
            image = np.ascontiguousarray(np.moveaxis(image.reshape(slices, frames, *image.shape[1:]), 1, 0))
            heads = file["cine"]["header"][:]
        else:
            reconstructed = True
            image, heads = reconstruct(path.name, group, header)
            if exact is not None and exact["phase_direction"] == "columns":
                image = np.ascontiguousarray(np.swapaxes(image, -1, -2))
        if exact is not None:
            affine, thickness = np.array(exact["affine_ras"]), float(exact["slice_thickness_mm"])
        else:
            affine, thickness = _affine_of(path, header, heads, image.shape)
        grid = ImageGrid(affine, image.shape[1:], thickness)
        times, beats = (None, None) if exact is None else (exact.get("times_ms"), exact.get("heartbeats_ms"))
    cine = Cine(
        image=image, grid=grid, times_ms=None if times is None else np.array(times, dtype=np.float64),
        heartbeats_ms=None if beats is None else np.array(beats, dtype=np.float64),
        slice_origins_mm=None if exact is None or exact.get("slice_origins_mm") is None
        else np.array(exact["slice_origins_mm"]),
    )
    return with_sidecar(cine, read_sidecar(sidecar_beside(path)), path.name, reconstructed=reconstructed)


def _affine_of(
    path: Path, header: Any, heads: NDArray[Any], shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], float]:
    """Geometry from the headers of slices (or images) alone; the read direction runs along the columns' index."""
    slices, rows, columns = shape[1:]
    firsts = np.array([heads[np.flatnonzero(heads["idx"]["slice"] == s)[0]] for s in range(slices)], dtype=heads.dtype)
    space = header.encoding[int(firsts["encoding_space_ref"][0])].reconSpace
    x, y = (_LPS @ firsts[0][name].astype(np.float64) for name in ("read_dir", "phase_dir"))
    dx, dy = space.fieldOfView_mm.x / columns, space.fieldOfView_mm.y / rows
    positions = firsts["position"].astype(np.float64) @ _LPS
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = x * dx, y * dy
    thickness = float(space.fieldOfView_mm.z)
    affine[:3, 2] = np.cross(x, y) * thickness if slices == 1 else (positions[-1] - positions[0]) / (slices - 1)
    affine[:3, 3] = positions[0] - affine[:3, 0] * (columns // 2) - affine[:3, 1] * (rows // 2)
    if not np.all(np.isfinite(affine)) or abs(np.linalg.det(affine[:3, :3])) < 1e-9 or not thickness > 0:
        raise FileFormatError(f"{path.name} has directions or a field of view that make no grid; export it again")
    return affine, thickness
