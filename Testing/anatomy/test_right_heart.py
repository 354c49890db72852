"""The leaning right ventricle with its strands, and what wraps the heart: vessels in fat, fluid, uneven pericardium."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from CMRSimExtension.anatomy.heart.coronaries import in_vessel
from CMRSimExtension.anatomy.heart.heart import Heart
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.heart.right_ventricle import outline_radius
from CMRSimExtension.anatomy.heart.state import Points
from CMRSimExtension.anatomy.heart.trabeculae import is_band
from CMRSimExtension.anatomy.reference import draw_heart, ranges_for
from CMRSimExtension.anatomy.structures import Structure

PIXEL_MM = 0.7


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Heart(HeartParameters(fat_mm=3.0, pericardial_fluid_mm=1.0))


def section(heart: Heart, share: float, phase: float = 0.0) -> np.ndarray:
    """(y, x) structures of the heart across its axis at a share of the LV's length; rows run towards the front."""
    y, x = np.mgrid[-70.0:70.0:PIXEL_MM, -110.0:60.0:PIXEL_MM]
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, share * heart.lv.apex_mm)], axis=1).astype(np.float32)
    found = heart.sample(points, heart.state(phase))
    return np.where(found.claimed, found.structure, 0).reshape(x.shape)


def depth_by_angle(heart: Heart, degrees: np.ndarray) -> np.ndarray:
    """(angles,) mm of RV beyond the LV, at angles from the middle of the septum towards the inferior insertion."""
    state, level = heart.state(0.0), 0.4 * heart.lv.apex_mm
    centre = heart.lv.centre_mm(np.array([level]))[0]
    radius = np.arange(20.0, 100.0, 0.5)
    angle = np.pi + np.deg2rad(degrees)[:, None]
    x, y = (centre[0] + radius * np.cos(angle)).ravel(), (centre[1] + radius * np.sin(angle)).ravel()
    inside: Points = heart.classify(x, y, np.full(x.size, level), state)
    return (inside.clinical == 3).reshape(len(degrees), -1).sum(axis=1) * 0.5


def test_the_right_ventricle_is_deeper_at_its_inferior_corner_than_at_the_anterior_insertion() -> None:
    degrees = np.array([-35.0, -20.0, 20.0, 35.0])
    leaning = depth_by_angle(Heart(HeartParameters(rv_sag_deg=0.0)), degrees)
    assert leaning[:2].mean() < 0.85 * leaning[2:].mean()
    # In ACDC's labels the depth 0.7 of the way to either insertion is 0.36 and 0.64 of the LV's radius (medians).
    straight = replace(HeartParameters(rv_sag_deg=0.0), rv_lean_deg=0.0, rv_triangularity=(0.0, 0.0))
    upright = depth_by_angle(Heart(straight), degrees)
    assert leaning[0] / leaning[-1] < 0.8 * upright[0] / upright[-1]


@pytest.mark.filterwarnings("error")
def test_the_very_centre_of_the_outline_is_blood_too(heart: Heart) -> None:
    state = heart.state(0.0)
    for level in (-10.0, 20.0):
        at = np.array([level], dtype=np.float32)
        centre = state.right.now(at)[0]
        assert heart.classify(centre[:1], centre[1:2], at, state).structure != 0


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_about_as_much_of_the_rv_is_band_as_asked_for(share: float) -> None:
    x, y, z = np.random.default_rng(0).uniform(-40.0, 40.0, (3, 20000))
    hearts = [is_band(x, y, z, np.full(20000, share), seed).mean() for seed in range(8)]
    assert np.mean(hearts) == pytest.approx(share, abs=0.04)


def test_strands_run_on_into_the_wall_or_each_other_and_are_no_islands(heart: Heart) -> None:
    found = section(heart, 0.5)
    strands = np.isin(found, (Structure.RV_TRABECULAE, Structure.MODERATOR_BAND))
    walls = np.isin(found, (Structure.RV_MYOCARDIUM, Structure.LV_MYOCARDIUM))
    pieces, count = label(strands | walls, np.ones((3, 3)))
    joined = np.unique(pieces[walls])
    assert strands.sum() * PIXEL_MM**2 > 50.0
    assert np.isin(pieces[strands], joined).mean() > 0.6


