"""ISMRMRD raw data (Inati et al., Magn Reson Med 2017;77:411): k-space with its header, and the images made from it.

In the file: the group ``dataset`` with the XML header and the acquisitions, line by line; the group ``cine`` with the
images. ISMRMRD positions are LPS millimetres. The k-space sample 0 lies in the middle (index n // 2) and is the mean of
the image; a centred, zero-filled inverse Fourier transform, times the number of its pixels, gives the image, whose
pixel (rows // 2, columns // 2) lies at the position of the acquisition. Lines keep their index in the whole of k-space,
that of its middle is the encoding limits' centre; with partial Fourier the limits begin at the first line acquired.
Radial readouts carry their positions (kx, ky), x along the columns' index, as fractions of the encoded matrix (-0.5 to
0.5).

With the noise of the scan the file begins with readouts of noise (flag IS_NOISE_MEASUREMENT), of the channels'
covariance in the data. With a reference scan each slice begins with all lines of k-space, at the average of the
heartbeat (IS_PARALLEL_CALIBRATION; the header's calibration mode is ``separate``): prewhitened with the former,
sensitivities from the latter unfold the images. Neither is an image's line.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.atomic import StagedFiles
from CMRSimExtension.files.cine_files import check_cine
from CMRSimExtension.files.dicom_identity import protocol_values
from CMRSimExtension.files.ismrmrd_acquisitions import TICK_MS, Acquisitions, place_of, ticks, to_pixel_in_the_middle
from CMRSimExtension.files.ismrmrd_header import dwell_us, header_of
from CMRSimExtension.files.sidecar import sidecar_beside, sidecar_text
from CMRSimExtension.scanner.segmented import LineSchedule
from CMRSimExtension.scanner.trajectories import Trajectory
from CMRSimExtension.simulation.cine import Cine

ENDINGS = (".h5", ".mrd")


def write_ismrmrd(
    cine: Cine, path: Path | str, kspace: Iterable[NDArray[np.complexfloating]] | None = None, *,
    phase_direction: str = "rows", trajectory: Callable[[int], Trajectory] | None = None,
    noise: NDArray[np.complexfloating] | None = None,
    references: Iterable[NDArray[np.complexfloating]] | None = None,
) -> list[Path]:
    """Write raw data and images, with a sidecar beside them.

    Parameters
    ----------
    cine
        Images, geometry and times.
    path
        Name ending in .h5 or .mrd.
    kspace, phase_direction, trajectory, noise, references
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
        write_raw(
            cine, staged.path(path), kspace, phase_direction=phase_direction, trajectory=trajectory, noise=noise,
            references=references)
        staged.path(sidecar).write_text(sidecar_text(cine, {"image": path.name}), encoding="utf-8")
    return [path, sidecar]


