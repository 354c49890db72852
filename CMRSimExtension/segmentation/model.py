"""A trained network together with all that is needed to feed it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.catalogue import fixed_input_shape, input_multiple
from CMRSimExtension.networks.class_labels import name_of_class
from CMRSimExtension.networks.half_precision import cpu_is_faster_in_bfloat16
from CMRSimExtension.networks.memory import is_out_of_memory
from CMRSimExtension.networks.normalisation import normalise

_SMALLEST_BATCH = 1


@dataclass(frozen=True)
class SegmentationModel:
    """A network, the images it expects and what its classes mean.

    Attributes
    ----------
    name
        What the registry calls it.
    network
        Gives logits (n, classes, ...) of normalised images (n, 1, ...); 2D or 3D.
    classes
        Names of the foreground classes 1, 2, ...
    labels
        Class number -> label number in files (1 LV blood pool, 2 LV myocardium, 3 RV blood pool; further ones are
        those of `anatomy.structures.Structure`).
    normalisation
        See `networks.normalisation`.
    pixel_mm
        In-plane pixel that the network was trained around.
    size
        Side of the square it looks at, in those pixels.
    slice_mm
        Slice distance of a 3D network; None for one that takes slices one by one.
    metadata
        All else that the bundle says.
    """

    name: str
    network: nn.Module
    classes: Sequence[str] = ("lv_blood", "lv_myocardium", "rv_blood")
    labels: Mapping[int, int] = field(default_factory=lambda: {1: 1, 2: 2, 3: 3})
    normalisation: str = "robust"
    pixel_mm: float = 1.5
    size: int = 128
    slice_mm: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dimensions(self) -> int:
        """2 or 3 spatial dimensions of what goes in."""
        return 2 if self.slice_mm is None else 3

    def names(self) -> dict[int, str]:
        """Label number in files -> what a reader sees for it."""
        return {label: name_of_class(label, self.classes[number - 1]) for number, label in self.labels.items() if label}

    def multiple(self) -> tuple[int, ...]:
        """What each side of an input must be a multiple of."""
        return input_multiple(self.network, self.dimensions)

    def check_size(self) -> None:
        """Raise `InputError` when `size` does not fit the network."""
        fixed, multiple = fixed_input_shape(self.network), self.multiple()[-1]
        if self.size % multiple or (fixed is not None and self.size != fixed[-1]):
            raise InputError(
                f"model {self.name!r} asks for images of {self.size} pixels, but its network takes "
                f"{'exactly ' + str(fixed[-1]) if fixed is not None else 'multiples of ' + str(multiple)}"
            )


def choose_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    InputError
        When the name is another one, or a GPU is asked for that is not there.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {name!r}; choose auto, cpu or cuda")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise InputError("device cuda was asked for, and torch finds no GPU here; choose the device cpu or auto")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and found) else "cpu")


class Predictor:
    """Runs a model over many images, in batches that fit the memory.

    Parameters
    ----------
    model
        What to run.
    device
        See `choose_device`.
    batch_pixels
        Largest number of pixels in one batch.
    warn
        Called with a sentence when a batch did not fit the GPU and something smaller was taken.
    """

    def __init__(
        self,
        model: SegmentationModel,
        device: str = "auto",
        batch_pixels: int = 16 * 128 * 128,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.model = model
        self.device = choose_device(device)
        self.warn = warn
        self._pixels_of_cpu = batch_pixels
        self.batch_pixels = batch_pixels if self.device.type == "cpu" else 16 * batch_pixels
        self._half = self.device.type == "cuda" or cpu_is_faster_in_bfloat16()
        self._network = model.network.eval()
        if self._attempt(self._network.to, self.device) is None:
            self._go_to_cpu("the network")
        if model.dimensions == 2:
            self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities (n, classes + 1, ...) float32 on the CPU, of images (n, 1, ...) of any intensity unit.

        Sides that are no multiple of what the network needs are padded with their border and cut again.
        """
        padded, box = _pad(images, self.model.multiple())
        parts: list[Tensor] = []
        start = 0
        while start < len(padded):
            pixels = max(1, padded[0].numel())
            batch = padded[start : start + max(_SMALLEST_BATCH, self.batch_pixels // pixels)]
            found = self._attempt(self._run, batch)
            if found is None:
                self._shrink(len(batch), pixels)
                continue
            parts.append(found)
            start += len(batch)
        return torch.cat(parts)[box]

    def of_stack(self, slices: Tensor, slice_mm: float) -> Tensor:
        """Probabilities (slices, classes + 1, rows, columns) of one stack (slices, 1, rows, columns).

        A 2D network gets its slices one by one; a 3D one gets them as a volume, resampled to its own slice distance.
        """
        if self.model.slice_mm is None:
            return self.probabilities(slices)
        count, sides = len(slices), slices.shape[-2:]
        wanted = max(1, round(count * slice_mm / self.model.slice_mm))
        volume = slices.movedim(0, 1).unsqueeze(0)
        volume = nn.functional.interpolate(volume, (wanted, *sides), mode="trilinear", align_corners=False)
        found = self.probabilities(volume)
        found = nn.functional.interpolate(found, (count, *sides), mode="trilinear", align_corners=False)
        return found[0].movedim(0, 1)

    def _run(self, images: Tensor) -> Tensor:
        batch = normalise(images.to(self.device), self.model.normalisation)
        if batch.ndim == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            output = self._network(batch)
        logits = output if isinstance(output, Tensor) else output[0]
        return logits.float().softmax(1).cpu()

    def _attempt(self, work: Callable[[Any], Any], given: Any) -> Any:
        """What some work gives, or None where the memory did not hold it."""
        try:
            return work(given)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Not before the error is gone: it holds all that the network had computed until then.
        torch.cuda.empty_cache()
        return None

    def _shrink(self, size: int, pixels: int) -> None:
        """Go on with less than `size` images of so many pixels at once, or elsewhere where there is no less."""
        if size > _SMALLEST_BATCH:
            self.batch_pixels = size * pixels // 4
            whose = "GPU's memory" if self.device.type == "cuda" else "memory"
            self.warn(f"the {whose} does not hold {size} images at once; going on with smaller batches")
        elif self.device.type == "cuda":
            self._go_to_cpu("a single image")
        else:
            raise MemoryError("the memory does not hold a single image; free memory or use a smaller model")

    def _go_to_cpu(self, what: str) -> None:
        self.device = torch.device("cpu")
        self._network = self._network.to(self.device)
        self._half = cpu_is_faster_in_bfloat16()
        self.batch_pixels = self._pixels_of_cpu
        self.warn(f"the GPU's memory does not hold {what}; going on with the CPU, which is slower")


def _pad(images: Tensor, multiple: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad the spatial sides up to multiples; also give the slices that undo it."""
    sides = images.shape[2:]
    missing = [-side % step for side, step in zip(sides, multiple, strict=True)]
    box = (slice(None), slice(None)) + tuple(
        slice(extra // 2, extra // 2 + side) for extra, side in zip(missing, sides, strict=True)
    )
    if not any(missing):
        return images, box
    pads = [part for extra in reversed(missing) for part in (extra // 2, extra - extra // 2)]
    return nn.functional.pad(images, pads, mode="replicate"), box
