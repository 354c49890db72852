"""Windows and views: what goes into a network comes back to where it was."""

import numpy as np
import pytest
import torch

from CMRSimExtension.segmentation.sampling import VIEWS, View, Window, whole_slice


def smooth(rows=90, columns=70):
    """A picture without edges, so that resampling it twice hardly changes it."""
    y, x = np.mgrid[:rows, :columns]
    return torch.from_numpy((np.sin(x / 9.0) + np.cos(y / 7.0 + x / 15.0)).astype(np.float32))[None, None]


@pytest.mark.parametrize("orientation", range(8))
@pytest.mark.parametrize("magnification", [0.9, 1.0, 1.2])
def test_what_a_view_shows_comes_back_to_its_own_pixels(orientation, magnification):
    image, view = smooth(), View(orientation, magnification)
    window = Window((41.3, 36.7), (0.9, 0.7), 64)
    seen = window.look(image, view)
    back = window.back(torch.cat([1.0 - seen, seen], 1), image.shape[-2:], view)[:, 1]
    inside = (
        window.back(torch.cat([torch.zeros_like(seen), torch.ones_like(seen)], 1), image.shape[-2:], view)[0, 0] == 0
    )
    assert inside.sum() > 500
    # Two linear interpolations of a wave of 2 pi x 7 pixels: (0.7 / 7)^2 / 4 of its amplitude of 2, and a little more.
    assert (back - image[:, 0])[0][inside].abs().max() < 0.03


def test_the_plain_view_of_whole_pixels_is_exact():
    image = smooth()
    window = Window((44.5, 34.5), (1.0, 1.0), 32)
    assert torch.allclose(window.look(image, View())[0, 0], image[0, 0, 29:61, 19:51], atol=1e-5)


def test_orientations_are_all_different():
    image = torch.arange(64.0).view(1, 1, 8, 8)
    window = Window((3.5, 3.5), (1.0, 1.0), 8)
    seen = {tuple(window.look(image, View(turn)).round().flatten().tolist()) for turn in range(8)}
    assert len(seen) == 8


def test_outside_the_window_all_is_background():
    window = Window((10.0, 10.0), (1.0, 1.0), 8)
    back = window.back(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8), (40, 40), View())
    assert back[0, 0, 30, 30] == 1.0 and back[0, 1, 30, 30] == 0.0 and back[0, 1, 10, 10] == 1.0


def test_a_fine_image_is_averaged_and_not_thinned_out():
    """A checkerboard seen at four pixels a step must become grey, not black or white."""
    board = torch.from_numpy((np.indices((128, 128)).sum(0) % 2).astype(np.float32))[None, None]
    seen = Window((63.5, 63.5), (4.0, 4.0), 24).look(board, View())
    assert (seen - 0.5).abs().max() < 0.1


@pytest.mark.parametrize("shape", [(180, 256), (256, 200)])
def test_the_whole_slice_window_shows_every_pixel(shape):
    window = whole_slice(shape, (1.1, 1.3), 32)
    assert window.size % 32 == 0
    ones = torch.ones(1, 2, window.size, window.size)
    ones[:, 0] = 0.0
    assert window.back(ones, shape, View())[0, 1].min() > 0.99


def test_sets_of_views_are_as_large_as_their_names():
    assert [len(VIEWS[name]) for name in ("none", "four", "eight")] == [1, 4, 8]
