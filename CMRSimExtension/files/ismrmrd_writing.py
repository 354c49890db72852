"""ISMRMRD raw data (Inati et al., Magn Reson Med 2017;77:411): k-space with its header, and the images made from it.

In the file: the group ``dataset`` with the XML header and the acquisitions, line by line; the group ``cine`` with the
images. ISMRMRD positions are LPS millimetres. The k-space sample 0 lies in the middle (index n // 2) and is the mean of
the image; a centred, zero-filled inverse Fourier transform, times the number of its pixels, gives the image, whose
pixel (rows // 2, columns // 2) lies at the position of the acquisition. Radial readouts carry their positions (kx, ky),
x along the columns' index, as fractions of the encoded matrix (-0.5 to 0.5).
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.atomic import StagedFiles
from CMRSimExtension.files.cine_files import check_cine
from CMRSimExtension.files.dicom_identity import protocol_values
from CMRSimExtension.files.sidecar import sidecar_beside, sidecar_text
from CMRSimExtension.physics.bloch import GAMMA_BAR_HZ_PER_T
from CMRSimExtension.scanner.segmented import LineSchedule
from CMRSimExtension.scanner.trajectories import Trajectory
from CMRSimExtension.simulation.cine import Cine

ENDINGS = (".h5", ".mrd")
_LPS = np.diag([-1.0, -1.0, 1.0])
_FIRST_IN_SLICE, _LAST_IN_SLICE = 1 << 6, 1 << 7
_TICK_MS = 2.5
"""Time stamps count ticks of this length, as the vendors' do."""


def write_ismrmrd(
    cine: Cine, path: Path | str, kspace: Iterable[NDArray[np.complexfloating]] | None = None, *,
    phase_direction: str = "rows", trajectory: Callable[[int], Trajectory] | None = None,
) -> list[Path]:
    """Write raw data and images, with a sidecar beside them.

    Parameters
    ----------
    cine
        Images, geometry and times.
    path
        Name ending in .h5 or .mrd.
    kspace, phase_direction, trajectory
        As for `write_raw`.

    Returns
    -------
    list of Path
        The raw data and the sidecar.

    Raises
    ------
    InputError
        Another ending, or k-space that does not fit the images.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path.name} does not end in {' or '.join(ENDINGS)}; name the raw data so")
    check_cine(cine)
    sidecar = sidecar_beside(path)
    with StagedFiles() as staged:
        write_raw(cine, staged.path(path), kspace, phase_direction=phase_direction, trajectory=trajectory)
        staged.path(sidecar).write_text(sidecar_text(cine, {"image": path.name}), encoding="utf-8")
    return [path, sidecar]


def write_raw(
    cine: Cine, path: Path, kspace: Iterable[NDArray[np.complexfloating]] | None = None, *,
    phase_direction: str = "rows", trajectory: Callable[[int], Trajectory] | None = None,
    schedules: Sequence[LineSchedule] | None = None,
) -> None:
    """Write raw data and images to exactly `path`.

    Parameters
    ----------
    cine
        Images, geometry and times.
    path
        File to write.
    kspace
        For each slice (frames, coils, acquired rows, acquired columns), or (frames, coils, samples) with `trajectory`,
        with `CMRSimExtension.scanner.kspace`'s conventions; taken one after another, so that a generator keeps memory
        low. Lines that were not acquired are zero, and are left out of the file. None makes k-space from the images,
        one coil, and the header says so.
    phase_direction
        Image axis of the phase encoding, ``rows`` or ``columns``.
    trajectory
        The trajectory of each frame, where it is not Cartesian.
    schedules
        For each slice, when each line was acquired, where that is known: lines then come in the order in which they
        were acquired and carry their own time after the R wave, the time since the series began (breath holds follow
        each other without a pause), and their heartbeat as ISMRMRD's segment. Otherwise they come frame by frame and
        carry the time of their frame.

    Raises
    ------
    InputError
        k-space does not fit the images, or holds NaN.
    """
    import h5py

    made = kspace is None
    slices = _transformed(cine) if kspace is None else kspace
    paths = None if trajectory is None else [trajectory(frame) for frame in range(cine.image.shape[0])]
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        shape: tuple[int, int, int] | None = None
        count, acquired, clock = 0, 0, _Clock()
        for s, samples in enumerate(slices):
            if paths is not None:
                samples = samples.reshape(*samples.shape[:2], paths[0].spokes, paths[0].read)
            shape = _check_kspace(cine, samples, s, shape)
            centred = samples if made else _to_pixel_in_the_middle(cine, samples, paths)
            schedule = None if schedules is None else schedules[s]
            began_ms = 0.0 if schedule is None else clock.begin(schedule)
            data = _acquisitions(cine, centred, s, phase_direction, paths, schedule, began_ms)
            data["head"]["scan_counter"] = acquired + 1 + np.arange(len(data))
            acquired += len(data)
            _append(group, data)
            count = s + 1
        if shape is None or count != cine.grid.shape[0]:
            raise InputError(f"k-space has {count} slices, the images have {cine.grid.shape[0]}; give one for each")
        xml = group.create_dataset("xml", shape=(1,), dtype=h5py.special_dtype(vlen=bytes))
        xml[0] = _header(cine, shape, phase_direction, made, paths)
        _write_images(file.create_group("cine"), cine)


class _Clock:
    """When the breath hold of each slice begins: with the heartbeat after the last one of the slice before, or later
    where that slice's lines ran over."""

    def __init__(self) -> None:
        self._beats_end_ms = self._last_line_ms = 0.0

    def begin(self, schedule: LineSchedule) -> float:
        """Time of the slice's first R wave, ms after the first line of the series."""
        lines = schedule.since_start_ms
        earliest = self._last_line_ms - float(lines.min())
        began = max(self._beats_end_ms, earliest) if self._beats_end_ms else earliest
        self._beats_end_ms = began + float(schedule.durations_ms.sum())
        self._last_line_ms = began + float(lines.max()) + _TICK_MS
        return began


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


