"""The XML header of an ISMRMRD file: what a reconstruction must know of all of its acquisitions."""

import json
from collections.abc import Collection
from typing import Any

import numpy as np

from CMRSimExtension.files.dicom_identity import is_simulated, protocol_values
from CMRSimExtension.files.ismrmrd_acquisitions import Acquisitions
from CMRSimExtension.physics.bloch import GAMMA_BAR_HZ_PER_T
from CMRSimExtension.physics.readout import longest_readout_ms
from CMRSimExtension.scanner.trajectories import GOLDEN_ANGLE_DEG
from CMRSimExtension.simulation.cine import Cine

_SAMPLING_NOTE = (
    "The simulated signal is sampled at the echo time alone, so that nothing is shifted or blurred along the readout; "
    "sample_time_us is the longest that the repetition time and the echo time allow."
)


def header_of(
    acquisitions: Acquisitions, shape: tuple[int, int, int], *, made: bool, has_noise: bool, has_reference: bool
) -> bytes:
    """The header.

    Parameters
    ----------
    acquisitions
        What was written, the images' lines above all: limits and acceleration are theirs.
    shape
        (coils, rows, columns) of k-space, or (coils, spokes, samples).
    made
        Whether k-space was made from magnitude images.
    has_noise, has_reference
        Whether there are readouts of noise and a separate reference scan.
    """
    from ismrmrd import xsd

    cine, paths, swap = acquisitions.cine, acquisitions.paths, acquisitions.swapped
    coils, rows, columns = shape
    lines, reads = (columns, rows) if swap else (rows, columns)
    dx, dy, _ = cine.grid.spacing_mm
    frames, slices, out_rows, out_columns = cine.image.shape
    across, down = out_columns * dx, out_rows * dy
    fov_x, fov_y = (down, across) if swap else (across, down)
    recon_x, recon_y = (out_rows, out_columns) if swap else (out_columns, out_rows)

    def space(x: int, y: int) -> Any:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=y, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=fov_x, y=fov_y, z=cine.grid.slice_thickness_mm))

    def limit(count: int, centre: int = 0, first: int = 0) -> Any:
        return xsd.limitType(minimum=first, maximum=count - 1, center=centre)

    protocol = protocol_values(cine)
    field = None if protocol["field_t"] is None else float(protocol["field_t"])
    acceleration = 1 if paths is not None else acceleration_of(acquisitions.lines)
    parallel = None
    if acceleration > 1:
        parallel = xsd.parallelImagingType(
            accelerationFactor=xsd.accelerationFactorType(
                kspace_encoding_step_1=acceleration, kspace_encoding_step_2=1),
            calibrationMode=xsd.calibrationModeType.SEPARATE if has_reference else None)

    def values(name: str) -> list[float]:
        return [float(protocol[name])] if protocol[name] is not None else []

    trajectory, description = _trajectory(acquisitions)
    simulated = is_simulated(cine)
    texts = {"cmrsim_cine": json.dumps(_exact(cine, made, swap))}
    if simulated and not made and acquisitions.dwell_us > 0:
        texts["cmrsim_sampling"] = _SAMPLING_NOTE
    first, last = (min(acquisitions.lines), max(acquisitions.lines)) if acquisitions.lines else (0, lines - 1)
    header = xsd.ismrmrdHeader(
        version=2,
        # The position of a patient who was read from elsewhere is not known.
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS, protocolName=_protocol_name(cine),
            sequenceName=protocol["sequence"]) if simulated else None,
        # ISMRMRD wants this number; 0 is no field's, where a guess could be taken for the truth.
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=0 if field is None else round(GAMMA_BAR_HZ_PER_T * field)),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="CMRSimExtension", systemFieldStrength_T=field, receiverChannels=coils,
            # White noise: that of the noise scan and of the lines is of one bandwidth, that of sampling.
            relativeReceiverNoiseBandwidth=1.0 if has_noise else None,
            coilLabel=[xsd.coilLabelType(coilNumber=n, coilName=f"channel {n + 1}") for n in range(coils)]),
        encoding=[xsd.encodingType(
            encodedSpace=space(reads, lines if paths is None else reads), reconSpace=space(recon_x, recon_y),
            trajectory=trajectory, trajectoryDescription=description, parallelImaging=parallel,
            encodingLimits=xsd.encodingLimitsType(
                kspace_encoding_step_0=limit(reads, reads // 2),
                kspace_encoding_step_1=limit(last + 1, lines // 2, first), kspace_encoding_step_2=limit(1),
                slice=limit(slices), phase=limit(frames), segment=limit(acquisitions.heartbeats),
                average=limit(1), contrast=limit(1), repetition=limit(1), set=limit(1)))],
        sequenceParameters=xsd.sequenceParametersType(
            TR=values("repetition_time_ms"), TE=values("echo_time_ms"), flipAngle_deg=values("flip_angle_deg")),
        userParameters=xsd.userParametersType(userParameterString=[
            xsd.userParameterStringType(name=name, value=value) for name, value in texts.items()]),
    )
    return str(xsd.ToXML(header)).encode("utf-8")


def acceleration_of(lines: Collection[int]) -> int:
    """Every how many-th line is acquired: the greatest common divisor of the distances between `lines`, at least 1."""
    steps = np.diff(np.unique(list(lines)))
    return int(np.gcd.reduce(steps)) if len(steps) else 1


def dwell_us(cine: Cine, reads: int) -> float:
    """From sample to sample of a readout of `reads`: of the pixel bandwidth on record, or the longest that fits.

    0 where neither bandwidth nor times are known, or the echo does not lie between two pulses.
    """
    protocol = protocol_values(cine)
    bandwidth, tr, te = (
        None if protocol[name] is None else float(protocol[name])
        for name in ("pixel_bandwidth_hz", "repetition_time_ms", "echo_time_ms"))
    if bandwidth is not None and bandwidth > 0:
        return 1e6 / (bandwidth * reads)
    readout_ms = None if tr is None or te is None else longest_readout_ms(tr, te)
    return 0.0 if readout_ms is None else 1e3 * readout_ms / reads


def _exact(cine: Cine, made: bool, swap: bool) -> dict[str, Any]:
    """What ISMRMRD's own fields cannot hold, or not in double precision."""
    frames, slices = cine.image.shape[:2]
    return {
        "frames": frames, "slices": slices, "affine_ras": cine.grid.affine_ras.tolist(),
        "slice_thickness_mm": cine.grid.slice_thickness_mm, "kspace_from_magnitude_images": made,
        "phase_direction": "columns" if swap else "rows",
        "times_ms": None if cine.times_ms is None else cine.times_ms.tolist(),
        "heartbeats_ms": None if cine.heartbeats_ms is None else cine.heartbeats_ms.tolist(),
        "slice_origins_mm": None if cine.slice_origins_mm is None else cine.slice_origins_mm.tolist(),
    }


def _protocol_name(cine: Cine) -> str | None:
    protocol = cine.sidecar.get("protocol")
    return str(protocol["name"]) if isinstance(protocol, dict) and "name" in protocol else None


def _trajectory(acquisitions: Acquisitions) -> tuple[Any, Any]:
    """ISMRMRD's name of the trajectory, and what there is to say of spokes."""
    from ismrmrd import xsd

    paths = acquisitions.paths
    if paths is None:
        return xsd.trajectoryType.CARTESIAN, None
    golden = protocol_values(acquisitions.cine)["trajectory"] == "golden_angle"
    description = xsd.trajectoryDescriptionType(
        identifier="golden_angle" if golden else "radial",
        userParameterLong=[
            xsd.userParameterLongType(name="spokes_per_frame", value=paths[0].spokes),
            xsd.userParameterLongType(name="samples_per_spoke", value=paths[0].read)],
        userParameterDouble=[xsd.userParameterDoubleType(
            name="angle_step_deg", value=float(GOLDEN_ANGLE_DEG) if golden else 180.0 / paths[0].spokes)],
        comment="kx, ky of every sample as fractions of the encoded matrix, -0.5 to 0.5; x along read_dir, y along "
        "phase_dir")
    return xsd.trajectoryType.GOLDENANGLE if golden else xsd.trajectoryType.RADIAL, description
