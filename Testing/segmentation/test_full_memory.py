"""A memory that is too small gives the same segmentation, later, and the user is told.

No GPU is needed: torch is told that there is one, and everything sent to it stays in the processor's memory.
"""

import weakref

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from CMRSimExtension.segmentation.model import Predictor, SegmentationModel
from CMRSimExtension.segmentation.segment import segment
from Testing.segmentation.conftest import Oracle, grid, heart_labels, picture

FULL = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
)
ON_CPU = "the GPU's memory does not hold a single image; going on with the CPU, which is slower"


class PretendedGpu(TorchFunctionMode):
    """Whatever is sent to ``cuda`` stays where it is; `holds_network` tells whether the network was sent there last."""

    holds_network = False
    room_for_network = True

    def __torch_function__(self, function, types, args=(), kwargs=None):
        network = function is torch._C._nn._parse_to
        devices = [part for part in args if isinstance(part, torch.device)]
        if network and devices:
            self.holds_network = devices[0].type == "cuda"
            if self.holds_network and not self.room_for_network:
                raise FULL[0]
        args = [torch.device("cpu") if isinstance(part, torch.device) else part for part in args]
        return function(*args, **(kwargs or {}))


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    with PretendedGpu() as pretended:
        yield pretended


class Hungry(Oracle):
    """Fails as with a full memory for more images than the GPU holds; the processor's memory holds all."""

    def __init__(self, gpu, holds, error=FULL[0]):
        super().__init__()
        self.gpu, self.holds, self.error = gpu, holds, error
        self.batches = []
        self.activations = lambda: None

    def forward(self, images):
        self.batches.append((self.gpu.holds_network, len(images)))
        computed = 1.0 * images
        if self.gpu.holds_network and len(images) > self.holds:
            self.activations = weakref.ref(computed)
            raise type(self.error)(*self.error.args)  # one that is kept would keep what was computed
        return super().forward(computed)


def hungry(gpu, holds, error=FULL[0]):
    return SegmentationModel("hungry", Hungry(gpu, holds, error), normalisation="zscore", pixel_mm=1.5, size=96)


def segmented(model, device):
    cine = np.stack([picture(heart_labels(scale=size)) for size in (1.0, 0.9)])
    return segment(cine, grid(), model, device=device, views="four", probabilities=True)


def assert_equal(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.mark.parametrize("error", FULL)
def test_a_full_gpu_gets_smaller_batches_and_the_user_is_told(gpu, oracle, error):
    model = hungry(gpu, 2, error)
    found = segmented(model, "cuda")
    assert_equal(found, segmented(oracle, "cpu"))
    # The five slices of the stack at once, then a quarter of them.
    assert found.notes == ["the GPU's memory does not hold 5 images at once; going on with smaller batches"]
    assert model.network.batches[:2] == [(True, 5), (True, 1)] and all(on_gpu for on_gpu, _ in model.network.batches)


def test_a_gpu_too_small_for_one_image_is_left_for_the_processor_and_the_user_is_told(gpu, oracle):
    model = hungry(gpu, 0)
    found = segmented(model, "cuda")
    assert_equal(found, segmented(oracle, "cpu"))
    assert found.notes == ["the GPU's memory does not hold 5 images at once; going on with smaller batches", ON_CPU]
    # Once on the processor, all of it there, five slices at once as ever.
    assert model.network.batches[:2] == [(True, 5), (True, 1)] and set(model.network.batches[2:]) == {(False, 5)}


def test_a_gpu_without_room_for_the_network_is_left_for_the_processor(gpu, oracle):
    gpu.room_for_network = False
    model = hungry(gpu, 0)
    found = segmented(model, "auto")
    assert_equal(found, segmented(oracle, "cpu"))
    assert found.notes == [ON_CPU.replace("a single image", "the network")]


def test_what_was_computed_until_the_memory_was_full_is_given_back_first(gpu, monkeypatch):
    model, alive = hungry(gpu, 2), []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(model.network.activations() is not None))
    Predictor(model, "cuda").probabilities(torch.rand(8, 1, 32, 32))
    assert alive == [False]


def test_a_gpu_is_asked_for_no_more_images_than_there_are(gpu):
    said, model = [], hungry(gpu, 3)
    Predictor(model, "cuda", warn=said.append).probabilities(torch.rand(12, 1, 32, 32))
    assert "hold 12 images at once" in said[0] and len(said) == 1
    assert [size for _, size in model.network.batches] == [12, 3, 3, 3, 3]
