"""The parametric heart: volumes asked for, incompressible and invertible motion, physiological strain, whole bodies."""

from dataclasses import replace

import numpy as np
import pytest

from CMRSimExtension.anatomy.heart.flow import chamber_flow
from CMRSimExtension.anatomy.heart.heart import Heart
from CMRSimExtension.anatomy.heart.left_side import EPICARDIAL_RIM_MM, wall_at_rest, wall_now
from CMRSimExtension.anatomy.heart.levels import LongAxis
from CMRSimExtension.anatomy.heart.parameters import HeartParameters, WallPatch
from CMRSimExtension.anatomy.heart.timing import CardiacTiming
from CMRSimExtension.anatomy.heart.ventricle import LeftVentricle
from CMRSimExtension.anatomy.reference import PATHOLOGIES, draw_heart
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError

ODD = HeartParameters(
    cross_section=(0.03, -0.02, 0.01, 0.015),
    bend_mm=(4.0, -3.0),
    patches=(WallPatch(150.0, 0.4, 45.0, 0.3, 1.6, 0.4),),
)


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Heart(ODD)


def wall_points(heart: Heart, count: int, seed: int = 0) -> np.ndarray:
    """Material points well inside the LV wall, heart coordinates."""
    rng = np.random.default_rng(seed)
    lv = heart.lv
    level = rng.uniform(15.0, 0.9 * lv.endo_length_mm, count)
    angle = rng.uniform(-np.pi, np.pi, count)
    shells = lv.shells(0.0)
    row = np.rint(level / lv.levels_mm[1]).astype(int)
    column = np.rint(angle / (2 * np.pi) * len(lv.angles)).astype(int) % len(lv.angles)
    share = rng.uniform(0.2, 0.8, count)
    radius = np.sqrt((1 - share) * shells.endo[row, column] + share * shells.epi[row, column])
    centre = lv.centre_mm(level)
    return np.stack([centre[:, 0] + radius * np.cos(angle), centre[:, 1] + radius * np.sin(angle), level], axis=1)


def test_wall_motion_and_its_inverse_cancel_to_a_nanometre(heart: Heart) -> None:
    rest = wall_points(heart, 2000)
    for phase in (0.1, 0.3, heart.timing.end_systole, 0.6, 0.95):
        state = heart.state(phase, np.float64)
        back = wall_at_rest(wall_now(rest, state, heart.lv), state, heart.lv)
        assert np.abs(back - rest).max() < 1e-6


def test_the_wall_keeps_its_volume(heart: Heart) -> None:
    """The Jacobian of the closed form is 1; finite differences of 1e-4 mm see it to 1e-5."""
    rest = wall_points(heart, 400)
    # Stay off the seams of the bilinear tables, where one-sided slopes differ.
    state = heart.state(heart.timing.end_systole, np.float64)
    step = 1e-4
    columns = []
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step
        columns.append((wall_now(rest + shift, state, heart.lv) - wall_now(rest - shift, state, heart.lv)) / (2 * step))
    jacobian = np.linalg.det(np.stack(columns, axis=-1))
    assert np.quantile(np.abs(jacobian - 1.0), 0.98) < 1e-5
    assert np.abs(jacobian - 1.0).max() < 0.01


def test_sampling_tells_the_rest_position_that_the_motion_started_from(heart: Heart) -> None:
    rest = wall_points(heart, 1000)
    state = heart.state(0.3, np.float64)
    found = heart.sample(wall_now(rest, state, heart.lv), state)
    wall = found.structure == Structure.LV_MYOCARDIUM
    assert wall.mean() > 0.99
    assert np.abs(found.rest[wall] - rest[wall]).max() < 1e-6


