"""Who and what a DICOM object written here says it is: identifiers, marks and the modules that all of them share."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.dicom_images import SYNTHETIC_DATA
from CMRSimExtension.files.preview import heartbeat_ms
from CMRSimExtension.files.sidecar import json_text
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.version import __version__

WHITE = 4095
"""Largest stored value of a series (DESIGN section 6)."""

SERIES_STEP = 1_000_000
"""What is derived from one series of a study is numbered in steps of this, above the numbers that scanners give."""
LARGEST_SERIES = 2**31 - 1 - 16 * SERIES_STEP
"""Scanners' series with larger numbers count as not numbered: DICOM's integers end where what is derived would lie."""

_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Stored:
    """A cine as DICOM stores it.

    Attributes
    ----------
    pixels
        (frames, slices, rows, columns) uint16.
    scale
        Stored value over true value.
    quantum
        Step of which all true values are multiples, so that the scaling can be undone exactly, or None.
    key
        Digest of pixels, geometry and times: the same cine has the same identifiers wherever it is written.
    """

    pixels: NDArray[np.uint16]
    scale: float
    quantum: float | None
    key: str


def stored(cine: Cine) -> Stored:
    """Scale the image so that its maximum is 4095.

    Raises
    ------
    InputError
        It holds negative values.
    """
    low, high = float(cine.image.min()), float(cine.image.max())
    if low < 0:
        raise InputError(f"the image holds negative values (down to {low:g}), which unsigned DICOM pixels cannot; "
                         "shift it above 0 first")
    scale = WHITE / high if high > 0 else 1.0
    pixels = np.rint(cine.image.astype(np.float64) * scale).astype(np.uint16)
    # Whole numbers that grow by the scaling come back by rounding; those that shrink do not.
    whole = scale >= 1.0 and bool(np.all(cine.image == np.rint(cine.image)))
    digest = hashlib.sha256(pixels.tobytes())
    for part in (cine.grid.affine_ras, cine.times_ms, cine.slice_origins_mm):
        if part is not None:
            digest.update(np.ascontiguousarray(part, dtype="<f8").tobytes())
    return Stored(pixels, scale, 1.0 if whole else None, digest.hexdigest())


def uid(key: str, *parts: object) -> str:
    """A UID of the form 2.25.<number> that follows from its arguments (DICOM PS3.5, B.2)."""
    return f"2.25.{_whole_number(key, *map(str, parts))}"


def _whole_number(*parts: str) -> int:
    """A number of 128 bits that follows from its arguments."""
    return int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:16], "big")


def _history(cine: Cine) -> Iterator[dict[str, Any]]:
    """The record and those of what the cine was made from, each under its successor's ``source``."""
    return _records(cine.sidecar)


def _records(record: Any) -> Iterator[dict[str, Any]]:
    while isinstance(record, dict):
        yield record
        record = record.get("source")


def source_of(cine: Cine) -> dict[str, Any]:
    """What the record says of the study that the cine, or what it was made from, was read from; empty without one."""
    return next((record for record in _history(cine) if "study_uid" in record), {})


def is_simulated(cine: Cine) -> bool:
    """Whether the record says that the image was simulated, or made from a simulated one."""
    return is_simulated_record(cine.sidecar)


def is_simulated_record(record: dict[str, Any]) -> bool:
    """As `is_simulated`, of a cine's record alone."""
    return any("simulation" in part or "seed" in part for part in _records(record))


def is_synthetic(cine: Cine) -> bool:
    """Whether any part of the image was made artificially: simulated, or real with simulated tags; or called so."""
    return is_simulated(cine) or any("tagging" in r or r.get("synthetic") is True for r in _history(cine))


def frame_of_reference(cine: Cine, key: str) -> str:
    """UID of the space that the image lies in: its source's where there is one."""
    return str(source_of(cine).get("frame_of_reference_uid") or uid(key, "space"))


def series_number(cine: Cine, *, enhanced: bool = False) -> int:
    """Number of a series of the cine's images; stacks of one study, and what is made of one stack, have different ones.

    It is the lowest number that the scanner gave the series of the stack, or one that follows from their UIDs where the
    record lacks it. `SERIES_STEP` above it is the enhanced object, and two steps higher each of them with simulated
    tags. What was read from no series is numbered 1 to 4. (Segmentations: see `dicom_segments.series_number_of`.)
    """
    derived = 2 * bool(tagging_record(cine)) + enhanced
    source = source_of(cine)
    given = [n for n in source.get("series_numbers") or [] if isinstance(n, int) and 0 < n <= LARGEST_SERIES]
    if given:
        return min(given) + SERIES_STEP * derived
    if source.get("series_uids"):
        number = 1 + _whole_number(*sorted(map(str, source["series_uids"]))) % (SERIES_STEP - 1)
        return number + SERIES_STEP * derived
    return 1 + derived


