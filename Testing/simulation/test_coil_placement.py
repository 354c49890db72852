"""Receive coils clear of the body that they lie on."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.label_image import LabelAnatomy
from CMRSimExtension.anatomy.material import Moment
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.coils import CoilArray
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.coil_placement import usual_array
from CMRSimExtension.simulation.simulate import simulate
from Testing.anatomy import labelled_phantom as phantom


def within(subject, points, distance):
    """(n,) whether tissue lies about `distance` mm from each point, (n, 3)."""
    directions = np.random.default_rng(0).normal(size=(60, 3))
    directions *= distance / np.linalg.norm(directions, axis=1, keepdims=True)
    around = (points[:, None] + directions).reshape(-1, 3)
    structure = subject.sample(around, Moment(), rest=False).structure
    return (structure.reshape(len(points), -1) != Structure.OUTSIDE).any(axis=1)


@pytest.mark.parametrize("number", [3, 6, 8])
@pytest.mark.parametrize("coils", [1, 4, 18, 32])
def test_no_wire_lies_in_or_on_the_body(number, coils):
    subject = Subject.random(number)
    wires = usual_array(subject, coils).wires_mm.reshape(-1, 3)
    # The foam lies between, but for a little where the skin falls away from a wire at a slant.
    assert not any(within(subject, wires, distance).any() for distance in (0.0, 5.0, 10.0, 14.0))
    assert within(subject, wires, 32.0).any()


def test_coils_lie_nearer_to_the_heart_of_a_slim_patient():
    slim, stout = (Subject.random(5, sex="male", height_cm=178.0, weight_kg=weight) for weight in (60.0, 115.0))
    depths = []
    for subject in (slim, stout):
        array, heart = usual_array(subject, 8), subject.heart_frame.middle_mm
        depths.append(np.abs(array.centres_mm[:, 1] - heart[1]))
        # The table is flat.
        np.testing.assert_allclose(array.centres_mm[4:, 1], array.centres_mm[4, 1])
    assert np.all(depths[0] <= depths[1]) and np.any(depths[0] + 15.0 < depths[1])


def test_the_usual_scan_has_them_and_says_so():
    subject = Subject.random(3)
    protocol = Protocol(
        fov_mm=(340.0, 340.0), matrix=(48, 48), acquired_resolution_mm=(7.1, 7.1), phases=1, slices=1, coils=4,
        acceleration=2,
    )  # fmt: skip
    recorded = simulate(subject, protocol, 1).sidecar["coil_array"]
    assert recorded == usual_array(subject, 4).as_dict()


def test_round_a_heart_without_a_body_they_lie_as_on_a_slim_chest():
    heart = LabelAnatomy(phantom.labels(), phantom.affine(), "acdc", background=None)
    as_built = CoilArray.body_and_spine(6, heart.heart_frame.middle_mm)
    np.testing.assert_array_equal(usual_array(heart, 6).centres_mm, as_built.centres_mm)


def test_no_coils_are_refused():
    with pytest.raises(InputError, match="coils is 0; at least 1"):
        usual_array(Subject.random(1), 0)