@pytest.mark.parametrize("edv, esv, mass", [(142.0, 52.0, 100.0), (285.0, 236.0, 181.0), (60.0, 22.0, 45.0)])
def test_volumes_and_mass_asked_for_are_reached(edv: float, esv: float, mass: float) -> None:
    """Counted over a fine grid of points, not read from the tables; 1 % leaves room for the grid."""
    size = (edv / 140.0) ** (1 / 3)
    heart = Heart(
        HeartParameters(
            lv_edv_ml=edv, lv_esv_ml=esv, lv_mass_g=mass, lv_length_mm=84.0 * size, rv_edv_ml=edv, rv_esv_ml=0.45 * edv
        )
    )
    spacing = 1.0
    x = np.arange(-50.0, 50.0, spacing)
    z = np.arange(-5.0, 120.0 * size, spacing)
    grid = np.stack(np.meshgrid(x, x, z, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid + np.random.default_rng(0).uniform(-0.5, 0.5, grid.shape)
    counted = {}
    for name, phase in (("ed", 0.0), ("es", heart.timing.end_systole)):
        found = heart.sample(grid.astype(np.float32), heart.state(phase))
        counted[name] = [(found.clinical == k).sum() * spacing**3 / 1000.0 for k in (1, 2)]
    assert counted["ed"][0] == pytest.approx(edv, rel=0.01)
    assert counted["es"][0] == pytest.approx(esv, rel=0.01)
    assert counted["ed"][1] * 1.05 == pytest.approx(mass, rel=0.01)


def test_normal_hearts_strain_as_hearts_do() -> None:
    """Means of 40 people: circumferential -17 to -20 %, longitudinal -15 to -18 %, radial +45 to +52 %.

    Radial follows from the other two by incompressibility; feature tracking measures less.
    """
    strains = []
    for seed in range(40):
        sex = "FM"[seed % 2]
        parameters = draw_heart(
            np.random.default_rng(seed), sex=sex, age_years=50, body_surface_area_m2=1.7 if sex == "F" else 1.95
        )
        strains.append(LeftVentricle(parameters).mid_wall_strain(1.0))
    circumferential, longitudinal, radial = 100 * np.mean(strains, axis=0)
    assert -20.0 <= circumferential <= -17.0
    assert -18.0 <= longitudinal <= -15.0
    assert 45.0 <= radial <= 52.0


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_every_pathology_makes_whole_hearts(pathology: str) -> None:
    for seed in range(4):
        parameters = draw_heart(
            np.random.default_rng(seed), sex="F", age_years=40, body_surface_area_m2=1.8, pathology=pathology
        )
        heart = Heart(parameters)
        assert heart.rv.volume_ml(0.0) == pytest.approx(parameters.rv_edv_ml, rel=0.02)
        assert heart.rv.volume_ml(1.0) == pytest.approx(parameters.rv_esv_ml, rel=0.05)
        level = 0.45 * heart.lv.apex_mm
        state = heart.state(0.0)
        found = heart.sample(np.array([[0.0, 0.0, level]], np.float32), state)
        assert found.clinical[0] == 1


def test_the_lv_cavity_is_closed_by_wall_at_the_apex(heart: Heart) -> None:
    for phase in (0.0, heart.timing.end_systole):
        z = np.linspace(0.5 * heart.lv.apex_mm, heart.lv.apex_mm - 0.2, 400)
        centre = heart.lv.centre_mm(z)
        line = np.column_stack([centre, z]).astype(np.float32)
        clinical = heart.sample(line, heart.state(phase)).clinical
        assert clinical[0] == 1
        assert clinical[-1] == 2


def test_the_septum_lies_between_the_ventricles_without_a_gap(heart: Heart) -> None:
    state = heart.state(0.0)
    level = 0.4 * heart.lv.apex_mm
    x = np.linspace(0.0, -60.0, 600)
    centre = heart.lv.centre_mm(np.array([level]))[0]
    turn = heart.rv.turn_rad
    line = np.column_stack([centre[0] + x * np.cos(turn), centre[1] + x * np.sin(turn), np.full(600, level)])
    clinical = heart.sample(line.astype(np.float32), state).clinical
    kinds = [k for k, previous in zip(clinical, [-1, *clinical[:-1]], strict=True) if k != previous]
    assert kinds[:3] == [1, 2, 3]


def test_the_long_axis_map_and_its_inverse_cancel() -> None:
    axis = LongAxis(95.0, 0.83)
    levels = np.linspace(-80.0, 110.0, 500)
    assert np.abs(axis.inverse(axis.forward(levels)) - levels).max() < 1e-9


def test_ejection_is_periodic_and_continuous() -> None:
    timing = CardiacTiming(0.36, 0.75)
    phases = np.linspace(0.0, 0.9999, 4000)
    ejection = np.array([timing.ejection(p) for p in phases])
    assert ejection[0] == 0.0 and ejection[-1] < 1e-3
    assert np.abs(np.diff(ejection)).max() < 0.01
    assert timing.ejection(timing.end_systole) == 1.0


def test_blood_flow_is_free_of_divergence_in_a_round_ventricle() -> None:
    heart = Heart(replace(HeartParameters(), septal_flattening=0.0, bend_mm=(0.0, 0.0)))
    rng = np.random.default_rng(1)
    points = np.column_stack([rng.uniform(-12, 12, 300), rng.uniform(-12, 12, 300), rng.uniform(25, 60, 300)])
    step, phase = 0.5, 0.2
    divergence = np.zeros(300)
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step
        ahead, behind = (chamber_flow(heart, points + s * shift, phase)[:, axis] for s in (1, -1))
        divergence += (ahead - behind) / (2 * step)
    speed = np.linalg.norm(chamber_flow(heart, points, phase), axis=1)
    assert speed.max() > 50.0
    # A tenth of the flow's own rate of strain: tables of 1 mm steps stand behind the finite differences.
    assert np.median(np.abs(divergence)) < 0.1 * np.median(speed) / 10.0


def test_an_esv_above_the_edv_is_refused_with_both_values() -> None:
    with pytest.raises(InputError, match="LV ESV 150 ml is not below its EDV 140 ml"):
        HeartParameters(lv_edv_ml=140.0, lv_esv_ml=150.0)


def test_a_stroke_volume_that_an_akinetic_wall_cannot_eject_is_refused() -> None:
    everywhere = WallPatch(0.0, 0.5, 720.0, 9.0, 1.0, 0.0)
    with pytest.raises(InputError, match="lv_esv_ml is 52.*bring ESV and EDV closer together"):
        LeftVentricle(HeartParameters(lv_edv_ml=142.0, lv_esv_ml=52.0, patches=(everywhere,)))


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_what_is_drawn_can_always_be_built(pathology: str) -> None:
    for seed in range(6):
        parameters = draw_heart(
            np.random.default_rng(seed), sex="M", age_years=12.0 if pathology == "dmd" else 50.0,
            body_surface_area_m2=1.3 if pathology == "dmd" else 1.9, pathology=pathology,
        )  # fmt: skip
        lv = LeftVentricle(parameters)
        assert lv.mass_g == pytest.approx(parameters.lv_mass_g, rel=1e-6)
        assert lv.volume_ml(1.0) == pytest.approx(parameters.lv_esv_ml, rel=1e-6)


def test_a_volume_that_no_body_of_this_size_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"5 ml, which is 3 ml/m2 .* 15 to 350"):
        draw_heart(np.random.default_rng(0), sex="M", age_years=40.0, body_surface_area_m2=1.9, lv_edv_ml=5.0)


def test_an_unknown_pathology_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="choose one of normal, dcm"):
        draw_heart(np.random.default_rng(0), sex="F", age_years=40, body_surface_area_m2=1.8, pathology="flu")