def _patient_id(cine: Cine, key: str) -> str:
    """The same for all that was read from one study, or scanned of one simulated subject; no patient's."""
    study = source_of(cine).get("study_uid")
    simulated = is_simulated(cine)
    if study:
        key = hashlib.sha256(f"patient of study {study}".encode()).hexdigest()
    elif simulated and (anatomy := _anatomy(cine)):
        key = hashlib.sha256(f"subject {json_text(anatomy)}".encode()).hexdigest()
    return f"CMRSIM-{'SIM' if simulated else 'CONVERTED'}-{key[:12].upper()}"


def _anatomy(cine: Cine) -> dict[str, Any]:
    """What the record says of the simulated subject; empty without one."""
    return next((record["anatomy"] for record in _history(cine) if isinstance(record.get("anatomy"), dict)), {})


def study_dataset(cine: Cine, key: str) -> Any:
    """Patient, study and equipment modules, and the marks, for every object of one cine."""
    from pydicom.dataset import Dataset

    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    simulated = is_simulated(cine)
    if is_synthetic(cine):
        ds.add_new(SYNTHETIC_DATA, "CS", "YES")
    ds.PatientName = f"{'SIM' if simulated else 'CONVERTED'}^CMRSIM"
    ds.PatientID = _patient_id(cine, key)
    ds.PatientBirthDate = ""
    body = _anatomy(cine).get("parameters", {}).get("torso", {})
    ds.PatientSex = str(body.get("sex", ""))[:1]
    if "age_years" in body:
        ds.PatientAge = f"{min(999, int(body['age_years'])):03d}Y"
    if "height_cm" in body and "weight_kg" in body:
        ds.PatientSize, ds.PatientWeight = f"{body['height_cm'] / 100:.3f}", f"{body['weight_kg']:.1f}"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "No patient: simulated" if simulated else "Identifiers left out by CMRSimExtension"
    ds.PatientComments = "For research, not for clinical use"
    ds.StudyInstanceUID = uid(str(source_of(cine).get("study_uid") or key), "study")
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.StudyID = "CMRSIM"
    ds.StudyDescription = "Simulated cardiac MR" if simulated else "Cardiac MR"
    ds.Manufacturer = "CMRSimExtension"
    ds.ManufacturerModelName = "cmrsim"
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = __version__
    ds.PositionReferenceIndicator = ""
    ds.FrameOfReferenceUID = frame_of_reference(cine, key)
    return ds


def protocol_values(cine: Cine) -> dict[str, Any]:
    """Field strength, TR, TE, flip angle and the like from the record, simulated or read; None where unknown."""
    values: dict[str, Any] = next((dict(r["protocol"]) for r in _history(cine) if r.get("protocol")), {})
    return {name: values.get(name, source_of(cine).get(name)) for name in
            ("field_t", "repetition_time_ms", "echo_time_ms", "flip_angle_deg", "sequence", "phase_direction",
             "sar_w_per_kg", "imaging_frequency_mhz", "pixel_bandwidth_hz", "magnetization_transfer",
             "blood_signal_nulling", "trajectory", "partial_fourier", "acceleration", "filter", "filter_strength",
             "fov_mm", "acquired_resolution_mm")}


def tagging_record(cine: Cine) -> dict[str, Any]:
    """What the record says of the tags of the cine, or of what it was made from; empty without any."""
    return next((r["tagging"] for r in _history(cine) if isinstance(r.get("tagging"), dict)), {})


def geometry(cine: Cine) -> tuple[list[str], list[list[str]], list[str]]:
    """(orientation, position of each slice, pixel spacing) as decimal strings in DICOM's LPS.

    Raises
    ------
    InputError
        Rows and columns are not perpendicular, which DICOM cannot say.
    """
    affine = cine.grid.affine_ras
    axes = _LPS @ (affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0))
    if abs(axes[:, 0] @ axes[:, 1]) > 1e-4:
        raise InputError(f"rows and columns of the image meet at {np.degrees(np.arccos(axes[:, 0] @ axes[:, 1])):.2f} "
                         "degrees; DICOM needs a right angle, resample it first")
    origins = cine.slice_origins_mm
    if origins is None:
        origins = affine[:3, 3] + np.arange(cine.grid.shape[0])[:, None] * affine[:3, 2]
    dx, dy, _ = cine.grid.spacing_mm
    return ([ds_text(v) for v in axes.T.reshape(-1)], [[ds_text(v) for v in o] for o in origins @ _LPS],
            [ds_text(dy), ds_text(dx)])


def ds_text(value: float) -> str:
    """`value` in the 16 characters of a DICOM decimal string, as exactly as they allow."""
    for digits in range(17, 0, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    raise InputError(f"{value} does not fit a DICOM decimal string")


def heartbeats(cine: Cine) -> NDArray[np.float64] | None:
    """(slices,) length of each slice's heartbeat; from the frame times where nothing else is known."""
    if cine.heartbeats_ms is not None:
        return cine.heartbeats_ms
    if cine.times_ms is None or cine.times_ms.shape[1] < 2:
        return None
    frames = cine.times_ms.shape[1]
    return np.asarray((cine.times_ms[:, -1] - cine.times_ms[:, 0]) * frames / (frames - 1))


def mean_heart_rate(cine: Cine) -> int | None:
    """Beats per minute, or None."""
    beat = heartbeat_ms(cine)
    return None if not beat else round(60000.0 / beat)
