"""The torso: every point has a structure, organs lie where they belong, and the heart has its place."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from CMRSimExtension.anatomy.composition import TISSUE_OF_STRUCTURE
from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.anatomy.structures import Structure, Tissue
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.placement import default_heart_frame
from CMRSimExtension.anatomy.torso.torso import Torso
from CMRSimExtension.errors import InputError

CASES = [(1, "M", 45.0), (2, "F", 60.0), (3, "M", 8.0), (4, "F", 14.0)]
STEP_MM = 5.0
WITHIN_THE_SAC = (
    Structure.MEDIASTINAL_FAT,
    Structure.PERICARDIUM,
    # Roots of the great vessels, which the heart's own bodies overwrite.
    Structure.AORTA,
    Structure.PULMONARY_ARTERY,
    Structure.PULMONARY_VEIN,
    Structure.SVC,
    Structure.IVC,
    Structure.VESSEL_WALL,
    Structure.OESOPHAGUS,
    Structure.AIRWAY,
    Structure.CARTILAGE,
)


def _torso(seed: int, sex: str, age: float, **given: float) -> Torso:
    rng = np.random.default_rng(seed)
    parameters = TorsoParameters.random(rng, sex=sex, age_years=age, **given)  # type: ignore[arg-type]
    frame = default_heart_frame(parameters, rng)
    return Torso(parameters, frame, 0.61 * frame.lv_length_mm, seed)


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[1]}{c[2]:.0f}")
def torso(request: pytest.FixtureRequest) -> Torso:
    return _torso(*request.param)


@pytest.fixture(scope="module")
def trunk(torso: Torso) -> tuple[np.ndarray, np.ndarray]:
    """(a, b, c, 3) torso coordinates and (a, b, c) structures of a grid over the trunk, from neck to pelvis."""
    s = torso.parameters.body_scale
    x = np.arange(-300, 301, STEP_MM) * s
    z = np.arange(-280, 181, STEP_MM) * s
    points = np.stack(np.meshgrid(x, x, z, indexing="ij"), -1)
    return points, torso.sample(points.reshape(-1, 3) + torso.origin_mm).reshape(points.shape[:3])


def _litres(torso: Torso, structures: np.ndarray, *kinds: Structure) -> float:
    return float(np.isin(structures, kinds).sum()) * (STEP_MM * torso.parameters.body_scale) ** 3 / 1e6


def _centre(trunk: tuple[np.ndarray, np.ndarray], *kinds: Structure) -> np.ndarray:
    points, structures = trunk
    return points[np.isin(structures, kinds)].mean(axis=0)


def test_the_same_seed_gives_the_same_torso(torso: Torso) -> None:
    again = Torso(torso.parameters, torso.heart_frame, torso.heart_radius_mm, torso.seed)
    points = np.random.default_rng(0).uniform(-150, 150, (5000, 3)) + torso.origin_mm
    assert np.array_equal(again.sample(points), torso.sample(points))


def test_another_seed_gives_other_organs(torso: Torso) -> None:
    other = Torso(torso.parameters, torso.heart_frame, torso.heart_radius_mm, torso.seed + 1)
    points = np.random.default_rng(0).uniform(-100, 100, (5000, 3)) + torso.origin_mm
    assert np.mean(other.sample(points) != torso.sample(points)) > 0.02


def test_a_point_is_the_same_whatever_points_are_asked_with_it(torso: Torso) -> None:
    points = np.random.default_rng(1).uniform(-200, 200, (40000, 3)) + torso.origin_mm
    together = torso.sample(points, 0.3)
    assert np.array_equal(together[::7], torso.sample(points[::7], 0.3))


def test_no_points_give_no_structures(torso: Torso) -> None:
    assert torso.sample(np.zeros((0, 3))).shape == (0,)


def test_skin_lies_between_the_air_and_everything_else(torso: Torso) -> None:
    """Along rays sampled every 0.5 mm; the skin is about 2 mm thick."""
    rng = np.random.default_rng(2)
    angle, height = rng.uniform(0, 2 * np.pi, 300), rng.uniform(-200, 120, 300) * torso.parameters.body_scale
    r = np.arange(0.0, 420.0, 0.5)
    points = np.stack(
        [
            r[None] * np.cos(angle)[:, None],
            r[None] * np.sin(angle)[:, None],
            np.broadcast_to(height[:, None], (300, len(r))),
        ],
        axis=-1,
    )
    structures = torso.sample(points.reshape(-1, 3) + torso.origin_mm).reshape(points.shape[:2])
    air = structures == Structure.OUTSIDE
    first = np.argmax(air, axis=1)
    before = structures[np.arange(300), first - 1]
    assert air.any(axis=1).all() and np.all(before == Structure.SKIN)


def test_the_chest_leaves_the_pericardial_sac_to_the_heart(torso: Torso) -> None:
    frame, length = torso.heart_frame, torso.heart_frame.lv_length_mm
    rng = np.random.default_rng(3)
    ball = rng.standard_normal((4000, 3))
    ball *= (rng.random((4000, 1)) ** (1 / 3)) / np.linalg.norm(ball, axis=1, keepdims=True)
    # An LV of two thirds of its length in diameter, from the annulus to the apex.
    lv = ball * np.array([0.33, 0.33, 0.48]) * length + np.array([0, 0, 0.49 * length])
    found = set(np.unique(torso.sample(frame.to_ras(lv))).tolist())
    assert found <= {int(k) for k in WITHIN_THE_SAC}


def test_lungs_lie_on_both_sides_of_the_heart(torso: Torso, trunk: tuple[np.ndarray, np.ndarray]) -> None:
    assert _centre(trunk, Structure.LUNG_RIGHT)[0] > 30 * torso.parameters.body_scale
    assert _centre(trunk, Structure.LUNG_LEFT)[0] < -30 * torso.parameters.body_scale


def test_the_right_lung_is_the_larger(torso: Torso, trunk: tuple[np.ndarray, np.ndarray]) -> None:
    assert _litres(torso, trunk[1], Structure.LUNG_RIGHT) > _litres(torso, trunk[1], Structure.LUNG_LEFT)


def test_the_liver_lies_right_and_the_spleen_left(trunk: tuple[np.ndarray, np.ndarray]) -> None:
    assert _centre(trunk, Structure.LIVER)[0] > 0 > _centre(trunk, Structure.SPLEEN)[0]


def test_the_liver_reaches_under_the_heart(torso: Torso) -> None:
    """Straight below the heart's centre there is diaphragm, then liver (or stomach, in who has a short left lobe)."""
    s = torso.parameters.body_scale
    z = np.arange(0.0, -160.0 * s, -0.5)
    centre = torso.heart_frame.to_ras(np.array([[-0.18, 0.0, 0.30]]) * torso.heart_frame.lv_length_mm)[0]
    line = torso.sample(centre + z[:, None] * np.array([0.0, 0.0, 1.0]))
    first = int(np.argmax(line == Structure.DIAPHRAGM))
    assert line[first] == Structure.DIAPHRAGM
    abdominal = {Structure.LIVER, Structure.LIVER_VESSEL, Structure.STOMACH_WALL, Structure.BOWEL_WALL}
    within_4_cm = set(line[first : first + int(80 * s)].tolist())
    assert within_4_cm & abdominal
    assert not set(line[:first].tolist()) & {int(k) for k in abdominal}