def test_muscle_goes_on_beyond_the_contour_that_readers_draw(heart: Heart) -> None:
    """Away from the RV, along rays from the axis: a rim of the stated thickness, outside the clinical label."""
    state = heart.state(0.0, np.float64)
    level = 0.4 * heart.lv.endo_length_mm
    centre = heart.lv.centre_mm(np.array([level]))[0]
    radius = np.arange(20.0, 60.0, 0.05)
    for angle in np.deg2rad([-60.0, -20.0, 20.0, 60.0]):
        ray = np.stack(
            [centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), 0 * radius + level], axis=1
        )
        found = heart.sample(ray, state)
        muscle, labelled = found.structure == Structure.LV_MYOCARDIUM, found.clinical == 2
        assert radius[muscle].max() - radius[labelled].max() == pytest.approx(EPICARDIAL_RIM_MM, abs=0.11)


@pytest.mark.parametrize(("level", "depth", "width"), [(0.2, 0.50, 1.18), (0.5, 0.45, 0.94), (0.8, 0.36, 0.77)])
def test_the_rv_is_a_crescent_as_deep_and_as_wide_as_readers_draw_it(level: float, depth: float, width: float) -> None:
    """Over the LV's outer diameter, at end diastole: means of the 12 healthy ACDC people; their SD is 0.06 to 0.14."""
    x, y = (g.ravel() for g in np.meshgrid(np.arange(-90.0, 50.0), np.arange(-70.0, 70.0), indexing="ij"))
    depths, widths = [], []
    for seed in range(8):
        heart = Heart(draw_heart(np.random.default_rng(seed), sex="F", age_years=50.0, body_surface_area_m2=1.8))
        z = np.full_like(x, level * heart.lv.endo_length_mm)
        clinical = heart.sample(np.stack([x, y, z], axis=1), heart.state(0.0, np.float64)).clinical
        left, right = clinical > 0, clinical == 3
        left &= ~right
        diameter = 2.0 * np.sqrt(left.sum() / np.pi)
        centre = np.array([x[left].mean(), y[left].mean()])
        towards = np.array([x[right].mean(), y[right].mean()]) - centre
        towards /= np.linalg.norm(towards)
        dx, dy = x[right] - centre[0], y[right] - centre[1]
        depths.append((np.quantile(dx * towards[0] + dy * towards[1], 0.98) - diameter / 2) / diameter)
        across = dy * towards[0] - dx * towards[1]
        widths.append((np.quantile(across, 0.99) - np.quantile(across, 0.01)) / diameter)
    assert np.mean(depths) == pytest.approx(depth, abs=0.1)
    assert np.mean(widths) == pytest.approx(width, abs=0.12)


