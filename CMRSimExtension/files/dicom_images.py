"""The headers of DICOM MR images, classic and enhanced, as one flat list of slices at one position and time.

Positions here are LPS millimetres, as DICOM writes them; they become RAS where a cine is made of them.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.third_party import reading

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"

TRANSFERS = ("ON_RESONANCE", "OFF_RESONANCE", "NONE")
"""Values of Magnetization Transfer (PS3.3 C.8.13.5.6)."""

MR_CLASSES = (MR_IMAGE, ENHANCED_MR_IMAGE)
"""What scanners store MR images as; some programs store them again as other classes, and keep the modality."""

SYNTHETIC_DATA = 0x0008001C
"""Synthetic Data (PS3.3 C.12.1), which older dictionaries do not name."""

_ELEMENTS: tuple[str | int, ...] = (
    "ImageType", "ComplexImageComponent", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "Modality", "SeriesNumber", "SeriesDescription", "InstanceNumber", "Rows", "Columns",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "TriggerTime",
    "TemporalPositionIdentifier", "NumberOfTemporalPositions", "NominalInterval", "CardiacNumberOfImages",
    "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength", "RepetitionTime",
    "EchoTime", "FlipAngle", "SAR", "ScanningSequence", "SequenceVariant", "ScanOptions", "ImagingFrequency",
    "PixelBandwidth", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", SYNTHETIC_DATA,
)
"""All that is read of a header: scanners' private elements hold a hundred times more."""


@dataclass(frozen=True)
class DicomImage:
    """One slice at one time: a file of a classic series, or a frame of an enhanced one.

    Attributes
    ----------
    path, frame
        File, and the frame's index in it (0 in classic files).
    enhanced
        Whether the file is an enhanced object, of many frames.
    study_uid, series_uid, sop_uid, frame_of_reference_uid
        Identifiers.
    series_number, series_description
        As shown to operators.
    image_type
        Words of Image Type (of a frame, its Frame Type), as ``("ORIGINAL", "PRIMARY", "M")``; empty where absent.
    component
        "magnitude", "phase", "real", "imaginary" or "mixed", in so far as the header says it; else empty.
    rows, columns
        Matrix.
    orientation
        Six direction cosines, LPS: along a row, then along a column.
    position
        LPS mm of the first pixel's centre.
    spacing
        (between rows, between columns), mm.
    thickness
        Slice thickness, mm.
    trigger_ms, temporal_index, instance_number
        What orders the images in time; None where absent.
    heartbeat_ms
        Nominal Interval, or None.
    announced
        How many images a cycle should have (Cardiac Number of Images, Number of Temporal Positions), or None.
    protocol
        What else is kept in the record: manufacturer, field strength, TR, TE, flip angle and the like.
    """

    path: Path
    frame: int
    enhanced: bool
    study_uid: str
    series_uid: str
    sop_uid: str
    frame_of_reference_uid: str
    series_number: int
    series_description: str
    image_type: tuple[str, ...]
    component: str
    rows: int
    columns: int
    orientation: tuple[float, ...]
    position: tuple[float, ...]
    spacing: tuple[float, ...]
    thickness: float
    trigger_ms: float | None
    temporal_index: int | None
    instance_number: int
    heartbeat_ms: float | None
    announced: int | None
    protocol: tuple[tuple[str, Any], ...]


def is_dicom(file: Path) -> bool:
    """Whether the file has DICOM's preamble."""
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        raise InputError(f"{file} may not be read ({error.strerror}); change its permissions") from error


def read_header(file: Path) -> Any:
    """The elements of `file` that this project uses, as a pydicom data set."""
    import pydicom

    with reading(file, "a DICOM file"):
        dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[pydicom.tag.Tag(e) for e in _ELEMENTS])
        # Touch every element, so that a broken value is found here and not in the middle of the work.
        for element in dataset:
            element.value  # noqa: B018
        return dataset


def images_of(file: Path, dataset: Any) -> list[DicomImage]:
    """The MR image, or the frames of the enhanced MR image, whose header is `dataset` (see `read_header`).

    Raises
    ------
    FileFormatError
        It is truncated or damaged, a colour image, or lacks what gives it a place in space.
    """
    with reading(file, "a DICOM MR image"):
        try:
            return _images_of(file, dataset)
        except FileFormatError as error:
            if file.name in str(error):
                raise
            raise FileFormatError(f"{file.name}: {error}") from error


def _images_of(file: Path, dataset: Any) -> list[DicomImage]:
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise FileFormatError(f"{file.name} is an MR image without a number of rows and columns; it is truncated, "
                              "copy or export it again")
    samples, colour = int(dataset.get("SamplesPerPixel", 1)), str(dataset.get("PhotometricInterpretation"))
    if samples != 1 or colour != "MONOCHROME2":
        raise FileFormatError(
            f"{file.name} is {colour} with {samples} samples per pixel; a grey image (MONOCHROME2) is needed"
        )
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return _enhanced(file, dataset)
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise FileFormatError(f"{file.name} has several frames but no place in space for each; export it as "
                              "classic or enhanced MR")
    return [_classic(file, dataset)]