def test_every_abdominal_organ_is_there(trunk: tuple[np.ndarray, np.ndarray]) -> None:
    wanted = (
        Structure.LIVER, Structure.LIVER_VESSEL, Structure.STOMACH_WALL, Structure.SPLEEN, Structure.KIDNEY_CORTEX,
        Structure.KIDNEY_MEDULLA, Structure.PANCREAS, Structure.GALLBLADDER, Structure.BOWEL_WALL,
        Structure.BOWEL_CONTENTS, Structure.VISCERAL_FAT, Structure.DIAPHRAGM, Structure.AORTA, Structure.IVC,
    )  # fmt: skip
    missing = [k.name for k in wanted if not np.any(trunk[1] == k)]
    assert not missing


def test_every_thoracic_structure_is_there(trunk: tuple[np.ndarray, np.ndarray]) -> None:
    wanted = (
        Structure.RIB, Structure.RIB_MARROW, Structure.STERNUM, Structure.CARTILAGE, Structure.VERTEBRA,
        Structure.INTERVERTEBRAL_DISC, Structure.SPINAL_CANAL, Structure.SPINAL_CORD, Structure.MUSCLE, Structure.SKIN,
        Structure.BODY_FAT, Structure.LUNG_VESSEL, Structure.AIRWAY, Structure.SVC, Structure.OESOPHAGUS,
        Structure.PULMONARY_ARTERY, Structure.MEDIASTINAL_FAT,
    )  # fmt: skip
    missing = [k.name for k in wanted if not np.any(trunk[1] == k)]
    assert not missing


