"""The tissue table: complete, sourced, physical; and what is drawn from it."""

import json

import numpy as np
import pytest

from CMRSimExtension.anatomy.composition import TISSUE_OF_STRUCTURE
from CMRSimExtension.anatomy.structures import Structure, Tissue
from CMRSimExtension.anatomy.tissues import FIELDS_T, SOURCES, TISSUES, TissueValues, draw_tissues
from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.bssfp import bssfp_signal


def test_every_tissue_has_a_row() -> None:
    assert set(TISSUES) == set(Tissue)


@pytest.mark.parametrize("tissue", list(Tissue))
def test_every_value_names_a_source_that_exists(tissue: Tissue) -> None:
    row = TISSUES[tissue]
    values = [row.proton_density, row.chemical_shift_ppm]
    for field_t in FIELDS_T:
        relaxation = row.relaxation[field_t]
        values += [relaxation.t1_ms, relaxation.t2_ms, relaxation.t2_star_ms]
    assert {value.source for value in values} <= set(SOURCES)


def test_every_source_is_used() -> None:
    used = set()
    for row in TISSUES.values():
        used |= {row.proton_density.source, row.chemical_shift_ppm.source}
        for relaxation in row.relaxation.values():
            used |= {relaxation.t1_ms.source, relaxation.t2_ms.source, relaxation.t2_star_ms.source}
    assert used == set(SOURCES)


@pytest.mark.parametrize("field_t", FIELDS_T)
@pytest.mark.parametrize("tissue", list(Tissue))
def test_t2_star_is_at_most_t2_which_is_at_most_t1(tissue: Tissue, field_t: float) -> None:
    row = TISSUES[tissue].relaxation[field_t]
    assert 0 < row.t2_star_ms.mean <= row.t2_ms.mean <= row.t1_ms.mean


def test_t1_grows_with_field_in_every_tissue() -> None:
    for tissue in set(Tissue) - {Tissue.AIR}:
        low, high = (TISSUES[tissue].relaxation[f].t1_ms.mean for f in FIELDS_T)
        assert high > low, tissue.name


def test_myocardium_carries_the_published_reference_values() -> None:
    assert TISSUES[Tissue.MYOCARDIUM].relaxation[1.5].t1_ms[:2] == (950, 21)
    assert TISSUES[Tissue.MYOCARDIUM].relaxation[3.0].t2_star_ms[:2] == (24, 5)


@pytest.mark.parametrize("field_t", FIELDS_T)
def test_venous_blood_has_the_shorter_t2(field_t: float) -> None:
    arterial, venous = (TISSUES[t].relaxation[field_t].t2_ms.mean for t in (Tissue.BLOOD_ARTERIAL, Tissue.BLOOD_VENOUS))
    assert venous < arterial


def test_fat_lies_below_water() -> None:
    assert TISSUES[Tissue.FAT].chemical_shift_ppm.mean == -3.4


@pytest.mark.parametrize(("field_t", "tr", "te", "flip"), [(1.5, 3.0, 1.5, 60.0), (3.0, 3.2, 1.5, 48.0)])
def test_blood_over_myocardium_in_a_cine_is_near_the_measured_contrast(
    field_t: float, tr: float, te: float, flip: float
) -> None:
    values = draw_tissues(np.random.default_rng(0), field_t, spread=0.0)
    signal = np.abs(
        bssfp_signal(
            values.t1_ms, values.t2_ms, values.proton_density, 0.0,
            repetition_time_ms=tr, echo_time_ms=te, flip_angle_deg=flip,
        )
    )  # fmt: skip
    # Static literature values give about 2.5 to 3.5; 60 real cines measure 3.2 +- 0.7 at end diastole.
    assert 2.4 < signal[Tissue.BLOOD_ARTERIAL] / signal[Tissue.MYOCARDIUM] < 3.9
    # The same cines measure RV over LV blood as 0.76 +- 0.08 (two SD).
    assert 0.6 < signal[Tissue.BLOOD_VENOUS] / signal[Tissue.BLOOD_ARTERIAL] < 0.92


def test_a_spread_of_zero_gives_the_means() -> None:
    values = draw_tissues(np.random.default_rng(0), 1.5, spread=0.0)
    assert values.t1_ms[Tissue.LIVER] == 586


def test_the_same_seed_draws_the_same_tissues() -> None:
    first, second = (draw_tissues(np.random.default_rng(5), 3.0) for _ in range(2))
    assert first.as_dict() == second.as_dict()


def test_draws_have_the_mean_and_sd_of_the_table() -> None:
    rng = np.random.default_rng(2)
    t1 = np.array([draw_tissues(rng, 1.5).t1_ms[Tissue.BLOOD_ARTERIAL] for _ in range(4000)])
    # 4 standard errors of the mean; truncation at 2.5 SD narrows the SD to 0.954 of the table's.
    assert t1.mean() == pytest.approx(1441, abs=4 * 120 / np.sqrt(4000))
    assert t1.std() == pytest.approx(0.954 * 120, rel=0.05)


@pytest.mark.parametrize("field_t", FIELDS_T)
def test_draws_stay_physical_at_the_widest_spread(field_t: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        values = draw_tissues(rng, field_t, spread=3.0)
        assert np.all(values.t2_star_ms <= values.t2_ms) and np.all(values.t2_ms <= values.t1_ms)


def test_a_record_gives_the_tissues_back_exactly() -> None:
    values = draw_tissues(np.random.default_rng(9), 1.5)
    again = TissueValues.from_dict(json.loads(json.dumps(values.as_dict())))
    np.testing.assert_array_equal(again.t2_ms, values.t2_ms)
    np.testing.assert_array_equal(again.chemical_shift_ppm, values.chemical_shift_ppm)


def test_one_tissue_can_be_changed_alone() -> None:
    values = draw_tissues(np.random.default_rng(0), 1.5)
    changed = values.replace(Tissue.MYOCARDIUM, t1_ms=1100.0)
    assert changed.t1_ms[Tissue.MYOCARDIUM] == 1100.0
    assert changed.t1_ms[Tissue.LIVER] == values.t1_ms[Tissue.LIVER]


def test_values_cannot_be_written_to() -> None:
    values = draw_tissues(np.random.default_rng(0), 1.5)
    with pytest.raises(ValueError, match="read-only"):
        values.t1_ms[0] = 1.0


def test_an_unknown_field_strength_is_turned_down_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"7\.0.*1\.5 and 3\.0"):
        draw_tissues(np.random.default_rng(0), 7.0)


def test_a_record_without_a_tissue_names_it() -> None:
    record = draw_tissues(np.random.default_rng(0), 1.5).as_dict()
    del record["tissues"]["SPLEEN"]
    with pytest.raises(InputError, match="SPLEEN"):
        TissueValues.from_dict(record)


def test_the_vessels_of_the_liver_shine_as_the_left_ventricle_does_and_not_as_the_right() -> None:
    # Portal blood is well saturated and slow: in cines it lacks what darkens the right heart's (`BloodModel.venous`).
    assert TISSUE_OF_STRUCTURE[Structure.LIVER_VESSEL] == Tissue.BLOOD_ARTERIAL
    assert TISSUE_OF_STRUCTURE[Structure.RV_BLOOD] == Tissue.BLOOD_VENOUS
