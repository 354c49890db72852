"""What tests of training runs share."""

import pytest
import torch

from Testing.training.held_out_hearts import write_heart


@pytest.fixture
def one_thread():
    """Sums in another order differ in the last bit: the number of threads is part of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    """A labelled folder of two patients, one of them with two frames."""
    folder = tmp_path_factory.mktemp("data") / "hearts"
    for name, scale in (("p1_ED", 1.0), ("p1_ES", 0.9), ("p2", 1.05)):
        write_heart(folder, name, scale=scale)
    return folder