def write_raw(
    cine: Cine, path: Path, kspace: Iterable[NDArray[np.complexfloating]] | None = None, *,
    phase_direction: str = "rows", trajectory: Callable[[int], Trajectory] | None = None,
    schedules: Sequence[LineSchedule] | None = None, noise: NDArray[np.complexfloating] | None = None,
    references: Iterable[NDArray[np.complexfloating]] | None = None,
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
        each other without a pause, but for the reference lines in between), and their heartbeat as ISMRMRD's segment.
        Otherwise they come frame by frame and carry the time of their frame.
    noise
        (coils, readouts, samples) of noise alone, from the receiver that acquired `kspace`.
    references
        For each slice a reference scan (coils, acquired rows, acquired columns) of Cartesian k-space, taken in turn
        with `kspace`; lines that were not acquired are zero.

    Raises
    ------
    InputError
        k-space does not fit the images, noise or references do not fit k-space, or one of them holds NaN.
    """
    import h5py

    made = kspace is None
    slices = _transformed(cine) if kspace is None else kspace
    paths = None if trajectory is None else [trajectory(frame) for frame in range(cine.image.shape[0])]
    if references is not None and (made or paths is not None):
        raise InputError("a reference scan belongs to Cartesian k-space; leave references out")
    before = None if references is None else iter(references)
    repetition = protocol_values(cine)["repetition_time_ms"]
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        shape: tuple[int, int, int] | None = None
        acquisitions = Acquisitions(
            cine, phase_direction, paths, 0.0, TICK_MS if repetition is None else float(repetition))
        count = 0
        for s, samples in enumerate(slices):
            if paths is not None:
                samples = samples.reshape(*samples.shape[:2], paths[0].spokes, paths[0].read)
            found = _check_kspace(cine, samples, s, shape)
            if shape is None:
                reads = found[1] if acquisitions.swapped else found[2]
                acquisitions.dwell_us = dwell_us(cine, reads)
                _create(group, samples.shape[0] * max(found[1:]))
                if noise is not None:
                    _append(group, acquisitions.noise(_checked_noise(noise, found[0]), schedules is not None))
            shape = found
            reference = None if before is None else _next_reference(before, s, shape)
            if not made:
                samples = to_pixel_in_the_middle(cine, samples, paths)
                reference = None if reference is None else to_pixel_in_the_middle(cine, reference, None)
            schedule = None if schedules is None else schedules[s]
            for data in acquisitions.of_slice(samples, s, schedule, reference):
                _append(group, data)
            count = s + 1
        if shape is None or count != cine.grid.shape[0]:
            raise InputError(f"k-space has {count} slices, the images have {cine.grid.shape[0]}; give one for each")
        xml = group.create_dataset("xml", shape=(1,), dtype=h5py.special_dtype(vlen=bytes))
        xml[0] = header_of(
            acquisitions, shape, made=made, has_noise=noise is not None, has_reference=before is not None)
        _write_images(file.create_group("cine"), cine)


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


def _checked_noise(noise: NDArray[np.complexfloating], coils: int) -> NDArray[np.complexfloating]:
    if noise.ndim != 3 or noise.shape[0] != coils:
        raise InputError(f"noise has the shape {noise.shape}; (coils = {coils}, readouts, samples) is needed")
    if not np.all(np.isfinite(noise)):
        raise InputError("the noise holds NaN or infinite values; nothing was written")
    return noise


def _next_reference(
    references: Iterator[NDArray[np.complexfloating]], s: int, shape: tuple[int, int, int]
) -> NDArray[np.complexfloating]:
    reference = next(references, None)
    if reference is None:
        raise InputError(f"there are {s} reference scans and more slices; give one for each")
    if reference.shape != shape:
        raise InputError(f"the reference scan of slice {s} has the shape {reference.shape}, k-space {shape}; they must "
                         "agree")
    if not np.all(np.isfinite(reference)) or not reference.any():
        raise InputError(f"the reference scan of slice {s} is empty, or holds NaN or infinite values; nothing was "
                         "written")
    return reference


def _create(group: Any, expected: int) -> None:
    """An empty table of acquisitions, in pieces of about the length that is `expected` to be written at once."""
    from ismrmrd.hdf5 import acquisition_dtype

    pieces = (max(1, min(1024, expected)),)
    group.create_dataset("data", shape=(0,), dtype=acquisition_dtype, maxshape=(None,), chunks=pieces)


def _append(group: Any, data: NDArray[Any]) -> None:
    before = group["data"].shape[0]
    group["data"].resize(before + len(data), axis=0)
    group["data"][before:] = data


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
        place = place_of(cine, s)
        for name, key in (("position", "position"), ("read_dir", "x"), ("phase_dir", "y"), ("slice_dir", "slice_dir")):
            heads[name][part] = place[key]
        heads["slice"][part], heads["phase"][part] = s, np.arange(frames)
        if cine.times_ms is not None:
            heads["physiology_time_stamp"][part, 0] = ticks(cine.times_ms[s])
    images = np.moveaxis(cine.image, 1, 0).reshape(-1, 1, 1, rows, columns)
    group.create_dataset("data", data=np.ascontiguousarray(images, dtype=np.float32))
    group.create_dataset("header", data=heads)
    text = group.create_dataset("attributes", shape=(frames * slices,), dtype=h5py.special_dtype(vlen=bytes))
    text[:] = np.full(frames * slices, b"", dtype=object)
