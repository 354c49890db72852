"""Classic DICOM MR images: one file for each slice and frame, all in one series."""

from pathlib import Path
from typing import Any

import numpy as np

from CMRSimExtension.files.atomic import StagedFiles, atomic_folder
from CMRSimExtension.files.cine_files import check_cine
from CMRSimExtension.files.dicom_identity import (
    Stored,
    ds_text,
    geometry,
    heartbeats,
    is_simulated,
    mean_heart_rate,
    protocol_values,
    series_number,
    source_of,
    stored,
    study_dataset,
    uid,
)
from CMRSimExtension.files.dicom_images import MR_IMAGE
from CMRSimExtension.files.dicom_reading import dicom_sidecar_path
from CMRSimExtension.files.display import window
from CMRSimExtension.files.label_origin import LabelOrigin
from CMRSimExtension.files.sidecar import sidecar_text
from CMRSimExtension.simulation.cine import Cine

IMPLEMENTATION_UID = uid("CMRSimExtension", "implementation")


def write_dicom(cine: Cine, folder: Path | str, origin: LabelOrigin | None = None) -> list[Path]:
    """Write a cine as a classic series into a new folder, with its sidecar beside the folder.

    Frames are told apart by Trigger Time (each slice has its own), Temporal Position Identifier (the same for all
    slices, which is what 3D Slicer's multi-volume importer groups by) and Instance Number. Labels become DICOM
    segmentations in the subfolder ``segmentation``, one for each frame.

    Parameters
    ----------
    cine
        Cine to write.
    folder
        A folder that does not exist, or is empty.
    origin
        Who made the labels; None: as the cine's record says.

    Returns
    -------
    list of Path
        The folder and the sidecar.

    Raises
    ------
    InputError
        The folder holds files, values are negative, or rows and columns are not perpendicular.
    """
    check_cine(cine)
    folder = Path(folder)
    values = stored(cine)
    images = image_datasets(cine, values)
    sidecar = dicom_sidecar_path(folder)
    with StagedFiles() as staged, atomic_folder(folder) as temporary:
        for s, of_slice in enumerate(images):
            for f, dataset in enumerate(of_slice):
                save(dataset, temporary / f"slice{s + 1:02d}_frame{f + 1:03d}.dcm")
        if cine.labels is not None and cine.labels.any():
            from CMRSimExtension.files.dicom_segmentation import segmentation_datasets

            (temporary / "segmentation").mkdir()
            for f, dataset in segmentation_datasets(cine, images, origin=origin):
                save(dataset, temporary / "segmentation" / f"frame{f + 1:03d}.dcm")
        text = sidecar_text(
            cine, {"image": folder.name}, scale=values.scale, quantum=values.quantum, stored=values.pixels
        )
        staged.path(sidecar).write_text(text, encoding="utf-8")
    return [folder, sidecar]


def image_datasets(cine: Cine, values: Stored) -> list[list[Any]]:
    """The pydicom data sets of a cine, [slice][frame]; the same cine gives the same identifiers every time."""
    common = study_dataset(cine, values.key)
    orientation, positions, spacing = geometry(cine)
    protocol = protocol_values(cine)
    beats = heartbeats(cine)
    frames, slices = cine.image.shape[:2]
    low, high = (level * values.scale for level in window(cine.image))
    return [
        [
            _dataset(cine, common, values, s, f, {
                "ImagePositionPatient": positions[s], "ImageOrientationPatient": orientation, "PixelSpacing": spacing,
                "beat": None if beats is None else float(beats[s]), "level": (low + high) / 2, "width": high - low,
            }, protocol)
            for f in range(frames)
        ]
        for s in range(slices)
    ]


