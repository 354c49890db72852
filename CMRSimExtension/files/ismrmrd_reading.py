"""Reading ISMRMRD raw data; see `ismrmrd_writing` for what lies where in the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError
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
        It is damaged, has no header, or holds k-space that is not a fully sampled Cartesian 2D cine.
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
            image, heads = _reconstruct(path, group, header)
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


def _reconstruct(path: Path, group: Any, header: Any) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Root-sum-of-squares images (frames, slices, rows, columns) of fully sampled Cartesian k-space."""
    encoding = header.encoding[0]
    if encoding.trajectory.value != "cartesian" or encoding.encodedSpace.matrixSize.z > 1:
        raise FileFormatError(f"{path.name} holds {encoding.trajectory.value} or 3D k-space; reconstruct it with its "
                              "own tools first, this reads Cartesian 2D cines")
    data = group["data"][:]
    head = data["head"]
    lines, slices, frames = (int(head["idx"][n].max()) + 1 for n in ("kspace_encode_step_1", "slice", "phase"))
    reads, coils = int(head["number_of_samples"].max()), int(head["active_channels"].max())
    wanted = encoding.reconSpace.matrixSize
    columns, rows = int(wanted.x), int(wanted.y)
    if min(columns, rows) < 1 or frames * slices * rows * columns > 2**31 or reads > columns or lines > rows:
        raise FileFormatError(f"{path.name} has a k-space of {lines} x {reads} for images of {rows} x {columns}; "
                              "oversampled or damaged, reconstruct it with its own tools first")
    filled = np.zeros((slices, frames, lines), dtype=bool)
    for index in head["idx"]:
        filled[index["slice"], index["phase"], index["kspace_encode_step_1"]] = True
    if not filled.all():
        raise FileFormatError(f"{path.name} lacks {int((~filled).sum())} of {filled.size} k-space lines; reconstruct "
                              "it with a method that fills them")
    image = np.zeros((frames, slices, rows, columns), np.float32)
    by_slice = [np.flatnonzero(head["idx"]["slice"] == s) for s in range(slices)]
    top, left = rows // 2 - lines // 2, columns // 2 - reads // 2
    for s, indices in enumerate(by_slice):
        samples = np.zeros((frames, coils, rows, columns), np.complex64)
        for i in indices:
            index = head["idx"][i]
            line = data["data"][i].view(np.complex64).reshape(coils, reads)
            samples[index["phase"], :, top + index["kspace_encode_step_1"], left:left + reads] = line
        spatial = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(samples, axes=(-2, -1))), axes=(-2, -1))
        image[:, s] = np.sqrt((np.abs(spatial * rows * columns) ** 2).sum(axis=1))
    firsts = np.array([head[indices[0]] for indices in by_slice], dtype=head.dtype)
    return image, firsts


def _affine_of(
    path: Path, header: Any, heads: NDArray[Any], shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], float]:
    """Geometry from the headers of slices (or images) alone; the read direction runs along the columns' index."""
    space = header.encoding[0].reconSpace
    slices, rows, columns = shape[1:]
    firsts = np.array([heads[np.flatnonzero(heads["idx"]["slice"] == s)[0]] for s in range(slices)], dtype=heads.dtype)
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
