"""From the sidecar back to the cine: bit for bit, through JSON, and only with what it was made with."""

import json
import warnings
from typing import Any

import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.faults import parse_fault
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.record import simulate_again, subject_of
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.tagging.options import TagOptions

SMALL = Protocol(
    phases=3, matrix=(96, 80), fov_mm=(264.0, 220.0), acquired_resolution_mm=(3.2, 2.8), slice_gap_mm=12.0, snr=40.0,
    coils=4, slices=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def tagged(subject: Subject) -> Cine:
    return simulate(subject, SMALL.replace(sequence="gre"), 5, preparation=TagOptions(spacing_mm=9.0).acquisition)


def through_json(cine: Cine) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(json.dumps(cine.sidecar))
    return record


def grid(subject: Subject) -> ImageGrid:
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-2.6, -2.6, 8.0])
    affine[:3, 3] = subject.heart_frame.to_ras(np.array([[0.0, 0.0, 40.0]]))[0] + [100.0, 110.0, 0.0]
    return ImageGrid(affine, (1, 88, 80), 8.0)


def test_a_sidecar_makes_the_same_cine_again(subject: Subject) -> None:
    """With faults that narrow the field of view, shift slices and act on lines."""
    faults = tuple(parse_fault(text) for text in ("drift=3", "aliasing=0.2", "ghosting=6", "arrhythmia"))
    first = simulate(subject, SMALL, 9, faults=faults)
    again = simulate_again(through_json(first), workers=1)
    np.testing.assert_array_equal(again.image, first.image)
    np.testing.assert_array_equal(again.labels, first.labels)
    np.testing.assert_array_equal(again.times_ms, first.times_ms)
    assert first.image.shape[-2] < SMALL.matrix[0]


@pytest.mark.parametrize("way", ["kspace", "grid", "phases", "unfolded"])
def test_whatever_was_asked_for_comes_back_bit_for_bit(subject: Subject, way: str) -> None:
    protocol, arguments = SMALL, {}
    if way == "kspace":
        arguments = {"on_kspace": lambda index, samples: None}
    elif way == "grid":
        arguments = {"grid": grid(subject)}
    elif way == "phases":
        arguments = {"phases": (0.1, subject.heart.timing.end_systole)}
    else:
        protocol, arguments = SMALL.replace(acceleration=2), {"faults": (parse_fault("aliasing=0.25"),)}
    first = simulate(subject, protocol, 5, **arguments)
    again = simulate_again(through_json(first))
    np.testing.assert_array_equal(again.image, first.image)


def test_a_tagged_cine_comes_back_with_its_own_tagging_alone(tagged: Cine) -> None:
    record = through_json(tagged)
    again = simulate_again(record, preparation=TagOptions(spacing_mm=9.0).acquisition)
    np.testing.assert_array_equal(again.image, tagged.image)
    with pytest.raises(InputError, match="not the preparation.*spacing_mm is 7.0, the record says 9.0"):
        simulate_again(record, preparation=TagOptions(spacing_mm=7.0).acquisition)
    with pytest.raises(InputError, match="the cine was tagged"):
        simulate_again(record)
    with pytest.raises(InputError, match="was not tagged"):
        simulate_again(record | {"preparation": None}, preparation=TagOptions(spacing_mm=9.0).acquisition)


def test_another_anatomy_than_the_recorded_one_is_refused(tagged: Cine) -> None:
    with pytest.raises(InputError, match="not the anatomy that the cine was made with: anatomy parameters"):
        simulate_again(
            through_json(tagged), anatomy=Subject.random(12), preparation=TagOptions(spacing_mm=9.0).acquisition
        )


def test_a_record_from_before_something_was_told_is_still_good(subject: Subject) -> None:
    record = through_json(simulate(subject, SMALL.replace(slices=1, phases=1), 5))
    del record["anatomy"]["parameters"]["heart"]["irregularity"]
    record.pop("coil_array")
    record.pop("versions")
    assert simulate_again(record, anatomy=subject).image.shape == (1, 1, 96, 80)


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("versions", "CMRSimExtension", "0.1.0", "drawn by CMRSimExtension 0.1.0; this version"),
        ("heart", "rv_lean_deg", None, "does not tell of rv_lean_deg; this version"),
    ],
)
def test_a_subject_that_another_version_drew_is_told(
    tagged: Cine, section: str, name: str, value: str | None, message: str
) -> None:
    record = through_json(tagged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject_of(record)
    part = record["versions"] if section == "versions" else record["anatomy"]["parameters"][section]
    part.pop(name) if value is None else part.update({name: value})
    with pytest.warns(CMRSimWarning, match=message):
        subject_of(record)


def test_other_versions_are_told(subject: Subject) -> None:
    record = through_json(simulate(subject, SMALL.replace(slices=1, phases=1), 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate_again(record)
    record["versions"]["numpy"] = "1.0"
    with pytest.warns(CMRSimWarning, match="made with numpy 1.0"):
        simulate_again(record)


@pytest.mark.parametrize(
    "lost", ["seed", "plane", "truth", "faults", "sub_samples", "by_channel", "phases", "grid_given"]
)
def test_an_incomplete_record_is_refused(tagged: Cine, lost: str) -> None:
    record = through_json(tagged)
    del record["simulation"][lost]
    with pytest.raises(InputError, match=f"no '{lost}'.*incomplete"):
        simulate_again(record)


@pytest.mark.parametrize(
    ("record", "message"),
    [({"anything": 1}, "not that of a simulated cine"), ({"simulation": 3, "protocol_asked": {}}, "damaged")],
)
def test_a_sidecar_of_something_else_is_refused(record: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate_again(record)


def test_any_array_of_coils_may_be_put_round_the_body(subject: Subject) -> None:
    usual = CoilArray.body_and_spine(4, subject.heart_frame.origin_mm)
    near = CoilArray(usual.centres_mm[:3] + [0.0, 20.0, 0.0], usual.normals[:3], usual.radii_mm[:3], usual.reference_mm)
    protocol = SMALL.replace(coils=3, slices=1, phases=1)
    first = simulate(subject, protocol, 2, array=near)
    np.testing.assert_array_equal(simulate_again(through_json(first)).image, first.image)
    assert not np.array_equal(first.image, simulate(subject, protocol, 2, by_channel=True).image)
    with pytest.raises(InputError, match="3 coils and the protocol 4"):
        simulate(subject, SMALL, 2, array=near)


def test_the_coils_are_on_record_where_there_were_any(subject: Subject) -> None:
    small = SMALL.replace(slices=1, phases=1)
    assert simulate(subject, small, 5).sidecar["coil_array"] is None
    assert len(simulate(subject, small, 5, by_channel=True).sidecar["coil_array"]["radii_mm"]) == 4
