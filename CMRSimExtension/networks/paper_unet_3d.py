"""The 3D U-Net of paper P2 (simulated populations and transfer learning), figure 2 and section 2.4.

Arrays are ``(batch, channels, slices, rows, columns)``, so the paper's 3 x 3 x 1 kernel is (1, 3, 3) here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from CMRSimExtension.errors import InputError

_FLAT, _FULL = (1, 3, 3), (3, 3, 3)


def _convolution(in_channels: int, out_channels: int, kernel: tuple[int, int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(
            in_channels, out_channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2), bias=False
        ),
        nn.BatchNorm3d(out_channels),
        nn.LeakyReLU(0.01),
    )


class PaperUNet3D(nn.Module):
    """Anisotropic 3D U-Net: batch normalisation, leaky ReLU, dropout 0.5, max pooling, residual skip connections.

    P2 gives the operations (figure 2) and the depths: five layers for 224 x 256 x 10 voxel patches (ACDC), six for
    320 x 320 x 16 (its own clinical set). It does not give the channel counts nor which layers are anisotropic; here
    the upper layers keep to the slice plane (3 x 3 x 1, pooling 2 x 2 x 1), the deepest two (five layers) or three
    (six layers) are 3 x 3 x 3, pooled 2 x 2 x 2 between them, which is what the patch sizes allow (10 slices can be
    halved once, 16 and 20 twice).

    Parameters
    ----------
    in_channels, out_channels
        Images in; logits per class out.
    layers
        Resolution levels, five or six.
    width
        Channels of the first level; they double per level up to ten times this.
    dropout
        Dropout probability in the two deepest levels.

    Raises
    ------
    InputError
        On a depth that P2 does not have, or a volume whose sides cannot be pooled.
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 4, layers: int = 5, width: int = 32, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if layers not in (5, 6):
            raise InputError(f"layers is {layers}; the paper's 3D U-Net has 5 or 6")
        deep = layers - 3
        flat = layers - deep
        channels = [min(width * 2**level, 10 * width) for level in range(layers)]
        kernels = [_FLAT if level < flat else _FULL for level in range(layers)]
        self._pools = [(1, 2, 2) if level < flat else (2, 2, 2) for level in range(layers - 1)]
        self.multiple = (2 ** (deep - 1), 2 ** (layers - 1), 2 ** (layers - 1))
        self.down = nn.ModuleList(
            nn.Sequential(
                _convolution(in_channels if level == 0 else channels[level - 1], channels[level], kernels[level]),
                _convolution(channels[level], channels[level], kernels[level]),
                nn.Dropout3d(dropout if level >= layers - 2 else 0.0),
            )
            for level in range(layers)
        )
        self.narrow = nn.ModuleList(
            nn.Conv3d(channels[level + 1], channels[level], 1, bias=False) for level in range(layers - 1)
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                _convolution(channels[level], channels[level], kernels[level]),
                _convolution(channels[level], channels[level], kernels[level]),
            )
            for level in range(layers - 1)
        )
        self.head = nn.Conv3d(channels[0], out_channels, _FLAT, padding=(0, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, out_channels, slices, rows, columns) of images (n, in_channels, slices, rows, columns)."""
        if any(size % step for size, step in zip(images.shape[-3:], self.multiple, strict=True)):
            raise InputError(
                f"volume of {tuple(images.shape[-3:])} (slices, rows, columns): each must be a multiple of "
                f"{self.multiple}; pad it first"
            )
        features, skips = images, []
        for level, block in enumerate(self.down):
            if level:
                features = functional.max_pool3d(features, self._pools[level - 1])
            features = block(features)
            skips.append(features)
        for level in reversed(range(len(self.up))):
            factor = tuple(float(size) for size in self._pools[level])
            enlarged = functional.interpolate(self.narrow[level](features), scale_factor=factor, mode="nearest")
            # The legend of figure 2 names the skips residual: they are added, not concatenated.
            features = self.up[level](torch.add(enlarged, skips[level]))
        return self.head(features)