def test_no_organ_lies_in_the_wall_or_outside_the_body(torso: Torso, trunk: tuple[np.ndarray, np.ndarray]) -> None:
    points, structures = trunk
    organs = np.isin(
        structures,
        [Structure.LIVER, Structure.SPLEEN, Structure.STOMACH_FLUID, Structure.LUNG_LEFT, Structure.LUNG_RIGHT],
    )
    # 1.12 allows for the waist and the low-frequency irregularity of the cavity (3 SDs of 1.4 % and 3 %).
    size = np.hypot(points[..., 0] / torso.half_width_mm, points[..., 1] / torso.half_depth_mm)[organs]
    assert size.max() < 1.12 * 2 ** (0.5 - 1 / torso.parameters.chest_squareness)


def test_the_descending_aorta_runs_unbroken_left_of_the_midline(torso: Torso) -> None:
    s = torso.parameters.body_scale
    x, y = np.arange(-50, 30, 1.5) * s, np.arange(-90, 20, 1.5) * s
    for z in np.arange(-150, 40, 10) * s:
        points = np.stack(np.meshgrid(x, y, [z], indexing="ij"), -1).reshape(-1, 3)
        aorta = points[torso.sample(points + torso.origin_mm) == Structure.AORTA]
        assert len(aorta) > 20 and -35 * s < aorta[:, 0].mean() < 6 * s


def test_ribs_cross_the_side_of_the_chest_at_their_spacing(torso: Torso) -> None:
    s = torso.parameters.body_scale
    z = np.arange(-60 * s, 110 * s, 0.5)
    depth = np.arange(0.85, 1.35, 0.01) * torso.half_width_mm
    points = np.stack(np.meshgrid(depth, [0.0], z, indexing="ij"), -1).reshape(-1, 3)
    bone = np.isin(torso.sample(points + torso.origin_mm), [Structure.RIB, Structure.RIB_MARROW])
    crossed = bone.reshape(len(depth), len(z)).any(axis=0)
    edges = np.flatnonzero(np.diff(crossed.astype(int)) == 1)
    assert len(edges) >= 4
    # The pieces start where noise lets them, so within a fifth of the spacing.
    assert np.median(np.diff(z[edges])) == pytest.approx(torso.parameters.rib_spacing_mm, rel=0.2)


def test_ribs_are_ovals_of_marrow_in_a_rind(torso: Torso) -> None:
    """Cut by the frontal plane through the side of the chest, where ribs run nearly square to it."""
    s = torso.parameters.body_scale
    step = 0.5 * s
    x, z = np.arange(0.85 * torso.half_width_mm, 1.25 * torso.half_width_mm, step), np.arange(-60 * s, 100 * s, step)
    points = np.stack(np.meshgrid(x, [0.0], z, indexing="ij"), -1).reshape(-1, 3)
    found = torso.sample(points + torso.origin_mm).reshape(len(x), len(z))
    pieces, count = label(np.isin(found, [Structure.RIB, Structure.RIB_MARROW]))
    large = [k for k in range(1, count + 1) if (pieces == k).sum() * 0.25 > 30]
    assert len(large) >= 4
    for k in large[1:-1]:
        assert (found[pieces == k] == Structure.RIB_MARROW).mean() > 0.25
    area_mm2 = np.median([(pieces == k).sum() * 0.25 for k in large])
    # 13 mm by 8 mm, somewhat more where the cut is oblique.
    assert 65.0 < area_mm2 < 150.0


def test_costal_cartilages_beside_the_sternum_are_plump_ovals_with_fat_between(torso: Torso) -> None:
    """Cut by the sagittal plane two fingers from the sternum's edge: about 18 mm by 10 mm."""
    s = torso.parameters.body_scale
    step = 0.5 * s
    y = np.arange(0.6 * torso.half_depth_mm, 1.35 * torso.half_depth_mm, step)
    z = np.arange(-10 * s, 100 * s, step)
    points = np.stack(np.meshgrid([-42.0 * s], y, z, indexing="ij"), -1).reshape(-1, 3)
    found = torso.sample(points + torso.origin_mm).reshape(len(y), len(z))
    pieces, count = label(found == Structure.CARTILAGE)
    areas = [(pieces == k).sum() * 0.25 for k in range(1, count + 1)]
    large = [k for k in range(1, count + 1) if areas[k - 1] > 40]
    assert len(large) >= 2 and max(areas) > 115
    around = binary_dilation(np.isin(pieces, large), iterations=6) & ~np.isin(pieces, large)
    assert (found[around] == Structure.BODY_FAT).mean() > 0.15


