"""Tissues as input of a scan: what is set is what shines, and nothing else changes."""

import json
from typing import Any

import numpy as np
import pytest

from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.bssfp import bssfp_signal
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.record import simulate_again
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.simulation.tissue_settings import LIMITS, TissueSettings

SMALL = Protocol(
    phases=1, matrix=(88, 80), fov_mm=(264.0, 240.0), acquired_resolution_mm=(3.2, 3.2), slices=1, snr=200.0
)
GIVEN = {"myocardium": {"t1_ms": 1100.0, "t2_ms": 45.0, "proton_density": 0.7}, "Blood-Arterial": {"t2_ms": 120.0}}


def scan(subject: Subject, tissues: Any = None, protocol: Protocol = SMALL) -> Cine:
    return simulate(subject, protocol, 3, tissues=tissues, truth=("labels", "fractions"))


def drawn(cine: Cine, name: str) -> dict[str, float]:
    values: dict[str, float] = cine.sidecar["appearance"]["tissues"]["tissues"][name]
    return values


def on_resonance(cine: Cine, name: str) -> float:
    """Magnitude that the bSSFP equation gives a tissue of the sidecar."""
    row, protocol = drawn(cine, name), cine.sidecar["protocol"]
    names = ("repetition_time_ms", "echo_time_ms", "flip_angle_deg")
    signal = bssfp_signal(
        row["t1_ms"], row["t2_ms"], row["proton_density"], 0.0, **{name: protocol[name] for name in names}
    )
    return float(np.abs(signal))


@pytest.fixture(scope="module")
def plain(subject: Subject) -> Cine:
    return scan(subject)


@pytest.fixture(scope="module")
def changed(subject: Subject) -> Cine:
    return scan(subject, GIVEN)


@pytest.mark.parametrize("name", ["MYOCARDIUM", "BLOOD_ARTERIAL"])
def test_the_image_follows_the_bssfp_equation_for_the_values_set(plain: Cine, changed: Cine, name: str) -> None:
    assert plain.fractions is not None
    inside = plain.fractions[Tissue[name], 0] > 0.99
    assert inside.sum() > 20
    ratio = np.median(changed.image[0][inside] / plain.image[0][inside])
    expected = on_resonance(changed, name) / on_resonance(plain, name)
    assert abs(expected - 1.0) > 0.1
    # Neighbours within the point spread function, and the off-resonance, leave a few per cent.
    assert ratio == pytest.approx(expected, rel=0.04)


def test_half_the_density_of_everything_is_half_the_image(plain: Cine, subject: Subject) -> None:
    rows = plain.sidecar["appearance"]["tissues"]["tissues"]
    halves = scan(subject, {name: {"proton_density": 0.5 * row["proton_density"]} for name, row in rows.items()})
    np.testing.assert_allclose(halves.image, 0.5 * plain.image, rtol=1e-4, atol=1e-6 * float(plain.image.max()))


def test_a_spoiled_gradient_echo_takes_them_too(subject: Subject) -> None:
    gre = SMALL.replace(sequence="gre", flip_angle_deg=15.0)
    dark, bright = (
        scan(subject, {"myocardium": {"t1_ms": t1, "t2_ms": 40.0, "t2_star_ms": 25.0}}, gre) for t1 in (2000.0, 200.0)
    )
    assert dark.fractions is not None
    inside = dark.fractions[Tissue.MYOCARDIUM, 0] > 0.99
    assert bright.image[0][inside].mean() > 2.0 * dark.image[0][inside].mean()


def test_nothing_else_is_drawn_otherwise(plain: Cine, changed: Cine) -> None:
    before, after = (json.loads(json.dumps(cine.sidecar["appearance"])) for cine in (plain, changed))
    for name in ("MYOCARDIUM", "BLOOD_ARTERIAL"):
        assert before["tissues"]["tissues"].pop(name) != after["tissues"]["tissues"].pop(name)
    assert before == after
    np.testing.assert_array_equal(plain.labels, changed.labels)
    assert plain.sidecar["times_ms"] == changed.sidecar["times_ms"]


@pytest.mark.parametrize("nothing", [{}, {"myocardium": {}}])
def test_without_a_value_the_cine_is_the_same_bit_for_bit(subject: Subject, plain: Cine, nothing: Any) -> None:
    same = scan(subject, nothing)
    np.testing.assert_array_equal(same.image, plain.image)
    assert same.sidecar == plain.sidecar


def test_the_tissues_of_one_scan_can_be_given_to_another(subject: Subject, plain: Cine) -> None:
    taken = simulate(subject, SMALL, 4, tissues=plain.sidecar["appearance"]["tissues"]["tissues"])
    assert taken.sidecar["appearance"]["tissues"] == plain.sidecar["appearance"]["tissues"]
    assert taken.sidecar["appearance"]["blood"] != plain.sidecar["appearance"]["blood"]


