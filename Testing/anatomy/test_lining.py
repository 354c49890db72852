"""Muscle inside the LV: a lining without a hard edge, papillary muscles that join the wall as the cavity empties."""

import numpy as np
import pytest
from scipy.ndimage import label

from CMRSimExtension.anatomy.heart.heart import Heart
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.trabeculae import finer_than_voxels, is_lining, lining_share
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError

MUSCLE = (Structure.LV_MYOCARDIUM, Structure.LV_TRABECULAE, Structure.LV_PAPILLARY)
SLICE_MM = np.linspace(-4.0, 4.0, 33)


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Heart(HeartParameters())


@pytest.mark.parametrize("mean", [0.3, 0.4, 0.62])
def test_the_share_of_muscle_rises_from_the_cavity_to_the_wall_and_has_the_mean_asked_for(mean: float) -> None:
    share = lining_share(np.linspace(0.0, 1.0, 20001), mean)
    assert share[0] == 0.0 and share[-1] == pytest.approx(0.85) and np.all(np.diff(share) >= 0)
    assert share.mean() == pytest.approx(mean, abs=0.002)


@pytest.mark.parametrize("coarseness", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_as_much_of_the_lining_is_muscle_as_asked_for(share: float, coarseness: float) -> None:
    x, y, z = np.random.default_rng(0).uniform(-35.0, 35.0, (3, 20000))
    hearts = [is_lining(x, y, z, np.full(20000, share), seed, coarseness).mean() for seed in range(8)]
    # Wide bundles leave few of them in one heart.
    assert np.mean(hearts) == pytest.approx(share, abs=0.03)


def test_strands_finer_than_voxels_are_a_grey_in_every_slice_of_them() -> None:
    level = 40.0 + SLICE_MM
    means = [float((finer_than_voxels(level, np.full(33, shift)) < 0.0).mean()) for shift in np.linspace(-2, 2, 41)]
    assert 0.35 < min(means) and max(means) < 0.65


def _muscle(heart: Heart, radius_mm: np.ndarray, angle: float, level_mm: float, phase: float) -> np.ndarray:
    """(radii,) share of muscle over a slice's thickness, along one ray from the LV's axis."""
    state = heart.state(phase)
    radius, level = (g.reshape(-1) for g in np.meshgrid(radius_mm, level_mm + SLICE_MM, indexing="ij"))
    turned = angle + heart.lv.twist_rad(level, state.twist)
    points = heart.classify(radius * np.cos(turned), radius * np.sin(turned), level, state)
    return np.isin(points.structure, MUSCLE).reshape(len(radius_mm), -1).mean(axis=1)


def test_the_border_of_the_cavity_is_a_rim_and_no_edge(heart: Heart) -> None:
    """Over two millimetres at the least, the median of all directions, muscle gives way to blood within a slice."""
    radius = np.arange(4.0, 34.0, 0.25)
    for phase in (0.0, heart.timing.end_systole):
        widths = []
        for angle in np.linspace(-np.pi, np.pi, 48, endpoint=False):
            share = _muscle(heart, radius, angle, 45.0, phase)
            widths.append(0.25 * np.count_nonzero((share > 0.1) & (share < 0.9)))
        assert np.median(widths) > 2.0


def test_papillary_muscles_grow_into_the_wall_as_the_cavity_empties(heart: Heart) -> None:
    rows = [heart.state(phase).papillaries for phase in (0.0, heart.timing.end_systole)]
    heads = len(rows[0].angles)
    first, last = (papillaries.axes(np.array([42.0]))[0] for papillaries in rows)
    size, root = slice(heads, 2 * heads), slice(2 * heads, None)
    assert np.all(first[size] > 2.0) and np.all(first[root] < 0.4 * first[size])
    assert np.all(last[root] > 0.4 * last[size])


def test_a_coarseness_that_is_no_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"trabecular_coarseness is 1.2.*between 0 and 1"):
        HeartParameters(trabecular_coarseness=1.2)


def test_muscle_that_would_crowd_beyond_the_compact_wall_is_refused() -> None:
    with pytest.raises(InputError, match="trabecular_muscle_fraction is 0.7"):
        HeartParameters(trabecular_muscle_fraction=0.7)


def test_the_cavity_opens_into_the_outflow_tract_without_a_corner_or_strands(heart: Heart) -> None:
    state = heart.state(heart.timing.end_systole)
    x, y, level = (g.reshape(-1) for g in np.meshgrid(*(np.arange(-45.0, 45.0, 1.0),) * 2, [2.0, 4.0, 6.0]))
    points = heart.classify(x, y, level, state)
    centre = heart.lv.centre_mm(level)
    theta = np.arctan2(y - centre[:, 1], x - centre[:, 0]) - heart.lv.twist_rad(level, state.twist)
    notched = level < heart.lv.notch_mm(theta)
    assert not np.any(points.structure[notched] == Structure.LV_TRABECULAE)
    radius, lumen = heart.base.aorta.distance(x, y, level)
    tract = points.structure == Structure.LV_OUTFLOW
    # The corners that the round tract and the cavity leave between them are blood too.
    assert np.count_nonzero(tract & (radius > lumen + 0.5)) > 10


def test_mitral_leaflets_draw_no_rings_in_a_slice(heart: Heart) -> None:
    """One level of the shut valve's cone is many pieces and no closed line."""
    x, y = (g.reshape(-1) for g in np.meshgrid(np.arange(-30.0, 30.0, 0.5), np.arange(-30.0, 30.0, 0.5)))
    leaflet = heart.classify(x, y, np.full(len(x), 4.0), heart.state(0.0)).structure == Structure.MITRAL_VALVE
    pieces, _ = label(leaflet.reshape(120, 120))
    assert leaflet.sum() > 300
    assert np.bincount(pieces.reshape(-1))[1:].max() < 0.4 * leaflet.sum()