def test_lung_vessels_thin_out_towards_the_chest_wall(torso: Torso) -> None:
    rng = np.random.default_rng(6)
    a, b, s = torso.half_width_mm, torso.half_depth_mm, torso.parameters.body_scale
    points = rng.uniform((-a, -b, -40 * s), (a, b, 90 * s), (200000, 3))
    found = torso.sample(points + torso.origin_mm)
    lung = np.isin(found, [Structure.LUNG_LEFT, Structure.LUNG_RIGHT, Structure.LUNG_VESSEL])
    hilum = np.array([45.0, -0.35 * b / s, 35.0]) * s
    way = np.linalg.norm(np.abs(points) * (1, 0, 0) + points * (0, 1, 1) - hilum, axis=1) / s
    near, far = (found[lung & chosen] == Structure.LUNG_VESSEL for chosen in (way < 45, way > 75))
    assert 0.02 < near.mean() < 0.25 and far.mean() < 0.35 * near.mean()


@pytest.mark.parametrize(
    ("kinds", "low", "high"),
    [
        ((Structure.LUNG_LEFT, Structure.LUNG_RIGHT, Structure.LUNG_VESSEL), 20.0, 85.0),
        ((Structure.LIVER, Structure.LIVER_VESSEL), 9.0, 35.0),
        ((Structure.SPLEEN,), 0.7, 6.0),
        ((Structure.KIDNEY_CORTEX, Structure.KIDNEY_MEDULLA, Structure.KIDNEY_PELVIS), 1.8, 10.0),
    ],
    ids=["lungs", "liver", "spleen", "kidneys"],
)
def test_organs_have_the_volume_that_bodies_of_this_weight_have(
    torso: Torso, trunk: tuple[np.ndarray, np.ndarray], kinds: tuple[Structure, ...], low: float, high: float
) -> None:
    """In ml per kg of body weight: lungs at rest 30 to 60, liver 18 to 28, spleen 2 to 4, both kidneys 3 to 7, with
    room for individuals."""
    per_kg = 1000.0 * _litres(torso, trunk[1], *kinds) / torso.parameters.weight_kg
    assert low < per_kg < high


def test_every_structure_of_the_torso_has_a_tissue(trunk: tuple[np.ndarray, np.ndarray]) -> None:
    airy = {Structure.OUTSIDE, Structure.AIRWAY, Structure.STOMACH_AIR, Structure.BOWEL_AIR}
    found = {Structure(int(k)) for k in np.unique(trunk[1])}
    assert {k for k in found if TISSUE_OF_STRUCTURE[k] == Tissue.AIR} <= airy


def test_a_heart_too_big_for_the_chest_widens_it() -> None:
    parameters = TorsoParameters("M", 50.0, 170.0, 60.0, chest_half_depth_mm=70.0, chest_half_width_mm=115.0)
    frame = default_heart_frame(parameters, lv_length_mm=125.0)
    torso = Torso(parameters, frame, 0.61 * 125.0, 5)
    assert torso.half_depth_mm > 75.0
    surface = np.random.default_rng(0).standard_normal((2000, 3))
    surface *= 50.0 / np.linalg.norm(surface, axis=1, keepdims=True)
    around_lv = frame.to_ras(surface + np.array([0.0, 0.0, 60.0]))
    assert not np.isin(torso.sample(around_lv), [Structure.RIB, Structure.MUSCLE, Structure.OUTSIDE]).any()


def test_women_have_breasts_and_slim_men_do_not() -> None:
    women, men = _torso(2, "F", 35.0), _torso(3, "M", 30.0, weight_kg=68.0, height_cm=180.0)
    rng = np.random.default_rng(1)
    points = rng.uniform((-140, 60, -40), (140, 190, 60), (20000, 3))
    assert np.mean(women.sample(points + women.origin_mm) == Structure.BREAST) > 0.005
    assert not np.any(men.sample(points + men.origin_mm) == Structure.BREAST)


def test_the_pericardium_given_is_where_the_lungs_end() -> None:
    parameters = TorsoParameters("M", 40.0, 178.0, 75.0)
    frame = default_heart_frame(parameters)
    centre = frame.to_ras(np.array([[-10.0, 0.0, 35.0]]))[0]

    def ball(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points - centre, axis=1) < 50.0

    torso = Torso(parameters, frame, 58.0, 1, pericardium=ball)
    to_the_left = np.arange(30.0, 70.0, 0.25)
    line = torso.sample(centre - to_the_left[:, None] * np.array([1.0, 0.0, 0.0]))
    lung = to_the_left[np.argmax(np.isin(line, [Structure.LUNG_LEFT, Structure.LUNG_VESSEL]))]
    # 1.5 mm of fat, a pad, and half a cell of the 4 mm grid.
    assert 50.0 < lung < 56.0


