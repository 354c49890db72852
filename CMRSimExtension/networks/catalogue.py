"""Every network by name, so that a configuration or a bundle can ask for it."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.paper_unet_3d import PaperUNet3D
from CMRSimExtension.networks.slice_unet import SliceUNet


def _resnet_vae(**settings: Any) -> nn.Module:
    """P4's ResNetVAE: MONAI's SegResNetVAE, 3,555,891 parameters with one channel in and two out."""
    from monai.networks.nets import SegResNetVAE

    defaults: dict[str, Any] = dict(
        input_image_size=(256, 256),
        spatial_dims=2,
        init_filters=8,
        in_channels=1,
        out_channels=2,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
        vae_nz=256,
    )
    return SegResNetVAE(**(defaults | settings))


def _nnunet(**settings: Any) -> nn.Module:
    """P4's nnU-Net: MONAI's residual DynUNet, 34,164,258 parameters with one channel in and two out."""
    from monai.networks.nets import DynUNet

    filters = settings.pop("filters", (32, 64, 128, 256, 512, 512, 512))
    if len(filters) < 3:
        raise InputError(f"nnunet's filters are {filters}; it has three resolutions or more, one number for each")
    strides = settings.pop("strides", (1, *[2] * (len(filters) - 1)))
    defaults: dict[str, Any] = dict(
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        kernel_size=(3,) * len(filters),
        strides=strides,
        upsample_kernel_size=tuple(strides[1:]),
        filters=filters,
        res_block=True,
        trans_bias=True,
        deep_supervision=False,
    )
    return DynUNet(**(defaults | settings))


NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "slice_unet": SliceUNet,
    "paper_unet_3d": PaperUNet3D,
    "nnunet": _nnunet,
    "resnet_vae": _resnet_vae,
}
"""Constructors by name: `slice_unet` (this library's small 2D U-Net), `paper_unet_3d` (P2), `nnunet` (P3, P4; MONAI's
DynUNet) and `resnet_vae` (P4; MONAI's SegResNetVAE). Each takes `in_channels` and `out_channels`."""


def build_network(name: str, in_channels: int, out_channels: int, **settings: Any) -> nn.Module:
    """Build the network called `name`.

    Raises
    ------
    InputError
        When no network has that name, or it does not take one of the settings.
    """
    if name not in NETWORKS:
        raise InputError(f"no network is called {name!r}; choose one of {', '.join(sorted(NETWORKS))}")
    try:
        return NETWORKS[name](in_channels=in_channels, out_channels=out_channels, **settings)
    except InputError:
        raise
    # Networks of MONAI answer settings that cannot be with whatever their making ran into.
    except (TypeError, ValueError, IndexError, ZeroDivisionError, RuntimeError, AssertionError) as error:
        raise InputError(f"network {name!r} cannot be built from settings {dict(settings)}: {error}") from error


def input_multiple(network: nn.Module, dimensions: int) -> tuple[int, ...]:
    """What each side of an input must be a multiple of, per spatial dimension."""
    multiple = getattr(network, "multiple", None)
    if isinstance(multiple, int):
        return (multiple,) * dimensions
    if multiple is not None:
        return tuple(multiple)
    strides = getattr(network, "strides", None)
    if strides is not None:
        factor = [1] * dimensions
        for stride in strides:
            steps = (stride,) * dimensions if isinstance(stride, int) else tuple(stride)
            factor = [size * step for size, step in zip(factor, steps, strict=True)]
        return tuple(factor)
    blocks_down = getattr(network, "blocks_down", None)
    return (2 ** (len(blocks_down) - 1) if blocks_down is not None else 1,) * dimensions


def fixed_input_shape(network: nn.Module) -> tuple[int, ...] | None:
    """The only input size a network takes, or None where any multiple will do.

    MONAI's SegResNetVAE has a fully connected latent layer, which fixes its input size; that layer serves training
    alone, but its weights are stored for the size they were trained at.
    """
    size = getattr(network, "input_image_size", None)
    return None if size is None else tuple(int(side) for side in size)
