"""ISMRMRD raw data (Inati et al., Magn Reson Med 2017;77:411): k-space with its header, and the images made from it.

In the file: the group ``dataset`` with the XML header and the acquisitions, line by line; the group ``cine`` with the
images. ISMRMRD positions are LPS millimetres. The k-space sample 0 lies in the middle (index n // 2) and is the mean of
the image; a centred, zero-filled inverse Fourier transform, times the number of its pixels, gives the image, whose
pixel (rows // 2, columns // 2) lies at the position of the acquisition.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.atomic import StagedFiles
from CMRSimExtension.files.cine_files import check_cine, with_sidecar
from CMRSimExtension.files.dicom_identity import protocol_values
from CMRSimExtension.files.sidecar import read_sidecar, sidecar_text
from CMRSimExtension.files.third_party import reading
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine

ENDINGS = (".h5", ".mrd")
_LPS = np.diag([-1.0, -1.0, 1.0])
_FIRST_IN_SLICE, _LAST_IN_SLICE = 1 << 6, 1 << 7
_TICK_MS = 2.5
"""Physiology time stamps count ticks of this length, as the vendors' do."""


def write_ismrmrd(
    cine: Cine, path: Path | str, kspace: Iterable[NDArray[np.complexfloating]] | None = None, *,
    phase_direction: str = "rows",
) -> list[Path]:
    """Write raw data and images.

    Parameters
    ----------
    cine
        Images, geometry and times.
    path
        Name ending in .h5 or .mrd.
    kspace
        For each slice (frames, coils, acquired rows, acquired columns), with `CMRSimExtension.scanner.kspace`'s
        conventions; taken one after another, so that a generator keeps memory low. None makes it from the images, one
        coil, and the header says so.
    phase_direction
        Image axis of the phase encoding, ``rows`` or ``columns``.

    Returns
    -------
    list of Path
        The raw data and the sidecar.

    Raises
    ------
    InputError
        Another ending, or k-space that does not fit the images.
    """
    import h5py

    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path.name} does not end in {' or '.join(ENDINGS)}; name the raw data so")
    check_cine(cine)
    made = kspace is None
    slices = _transformed(cine) if kspace is None else kspace
    sidecar = path.with_suffix(".json")
    with StagedFiles() as staged:
        with h5py.File(staged.path(path), "w") as file:
            group = file.create_group("dataset")
            shape: tuple[int, int, int] | None = None
            for s, samples in enumerate(slices):
                shape = _check_kspace(cine, samples, s, shape)
                _append(group, _acquisitions(cine, samples, s, phase_direction, made))
            if shape is None or s != cine.grid.shape[0] - 1:
                raise InputError(f"k-space has {0 if shape is None else s + 1} slices, the images have "
                                 f"{cine.grid.shape[0]}; give one for each")
            xml = group.create_dataset("xml", shape=(1,), dtype=h5py.special_dtype(vlen=bytes))
            xml[0] = _header(cine, shape, phase_direction, made)
            _write_images(file.create_group("cine"), cine)
        staged.path(sidecar).write_text(sidecar_text(cine, {"image": path.name}), encoding="utf-8")
    return [path, sidecar]


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
    sidecar = read_sidecar(path.with_suffix(".json"))
    return cine if sidecar is None else replace(with_sidecar(cine, sidecar, path.name), sidecar=sidecar.record)


def _transformed(cine: Cine) -> Iterable[NDArray[np.complexfloating]]:
    """k-space of the magnitude images: centred, its middle sample the mean."""
    rows, columns = cine.image.shape[2:]
    for s in range(cine.image.shape[1]):
        centred = np.fft.ifftshift(cine.image[:, s].astype(np.float64), axes=(-2, -1))
        yield np.fft.fftshift(np.fft.fft2(centred), axes=(-2, -1))[:, None] / (rows * columns)


