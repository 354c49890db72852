"""What is segmented: a stack that is put together from series, and the frame on show."""

from dataclasses import replace

import numpy as np
import pytest
import slicer

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.hierarchy import place_in_folder
from CMRSimExtension.slicer_bridge.segmenting import current_frame
from CMRSimExtension.slicer_bridge.sequences import add_cine
from CMRSimExtension.slicer_bridge.stacks import assemble, stack_of_node


def series_of(cine: Cine, beside_mm=lambda index: 0.0) -> list[Cine]:
    """One series per slice, each shifted along its rows by what `beside_mm` says of its number."""
    series = []
    for index in range(cine.grid.shape[0]):
        affine = np.array(cine.grid.affine_ras)
        affine[:3, 3] += index * affine[:3, 2] + beside_mm(index) * affine[:3, 0] / np.linalg.norm(affine[:3, 0])
        series.append(replace(
            cine, image=cine.image[:, index : index + 1], grid=ImageGrid(affine, (1, *cine.grid.shape[1:]), 8.0),
            times_ms=cine.times_ms[index : index + 1], labels=None, displacement_mm=None, sidecar={}))
    return series


def test_slices_that_stand_straight_above_one_another_are_a_stack(cine):
    assert assemble(series_of(cine, lambda index: 0.3 * (index % 2))).grid.shape == cine.grid.shape


def test_a_slice_beside_the_others_is_refused(cine):
    """Slices 9.6 mm apart are hardly farther apart for 2 mm to the side: the distances alone do not tell."""
    with pytest.raises(InputError, match="do not stand straight above one another"):
        assemble(series_of(cine, lambda index: 2.0 * (index == 3)))


def test_a_slanting_pile_of_slices_is_refused(cine):
    """All distances are even; the grid would still have no right angles."""
    with pytest.raises(InputError, match="3.0 degrees off their normal"):
        assemble(series_of(cine, lambda index: 0.5 * index))


def test_the_sequence_gives_the_stack_that_its_volume_gives(scene, cine):
    shown = [add_cine(part, f"Series {index}") for index, part in enumerate(series_of(cine))]
    place_in_folder([nodes.proxy for nodes in shown], "Study")
    stack = stack_of_node(shown[1].sequence)
    assert stack.grid.shape == cine.grid.shape
    np.testing.assert_array_equal(stack.image, stack_of_node(shown[1].proxy).image)


def test_a_sequence_that_nothing_shows_is_in_no_study(scene, cine):
    nodes = add_cine(cine, "Cine")
    scene.RemoveNode(nodes.browser)
    with pytest.raises(InputError, match="shown by no browser"):
        stack_of_node(nodes.sequence)


@pytest.fixture
def multivolume(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "multi")
    node.SetAttribute("MultiVolume.FrameLabels", "0,30,60")
    return node


class FrameDisplay(slicer.vtkMRMLScalarVolumeDisplayNode):
    """The display node of the MultiVolume extension knows the frame on show; slicer-core does not have it."""

    def GetFrameComponent(self) -> int:  # noqa: N802
        return 2


def test_the_frame_on_show_of_a_multivolume_is_that_of_its_display(scene, multivolume):
    display = FrameDisplay()
    scene.AddNode(display)
    multivolume.SetAndObserveDisplayNodeID(display.GetID())
    assert current_frame(multivolume) == 2


def test_a_multivolume_without_such_a_display_is_refused_with_the_cure(multivolume):
    multivolume.CreateDefaultDisplayNodes()
    with pytest.raises(InputError, match="'multi' is on show is not known; choose all frames"):
        current_frame(multivolume)
