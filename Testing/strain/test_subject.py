"""Tags on the parametric subject: made by the simulator's own motion, measured blindly."""

from dataclasses import replace

import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.presets import PRESETS
from CMRSimExtension.simulation.simulate import simulate
from CMRSimExtension.strain.harp import harp_strain
from CMRSimExtension.strain.series import mean_absolute_difference, strain_from_displacement
from CMRSimExtension.tagging.tag_cine import tag_cine


@pytest.fixture(scope="module")
def cine():
    subject = Subject.random(11, pathology="normal")
    protocol = PRESETS["siemens_1.5t"].replace(phases=20)
    stack = plan(subject.heart_frame, protocol, "sax")
    slices = stack.shape[0]
    # Three slices about the middle of the ventricle, and the heart's part of the plane, are enough.
    affine = np.array(stack.affine_ras)
    affine[:3, 3] += (slices // 2 - 1) * affine[:3, 2]
    grid = ImageGrid(affine, (3, *stack.shape[1:]), stack.slice_thickness_mm)
    return simulate(subject, protocol, 3, grid=grid, truth=("labels", "motion"), sub_samples=2)


def test_harp_measures_the_true_circumferential_strain_of_a_subject(cine):
    truth = strain_from_displacement(cine, source="registration")
    measured = harp_strain(tag_cine(cine))
    assert measured.reliable[: len(cine.image) // 3].all()
    assert mean_absolute_difference(measured, truth) < 0.02


def test_the_true_strain_of_a_normal_subject_is_physiological(cine):
    peaks = strain_from_displacement(cine).whole
    # Green-Lagrange mid-wall about -16 % in normal subjects (-18 % engineering); a median over the wall lies near it.
    assert -0.24 < peaks[:, 1].min() < -0.11
    assert peaks[:, 0].max() > 0.2


def test_a_simulated_image_keeps_its_own_tissue_values(cine):
    tagged = tag_cine(replace(cine, labels=cine.labels))
    drawn = cine.sidecar["appearance"]["tissues"]["tissues"]["MYOCARDIUM"]["t1_ms"]
    assert tagged.sidecar["tagging"]["tissues"]["tissues"]["MYOCARDIUM"]["t1_ms"] == drawn