def test_vessels_run_through_the_epicardial_fat(heart: Heart) -> None:
    found = np.stack([section(heart, share) for share in (0.1, 0.3, 0.5)])
    vessels, fat = (found == number for number in (Structure.CORONARY_VESSEL, Structure.EPICARDIAL_FAT))
    assert 0.01 < vessels.sum() / (fat | vessels).sum() < 0.12


@pytest.mark.parametrize("seed", [1, 4, 8, 36])
def test_vessels_of_two_hearts_meet_by_chance_alone(seed: int) -> None:
    x, y, z = np.random.default_rng(0).uniform(-60.0, 60.0, (3, 20000))
    one, other = in_vessel(x, y, z, 0), in_vessel(x, y, z, seed)
    assert one.mean() == pytest.approx(0.03, abs=0.015)
    assert (one & other).mean() < 0.3 * one.mean()


def test_a_vessel_runs_through_every_170_square_millimetres_of_fat() -> None:
    x, y = (g.ravel() for g in np.meshgrid(np.arange(0.0, 100.0, 0.4), np.arange(0.0, 100.0, 0.4)))
    counts = [label(in_vessel(x, y, np.full(x.size, 40.0), seed).reshape(250, 250))[1] for seed in range(8)]
    assert 10000.0 / np.mean(counts) == pytest.approx(170.0, rel=0.15)


def test_fluid_pools_beside_the_inferolateral_wall(heart: Heart) -> None:
    found = section(heart, 0.4)
    fluid = found == Structure.PERICARDIAL_FLUID
    middle = found.shape[0] // 2
    inferior, anterior = fluid[:middle].sum(), fluid[middle:].sum()
    assert fluid.sum() > 0 and inferior > 1.5 * anterior
    dry = section(Heart(HeartParameters(pericardial_fluid_mm=0.0)), 0.4)
    assert not (dry == Structure.PERICARDIAL_FLUID).any()


def test_the_pericardium_is_no_even_line(heart: Heart) -> None:
    thickness = heart._lining.pericardium.radii_mm
    assert thickness.min() == 0.0 and thickness.max() > 1.2
    assert thickness.mean() == pytest.approx(0.63, abs=0.1)


def drawn(seed: int) -> Heart:
    return Heart(draw_heart(np.random.default_rng(seed), sex="M", age_years=50.0, body_surface_area_m2=1.9))


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_the_right_ventricle_ends_at_its_apex(seed: int) -> None:
    heart = drawn(seed)
    x, y = (g.ravel() for g in np.meshgrid(np.arange(-70.0, 40.0, 1.0), np.arange(-50.0, 50.0, 1.0)))
    for phase in (0.0, heart.timing.end_systole):
        state = heart.state(phase)
        areas = [
            (heart.classify(x, y, np.full(x.size, heart.rv.apex_mm + off), state).clinical == 3).sum()
            for off in (-4.0, 0.5, 3.0, 6.0, 9.0)
        ]
        assert areas[0] > 20 and not any(areas[1:])


@pytest.mark.parametrize("seed", [25, 27])
def test_the_sac_is_closed_below_the_apex(seed: int) -> None:
    heart = drawn(seed)
    y, x = (g.ravel() for g in np.mgrid[-40.0:40.0:2.0, -60.0:40.0:2.0])
    points = np.stack([x, y, np.full(x.size, heart.lv.apex_mm + 15.0)], axis=1)
    assert not heart.sample(points, heart.state(0.0, np.float64)).claimed.any()


def test_an_outline_of_single_precision_stays_in_it() -> None:
    one = np.ones(5, np.float32)
    found = outline_radius(one, one, 20 * one, 30 * one, (np.float64(0.02), np.float64(-0.04)), 0.3)
    assert [values.dtype for values in found] == [np.float32, np.float32]


