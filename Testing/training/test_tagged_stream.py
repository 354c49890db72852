"""The stream of tagged slices: tags where they belong, labels untouched, numbers that repeat."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.stream import draw_slices
from CMRSimExtension.training.tagged_stream import draw_tagged_slices

SMALL = {"size": 48, "sub_samples": 1, "pixel_mm": (3.0, 3.0), "spacing_mm": (9.0, 9.0)}


def drawn(seed, share, count=2, drawn_share=0.0):
    return draw_tagged_slices(
        np.random.SeedSequence(seed), count, static_share=share, drawn_share=drawn_share, **SMALL
    )


@pytest.mark.parametrize(("share", "drawn_share"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_the_same_seed_gives_the_same_slices(share, drawn_share):
    first, second = drawn(3, share, 3, drawn_share), drawn(3, share, 3, drawn_share)
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])


@pytest.mark.parametrize(("share", "drawn_share"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_images_and_labels_have_the_form_of_a_stream(share, drawn_share):
    images, labels, records = drawn(3, share, 3, drawn_share)
    assert images.shape == labels.shape == (3, 48, 48) and images.dtype == np.float32 and labels.dtype == np.uint8
    assert np.isfinite(images).all() and set(np.unique(labels)) <= {0, 1, 2, 3} and len(records) == 3


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


def test_drawn_slices_come_as_pairs_of_end_diastole_and_another_phase():
    images, _, records = drawn(3, 0.0, 10, drawn_share=1.0)
    phases = [record["phase"] for record in records]
    assert set(phases[0::2]) == {0.0} and all(phase > 0.05 for phase in phases[1::2])
    # Eight images are a stack of four slices at one later phase; the next two are of another.
    assert len(set(phases[1:8:2])) == 1 and len({record["level"] for record in records[:8]}) == 4
    assert all(np.ptp(image) > 0 for image in images)


def test_all_three_kinds_come_up():
    kinds = {drawn(seed, 0.4, 1, drawn_share=0.3)[2][0]["tagging"] for seed in range(12)}
    assert {"static", "drawn"} < kinds and kinds & {"gre", "bssfp"}


@pytest.mark.parametrize(("share", "drawn_share"), [(1.5, 0.0), (0.6, 0.6), (-0.1, 0.0), (0.5, -0.1)])
def test_shares_out_of_range_are_refused(share, drawn_share):
    with pytest.raises(InputError, match="static_share"):
        drawn(1, share, drawn_share=drawn_share)
