"""Domain randomisation of a whole batch at once, on whatever device it lies.

The simulator draws what belongs to the world (anatomy, tissue, protocol); here is drawn what may happen to any image
afterwards: its placing in the array, and how its grey values were made. Every number is drawn from the generator
passed in, on the CPU, so that a run repeats exactly on any device.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.classes import strongest_class


@dataclass(frozen=True)
class Augmentation:
    """How strongly a batch is randomised; a probability of 0 switches a change off.

    Attributes
    ----------
    size
        (rows, columns) of what comes out; None keeps the input's size.
    rotation_degrees
        Largest rotation in the image plane; 180 means any.
    quarter_turns
        Random multiples of 90 degrees, flips and transposes before that: every orientation a file may come in.
    scale
        Smallest and largest magnification, drawn evenly in its logarithm.
    stretch
        Largest relative difference of the two axes' magnification.
    shear
        Largest shear (tangent of the angle).
    shift
        Largest displacement as a fraction of the input's side.
    elastic_probability, elastic_pixels
        Smooth random displacement and its standard deviation in pixels.
    tone_probability
        Random monotone grey value curve.
    gamma_probability, gamma
        Power law and the largest exponent (its inverse is the smallest).
    bias_probability, bias
        Smooth multiplicative field and the standard deviation of its logarithm.
    filter_probability, blur_pixels, sharpen, resolution
        Blur (largest standard deviation), sharpening (largest gain) and cut-off of k-space (smallest kept fraction).
    ghost_probability, ghost
        Ghosts along either axis and their largest relative amplitude.
    noise_probability, noise
        Rician noise and the largest sigma over the image's bright level.
    patch_probability
        Smooth blobs of another brightness, some of them opaque: metal, flow voids, coil edges, whatever hides anatomy.
    saturate_probability
        Brightest values clipped, as exports do.
    """

    size: tuple[int, int] | None = None
    rotation_degrees: float = 180.0
    quarter_turns: bool = True
    scale: tuple[float, float] = (0.7, 1.4)
    stretch: float = 0.1
    shear: float = 0.1
    shift: float = 0.12
    elastic_probability: float = 0.3
    elastic_pixels: float = 2.5
    tone_probability: float = 0.4
    gamma_probability: float = 0.5
    gamma: float = 1.8
    bias_probability: float = 0.4
    bias: float = 0.3
    filter_probability: float = 0.6
    blur_pixels: float = 1.2
    sharpen: float = 1.0
    resolution: float = 0.45
    ghost_probability: float = 0.1
    ghost: float = 0.15
    noise_probability: float = 0.6
    noise: float = 0.08
    patch_probability: float = 0.2
    saturate_probability: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0.0 <= value <= 1.0:
                raise InputError(f"augmentation {field.name} is {value}; a probability lies in 0 to 1")
        low, high = self.scale
        if not 0.0 < low <= high:
            raise InputError(f"augmentation scale is {self.scale}; give 0 < smallest <= largest")
        if not 0.0 < self.resolution <= 1.0:
            raise InputError(f"augmentation resolution is {self.resolution}; it lies in (0, 1]")
        if self.gamma < 1.0:
            raise InputError(f"augmentation gamma is {self.gamma}; it must be at least 1")

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Randomise one batch.

        Parameters
        ----------
        images
            (n, 1, rows, columns), or (n, 1, slices, rows, columns) whose slices all change alike; any intensity unit.
        labels
            (n, rows, columns) or (n, slices, rows, columns) integer.
        generator
            A CPU generator.

        Returns
        -------
        tuple of Tensor
            Images float32, about 0 to 1, and labels, both of `size`.

        Raises
        ------
        InputError
            When the shapes are others.
        """
        fits = images.ndim in (4, 5) and labels.shape == (images.shape[0], *images.shape[2:])
        if not fits or images.shape[1] != 1:
            raise InputError(
                f"images of shape {tuple(images.shape)} and labels of {tuple(labels.shape)}: augmentation needs "
                "(n, 1, rows, columns) and (n, rows, columns), or the same with slices before the rows"
            )
        flat = images.ndim == 4
        # Slices travel as channels, so that one change of place and grey values serves a whole volume.
        stack, members = (images, labels.unsqueeze(1)) if flat else (images[:, 0], labels)
        stack, members = self._place(stack.float(), members, generator)
        stack = self._shade(to_unit_range(stack), generator)
        return (stack, members[:, 0]) if flat else (stack.unsqueeze(1), members)

    def _place(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images and labels, both (n, slices, rows, columns), in another place, size, orientation and shape."""
        count, rows, columns = images.shape[0], *images.shape[-2:]
        out_rows, out_columns = self.size or (rows, columns)
        draw = _Draw(count, generator)
        angle = draw.even(-math.radians(self.rotation_degrees), math.radians(self.rotation_degrees))
        size = torch.exp(draw.even(math.log(self.scale[0]), math.log(self.scale[1])))
        stretch = torch.exp(0.5 * draw.even(-self.stretch, self.stretch))
        shear = draw.even(-self.shear, self.shear)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        turn = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
        if self.quarter_turns:
            turn = turn @ _DIHEDRAL[torch.randint(0, 8, (count,), generator=generator)]
        zero = torch.zeros(count)
        bend = torch.stack([torch.stack([stretch, shear], -1), torch.stack([zero, 1.0 / stretch], -1)], -2) / size.view(
            -1, 1, 1
        )
        # Pixel offsets of the output, mapped to pixel offsets of the input, then to grid_sample's -1 to 1.
        half = torch.tensor([columns / 2.0, rows / 2.0])
        matrix = (turn @ bend) * torch.tensor([out_columns / 2.0, out_rows / 2.0]) / half.view(1, 2, 1)
        shift = torch.stack([draw.even(-2 * self.shift, 2 * self.shift) for _ in range(2)], -1)
        theta = torch.cat([matrix, shift.unsqueeze(-1)], -1).to(images.device)
        grid = functional.affine_grid(theta, [count, 1, out_rows, out_columns], align_corners=False)
        bent = draw.happens(self.elastic_probability)
        if bent.any():
            coarse = torch.randn(count, 2, 6, 6, generator=generator) * draw.even(0.3, 1.0).view(-1, 1, 1, 1)
            coarse = coarse * (self.elastic_pixels / half.view(1, 2, 1, 1)) * bent.view(-1, 1, 1, 1)
            wave = functional.interpolate(
                coarse.to(images.device), (out_rows, out_columns), mode="bicubic", align_corners=True
            )
            grid = grid + wave.movedim(1, -1)
        placed = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        # Where the input ends, half of the images go on with their border, half end in black, as real exports do.
        black = draw.happens(0.5).view(-1, 1, 1, 1).to(images.device)
        placed = placed.masked_fill(black & (grid.abs().amax(-1) > 1.0).unsqueeze(1), 0.0)
        # Labels follow as soft memberships: nearest-neighbour sampling would move every contour by up to half a pixel.
        classes = int(labels.max()) + 1
        members = functional.one_hot(labels.long(), classes).movedim(-1, 1).float()
        members[:, 0] -= 1.0  # so that zero padding means background
        sampled = functional.grid_sample(members.flatten(1, 2), grid, padding_mode="zeros", align_corners=False)
        sampled = sampled.unflatten(1, (classes, labels.shape[1]))
        sampled[:, 0] += 1.0
        return placed, strongest_class(sampled)

    def _shade(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, device = images.shape[0], images.device
        draw = _Draw(count, generator)
        images = self._patches(images, draw)
        happens = draw.happens(self.tone_probability)
        if happens.any():
            images = torch.where(_each(happens, device), _monotone(images, draw), images)
        exponent = torch.exp(draw.even(-math.log(self.gamma), math.log(self.gamma)))
        exponent = torch.where(draw.happens(self.gamma_probability), exponent, torch.ones(count))
        images = images.clamp_min(1e-6) ** _each(exponent, device)
        strength = draw.even(0.2, 1.0) * self.bias * draw.happens(self.bias_probability)
        field = _smooth(draw, 4, images.shape[-2:], device)
        images = images * torch.exp(_each(strength, device) * field)
        white = draw.happens(0.5)
        sigma = draw.even(0.0, self.noise) * draw.happens(self.noise_probability)
        # Half of the noise is coloured by the same filter as the image (reconstruction), half comes after it.
        images = _rician(images, sigma * ~white, generator)
        images = self._filter(images, draw)
        images = _rician(images, sigma * white, generator)
        top = torch.where(draw.happens(self.saturate_probability), draw.even(0.6, 1.0), torch.full((count,), 9.0))
        return torch.minimum(images, _each(top, device))

    def _patches(self, images: Tensor, draw: "_Draw") -> Tensor:
        happens = draw.happens(self.patch_probability)
        if not happens.any():
            return images
        device = images.device
        field = _smooth(draw, 7, images.shape[-2:], device)
        edge = _each(draw.even(1.2, 2.2), device)
        inside = torch.sigmoid((field - edge) * _each(draw.even(4.0, 30.0), device))
        inside = inside * _each(happens.float(), device)
        opaque = _each(draw.even(0.0, 1.0) * draw.happens(0.5), device)
        level = _each(draw.even(0.0, 1.0), device)
        factor = _each(draw.even(0.4, 1.6), device)
        return images + inside * (opaque * (level - images) + (1.0 - opaque) * images * (factor - 1.0))

    def _filter(self, images: Tensor, draw: "_Draw") -> Tensor:
        device, (rows, columns) = images.device, images.shape[-2:]
        ky = torch.fft.fftfreq(rows, device=device).view(1, 1, -1, 1)
        kx = torch.fft.rfftfreq(columns, device=device).view(1, 1, 1, -1)
        happens = draw.happens(self.filter_probability)
        one = torch.ones_like(draw.zeros())
        blur = [torch.where(happens, draw.even(0.0, self.blur_pixels), draw.zeros()) for _ in range(2)]
        keep = [torch.where(happens & draw.happens(0.5), draw.even(self.resolution, 1.0), one) for _ in range(2)]
        gain = torch.where(happens & draw.happens(0.4), draw.even(0.0, self.sharpen), draw.zeros())
        soft = _each(draw.even(0.02, 0.2), device)
        transfer = torch.ones(1, device=device)
        for frequency, sigma, kept in ((ky, blur[0], keep[0]), (kx, blur[1], keep[1])):
            transfer = transfer * torch.exp(-2.0 * (math.pi * frequency * _each(sigma, device)) ** 2)
            # kept = 1 puts the edge beyond the highest frequency, so that nothing is cut.
            limit = torch.where(_each(kept, device) >= 1.0, 1.0, 0.5 * _each(kept, device))
            transfer = transfer * torch.sigmoid((limit - frequency.abs()) / (0.1 * soft))
        wide = torch.exp(-2.0 * (math.pi * 2.0) ** 2 * (ky**2 + kx**2))
        transfer = transfer * (1.0 + _each(gain, device) * (1.0 - wide))
        spectrum = torch.fft.rfft2(images) * transfer
        ghosts = draw.happens(self.ghost_probability)
        if ghosts.any():
            spectrum = spectrum * self._ghosts(draw, ghosts, (rows, columns), device)
        return torch.fft.irfft2(spectrum, s=(rows, columns)).abs()

    def _ghosts(self, draw: "_Draw", happens: Tensor, shape: tuple[int, int], device: torch.device) -> Tensor:
        """A periodic change of amplitude over the phase-encode lines: copies of the image displaced along them."""
        rows, columns = shape
        amplitude = _each(draw.even(0.0, self.ghost) * happens, device)
        period = _each(torch.round(draw.even(2.0, 6.0)), device)
        along_rows = _each(draw.happens(0.5), device)
        line_y = torch.fft.fftfreq(rows, 1.0 / rows, device=device).view(1, 1, -1, 1)
        line_x = torch.fft.rfftfreq(columns, 1.0 / columns, device=device).view(1, 1, 1, -1)
        line = torch.where(along_rows, line_y, line_x)
        return 1.0 + amplitude * torch.cos(2.0 * math.pi * line / period)


class _Draw:
    """Draws of one number per image, always of the whole batch, so that switches do not shift later draws."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def even(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.count, generator=self.generator)

    def happens(self, probability: float) -> Tensor:
        return torch.rand(self.count, generator=self.generator) < probability

    def zeros(self) -> Tensor:
        return torch.zeros(self.count)


_DIHEDRAL = torch.tensor(
    [[[a, 0], [0, b]] for a in (1.0, -1.0) for b in (1.0, -1.0)]
    + [[[0, a], [b, 0]] for a in (1.0, -1.0) for b in (1.0, -1.0)]
)


def _each(values: Tensor, device: torch.device) -> Tensor:
    return values.to(device).view(-1, 1, 1, 1)


def to_unit_range(images: Tensor) -> Tensor:
    """Shift and scale each image so that its 1st and 99th percentile become 0 and 1; values beyond stay beyond."""
    flat = images.flatten(1)
    ordered = flat[:, :: flat.shape[1] // 4096 | 1].sort(dim=1).values
    low = ordered[:, ordered.shape[1] // 100].unsqueeze(1)
    high = ordered[:, -1 - ordered.shape[1] // 100].unsqueeze(1)
    return ((flat - low) / (high - low).clamp_min(1e-6)).clamp(0.0, 2.0).view(images.shape)


def _smooth(draw: _Draw, knots: int, shape: torch.Size | tuple[int, int], device: torch.device) -> Tensor:
    coarse = torch.randn(draw.count, 1, knots, knots, generator=draw.generator).to(device)
    return functional.interpolate(coarse, tuple(shape), mode="bicubic", align_corners=True)


def _monotone(images: Tensor, draw: _Draw, knots: int = 6) -> Tensor:
    """Piecewise linear rising curve through random levels, half way mixed with the identity on average."""
    steps = torch.rand(draw.count, knots, generator=draw.generator) + 0.05
    level = torch.cat([torch.zeros(draw.count, 1), steps.cumsum(1) / steps.sum(1, keepdim=True)], 1)
    mix = draw.even(0.2, 1.0).unsqueeze(1)
    level = mix * level + (1.0 - mix) * torch.linspace(0.0, 1.0, knots + 1)
    level = level.to(images.device)
    position = images.clamp(0.0, 1.0).flatten(1) * knots
    below = position.floor().clamp_max(knots - 1)
    index = below.long()
    start, end = level.gather(1, index), level.gather(1, index + 1)
    curved = start + (end - start) * (position - below)
    return curved.view(images.shape) + (images - images.clamp(0.0, 1.0))


def _rician(images: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    if not (sigma > 0).any():
        return images
    noise = torch.randn(2, *images.shape, generator=generator).to(images.device) * _each(sigma, images.device)
    noisy = torch.sqrt((images + noise[0]) ** 2 + noise[1] ** 2)
    return torch.where(_each(sigma > 0, images.device), noisy, images)
