from dataclasses import replace

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.strain.harp import TagFrequencies, harp_strain, harp_track
from CMRSimExtension.strain.series import mean_absolute_difference, strain_from_displacement
from CMRSimExtension.tagging.options import TagOptions
from CMRSimExtension.tagging.tag_cine import tag_cine


@pytest.fixture(scope="module")
def cine(cylinder):
    return cylinder().cine(frames=25, slices=2)


@pytest.fixture(scope="module")
def truth(cine):
    return strain_from_displacement(cine)


@pytest.fixture(scope="module")
def measured(cine):
    return harp_strain(tag_cine(cine))


def test_circumferential_strain_from_tags_is_within_002_of_the_truth(measured, truth):
    assert mean_absolute_difference(measured, truth) < 0.02


def test_peak_strain_from_tags_is_that_of_the_truth(measured, truth):
    frame = int(np.argmin(truth.whole[:, 1]))
    assert measured.reliable[frame]
    assert measured.whole[frame, 1] == pytest.approx(truth.whole[frame, 1], abs=0.02)


def test_static_tags_show_no_strain(cine):
    """Were HARP blind to the tags, this would give the same strain as moving ones."""
    still = tag_cine(replace(cine, displacement_mm=np.zeros_like(cine.displacement_mm)))
    found = harp_strain(still)
    assert np.nanmax(np.abs(found.whole[:12, 1])) < 0.03


@pytest.fixture(scope="module")
def noisy(cine):
    return harp_strain(tag_cine(cine, TagOptions(snr=25), seed=1))


def test_noise_of_a_usual_level_leaves_strain_within_002(noisy, truth):
    assert mean_absolute_difference(noisy, truth) < 0.02


def test_noise_is_not_taken_for_tags(noisy, truth):
    # Reliable up to end systole, where strain is largest, and no more when the tags drown.
    assert noisy.reliable[: int(np.argmin(truth.whole[:, 1])) - 1].all()
    assert not noisy.reliable[-1]


def test_an_image_without_tags_is_reliable_in_no_frame_after_the_first(cine):
    frequencies = TagFrequencies.from_sidecar(tag_cine(cine))
    assert not harp_strain(cine, frequencies=frequencies).reliable[1:].any()


def test_faded_tags_are_not_called_reliable(measured):
    assert measured.reliable[:12].all()
    assert not measured.reliable[-1]


def test_cspamm_tags_last_the_whole_heartbeat(cine):
    found = harp_strain(tag_cine(cine, TagOptions(cspamm=True, spacing_mm=14.0)))
    assert found.reliable.all()


def test_tracked_points_return_to_where_they_were(cine):
    tagged = tag_cine(cine, TagOptions(cspamm=True, spacing_mm=14.0))
    moved, _ = harp_track(tagged.image, cine.labels[0] == 2, TagFrequencies.from_sidecar(tagged))
    # Frame 20 lies in diastasis, at rest again. Blood, whose tags are gone by then, leaks in by 0.3 px at the edge.
    assert np.median(np.hypot(*moved[:, 20])[cine.labels[0] == 2]) < 0.4


def test_lines_in_one_direction_are_not_enough(cine):
    with pytest.raises(InputError, match="two sets of tag lines"):
        harp_strain(tag_cine(cine, TagOptions(pattern="lines")))


def test_an_untagged_cine_is_refused(cine):
    with pytest.raises(InputError, match="tells of no moving tags"):
        harp_strain(cine)


def test_too_few_frames_to_follow_a_point_are_refused(cine):
    tagged = tag_cine(cine)
    pair = replace(tagged, image=tagged.image[[0, 9]])
    with pytest.raises(InputError, match="2 frames.*needs 8 or more"):
        harp_strain(pair)
