"""Enhanced MR: the whole cine as one multi-frame object, which carries its geometry and times frame by frame."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.atomic import StagedFiles
from CMRSimExtension.files.cine_files import check_cine
from CMRSimExtension.files.dicom_identity import (
    ds_text,
    geometry,
    heartbeats,
    is_simulated,
    protocol_values,
    series_number,
    stored,
    study_dataset,
    uid,
)
from CMRSimExtension.files.dicom_images import ENHANCED_MR_IMAGE
from CMRSimExtension.files.dicom_reading import dicom_sidecar_path
from CMRSimExtension.files.dicom_tags import tag_attributes
from CMRSimExtension.files.dicom_writing import pixel_module, save, series_description
from CMRSimExtension.files.sidecar import sidecar_text
from CMRSimExtension.physics.bloch import GAMMA_BAR_HZ_PER_T
from CMRSimExtension.physics.readout import longest_readout_ms
from CMRSimExtension.simulation.cine import Cine

_TIMESTAMP = "20000101000000"
"""Type 1 in this object, and unknown to a simulation: the same for all, so that the same cine gives the same bytes."""

_SCAN = ("field_t", "repetition_time_ms", "echo_time_ms", "flip_angle_deg")
"""What an original must say of its scan."""


def write_enhanced(cine: Cine, path: Path | str) -> list[Path]:
    """Write a cine as one Enhanced MR Image object, with its sidecar beside it.

    Parameters
    ----------
    cine
        Cine to write. Its labels are not part of this object; write them as DICOM segmentation.
    path
        Name ending in .dcm.

    Returns
    -------
    list of Path
        The object and the sidecar.

    Raises
    ------
    InputError
        Another ending, negative values, or rows and columns that are not perpendicular.
    """
    check_cine(cine)
    path = Path(path)
    if path.suffix.lower() != ".dcm":
        raise InputError(f"{path.name} does not end in .dcm; an enhanced object is one file, name it so")
    values = stored(cine)
    dataset = enhanced_dataset(cine, values.pixels, values.key)
    with StagedFiles() as staged:
        save(dataset, staged.path(path))
        text = sidecar_text(
            cine, {"image": path.name}, scale=values.scale, quantum=values.quantum, stored=values.pixels
        )
        staged.path(dicom_sidecar_path(path)).write_text(text, encoding="utf-8")
    return [path, dicom_sidecar_path(path)]


def enhanced_dataset(cine: Cine, pixels: np.ndarray, key: str) -> Dataset:
    """The pydicom data set of the whole cine; `pixels` (frames, slices, rows, columns), see `dicom_identity.stored`."""
    frames, slices = pixels.shape[:2]
    protocol = protocol_values(cine)
    # Only an original must name its scan in full: a simulated one whose record says all of it, never an image of
    # somebody's scanner, of which no more is said than is known.
    original = is_simulated(cine) and all(protocol[name] is not None for name in _SCAN)
    ds = Dataset()
    ds.update(study_dataset(cine, key))
    ds.SOPClassUID, ds.SOPInstanceUID = ENHANCED_MR_IMAGE, uid(key, "enhanced")
    ds.Modality = "MR"
    ds.SeriesInstanceUID, ds.InstanceNumber = uid(key, "enhanced series"), 1
    ds.SeriesNumber = series_number(cine, enhanced=True)
    ds.SeriesDescription = series_description(cine)
    ds.BodyPartExamined, ds.PatientPosition = "HEART", "HFS"
    ds.ContentDate, ds.ContentTime = _TIMESTAMP[:8], _TIMESTAMP[8:]
    ds.AcquisitionDateTime, ds.AcquisitionDuration = _TIMESTAMP, _duration_s(cine)
    ds.ImageType = ["ORIGINAL" if original else "DERIVED", "PRIMARY", "CINE", "NONE"]
    ds.PixelPresentation, ds.VolumetricProperties, ds.VolumeBasedCalculationTechnique = "MONOCHROME", "VOLUME", "NONE"
    ds.ComplexImageComponent, ds.AcquisitionContrast = "MAGNITUDE", "UNKNOWN"
    ds.ContentQualification = "RESEARCH"
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    ds.ResonantNucleus = "1H"
    if protocol["field_t"] is not None:
        ds.MagneticFieldStrength = float(protocol["field_t"])
    ds.ApplicableSafetyStandardAgency, ds.ApplicableSafetyStandardDescription = "IEC", ""
    if original:
        ds.ImageComments = "Sampled at the echo time alone; the pixel bandwidth is the lowest that TR and TE allow"
        _pulse_sequence(ds, protocol)
    _synchronization(ds, key, original)
    ds.NumberOfFrames = frames * slices
    ds.AcquisitionContextSequence = Sequence([])
    dimension = uid(key, "dimensions")
    ds.DimensionOrganizationSequence = Sequence([_item(DimensionOrganizationUID=dimension)])
    ds.DimensionOrganizationType = "3D_TEMPORAL" if cine.slice_origins_mm is None and frames > 1 else "3D"
    ds.DimensionIndexSequence = Sequence([
        _item(DimensionOrganizationUID=dimension, DimensionIndexPointer=pointer, FunctionalGroupPointer=group,
              DimensionDescriptionLabel=label)
        for pointer, group, label in ((0x00209057, 0x00209111, "slice"), (0x00209128, 0x00209111, "time"))
    ])
    ds.SharedFunctionalGroupsSequence = Sequence([_shared(cine, protocol, original)])
    ds.PerFrameFunctionalGroupsSequence = Sequence(_per_frame(cine))
    pixel_module(ds, np.moveaxis(pixels, 0, 1).reshape(-1, *pixels.shape[2:]))
    return ds


def _pulse_sequence(ds: Dataset, protocol: dict[str, Any]) -> None:
    ds.PulseSequenceName = "cmrsim"
    ds.MRAcquisitionType, ds.EchoPulseSequence = "2D", "GRADIENT"
    ds.MultiPlanarExcitation, ds.PhaseContrast, ds.TimeOfFlightContrast = "NO", "NO", "NO"
    ds.SteadyStatePulseSequence = "NONE" if protocol["sequence"] == "gre" else "FREE_PRECESSION"
    ds.EchoPlanarPulseSequence, ds.SaturationRecovery, ds.SpectrallySelectedSuppression = "NO", "NO", "NONE"
    ds.OversamplingPhase, ds.SegmentedKSpaceTraversal = "NONE", "PARTIAL"
    ds.GeometryOfKSpaceTraversal = "RECTILINEAR" if _rectilinear(protocol) else "RADIAL"
    if _rectilinear(protocol):
        ds.RectilinearPhaseEncodeReordering = "LINEAR"
    ds.KSpaceFiltering = str(protocol["filter"] or "none").upper() if protocol["filter_strength"] else "NONE"
    ds.NumberOfKSpaceTrajectories = 1


def _rectilinear(protocol: dict[str, Any]) -> bool:
    return protocol["trajectory"] in (None, "cartesian")


def _synchronization(ds: Dataset, key: str, original: bool) -> None:
    ds.SynchronizationFrameOfReferenceUID = uid(key, "clock")
    ds.SynchronizationTrigger, ds.AcquisitionTimeSynchronized = "NO TRIGGER", "N"
    if original:
        ds.CardiacSynchronizationTechnique, ds.CardiacSignalSource = "RETROSPECTIVE", "ECG"
        ds.CardiacBeatRejectionTechnique = "NONE"
        ds.LowRRValue = ds.HighRRValue = None
        ds.RespiratoryMotionCompensationTechnique, ds.RespiratorySignalSource = "BREATH_HOLD", "NONE"
        ds.IntervalsAcquired = ds.IntervalsRejected = None
        ds.CardiacRRIntervalSpecified = 0.0
        ds.BulkMotionCompensationTechnique = "NONE"


def _shared(cine: Cine, protocol: dict[str, Any], original: bool) -> Dataset:
    orientation, _, spacing = geometry(cine)
    shared = Dataset()
    measures = _item(PixelSpacing=spacing, SliceThickness=ds_text(cine.grid.slice_thickness_mm))
    if cine.grid.shape[0] > 1 and cine.slice_origins_mm is None:
        measures.SpacingBetweenSlices = ds_text(cine.grid.spacing_mm[2])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=orientation)])
    region = _code("80891009", "SCT", "Heart")
    shared.FrameAnatomySequence = Sequence([_item(FrameLaterality="U", AnatomicRegionSequence=Sequence([region]))])
    rescaling = _item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")
    shared.PixelValueTransformationSequence = Sequence([rescaling])
    shared.MRImageFrameTypeSequence = Sequence([_item(
        FrameType=["ORIGINAL" if original else "DERIVED", "PRIMARY", "CINE", "NONE"], PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME", VolumeBasedCalculationTechnique="NONE", ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast="UNKNOWN")])
    if original:
        _scan(shared, cine, protocol)
    else:
        _known(shared, cine, protocol)
    return shared


def _known(shared: Dataset, cine: Cine, protocol: dict[str, Any]) -> None:
    """What is known of how a derived image was scanned: only originals must have these groups (PS3.3 A.36.2).

    Nothing is made up to fill the group of the tags, of which the standard asks no more than is known. dciodvfy would
    have it whole, also of derived images: it is, where the scanner's own headers tell the rest.
    """
    absorbed, tr, te, flip, field = (
        None if protocol[name] is None else float(protocol[name])
        for name in ("sar_w_per_kg", "repetition_time_ms", "echo_time_ms", "flip_angle_deg", "field_t")
    )
    if absorbed is not None and tr is not None and flip is not None:
        # The group must name the absorption rate; where a scanner did not, it is left out.
        shared.MRTimingAndRelatedParametersSequence = Sequence([_timing(tr, flip, absorbed)])
    if te is not None:
        shared.MREchoSequence = Sequence([_item(EffectiveEchoTime=te)])
    tags = tag_attributes(cine)
    if tags:
        frequency, bandwidth = protocol["imaging_frequency_mhz"], protocol["pixel_bandwidth_hz"]
        if frequency is None and field is not None:
            frequency = _frequency_mhz(field)
        told = {
            "MagnetizationTransfer": protocol["magnetization_transfer"],
            "BloodSignalNulling": protocol["blood_signal_nulling"],
            "TransmitterFrequency": None if frequency is None else float(frequency),
            "PixelBandwidth": None if bandwidth is None else ds_text(float(bandwidth)),
        }
        modifier = _item(**tags, **{name: value for name, value in told.items() if value is not None})
        shared.MRImagingModifierSequence = Sequence([modifier])


def _timing(tr_ms: float, flip_deg: float, absorbed_w_per_kg: float) -> Dataset:
    # IEC 60601-2-33: up to 2 W/kg of the whole body is the normal operating mode.
    normal = absorbed_w_per_kg <= 2.0
    return _item(
        RepetitionTime=ds_text(tr_ms), FlipAngle=ds_text(flip_deg), EchoTrainLength=1, RFEchoTrainLength=0,
        GradientEchoTrainLength=1,
        OperatingModeSequence=Sequence([
            _item(OperatingModeType="RF", OperatingMode="IEC_NORMAL" if normal else "IEC_FIRST_LEVEL")]),
        SpecificAbsorptionRateSequence=Sequence([_item(
            SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=absorbed_w_per_kg)]))


def _frequency_mhz(field_t: float) -> float:
    return GAMMA_BAR_HZ_PER_T * 1e-6 * field_t


def _bandwidth_hz(tr_ms: float, te_ms: float) -> float:
    """Pixel bandwidth of the longest readout that fits between two pulses, the lowest; rounded up, in Hz.

    Pixel Bandwidth is the reciprocal of the sampling period (PS3.3 C.8.3.1).

    Raises
    ------
    InputError
        The echo does not lie between two pulses.
    """
    readout_ms = longest_readout_ms(tr_ms, te_ms)
    if readout_ms is None:
        raise InputError(
            f"the record says an echo time of {te_ms:g} ms and a repetition time of {tr_ms:g} ms; an echo lies between "
            "two pulses, copy the sidecar again"
        )
    return float(np.ceil(1000.0 / readout_ms))


def _scan(shared: Dataset, cine: Cine, protocol: dict[str, Any]) -> None:
    """The groups that tell how a simulated image was scanned.

    An original must have a pixel bandwidth, and the scanner models none: it samples at the echo time alone, so that
    nothing is shifted or blurred along the read direction. What is written is a bound that follows from the times, see
    `_bandwidth_hz`; Image Comments say so.
    """
    field, tr, te, flip = (float(protocol[name]) for name in _SCAN)
    # A simulation heats nobody.
    timing = _timing(tr, flip, 0.0)
    timing.GradientOutputType, timing.GradientOutput = "DB_DT", 0.0
    timing.OperatingModeSequence = Sequence([
        _item(OperatingModeType=kind, OperatingMode="IEC_NORMAL") for kind in ("STATIC FIELD", "RF", "GRADIENT")])
    shared.MRTimingAndRelatedParametersSequence = Sequence([timing])
    along_rows = protocol["phase_direction"] != "columns"
    partial, factor = (float(protocol[name] or 1) if _rectilinear(protocol) else 1.0
                       for name in ("partial_fourier", "acceleration"))
    phase, read, phase_share = _encoding(cine, protocol, along_rows)
    shared.MRFOVGeometrySequence = Sequence([_item(
        InPlanePhaseEncodingDirection="COLUMN" if along_rows else "ROW", MRAcquisitionFrequencyEncodingSteps=read,
        MRAcquisitionPhaseEncodingStepsInPlane=phase, MRAcquisitionPhaseEncodingStepsOutOfPlane=1,
        PercentSampling=ds_text(100.0 * partial / factor), PercentPhaseFieldOfView=ds_text(100.0 * phase_share))])
    shared.MREchoSequence = Sequence([_item(EffectiveEchoTime=te)])
    modifier = _item(
        InversionRecovery="NO", FlowCompensation="NONE", Spoiling="RF" if protocol["sequence"] == "gre" else "NONE",
        T2Preparation="NO", SpectrallySelectedExcitation="NONE", SpatialPresaturation="NONE",
        PartialFourier="YES" if partial < 1 else "NO", ParallelAcquisition="YES" if factor > 1 else "NO")
    if partial < 1:
        modifier.PartialFourierDirection = "PHASE"
    if factor > 1:
        modifier.ParallelAcquisitionTechnique = "SENSE"
        modifier.ParallelReductionFactorInPlane, modifier.ParallelReductionFactorOutOfPlane = factor, 1.0
        modifier.ParallelReductionFactorSecondInPlane = 1.0
    shared.MRModifierSequence = Sequence([modifier])
    shared.MRImagingModifierSequence = Sequence([_item(
        MagnetizationTransfer="NONE", BloodSignalNulling="NO", **(tag_attributes(cine) or {"Tagging": "NONE"}),
        TransmitterFrequency=_frequency_mhz(field), PixelBandwidth=ds_text(_bandwidth_hz(tr, te)))])
    shared.MRReceiveCoilSequence = Sequence([_item(
        ReceiveCoilName="SIMULATED", ReceiveCoilManufacturerName="CMRSimExtension", ReceiveCoilType="MULTICOIL",
        QuadratureReceiveCoil="NO", MultiCoilDefinitionSequence=Sequence([
            _item(MultiCoilElementName="ALL", MultiCoilElementUsed="YES")]))])
    shared.MRTransmitCoilSequence = Sequence([_item(
        TransmitCoilName="BODY", TransmitCoilManufacturerName="CMRSimExtension", TransmitCoilType="BODY")])
    shared.MRAveragesSequence = Sequence([_item(NumberOfAverages="1")])


def _encoding(cine: Cine, protocol: dict[str, Any], along_rows: bool) -> tuple[int, int, float]:
    """Encoded samples along the phase and the read direction, and the former's field of view over the latter's.

    Where the record does not tell the acquired resolution, as many as the image has pixels.
    """
    dx, dy, _ = cine.grid.spacing_mm
    pixels = cine.grid.shape[1:] if along_rows else cine.grid.shape[:0:-1]
    sides = (dy, dx) if along_rows else (dx, dy)
    share = pixels[0] * sides[0] / (pixels[1] * sides[1])
    field, resolution = protocol["fov_mm"], protocol["acquired_resolution_mm"]
    if field is None or resolution is None:
        return pixels[0], pixels[1], share
    phase, read = (round(f / r) for f, r in zip(field if along_rows else field[::-1], resolution, strict=True))
    return phase, read, share


def _per_frame(cine: Cine) -> list[Dataset]:
    _, positions, _ = geometry(cine)
    beats = heartbeats(cine)
    frames, slices = cine.image.shape[:2]
    duration = 0.0 if beats is None else float(np.mean(beats)) / frames
    groups = []
    for s in range(slices):
        for f in range(frames):
            group = Dataset()
            content = _item(
                FrameReferenceDateTime=_TIMESTAMP, FrameAcquisitionDateTime=_TIMESTAMP, FrameAcquisitionNumber=s + 1,
                FrameAcquisitionDuration=duration, TemporalPositionIndex=f + 1, StackID="1",
                InStackPositionNumber=s + 1, DimensionIndexValues=[s + 1, f + 1])
            group.FrameContentSequence = Sequence([content])
            group.PlanePositionSequence = Sequence([_item(ImagePositionPatient=positions[s])])
            if cine.times_ms is not None:
                cardiac = _item(NominalCardiacTriggerDelayTime=float(cine.times_ms[s, f]))
                if beats is not None:
                    cardiac.RRIntervalTimeNominal = float(beats[s])
                group.CardiacSynchronizationSequence = Sequence([cardiac])
            groups.append(group)
    return groups


def _duration_s(cine: Cine) -> float:
    beats = heartbeats(cine)
    return 0.0 if beats is None else float(beats.sum()) / 1000.0


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item
