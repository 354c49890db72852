"""How long segmentation and training take: a 10-slice, 25-frame cine should take under 20 s on two cores."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from CMRSimExtension.networks.catalogue import build_network  # noqa: E402
from CMRSimExtension.networks.half_precision import cpu_is_faster_in_bfloat16  # noqa: E402
from CMRSimExtension.scanner.geometry import ImageGrid  # noqa: E402
from CMRSimExtension.segmentation.model import SegmentationModel  # noqa: E402
from CMRSimExtension.segmentation.segment import segment  # noqa: E402
from CMRSimExtension.training.augmentation import Augmentation  # noqa: E402
from CMRSimExtension.training.losses import DiceCrossEntropy  # noqa: E402


class _Finds(torch.nn.Module):
    """The shipped network, made to find a heart in the middle, as an untrained one finds nothing."""

    def __init__(self):
        super().__init__()
        self.network, self.multiple = build_network("slice_unet", 1, 4), 32

    def forward(self, images):
        logits = self.network(images)
        rows, columns = (torch.linspace(-1, 1, side) for side in images.shape[-2:])
        radius = torch.hypot(rows[:, None], columns[None])
        return logits * 0.01 + 9.0 * torch.stack([(radius > 0.3).float(), *[(radius <= 0.3).float()] * 3])


@pytest.mark.parametrize("views", ["none", "four"])
def test_a_cine_of_ten_slices_and_25_frames(benchmark, views):
    rng = np.random.default_rng(0)
    image = rng.random((25, 10, 256, 256), dtype=np.float32)
    grid = ImageGrid(np.diag([1.4, 1.4, 10.0, 1.0]), (10, 256, 256), 8.0)
    model = SegmentationModel("speed", _Finds())
    result = benchmark.pedantic(
        segment, (image, grid, model), {"device": "cpu", "views": views}, rounds=1, iterations=1
    )
    assert result.labels.any()


def test_a_training_step_of_sixteen_slices(benchmark):
    torch.manual_seed(0)
    network = build_network("slice_unet", 1, 4).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters())
    images, labels = torch.rand(16, 1, 128, 128), torch.randint(0, 4, (16, 128, 128))
    augment, loss = Augmentation(), DiceCrossEntropy()

    def step():
        moved, truth = augment(images, labels, torch.Generator().manual_seed(0))
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_is_faster_in_bfloat16()):
            logits = network(moved.contiguous(memory_format=torch.channels_last))
        optimiser.zero_grad()
        loss(logits.float(), truth).backward()
        optimiser.step()

    benchmark.pedantic(step, rounds=5, iterations=1, warmup_rounds=1)
