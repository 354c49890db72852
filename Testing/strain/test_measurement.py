"""Strain is measured where its directions mean something: in short-axis cines."""

from dataclasses import replace

import numpy as np
import pytest

from CMRSimExtension.anatomy.material import Moment
from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.strain.measurement import closed_share, measure_strain
from CMRSimExtension.tagging.simulated import scanned_plane

PROTOCOL = Protocol(fov_mm=(280.0, 280.0), matrix=(140, 140), acquired_resolution_mm=(2.0, 2.0), slice_gap_mm=6.0)


def scan_of(plane, grid_given=False):
    return {"simulation": {"plane": plane, "grid_given": grid_given}, "anatomy": {"kind": "parametric subject"}}


@pytest.fixture(scope="module")
def dilated():
    """As round in long-axis views as in short-axis ones."""
    return Subject.random(0, pathology="dcm")


def sections(subject, plane):
    grid = plan(subject.heart_frame, PROTOCOL, plane)
    points = grid.points_mm().reshape(-1, 3).astype(np.float32)
    return subject.sample(points, Moment(0.0), rest=False).clinical.reshape(grid.shape)


def test_a_short_axis_ring_is_closed(dilated):
    assert closed_share(sections(dilated, "sax")) == 1.0


@pytest.mark.parametrize("plane", ["2ch", "3ch", "4ch", "axial"])
def test_other_views_leave_the_ring_open(dilated, plane):
    assert closed_share(sections(dilated, plane)) < 0.93


def test_real_short_axis_rings_are_closed(cmrsim_data):
    nibabel = pytest.importorskip("nibabel")
    files = sorted((cmrsim_data / "acdc").glob("*_gt.nii.gz"))[:12]
    assert files
    for file in files:
        labels = np.asarray(nibabel.load(file).dataobj).astype(int)
        # ACDC numbers the LV's pool 3 and its wall 2.
        assert closed_share(np.moveaxis(np.array([0, 3, 2, 1])[labels], 2, 0)) == 1.0, file.name


@pytest.mark.parametrize("plane", ["2ch", "3ch", "4ch", "axial", "whole_heart"])
def test_a_cine_simulated_in_another_plane_is_refused(beating, plane):
    with pytest.raises(InputError, match=f"in the plane {plane}; strain is measured in short-axis"):
        measure_strain(replace(beating, sidecar=scan_of(plane)), None, "truth")


def test_a_tagged_cine_is_asked_for_the_plane_of_its_source(beating):
    tagged = replace(beating, sidecar={"tagging": {"motion": {"source": "true"}}, "source": scan_of("4ch")})
    with pytest.raises(InputError, match="in the plane 4ch"):
        measure_strain(tagged, None, "truth")


def test_a_plane_beside_a_given_grid_says_nothing(beating):
    assert scanned_plane(replace(beating, sidecar=scan_of("sax", grid_given=True))) is None
    assert scanned_plane(replace(beating, sidecar=scan_of("sax"))) == "sax"


def test_an_open_ring_is_refused_where_no_plane_is_known(beating):
    assert scanned_plane(beating) is None
    measured, _ = measure_strain(beating, None, "truth")
    assert np.isfinite(measured.whole[:, 1]).all()
    labels = beating.labels.copy()
    rows = np.flatnonzero((labels[0] == 2).any(axis=(0, 2)))
    # A quarter of the ventricle's height off the top: a horseshoe.
    cut = rows[0] + len(rows) // 4
    labels[:, :, :cut] = 0
    with pytest.raises(InputError, match="surrounds the cavity by .* closed ring"):
        measure_strain(replace(beating, labels=labels), None, "truth")