def _to_pixel_in_the_middle(
    cine: Cine, samples: NDArray[np.complexfloating], paths: list[Trajectory] | None
) -> NDArray[np.complexfloating]:
    """From image samples in the centres of their cells (`scanner.kspace`) to one in the middle: half a pixel."""
    rows, columns = cine.image.shape[2:]
    per_cycle = [0.5 / n if n % 2 == 0 else 0.0 for n in (rows, columns)]
    if paths is None:
        lines, reads = samples.shape[-2:]
        along_lines, along_reads = np.arange(lines) - lines // 2, np.arange(reads) - reads // 2
        cycles = per_cycle[0] * along_lines[:, None] + per_cycle[1] * along_reads
        return np.asarray(samples * np.exp(2j * np.pi * cycles))
    cycles = np.stack([(p.positions @ per_cycle).reshape(p.spokes, p.read) for p in paths])
    return np.asarray(samples * np.exp(2j * np.pi * cycles)[:, None])


def _acquisitions(
    cine: Cine, samples: NDArray[np.complexfloating], s: int, phase_direction: str, paths: list[Trajectory] | None,
    schedule: LineSchedule | None, began_ms: float,
) -> NDArray[Any]:
    """Structured array of every readout of one slice, whose breath hold `began_ms` after the series."""
    from ismrmrd.hdf5 import acquisition_dtype

    swap = phase_direction == "columns" and paths is None
    if swap:
        samples = np.swapaxes(samples, -1, -2)
    coils, reads = samples.shape[1], samples.shape[3]
    packed = np.ascontiguousarray(samples, dtype=np.complex64)
    frame, line = np.nonzero(np.any(packed != 0, axis=(1, 3)))
    if paths is None and frame.size == 0:
        frame, line = (index.reshape(-1) for index in np.indices(packed.shape[::2][:2]))
    if schedule is not None:
        order = np.argsort(schedule.since_start_ms[frame, line], kind="stable")
        frame, line = frame[order], line[order]
    data = np.zeros(len(frame), dtype=acquisition_dtype)
    head = data["head"]
    place = _place(cine, s)
    head["version"], head["number_of_samples"], head["center_sample"] = 1, reads, reads // 2
    head["available_channels"] = head["active_channels"] = coils
    head["trajectory_dimensions"] = 0 if paths is None else 2
    for index in range(min(coils, 1024)):
        head["channel_mask"][:, index // 64] |= np.uint64(1 << (index % 64))
    head["position"], head["slice_dir"] = place["position"], place["slice_dir"]
    head["read_dir"], head["phase_dir"] = place["y" if swap else "x"], place["x" if swap else "y"]
    head["idx"]["slice"], head["idx"]["phase"], head["idx"]["kspace_encode_step_1"] = s, frame, line
    first, last = np.unique(frame, return_index=True)[1], np.unique(frame[::-1], return_index=True)[1]
    head["flags"][first] |= np.uint64(_FIRST_IN_SLICE)
    head["flags"][len(frame) - 1 - last] |= np.uint64(_LAST_IN_SLICE)
    if schedule is not None:
        head["idx"]["segment"] = schedule.heartbeat[frame, line]
        head["physiology_time_stamp"][:, 0] = _ticks(schedule.since_r_wave_ms[frame, line])
        head["acquisition_time_stamp"] = _ticks(began_ms + schedule.since_start_ms[frame, line])
    elif cine.times_ms is not None:
        head["physiology_time_stamp"][:, 0] = _ticks(cine.times_ms[s][frame])
    empty = np.zeros(0, np.float32)
    for index, (f, n) in enumerate(zip(frame, line)):
        data["data"][index] = np.ascontiguousarray(packed[f, :, n]).view(np.float32).reshape(-1)
        data["traj"][index] = empty if paths is None else _positions(paths[f], int(n))
    return data


def _ticks(time_ms: NDArray[np.floating]) -> NDArray[np.uint32]:
    return np.rint(time_ms / _TICK_MS).astype(np.uint32)


def _positions(path: Trajectory, spoke: int) -> NDArray[np.float32]:
    """(read * 2,) positions (kx, ky) of one spoke as fractions of the encoded matrix."""
    rows_columns = path.positions[spoke * path.read:(spoke + 1) * path.read]
    return np.ascontiguousarray(rows_columns[:, ::-1] / path.read, dtype=np.float32).reshape(-1)


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


def _header(
    cine: Cine, shape: tuple[int, int, int], phase_direction: str, made: bool, paths: list[Trajectory] | None
) -> bytes:
    from ismrmrd import xsd

    coils, rows, columns = shape
    swap = phase_direction == "columns" and paths is None
    lines, reads = (columns, rows) if swap else (rows, columns)
    dx, dy, dz = cine.grid.spacing_mm
    frames, slices, out_rows, out_columns = cine.image.shape
    across, down = out_columns * dx, out_rows * dy
    fov_x, fov_y = (down, across) if swap else (across, down)
    recon_x, recon_y = (out_rows, out_columns) if swap else (out_columns, out_rows)

    def space(x: int, y: int) -> Any:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=y, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=fov_x, y=fov_y, z=cine.grid.slice_thickness_mm))

    def limit(count: int, centre: int = 0) -> Any:
        return xsd.limitType(minimum=0, maximum=count - 1, center=centre)

    protocol = protocol_values(cine)
    field = None if protocol["field_t"] is None else float(protocol["field_t"])
    exact = {
        "frames": frames, "slices": slices, "affine_ras": cine.grid.affine_ras.tolist(),
        "slice_thickness_mm": cine.grid.slice_thickness_mm, "kspace_from_magnitude_images": made,
        "phase_direction": "columns" if swap else "rows",
        "times_ms": None if cine.times_ms is None else cine.times_ms.tolist(),
        "heartbeats_ms": None if cine.heartbeats_ms is None else cine.heartbeats_ms.tolist(),
        "slice_origins_mm": None if cine.slice_origins_mm is None else cine.slice_origins_mm.tolist(),
    }

    def values(name: str) -> list[float]:
        return [float(protocol[name])] if protocol[name] is not None else []

    header = xsd.ismrmrdHeader(
        version=2,
        # ISMRMRD wants this number; 0 is no field's, where a guess could be taken for the truth.
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=0 if field is None else round(GAMMA_BAR_HZ_PER_T * field)),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="CMRSimExtension", systemFieldStrength_T=field, receiverChannels=coils),
        encoding=[xsd.encodingType(
            encodedSpace=space(reads, lines if paths is None else reads), reconSpace=space(recon_x, recon_y),
            trajectory=xsd.trajectoryType.CARTESIAN if paths is None else xsd.trajectoryType.RADIAL,
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
            heads["physiology_time_stamp"][part, 0] = _ticks(cine.times_ms[s])
    images = np.moveaxis(cine.image, 1, 0).reshape(-1, 1, 1, rows, columns)
    group.create_dataset("data", data=np.ascontiguousarray(images, dtype=np.float32))
    group.create_dataset("header", data=heads)
    text = group.create_dataset("attributes", shape=(frames * slices,), dtype=h5py.special_dtype(vlen=bytes))
    text[:] = np.full(frames * slices, b"", dtype=object)
