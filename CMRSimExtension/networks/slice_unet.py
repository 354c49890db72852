"""A small, fast 2D U-Net for training and running on two CPU cores.

Most of a U-Net's work on a small image is done at full resolution, where few channels see little context. Here the
image is folded 2 x 2 into channels first (space to depth), the U-Net runs at half resolution with four times fewer
pixels, and a thin full-resolution branch brings the exact edges back at the end.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from CMRSimExtension.errors import InputError

_SLOPE = 0.01


def _groups(channels: int) -> int:
    return 8 if channels % 8 == 0 else 1


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with group normalisation and a residual connection.

    Group normalisation instead of batch normalisation: its statistics come from the image at hand, so an image of an
    unknown scanner is normalised by itself and not by the training set.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.first_norm = nn.GroupNorm(_groups(out_channels), out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.second_norm = nn.GroupNorm(_groups(out_channels), out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        inner = functional.leaky_relu(self.first_norm(self.first(features)), _SLOPE)
        return functional.leaky_relu(self.second_norm(self.second(inner)) + self.shortcut(features), _SLOPE)


class SliceUNet(nn.Module):
    """Residual 2D U-Net at half resolution with a full-resolution detail branch.

    Parameters
    ----------
    in_channels, out_channels
        Images in; logits per class out.
    widths
        Channels per level, from half resolution down; each level halves the resolution again.
    detail_width
        Channels of the full-resolution branch.
    dropout
        Probability of dropping whole channels at the lowest level, while training.

    Raises
    ------
    InputError
        On a width below one, or when `forward` gets an image whose sides are no multiple of `multiple`.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 4,
        widths: Sequence[int] = (32, 64, 128, 192, 256),
        detail_width: int = 8,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = tuple(int(width) for width in widths)
        if len(widths) < 2 or min(widths) < 1 or detail_width < 1:
            raise InputError(f"widths {widths} and detail_width {detail_width}: give two or more levels, each above 0")
        self.multiple = 2 ** len(widths)
        inputs = (4 * in_channels, *widths[:-1])
        self.down = nn.ModuleList(
            ResidualBlock(inside, outside, stride=1 if level == 0 else 2)
            for level, (inside, outside) in enumerate(zip(inputs, widths, strict=True))
        )
        self.up = nn.ModuleList(
            ResidualBlock(deeper + width, width)
            for deeper, width in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.unfold = nn.Conv2d(widths[0], 4 * detail_width, 1)
        self.detail = nn.Conv2d(in_channels, detail_width, 3, 1, 1)
        self.refine = nn.Sequential(
            nn.Conv2d(2 * detail_width, 2 * detail_width, 3, 1, 1, bias=False),
            nn.GroupNorm(1, 2 * detail_width),
            nn.LeakyReLU(_SLOPE),
        )
        self.head = nn.Conv2d(2 * detail_width, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, out_channels, rows, columns) of images (n, in_channels, rows, columns)."""
        rows, columns = images.shape[-2:]
        if rows % self.multiple or columns % self.multiple:
            raise InputError(
                f"image of {rows} x {columns} pixels: both sides must be multiples of {self.multiple}; pad it first"
            )
        features = functional.pixel_unshuffle(images, 2)
        skips = []
        for block in self.down:
            features = block(features)
            skips.append(features)
        features = self.dropout(skips.pop())
        for block in self.up:
            enlarged = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([enlarged, skips.pop()], dim=1))
        fine = functional.pixel_shuffle(self.unfold(features), 2)
        return self.head(self.refine(torch.cat([fine, self.detail(images)], dim=1)))