def save(dataset: Any, path: Path) -> None:
    """Write a data set with its file meta information."""
    import pydicom
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = pydicom.uid.UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "CMRSIM"
    dataset.file_meta = meta
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def pixel_module(dataset: Any, pixels: np.ndarray) -> None:
    """Image Pixel module of unsigned 12 of 16 bits; `pixels` (rows, columns) or (frames, rows, columns)."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _dataset(
    cine: Cine, common: Any, values: Stored, s: int, f: int, place: dict[str, Any], protocol: dict[str, Any]
) -> Any:
    from pydicom.dataset import Dataset

    ds = Dataset()
    ds.update(common)
    simulated = is_simulated(cine)
    frames = cine.image.shape[0]
    ds.SOPClassUID, ds.SOPInstanceUID = MR_IMAGE, uid(values.key, "image", s, f)
    ds.ImageType = ["ORIGINAL" if simulated else "DERIVED", "PRIMARY", "OTHER"]
    ds.Modality = "MR"
    ds.SeriesInstanceUID = uid(values.key, "series")
    ds.SeriesNumber = series_number(cine)
    ds.AcquisitionNumber, ds.InstanceNumber = s + 1, s * frames + f + 1
    ds.SeriesDescription = series_description(cine)
    ds.BodyPartExamined = "HEART"
    ds.PatientPosition = "HFS"
    ds.ContentDate = ds.ContentTime = ""
    if not simulated:
        ds.DerivationDescription = "Scaled and rewritten by CMRSimExtension"
        _refer_to_source(ds, cine)
    ds.ImagePositionPatient = place["ImagePositionPatient"]
    ds.ImageOrientationPatient = place["ImageOrientationPatient"]
    ds.PixelSpacing = place["PixelSpacing"]
    ds.SliceThickness = ds_text(cine.grid.slice_thickness_mm)
    if cine.grid.shape[0] > 1 and cine.slice_origins_mm is None:
        ds.SpacingBetweenSlices = ds_text(cine.grid.spacing_mm[2])
    ds.ScanningSequence = "GR"
    ds.SequenceVariant = "SP" if protocol["sequence"] == "gre" else "SS"
    ds.ScanOptions = "CG"
    ds.MRAcquisitionType = "2D"
    ds.RepetitionTime = _text_or_empty(protocol["repetition_time_ms"])
    ds.EchoTime = _text_or_empty(protocol["echo_time_ms"])
    ds.EchoTrainLength = "1"
    if protocol["flip_angle_deg"] is not None:
        ds.FlipAngle = ds_text(protocol["flip_angle_deg"])
    if protocol["field_t"] is not None:
        ds.MagneticFieldStrength = ds_text(protocol["field_t"])
    ds.TriggerTime = "" if cine.times_ms is None else ds_text(cine.times_ms[s, f])
    if place["beat"] is not None:
        ds.NominalInterval = round(place["beat"])
        ds.HeartRate = mean_heart_rate(cine)
    if frames > 1:
        ds.CardiacNumberOfImages = frames
        ds.TemporalPositionIdentifier = f + 1
        ds.NumberOfTemporalPositions = frames
    pixel_module(ds, values.pixels[f, s])
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.WindowCenter, ds.WindowWidth = ds_text(round(place["level"], 1)), ds_text(max(1.0, round(place["width"], 1)))
    return ds


def series_description(cine: Cine) -> str:
    """What operators see: simulated and of which plane, or what the source said."""
    tagged = "tagged" if "tagging" in cine.sidecar else ""
    if is_simulated(cine):
        plane = cine.sidecar.get("simulation", {}).get("plane", "")
        return " ".join(word for word in ("Simulated", tagged, "cine", plane) if word)
    names = source_of(cine).get("series_descriptions") or ["cine"]
    return " ".join(word for word in (str(names[0]), tagged) if word)[:64]


def _refer_to_source(ds: Any, cine: Cine) -> None:
    """Related Series Sequence: where the images came from."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    source = source_of(cine)
    items = []
    for series in source.get("series_uids", []):
        item, purpose = Dataset(), Dataset()
        item.StudyInstanceUID, item.SeriesInstanceUID = str(source["study_uid"]), str(series)
        purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
        purpose.CodeMeaning = "Source Image for Image Processing Operation"
        item.PurposeOfReferenceCodeSequence = Sequence([purpose])
        items.append(item)
    if items:
        ds.RelatedSeriesSequence = Sequence(items)


def _text_or_empty(value: Any) -> str:
    return "" if value is None else ds_text(float(value))