@pytest.mark.parametrize(
    ("lv_ml", "rv_edv", "rv_esv"), [(142.0, 155.0, 68.0), (85.0, 220.0, 160.0), (55.0, 275.0, 200.0)]
)
def test_right_volumes_asked_for_are_reached_in_slim_and_in_failing_ventricles(lv_ml, rv_edv, rv_esv):
    """Counted over a grid of points, not read from the tables; 1.5 % leaves room for the grid."""
    size = (lv_ml / 142.0) ** (1 / 3)
    heart = Heart(
        HeartParameters(
            lv_edv_ml=lv_ml, lv_esv_ml=0.4 * lv_ml, lv_mass_g=0.75 * lv_ml, lv_length_mm=88.0 * size, rv_edv_ml=rv_edv,
            rv_esv_ml=rv_esv,
        )
    )  # fmt: skip
    spacing, rng = 2.0, np.random.default_rng(0)
    axes = (np.arange(-130.0, 40.0, spacing), np.arange(-90.0, 92.0, spacing), np.arange(-30.0, 110.0 * size, spacing))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = (grid + spacing * rng.uniform(-0.5, 0.5, grid.shape)).astype(np.float32)
    for phase, volume in ((0.0, rv_edv), (heart.timing.end_systole, rv_esv)):
        counted = (heart.sample(grid, heart.state(phase)).clinical == 3).sum() * spacing**3 / 1000.0
        assert counted == pytest.approx(volume, rel=0.015)


def test_failing_right_ventricles_are_as_large_beside_the_left_ones_as_patients_are():
    """Twelve patients of ACDC's group RV: 1.2 to 7.8 times as large at end systole, half of them above 2.8."""
    body = {"age_years": 50, "body_surface_area_m2": 1.8, "pathology": "rv"}
    hearts = [draw_heart(np.random.default_rng(seed), sex="FM"[seed % 2], **body) for seed in range(150)]
    ratio = np.array([heart.rv_esv_ml / heart.lv_esv_ml for heart in hearts])
    volumes = np.array([(heart.lv_edv_ml, heart.rv_edv_ml) for heart in hearts])
    assert 2.2 < np.median(ratio) < 3.4 and np.quantile(ratio, 0.05) < 1.8 and np.quantile(ratio, 0.95) > 5.0
    assert abs(np.corrcoef(volumes.T)[0, 1]) < 0.35


def test_a_right_ventricle_that_is_far_larger_than_the_left_one_is_round():
    """It overhangs the insertions instead of growing into a long tongue away from the septum."""
    heart = Heart(HeartParameters(lv_edv_ml=55.0, lv_esv_ml=24.0, lv_mass_g=60.0, lv_length_mm=60.0, rv_edv_ml=275.0,
                                  rv_esv_ml=200.0))  # fmt: skip
    cavity = np.isin(section(heart, 0.4), (Structure.RV_BLOOD, Structure.RV_TRABECULAE))
    y, x = np.nonzero(cavity)
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(x, y)))
    assert spread[1] / spread[0] < 1.5


def test_the_right_ventricle_ends_at_a_tricuspid_annulus_nearer_the_apex_than_the_mitral_one():
    heart = Heart(HeartParameters(tricuspid_offset_mm=6.0, rv_descent_mm=8.0))
    systole = heart.timing.end_systole
    for phase, annulus in ((0.0, 6.0), (systole, 14.0)):
        state, level = heart.state(phase, np.float64), np.arange(-4.0, 30.0, 0.5)
        y, x = (g.ravel() for g in np.mgrid[-60.0:60.0:3.0, -100.0:20.0:3.0])
        at = np.repeat(level, x.size)
        found = heart.classify(np.tile(x, level.size), np.tile(y, level.size), at, state)
        ventricle, area = found.clinical == 3, (found.clinical == 3).reshape(level.size, -1).sum(axis=1)
        assert at[ventricle].min() == annulus
        # Readers' ventricles begin whole, with inlet and outflow tract alike.
        assert area[level == annulus] > 0.8 * area.max()
        above = (at < annulus) & (at >= 0.0)
        assert (found.structure[above] == Structure.RA_BLOOD).sum() > 0.3 * area.max() * annulus / 0.5


