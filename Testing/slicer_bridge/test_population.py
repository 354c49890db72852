"""What the population job draws for each subject."""

import json

import pytest

from CMRSimExtension.population.recipe import MOST_TURNED_DEG
from CMRSimExtension.population.writing import RECORD
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.slicer_bridge import jobs

pytest.importorskip("nibabel", reason="populations are NIfTI files")

PROTOCOL = Protocol(
    phases=1, matrix=(24, 24), fov_mm=(240.0, 240.0), acquired_resolution_mm=(10.0, 10.0), slices=1
).as_dict()  # fmt: skip


def turns(folder, count, plane="sax"):
    """The turn of each subject's field of view, from its sidecar."""
    values = {"folder": str(folder), "count": count, "pathology": "normal", "protocol": PROTOCOL, "plane": plane,
              "seed": 4}
    jobs.run("population", values, lambda share, text: None)
    records = [json.loads(path.read_text(encoding="utf-8"))["record"] for path in sorted(folder.glob("subject_*.json"))]
    return [record["simulation"]["rotation_deg"] for record in records]


def test_each_subject_s_field_of_view_has_a_turn_of_its_own(tmp_path):
    drawn = turns(tmp_path, 3)
    assert len(set(drawn)) == 3 and all(0.0 < abs(turn) <= MOST_TURNED_DEG for turn in drawn)
    # A run that goes on later draws what it would have drawn at once.
    (tmp_path / "subject_00001.json").unlink()
    assert turns(tmp_path, 3) == drawn


def test_an_axial_stack_is_not_turned(tmp_path):
    assert turns(tmp_path, 1, "axial") == [0.0]


def test_a_population_that_was_begun_without_turns_is_not_gone_on_with(tmp_path):
    recipe = {"pathology": "normal", "protocol": PROTOCOL, "plane": "sax", "seed": 4}
    (tmp_path / RECORD).write_text(json.dumps(recipe), encoding="utf-8")
    with pytest.raises(ValueError, match="seed or turn"):
        turns(tmp_path, 1)


def test_a_population_that_another_version_began_is_not_gone_on_with(tmp_path):
    turns(tmp_path, 1)
    record = tmp_path / RECORD
    record.write_text(json.dumps(json.loads(record.read_text(encoding="utf-8")) | {"version": "0.0.1"}))
    with pytest.raises(ValueError, match="one of another version than"):
        turns(tmp_path, 2)