def _check_kspace(
    cine: Cine, samples: NDArray[np.complexfloating], s: int, shape: tuple[int, int, int] | None
) -> tuple[int, int, int]:
    if samples.ndim != 4 or samples.shape[0] != cine.image.shape[0]:
        raise InputError(f"k-space of slice {s} has the shape {samples.shape}; (frames = {cine.image.shape[0]}, coils, "
                         "rows, columns) is needed")
    found = tuple(int(n) for n in samples.shape[1:])
    if shape is not None and found != shape:
        raise InputError(f"k-space of slice {s} has the shape {found}, the slices before it {shape}; they must agree")
    if not np.all(np.isfinite(samples)):
        raise InputError(f"k-space of slice {s} holds NaN or infinite values; nothing was written")
    return found  # type: ignore[return-value]


def _acquisitions(
    cine: Cine, samples: NDArray[np.complexfloating], s: int, phase_direction: str, made: bool
) -> NDArray[Any]:
    """Structured array of every readout of one slice."""
    from ismrmrd.hdf5 import acquisition_dtype

    if not made:
        # From samples in the centres of their cells (scanner.kspace) to a pixel in the middle: half a pixel's shift.
        rows, columns = samples.shape[-2:]
        ky, kx = np.arange(rows) - rows // 2, np.arange(columns) - columns // 2
        shift = [0.5 if n % 2 == 0 else 0.0 for n in cine.image.shape[2:]]
        samples = samples * np.exp(2j * np.pi * (shift[0] * ky[:, None] / cine.image.shape[2]
                                                 + shift[1] * kx[None, :] / cine.image.shape[3]))
    if phase_direction == "columns":
        samples = np.swapaxes(samples, -1, -2)
    frames, coils, lines, reads = samples.shape
    data = np.zeros(frames * lines, dtype=acquisition_dtype)
    head = data["head"]
    place = _place(cine, s)
    head["version"], head["number_of_samples"], head["center_sample"] = 1, reads, reads // 2
    head["available_channels"] = head["active_channels"] = coils
    for index in range(min(coils, 1024)):
        head["channel_mask"][:, index // 64] |= np.uint64(1 << (index % 64))
    head["position"], head["slice_dir"] = place["position"], place["slice_dir"]
    swap = phase_direction == "columns"
    head["read_dir"], head["phase_dir"] = place["y" if swap else "x"], place["x" if swap else "y"]
    head["idx"]["slice"] = s
    head["idx"]["phase"] = np.repeat(np.arange(frames), lines)
    head["idx"]["kspace_encode_step_1"] = np.tile(np.arange(lines), frames)
    head["scan_counter"] = s * frames * lines + np.arange(frames * lines) + 1
    flags = head["flags"].reshape(frames, lines)
    flags[:, 0] |= np.uint64(_FIRST_IN_SLICE)
    flags[:, -1] |= np.uint64(_LAST_IN_SLICE)
    head["flags"] = flags.reshape(-1)
    if cine.times_ms is not None:
        stamps = np.rint(np.repeat(cine.times_ms[s], lines) / _TICK_MS).astype(np.uint32)
        head["physiology_time_stamp"][:, 0] = stamps
    empty = np.zeros(0, np.float32)
    packed = np.ascontiguousarray(samples, dtype=np.complex64)
    for index in range(frames * lines):
        f, line = divmod(index, lines)
        data["traj"][index] = empty
        data["data"][index] = np.ascontiguousarray(packed[f, :, line]).view(np.float32).reshape(-1)
    return data


def _append(group: Any, data: NDArray[Any]) -> None:
    if "data" not in group:
        group.create_dataset("data", data=data, maxshape=(None,), chunks=(max(1, min(1024, len(data))),))
        return
    before = group["data"].shape[0]
    group["data"].resize(before + len(data), axis=0)
    group["data"][before:] = data


def _place(cine: Cine, s: int) -> dict[str, NDArray[np.float64]]:
    """Directions, and the position of pixel (rows // 2, columns // 2) of slice `s`, in LPS."""
    affine = cine.grid.affine_ras
    origin = affine[:3, 3] + s * affine[:3, 2] if cine.slice_origins_mm is None else cine.slice_origins_mm[s]
    rows, columns = cine.grid.shape[1:]
    centre = origin + affine[:3, 0] * (columns // 2) + affine[:3, 1] * (rows // 2)
    x, y = (affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (0, 1))
    return {"position": _LPS @ centre, "x": _LPS @ x, "y": _LPS @ y, "slice_dir": _LPS @ np.cross(x, y)}


def _header(cine: Cine, shape: tuple[int, int, int], phase_direction: str, made: bool) -> bytes:
    from ismrmrd import xsd

    coils, rows, columns = shape
    lines, reads = (columns, rows) if phase_direction == "columns" else (rows, columns)
    dx, dy, dz = cine.grid.spacing_mm
    frames, slices, out_rows, out_columns = cine.image.shape
    across, down = out_columns * dx, out_rows * dy
    fov_x, fov_y = (down, across) if phase_direction == "columns" else (across, down)
    recon_x, recon_y = (out_rows, out_columns) if phase_direction == "columns" else (out_columns, out_rows)

    def space(x: int, y: int) -> Any:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=y, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=fov_x, y=fov_y, z=cine.grid.slice_thickness_mm))

    def limit(count: int, centre: int = 0) -> Any:
        return xsd.limitType(minimum=0, maximum=count - 1, center=centre)

    protocol = protocol_values(cine)
    field = float(protocol["field_t"] or 1.5)
    exact = {
        "frames": frames, "slices": slices, "affine_ras": cine.grid.affine_ras.tolist(),
        "slice_thickness_mm": cine.grid.slice_thickness_mm, "kspace_from_magnitude_images": made,
        "phase_direction": phase_direction,
        "times_ms": None if cine.times_ms is None else cine.times_ms.tolist(),
        "heartbeats_ms": None if cine.heartbeats_ms is None else cine.heartbeats_ms.tolist(),
        "slice_origins_mm": None if cine.slice_origins_mm is None else cine.slice_origins_mm.tolist(),
    }

    def values(name: str) -> list[float]:
        return [float(protocol[name])] if protocol[name] is not None else []

    header = xsd.ismrmrdHeader(
        version=2,
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=round(42.577478e6 * field)),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="CMRSimExtension", systemFieldStrength_T=field, receiverChannels=coils),
        encoding=[xsd.encodingType(
            encodedSpace=space(reads, lines), reconSpace=space(recon_x, recon_y),
            trajectory=xsd.trajectoryType.CARTESIAN,
            encodingLimits=xsd.encodingLimitsType(
                kspace_encoding_step_1=limit(lines, lines // 2), slice=limit(slices), phase=limit(frames)))],
        sequenceParameters=xsd.sequenceParametersType(
            TR=values("repetition_time_ms"), TE=values("echo_time_ms"), flipAngle_deg=values("flip_angle_deg")),
        userParameters=xsd.userParametersType(userParameterString=[
            xsd.userParameterStringType(name="cmrsim_cine", value=json.dumps(exact))]),
    )
    return str(xsd.ToXML(header)).encode("utf-8")


def _write_images(group: Any, cine: Cine) -> None:
    import h5py
    from ismrmrd.hdf5 import image_header_dtype

    frames, slices, rows, columns = cine.image.shape
    heads = np.zeros(frames * slices, dtype=image_header_dtype)
    dx, dy, _ = cine.grid.spacing_mm
    heads["version"], heads["data_type"], heads["channels"], heads["image_type"] = 1, 5, 1, 1
    heads["matrix_size"] = (columns, rows, 1)
    heads["field_of_view"] = (columns * dx, rows * dy, cine.grid.slice_thickness_mm)
    heads["image_index"] = np.arange(frames * slices) % 65535 + 1
    for s in range(slices):
        part = slice(s * frames, (s + 1) * frames)
        place = _place(cine, s)
        for name, key in (("position", "position"), ("read_dir", "x"), ("phase_dir", "y"), ("slice_dir", "slice_dir")):
            heads[name][part] = place[key]
        heads["slice"][part], heads["phase"][part] = s, np.arange(frames)
        if cine.times_ms is not None:
            heads["physiology_time_stamp"][part, 0] = np.rint(cine.times_ms[s] / _TICK_MS).astype(np.uint32)
    images = np.moveaxis(cine.image, 1, 0).reshape(-1, 1, 1, rows, columns)
    group.create_dataset("data", data=np.ascontiguousarray(images, dtype=np.float32))
    group.create_dataset("header", data=heads)
    text = group.create_dataset("attributes", shape=(frames * slices,), dtype=h5py.special_dtype(vlen=bytes))
    text[:] = np.full(frames * slices, b"", dtype=object)


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