def test_the_atrium_and_the_outflow_tract_that_pass_side_by_side_keep_their_walls() -> None:
    heart = Heart(HeartParameters(tricuspid_offset_mm=6.0, rv_descent_mm=8.0))
    state = heart.state(heart.timing.end_systole, np.float64)
    y, x = np.mgrid[-60.0:60.0:0.5, -100.0:20.0:0.5]
    found = heart.classify(x.ravel(), y.ravel(), np.full(x.size, 7.0), state).structure.reshape(x.shape)
    atrium, tract = found == Structure.RA_BLOOD, found == Structure.RV_BLOOD
    assert atrium.sum() > 1000 and tract.sum() > 300
    assert not (binary_dilation(atrium, iterations=4) & tract).any()


def test_right_ventricles_begin_as_far_below_the_left_ones_as_those_that_readers_drew():
    """In ACDC and both vendors of M&Ms (with slices taken to be 10 mm apart), slice distances times the slices that
    show the LV's wall before the RV begins: on average 2 to 7 mm at end diastole and 8.5 to 10.1 mm at end systole."""
    distances = []
    for seed in range(200):
        p = draw_heart(np.random.default_rng(seed), sex="FM"[seed % 2], age_years=60.0, body_surface_area_m2=1.9)
        start = p.tricuspid_offset_mm - p.rv_outflow_labelled_mm
        distances.append((start, (1.0 - p.longitudinal_shortening) * (start + p.rv_descent_mm)))
    diastole, systole = np.mean(distances, axis=0)
    assert 3.5 < diastole < 6.5 and 8.0 < systole < 11.0


@pytest.mark.parametrize(("pathology", "least", "most"), [
    ("normal", 0.88, 1.12), ("dmd", 0.88, 1.12), ("hcm", 0.74, 1.1), ("minf", 0.83, 1.12), ("dcm", 0.72, 1.2),
    ("rv", 0.7, 1.8),
])  # fmt: skip
def test_both_ventricles_eject_the_same_but_for_what_leaks_back(pathology: str, least: float, most: float) -> None:
    def of(seed: int) -> HeartParameters:
        return draw_heart(
            np.random.default_rng(seed), sex="F", age_years=50, body_surface_area_m2=1.8, pathology=pathology
        )

    hearts = [of(seed) for seed in range(80)]
    ratio = np.array([(h.rv_edv_ml - h.rv_esv_ml) / (h.lv_edv_ml - h.lv_esv_ml) for h in hearts])
    assert least < ratio.min() and ratio.max() < most
    assert 0.5 * (1.0 + np.median(ratio)) == pytest.approx(1.0, abs=0.1)
    # They keep the sizes and, as a group, the ejection fractions that such patients have.
    group = ranges_for(pathology, "F", 50)
    size = np.mean([h.rv_edv_ml for h in hearts]) / 1.8
    ejection = np.mean([100.0 * (1.0 - h.rv_esv_ml / h.rv_edv_ml) for h in hearts])
    assert size == pytest.approx(group.rv_edv_index.mean, rel=0.1)
    assert ejection == pytest.approx(group.rv_ef_percent.mean, abs=8.0)


def test_a_heart_that_hardly_beats_keeps_a_right_ventricle() -> None:
    heart = draw_heart(
        np.random.default_rng(2), sex="M", age_years=60, body_surface_area_m2=2.0, lv_edv_ml=150.0, lv_esv_ml=148.0
    )
    assert 45.0 < heart.rv_edv_ml < 200.0 and 1.0 < heart.rv_edv_ml - heart.rv_esv_ml < 3.0
