"""What tests of training runs share."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Sums in another order differ in the last bit: the number of threads is part of a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
