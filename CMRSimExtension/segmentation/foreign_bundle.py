"""MONAI bundles from elsewhere: their network, their channels, and how their images are to be prepared.

A bundle tells its preprocessing as MONAI transforms. None of them is run: those whose meaning is known here are read,
one that is not is an error where it changes intensities, and what a bundle leaves open is assumed and said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from CMRSimExtension.anatomy.label_maps import structure_named
from CMRSimExtension.anatomy.terminology import structure_of_segment
from CMRSimExtension.errors import InputError

ASSUMED = "assumed"
"""Key of a model's metadata: sentences on what its bundle does not say."""
_USUAL = {"normalisation": "zscore", "pixel_mm": 1.5, "slice_mm": 10.0}
"""What is assumed: nnU-Net's normalisation for MR, and voxels of short-axis cines."""
_HARMLESS = (
    "LoadImage", "EnsureChannelFirst", "EnsureType", "Orientation", "CastToType", "ToTensor", "AddChannel",
    "AsChannelFirst", "Resize", "SpatialPad", "SpatialCrop", "CenterSpatialCrop", "ResizeWithPadOrCrop",
    "DivisiblePad", "CropForeground", "SqueezeDim", "Transpose",
)  # fmt: skip
"""Transforms that leave intensities alone; this library finds, cuts and resamples the heart by itself."""


@dataclass(frozen=True)
class ForeignBundle:
    """What a bundle from elsewhere means to this library.

    Attributes
    ----------
    network
        Built, its weights not loaded.
    classes, labels
        Names of the foreground channels, and channel -> label number.
    options
        ``normalisation``, ``pixel_mm``, ``size`` and ``slice_mm`` of `SegmentationModel`.
    assumed
        Sentences on what the bundle does not say.
    """

    network: nn.Module
    classes: list[str]
    labels: dict[int, int]
    options: dict[str, Any]
    assumed: tuple[str, ...]


def read_foreign(name: str, inference: Mapping[str, Any], metadata: Mapping[str, Any]) -> ForeignBundle:
    """Understand a bundle's ``inference.json`` and ``metadata.json``.

    Raises
    ------
    InputError
        When its network, a channel or a transform of intensities is not known here, or one is written as an expression.
    """
    network, settings = _network(name, inference)
    inputs = metadata["network_data_format"]["inputs"]["image"]
    if int(inputs.get("num_channels", 1)) != 1:
        raise InputError(f"bundle {name} wants {inputs['num_channels']} channels; one (grey-scale) is needed")
    named = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    channels = sorted((int(key), str(value)) for key, value in named.items())
    numbers = [_label_of_channel(name, channel, called) for channel, called in channels]
    if [channel for channel, _ in channels] != list(range(len(channels))) or numbers[:1] != [0]:
        raise InputError(
            f"bundle {name}: its metadata gives the output channels {dict(channels)}; they must be numbered from 0, "
            "and 0 must be the background"
        )
    found = _preparation(name, inference)
    volumes = int(settings.get("spatial_dims", 2)) == 3
    wanted = [key for key in _USUAL if volumes or key != "slice_mm"]
    assumed = tuple(
        f"bundle {name} does not say its {key}; {_USUAL[key]} is assumed" for key in wanted if key not in found
    )
    options = {key: found.get(key, _USUAL[key]) for key in wanted}
    size = int(inputs["spatial_shape"][-1])
    return ForeignBundle(
        network, [called for _, called in channels[1:]], dict(enumerate(numbers[1:], 1)),
        {"slice_mm": None, **options, "size": size}, assumed,
    )  # fmt: skip


def _network(name: str, inference: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    from monai.networks import nets

    definition = inference.get("network_def")
    if not isinstance(definition, dict) or "_target_" not in definition:
        raise InputError(f"bundle {name}: its inference.json has no network_def with a _target_")
    target = str(definition["_target_"]).removeprefix("monai.networks.nets.")
    kind = getattr(nets, target, None)
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        raise InputError(f"bundle {name}: {target!r} is no network of monai.networks.nets, which alone are built")
    settings = {key: value for key, value in definition.items() if not key.startswith("_")}
    if any(isinstance(value, str) and value.startswith(("$", "@")) for value in settings.values()):
        raise InputError(f"bundle {name}: network_def holds an expression, which is never run; write the value")
    return kind(**settings), settings


def _label_of_channel(bundle: str, channel: int, name: str) -> int:
    try:
        return int(structure_of_segment("", name) or structure_named(name))
    except InputError as error:
        raise InputError(
            f"bundle {bundle}: output channel {channel} cannot be told: {error}; rename it in its metadata"
        ) from error


def _preparation(name: str, inference: Mapping[str, Any]) -> dict[str, Any]:
    """``normalisation``, ``pixel_mm``, ``slice_mm`` as far as the preprocessing says them."""
    chain = inference.get("preprocessing")
    steps = chain.get("transforms", []) if isinstance(chain, dict) else chain
    found: dict[str, Any] = {}
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, dict):
            raise InputError(f"bundle {name}: its preprocessing holds {step!r}, which is no transform that can be read")
        kind = str(step.get("_target_", "")).rsplit(".", 1)[-1].removesuffix("d")
        if kind == "Spacing":
            found |= _spacing(name, step.get("pixdim"))
        elif kind in ("ScaleIntensity", "NormalizeIntensity"):
            found["normalisation"] = _normalisation(name, kind, step)
        elif kind not in _HARMLESS:
            raise InputError(
                f"bundle {name}: the transform {kind} of its preprocessing is not known here, and without it the "
                "network would see images that it was not trained on; known are Spacing, ScaleIntensity to 0 and 1, "
                "NormalizeIntensity of the whole image, and those that leave intensities alone"
            )
    return found


def _spacing(name: str, pixdim: Any) -> dict[str, float]:
    if not isinstance(pixdim, Sequence) or not all(isinstance(side, int | float) and side != 0 for side in pixdim):
        raise InputError(f"bundle {name}: Spacing has the pixdim {pixdim!r}; two or three numbers are needed")
    known = {"pixel_mm": pixdim[0], **({"slice_mm": pixdim[2]} if len(pixdim) > 2 else {})}
    # MONAI keeps the image's own size where a pixdim is below 0.
    return {key: float(side) for key, side in known.items() if side > 0}


def _normalisation(name: str, kind: str, step: Mapping[str, Any]) -> str:
    if kind == "ScaleIntensity":
        wanted: dict[str, tuple[Any, ...]] = {"minv": (0, None), "maxv": (1, None), "factor": (None,)}
    else:
        wanted = {"subtrahend": (None,), "divisor": (None,), "nonzero": (False, None)}
    for key, values in wanted.items():
        if step.get(key) not in values:
            raise InputError(f"bundle {name}: {kind} with {key} = {step[key]!r} is not known here; {values[0]!r} is")
    return "minmax" if kind == "ScaleIntensity" else "zscore"