def _classic(file: Path, dataset: Any) -> DicomImage:
    return _checked(file, DicomImage(
        path=file, frame=0, enhanced=False,
        position=_numbers(dataset, "ImagePositionPatient", 3),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        spacing=_numbers(dataset, "PixelSpacing", 2),
        thickness=_number(dataset, "SliceThickness") or 0.0,
        trigger_ms=_number(dataset, "TriggerTime"),
        temporal_index=_whole(dataset, "TemporalPositionIdentifier"),
        heartbeat_ms=_number(dataset, "NominalInterval"),
        announced=_whole(dataset, "CardiacNumberOfImages") or _whole(dataset, "NumberOfTemporalPositions"),
        protocol=_protocol(dataset, dataset) + (
            ("echo_time_ms", _number(dataset, "EchoTime")),
            ("imaging_frequency_mhz", _number(dataset, "ImagingFrequency")),
            ("pixel_bandwidth_hz", _number(dataset, "PixelBandwidth")),
            ("magnetization_transfer", _transfer(dataset)),
            ("blood_signal_nulling", _nulling(dataset)),
        ),
        **_identity(dataset),
    ))


def _enhanced(file: Path, dataset: Any) -> list[DicomImage]:
    shared = dataset.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in dataset else None
    frames = dataset.PerFrameFunctionalGroupsSequence
    if len(frames) != int(dataset.NumberOfFrames):
        raise FileFormatError(f"{file.name} announces {dataset.NumberOfFrames} frames and describes {len(frames)}; "
                              "export it again")

    def group(frame: Any, name: str) -> Any:
        for source in (frame, shared):
            if source is not None and name in source and len(getattr(source, name)):
                return getattr(source, name)[0]
        import pydicom

        return pydicom.Dataset()

    images = []
    for index, frame in enumerate(frames):
        measures, cardiac = group(frame, "PixelMeasuresSequence"), group(frame, "CardiacSynchronizationSequence")
        content, timing = group(frame, "FrameContentSequence"), group(frame, "MRTimingAndRelatedParametersSequence")
        modifier, kind = group(frame, "MRImagingModifierSequence"), group(frame, "MRImageFrameTypeSequence")
        images.append(_checked(file, DicomImage(
            path=file, frame=index, enhanced=True,
            position=_numbers(group(frame, "PlanePositionSequence"), "ImagePositionPatient", 3),
            orientation=_numbers(group(frame, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
            spacing=_numbers(measures, "PixelSpacing", 2),
            thickness=_number(measures, "SliceThickness") or 0.0,
            trigger_ms=_number(cardiac, "NominalCardiacTriggerDelayTime"),
            temporal_index=_whole(content, "TemporalPositionIndex"),
            heartbeat_ms=_number(cardiac, "RRIntervalTimeNominal"),
            announced=None,
            protocol=_protocol(dataset, timing) + (
                ("echo_time_ms", _number(group(frame, "MREchoSequence"), "EffectiveEchoTime")),
                ("imaging_frequency_mhz", _number(modifier, "TransmitterFrequency")),
                ("pixel_bandwidth_hz", _number(modifier, "PixelBandwidth")),
                ("magnetization_transfer", _one_of(modifier, "MagnetizationTransfer", TRANSFERS)),
                ("blood_signal_nulling", _one_of(modifier, "BloodSignalNulling", ("YES", "NO"))),
            ),
            **(_identity(dataset) | {"instance_number": index + 1} | _kind(kind, "FrameType", dataset)),
        )))
    return images


def _identity(dataset: Any) -> dict[str, Any]:
    sop_uid = str(dataset.get("SOPInstanceUID") or dataset.file_meta.get("MediaStorageSOPInstanceUID") or "")
    if not sop_uid:
        raise FileFormatError("the image has no SOP Instance UID (0008,0018), nor a Media Storage SOP Instance UID "
                              "(0002,0003), by which images are told apart; export it again")
    return _kind(dataset, "ImageType", dataset) | {
        "study_uid": str(dataset.get("StudyInstanceUID", "")), "series_uid": str(dataset.get("SeriesInstanceUID", "")),
        "sop_uid": sop_uid,
        "frame_of_reference_uid": str(dataset.get("FrameOfReferenceUID", "")),
        "series_number": _whole(dataset, "SeriesNumber") or 0,
        "series_description": str(dataset.get("SeriesDescription", "") or ""),
        "rows": int(dataset.Rows), "columns": int(dataset.Columns),
        "instance_number": _whole(dataset, "InstanceNumber") or 0,
    }


_COMPONENTS = {"M": "magnitude", "P": "phase", "R": "real", "I": "imaginary", "MAG": "magnitude", "PHASE": "phase",
               "VELOCITY": "phase", "MAGNITUDE": "magnitude", "REAL": "real", "IMAGINARY": "imaginary"}


def _kind(dataset: Any, name: str, whole: Any) -> dict[str, Any]:
    """`image_type` and `component` of an image, or of a frame of the object `whole`.

    Enhanced images have Complex Image Component (PS3.3 C.8.13.3.1.2). For classic ones it is the third value of Image
    Type, or one after it: Siemens writes M, P, R or I, Philips M_FFE, PHASE MAP, VELOCITY MAP and the like.
    """
    value = dataset.get(name) or whole.get("ImageType") or ()
    words = tuple(str(word).strip().upper() for word in ([value] if isinstance(value, str) else value))
    component = str(dataset.get("ComplexImageComponent") or whole.get("ComplexImageComponent") or "").lower()
    if not component:
        heads = (re.split(r"[_ ]", word)[0] for word in words[2:])
        component = next((_COMPONENTS[head] for head in heads if head in _COMPONENTS), "")
    return {"image_type": words, "component": component}


def _protocol(dataset: Any, timing: Any) -> tuple[tuple[str, Any], ...]:
    return (
        ("manufacturer", str(dataset.get("Manufacturer", "") or "")),
        ("model", str(dataset.get("ManufacturerModelName", "") or "")),
        ("field_t", _number(dataset, "MagneticFieldStrength")),
        ("repetition_time_ms", _number(timing, "RepetitionTime")),
        ("flip_angle_deg", _number(timing, "FlipAngle")),
        ("sar_w_per_kg", _number(dataset, "SAR") or _absorption(timing)),
        ("synthetic", True if SYNTHETIC_DATA in dataset and dataset[SYNTHETIC_DATA].value == "YES" else None),
    )


def _transfer(dataset: Any) -> str | None:
    """Magnetization Transfer of a classic image; None where not known: of a transfer, its kind is not told."""
    variants = _words(dataset, "SequenceVariant")
    return "NONE" if variants and "MTC" not in variants else None


def _nulling(dataset: Any) -> str | None:
    """Blood Signal Nulling of a classic image: NO where nothing inverts or saturates the blood, else None."""
    sequences = _words(dataset, "ScanningSequence")
    saturating = {"SP", "SAT"} & _words(dataset, "ScanOptions")
    return "NO" if sequences and "IR" not in sequences and not saturating else None


def _words(dataset: Any, name: str) -> set[str]:
    value = dataset.get(name) or ""
    return {value} - {""} if isinstance(value, str) else {str(word) for word in value}


def _one_of(dataset: Any, name: str, words: tuple[str, ...]) -> str | None:
    value = str(dataset.get(name, ""))
    return value if value in words else None


def _absorption(timing: Any) -> float | None:
    rates = timing.get("SpecificAbsorptionRateSequence")
    return _number(rates[0], "SpecificAbsorptionRateValue") if rates else None


def _checked(file: Path, image: DicomImage) -> DicomImage:
    values = np.array([*image.position, *image.orientation, *image.spacing])
    if not np.all(np.isfinite(values)) or min(image.spacing) <= 0:
        raise FileFormatError(f"{file.name} has a position, orientation or pixel spacing that is not a number above 0; "
                              "export it again")
    along_row, along_column = np.array(image.orientation[:3]), np.array(image.orientation[3:])
    lengths = np.linalg.norm([along_row, along_column], axis=1)
    # Six decimals are what scanners write; oblique directions are off by a few of the last.
    if np.any(np.abs(lengths - 1) > 1e-3) or abs(along_row @ along_column) > 1e-3:
        raise FileFormatError(f"{file.name} has direction cosines that are not perpendicular unit vectors "
                              f"({list(image.orientation)}); export it again")
    if image.rows < 1 or image.columns < 1:
        raise FileFormatError(f"{file.name} has {image.rows} x {image.columns} pixels; export it again")
    return image


def _numbers(dataset: Any, name: str, count: int) -> tuple[float, ...]:
    value = dataset.get(name)
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != count:
        raise FileFormatError(f"{name} is missing or does not hold {count} numbers, so the image has no known place; "
                              "export the original images, not secondary captures")
    return tuple(float(v) for v in value)


def _number(dataset: Any, name: str) -> float | None:
    value = dataset.get(name)
    if value is None or value == "" or (hasattr(value, "__len__") and not isinstance(value, str)):
        return None
    number = float(value)
    if not np.isfinite(number):
        raise FileFormatError(f"{name} is {number}; export the file again")
    return number


def _whole(dataset: Any, name: str) -> int | None:
    number = _number(dataset, name)
    return None if number is None else int(number)
