"""The stream of tagged slices: tags where they belong, labels untouched, numbers that repeat."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.stream import draw_slices
from CMRSimExtension.training.tagged_stream import draw_tagged_slices

SMALL = {"size": 48, "sub_samples": 1, "pixel_mm": (3.0, 3.0), "spacing_mm": (9.0, 9.0)}


def drawn(seed, share, count=2):
    return draw_tagged_slices(np.random.SeedSequence(seed), count, static_share=share, **SMALL)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_same_seed_gives_the_same_slices(share):
    first, second = drawn(3, share), drawn(3, share)
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_images_and_labels_have_the_form_of_a_stream(share):
    images, labels, records = drawn(3, share)
    assert images.shape == labels.shape == (2, 48, 48) and images.dtype == np.float32 and labels.dtype == np.uint8
    assert np.isfinite(images).all() and set(np.unique(labels)) <= {0, 1, 2, 3} and len(records) == 2


def test_static_tags_leave_the_cines_labels_alone():
    _, image_seed = np.random.SeedSequence(3).spawn(2)
    labels = draw_slices(image_seed, 2, size=48, sub_samples=1, pixel_mm=(3.0, 3.0))[1]
    assert np.array_equal(drawn(3, 1.0)[1], labels)


def test_static_tags_lie_at_the_spacing_asked_for():
    """Three pixels apart: energy at a third of the sampling frequency, beyond what an untagged slice has there."""
    _, image_seed = np.random.SeedSequence(5).spawn(2)
    plain = np.sqrt(draw_slices(image_seed, 2, size=48, sub_samples=1, pixel_mm=(3.0, 3.0))[0])
    tagged = drawn(5, 1.0)[0]
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(48), np.fft.fftfreq(48)))
    band = np.abs(frequency - 1.0 / 3.0) < 0.03

    def share(image):
        power = np.abs(np.fft.fft2(image - image.mean())) ** 2
        return power[band].sum() / power.sum()

    assert share(tagged[0]) > 3.0 * share(plain[0])


def test_both_kinds_come_up():
    kinds = {drawn(seed, 0.5, 1)[2][0]["tagging"] for seed in range(8)}
    assert "static" in kinds and kinds & {"gre", "bssfp"}


def test_a_share_above_one_is_refused():
    with pytest.raises(InputError, match="static_share"):
        drawn(1, 1.5)
