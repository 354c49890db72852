"""The frames of a series are cleaned together: the base of a heart does not flicker."""

import numpy as np
import pytest

from CMRSimExtension.segmentation.clean_up import CleanUp
from CMRSimExtension.segmentation.segment import goes_round
from Testing.segmentation.conftest import heart_labels, picture


def frame_with(closed=1.0, right=True):
    """A heart whose most basal slice has a wall about `closed` of its blood, and a right ventricle or none there."""
    labels = heart_labels((4, 60, 70), (8.0, 1.6, 1.6), (48.0, 60.0), scale=0.8)
    rows, columns = np.mgrid[:60, :70]
    # From the lateral side round to the right ventricle's.
    around = np.abs(np.arctan2(rows - 30.0, columns - 37.5)) / np.pi
    labels[0][(labels[0] == 2) & (around > closed)] = 0
    if not right:
        labels[0][labels[0] == 3] = 0
    return labels


def base_shown(labels, label=1):
    return (labels[:, 0] == label).any(axis=(1, 2)).astype(int).tolist()


FLICKERING = [0.55, 0.45, 0.55, 0.45, 0.55, 0.5, 0.45, 0.4] + 10 * [0.1] + [0.45, 0.55]


def test_a_base_about_half_open_comes_and_goes_once_in_a_series():
    series = np.stack([frame_with(closed) for closed in FLICKERING])
    alone = base_shown(np.stack([CleanUp()(labels) for labels in series]))
    together = base_shown(CleanUp().of_series(series, goes_round=True))
    changes = [np.count_nonzero(np.diff(shown, append=shown[0])) for shown in (alone, together)]
    assert changes[0] > 4 and changes[1] == 2
    assert together[:6] == 6 * [1] and together[10:17] == 7 * [0] and together[-1] == 1


def test_the_first_frame_of_a_heartbeat_is_judged_with_the_last():
    closed = [0.45, 0.4, 0.3] + 12 * [0.1] + [0.3, 0.5, 0.6, 0.65, 0.6]
    series = np.stack([frame_with(value) for value in closed])
    assert base_shown(CleanUp().of_series(series, goes_round=True))[0] == 1
    assert base_shown(CleanUp().of_series(series, goes_round=False))[0] == 0


def test_a_base_seen_in_two_frames_alone_is_not_lost():
    series = np.stack([frame_with(0.65) for _ in range(20)])
    series[1:-1, 0] = 0
    assert base_shown(CleanUp().of_series(series, goes_round=True)) == [1] + 18 * [0] + [1]


def test_a_right_ventricle_that_comes_for_two_frames_is_taken_off():
    series = np.stack([frame_with(right=index in (9, 10)) for index in range(20)])
    assert base_shown(series, 3)[9:11] == [1, 1]
    cleaned = CleanUp().of_series(series, goes_round=True)
    assert not any(base_shown(cleaned, 3)) and (cleaned[:, 1] == 3).any(axis=(1, 2)).all()


def test_one_by_one_frames_are_cleaned_as_single_ones():
    series = np.stack([frame_with(closed) for closed in FLICKERING])
    alone = np.stack([CleanUp()(labels) for labels in series])
    assert np.array_equal(CleanUp().of_series(series, steady=False), alone)


@pytest.mark.parametrize(("frames", "fading", "whole"), [(20, 0.0, True), (10, 0.0, False), (20, 0.7, False)])
def test_the_images_tell_whether_a_series_goes_round(frames, fading, whole):
    sizes = 1.0 - 0.15 * np.sin(np.pi * np.arange(20) / 20)
    noise = np.random.default_rng(1)
    cine = np.stack([picture(heart_labels(scale=size)) for size in sizes[:frames]])
    cine = cine * np.linspace(1.0, 1.0 - fading, frames)[:, None, None, None]
    cine = cine + noise.normal(0.0, 0.05 * cine.max(), cine.shape)
    assert goes_round(cine) is whole


def test_a_series_without_a_heart_stays_empty():
    assert not CleanUp().of_series(np.zeros((18, 3, 40, 40), np.uint8)).any()