def test_gas_in_the_bowel_lies_over_contents() -> None:
    torso = Torso(
        TorsoParameters("M", 45.0, 176.0, 75.0, bowel_gas=0.6), default_heart_frame(TorsoParameters("M", 45, 176, 75)),
        58.0, 3,
    )  # fmt: skip
    x, y, z = np.arange(-70, 71, 4.0), np.arange(-60, 90, 1.0), np.arange(-230, -110, 6.0)
    points = np.stack(np.meshgrid(x, z, y, indexing="ij"), -1).reshape(-1, 3)[:, [0, 2, 1]]
    found = torso.sample(points + torso.origin_mm).reshape(-1, len(y))
    behind, before = found[:, :-1], found[:, 1:]
    level = (behind == Structure.BOWEL_CONTENTS) & (before == Structure.BOWEL_AIR)
    upside_down = (behind == Structure.BOWEL_AIR) & (before == Structure.BOWEL_CONTENTS)
    assert level.sum() > 100 and upside_down.sum() < 0.2 * level.sum()


def test_the_left_kidney_follows_its_dome_a_little_and_the_stomach_all_the_way() -> None:
    def heights_mm(dome_mm: float) -> tuple[float, float]:
        parameters = TorsoParameters("M", 45.0, 176.0, 75.0, left_dome_mm=dome_mm)
        abdomen = Torso(parameters, default_heart_frame(parameters), 58.0, 1)._abdomen
        return float(abdomen.kidneys[1].centre[2]), float(abdomen.stomach[0].centre[2])

    (kidney, stomach), (raised_kidney, raised_stomach) = heights_mm(40.0), heights_mm(80.0)
    assert raised_kidney - kidney == pytest.approx(12.0, abs=0.1)
    assert raised_stomach - stomach == pytest.approx(40.0, abs=0.1)


def test_more_paracardial_fat_keeps_the_lungs_from_the_heart() -> None:
    def fat_ml(factor: float) -> float:
        parameters = TorsoParameters("M", 55.0, 176.0, 90.0, visceral_fat=0.6, paracardial_fat=factor)
        torso = Torso(parameters, default_heart_frame(parameters), 58.0, 1)
        points = np.random.default_rng(1).uniform(-90.0, 90.0, (60000, 3)) + torso.heart_frame.origin_mm
        return float((torso.sample(points) == Structure.MEDIASTINAL_FAT).mean()) * 180.0**3 / 1000.0

    usual = fat_ml(1.0)
    assert fat_ml(2.5) > usual + 80.0 and fat_ml(0.4) < usual


def test_a_heart_turned_away_from_any_chest_is_refused() -> None:
    parameters = TorsoParameters("M", 40.0, 178.0, 75.0)
    frame = default_heart_frame(parameters)
    upside_down = HeartFrame(
        frame.origin_mm, frame.axes * np.array([[-1.0], [1.0], [-1.0]]), frame.lv_length_mm, frame.rv_centre_mm,
        frame.aortic_valve_mm,
    )  # fmt: skip
    with pytest.raises(InputError, match="turned by .* degrees.*default_heart_frame"):
        Torso(parameters, upside_down, 58.0, 1)


@pytest.mark.parametrize("radius", [0.0, 300.0, float("nan")])
def test_a_heart_of_impossible_size_is_refused(radius: float) -> None:
    parameters = TorsoParameters("M", 40.0, 178.0, 75.0)
    with pytest.raises(InputError, match="heart_radius_mm"):
        Torso(parameters, default_heart_frame(parameters), radius, 1)


def test_a_pericardium_elsewhere_is_refused() -> None:
    parameters = TorsoParameters("M", 40.0, 178.0, 75.0)
    with pytest.raises(InputError, match="pericardium does not fit"):
        Torso(parameters, default_heart_frame(parameters), 58.0, 1, pericardium=lambda p: p[:, 0] > 1e6)


def test_what_describes_a_torso_builds_it_again(torso: Torso) -> None:
    record = torso.describe()
    again = Torso(TorsoParameters(**record["parameters"]), torso.heart_frame, record["heart_radius_mm"], record["seed"])
    points = np.random.default_rng(4).uniform(-150, 150, (3000, 3)) + torso.origin_mm
    assert np.array_equal(again.sample(points), torso.sample(points))