def test_the_record_makes_the_same_cine_again(changed: Cine) -> None:
    record = json.loads(json.dumps(changed.sidecar))
    assert record["simulation"]["tissues"]["MYOCARDIUM"] == GIVEN["myocardium"]
    again = simulate_again(record)
    np.testing.assert_array_equal(again.image, changed.image)
    assert again.sidecar == changed.sidecar


def test_a_record_from_before_tissues_could_be_set_sets_none(plain: Cine) -> None:
    record = json.loads(json.dumps(plain.sidecar))
    del record["simulation"]["tissues"]
    np.testing.assert_array_equal(simulate_again(record).image, plain.image)


def test_t2_star_follows_t2_with_the_same_r2_prime_unless_it_is_set(plain: Cine, changed: Cine) -> None:
    def r2_prime(row: dict[str, float]) -> float:
        return 1.0 / row["t2_star_ms"] - 1.0 / row["t2_ms"]

    assert drawn(changed, "MYOCARDIUM")["t2_ms"] == 45.0
    assert r2_prime(drawn(changed, "MYOCARDIUM")) == pytest.approx(r2_prime(drawn(plain, "MYOCARDIUM")))
    values = TissueSettings.of({"myocardium": {"t2_ms": 45.0, "t2_star_ms": 20.0}}).as_dict()
    assert values == {"MYOCARDIUM": {"t2_ms": 45.0, "t2_star_ms": 20.0}}


def test_a_tissue_that_is_not_in_view_changes_nothing(subject: Subject, plain: Cine) -> None:
    assert plain.fractions is not None
    absent = next(tissue for tissue in Tissue if not plain.fractions[tissue].any())
    np.testing.assert_array_equal(scan(subject, {absent.name: {"t1_ms": 3000.0}}).image, plain.image)


def test_texts_and_tables_mean_the_same() -> None:
    texts = ["myocardium:t1_ms=1000", "myocardium: t1_ms=1100, t2_ms = 45,proton_density=0.7"]
    assert TissueSettings.parse([*texts, "blood-arterial:t2_ms=120"]) == TissueSettings.of(GIVEN)
    assert TissueSettings.parse(str(TissueSettings.of(GIVEN)).split()) == TissueSettings.of(GIVEN)


def test_every_value_that_a_scan_knows_of_a_tissue_can_be_set(plain: Cine) -> None:
    assert set(LIMITS) == set(drawn(plain, "FAT"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heart": {"t1_ms": 900}}, "no tissue 'heart'; choose from air, myocardium, blood_arterial"),
        ({"myocardium": {"t1": 900}}, "'t1' of myocardium is not known; choose from t1_ms, t2_ms"),
        ({"myocardium": {"t1_ms": -5}}, "t1_ms of myocardium is -5; choose a value from 10 to 10000"),
        ({"myocardium": {"t1_ms": 1.1}}, "t1_ms of myocardium is 1.1"),
        ({"myocardium": {"t2_ms": float("nan")}}, "t2_ms of myocardium is nan"),
        ({"fat": {"proton_density": 80}}, "proton_density of fat is 80; choose a value from 0 to 1"),
        ({"fat": {"t1_ms": "long"}}, "t1_ms of fat is 'long'; give a number"),
        ({"fat": {"t1_ms": True}}, "t1_ms of fat is True; give a number"),
        ({"fat": 300}, "fat is 300; give a table"),
        (["fat"], "tissues are .*; give a table"),
        ({"fat": {"t1_ms": 100, "t2_ms": 200}}, "t2_ms of fat is 200, above its t1_ms of 100; lower it or raise"),
        ({"fat": {"t2_ms": 50, "t2_star_ms": 60}}, "t2_star_ms of fat is 60, above its t2_ms of 50"),
        ({"fat": {"t2_ms": 400}}, "may be drawn as low as 268; give t1_ms too, of 400 or above"),
        ({"fat": {"t1_ms": 120}}, "may be drawn as high as 180; give t2_ms too, of 120 or below"),
        ({"liver": {"t2_star_ms": 30}}, "may be drawn as low as 12; give t2_ms too"),
    ],
)  # fmt: skip
def test_what_no_tissue_has_is_refused_whatever_the_seed(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TissueSettings.of(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("myocardium", "'myocardium' has no value; write NAME:QUANTITY=VALUE"),
        ("myocardium:t1_ms", "has no value"),
        ("myocardium:t1_ms=long", "t1_ms of myocardium is 'long'; give a number"),
        ("hart:t1_ms=900", "no tissue 'hart'"),
    ],
)
def test_a_text_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TissueSettings.parse([text])


def test_a_wrong_value_is_told_before_anything_is_scanned(subject: Subject) -> None:
    with pytest.raises(InputError, match="t1_ms of blood_venous is 0"):
        scan(subject, {"blood_venous": {"t1_ms": 0}})