def test_how_coarse_the_trabeculae_are_says_nothing_of_how_the_rv_leans() -> None:
    drawn = [
        draw_heart(np.random.default_rng(seed), sex="F", age_years=50.0, body_surface_area_m2=1.8)
        for seed in range(200)
    ]
    lean, coarse = ([getattr(one, name) for one in drawn] for name in ("rv_lean_deg", "trabecular_coarseness"))
    # Of 200 unrelated pairs one in a thousand correlates by more.
    assert abs(np.corrcoef(lean, coarse)[0, 1]) < 0.24
    assert 6.0 <= min(lean) and max(lean) <= 34.0


def test_an_impossible_patch_of_wall_is_refused() -> None:
    with pytest.raises(InputError, match="thickness of a patch of wall is 0.0; it must lie between 0.05 and 5"):
        WallPatch(180.0, 0.5, 40.0, 0.2, thickness=0.0)
    with pytest.raises(InputError, match="width_deg of a patch of wall is nan"):
        WallPatch(180.0, 0.5, float("nan"), 0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rv_lean_deg": 75.0}, "rv_lean_deg is 75.0; it must lie between -60 and 60"),
        ({"rv_lean_deg": float("nan")}, "rv_lean_deg is nan"),
        ({"rv_half_angle_deg": 120.0}, "rv_half_angle_deg is 120.0; it must lie between 25 and 85"),
        ({"cross_section": (0.0, 0.5, 0.0, 0.0)}, "cross_section is 0.5; it must lie between -0.3 and 0.3"),
        ({"fat_mm": float("nan")}, "fat_mm is nan"),
        ({"papillary_heads": (1, 0)}, "papillary_heads is 0; it must lie between 1 and 6"),
        ({"papillary_heads": (1, 1.5)}, "give whole numbers"),
        ({"papillary_levels": ((0.3, 0.2), (0.3, 0.8))}, "run from 0.3 to 0.2; the first lies nearer the base"),
        ({"papillary_radius_mm": (4.0,)}, "one for each of the two papillary muscles"),
        ({"cross_section": (0.0, 0.1)}, r"cross_section is \(0.0, 0.1\); give 4 numbers"),
        ({"rv_wall_mm": (2.0, 3.0)}, r"rv_wall_mm is \(2.0, 3.0\); give one number:"),
        ({"pericardial_fluid_mm": -1.0}, "pericardial_fluid_mm is -1.0; it must lie between 0 and 15"),
        ({"fat_mm": "thick"}, "fat_mm is 'thick'; it must be a number between 0 and 10"),
        ({"fat_mm": 10**400}, "must lie between 0 and 10"),
        ({"papillary_heads": (1, "2")}, "papillary_heads is '2'; it must be a number"),
        ({"papillary_heads": (True, 1)}, "papillary_heads is True; it must be a number"),
        ({"patches": ("x",)}, "give WallPatch objects"),
        ({"patches": None}, "give WallPatch objects"),
        ({"seed": "x"}, "seed is x; give a whole number"),
        ({"seed": -1}, "seed is -1; give a whole number"),
        ({"lv_esv_ml": "60"}, "LV ESV is '60'; give one number"),
        ({"rv_esv_ml": None}, "RV ESV is None; give one number"),
        ({"bend_mm": (1.0, (2.0, 3.0))}, r"bend_mm is \(1.0, \(2.0, 3.0\)\); give 2 numbers"),
        ({"papillary_levels": ((0.2, 0.8), (0.2,))}, "papillary_levels is .*; give one for each"),
        ({"papillary_radius_mm": None}, "papillary_radius_mm is None; give one for each"),
    ],
)
def test_an_impossible_parameter_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        HeartParameters(**given)  # type: ignore[arg-type]


def test_walls_are_as_uneven_as_readers_draw_them() -> None:
    # ACDC's labels at mid level and end diastole: thickness has an SD of 0.19 of its mean around a slice (median), of
    # which pixels and patients' own patches, which are not drawn here, make about half.
    uneven = []
    for seed in range(12):
        lv = Heart(HeartParameters(seed=seed)).lv
        thickness = (np.sqrt(lv.rest_epi) - np.sqrt(lv.rest_endo))[len(lv.levels_mm) // 3]
        uneven.append(thickness.std() / thickness.mean())
    assert 0.08 < np.median(uneven) < 0.16
