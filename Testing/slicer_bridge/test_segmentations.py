"""Labels become segments that any Slicer user understands, and come back the same."""

import json

import numpy as np
import pytest
import slicer
import vtk

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.terminology import TERMS
from CMRSimExtension.errors import InputError
from CMRSimExtension.files.display import LABEL_COLOURS
from CMRSimExtension.slicer_bridge.hierarchy import item_of
from CMRSimExtension.slicer_bridge.segmentations import (
    add_label_frames,
    add_segmentation,
    grid_of_segmentation,
    labels_of_node,
    labels_of_segmentation,
    oriented_image,
    show_3d,
)
from CMRSimExtension.slicer_bridge.sequences import add_cine
from CMRSimExtension.slicer_bridge.volumes import fill_volume


@pytest.fixture
def segmented(shown, cine):
    return add_label_frames(cine.labels, cine.grid, "Heart", shown)


def segment_ids(node):
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]


def edit(segmentation_node, segment_id, array, grid):
    """Change a segment as the Segment Editor does."""
    image = oriented_image(array.astype(np.uint8), grid)
    assert slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, segmentation_node, segment_id, 0)


def test_labels_come_back_from_the_sequence(segmented, cine):
    np.testing.assert_array_equal(labels_of_node(segmented.sequence)[0], cine.labels)


def test_the_reference_geometry_is_the_cine_s(segmented, cine):
    back = grid_of_segmentation(segmented.proxy)
    np.testing.assert_allclose(back.affine_ras, cine.grid.affine_ras, rtol=0, atol=1e-12)
    assert (back.shape, back.slice_thickness_mm) == (cine.grid.shape, 8.0)


def test_segments_have_fixed_ids_in_fixed_order(segmented):
    assert segment_ids(segmented.proxy) == ["lv_blood", "lv_myocardium", "rv_blood"]


def test_segments_have_the_names_a_reader_uses(segmented):
    segmentation = segmented.proxy.GetSegmentation()
    names = [segmentation.GetSegment(segment_id).GetName() for segment_id in segment_ids(segmented.proxy)]
    assert names == ["LV blood pool", "LV myocardium", "RV blood pool"]


def test_segments_have_the_colours_of_every_picture(segmented):
    segmentation = segmented.proxy.GetSegmentation()
    colours = [segmentation.GetSegment(segment_id).GetColor() for segment_id in segment_ids(segmented.proxy)]
    np.testing.assert_allclose(colours, np.array([LABEL_COLOURS[label] for label in (1, 2, 3)]) / 255)


def test_the_left_ventricle_has_its_snomed_code(segmented):
    segment = segmented.proxy.GetSegmentation().GetSegment("lv_blood")
    tag = vtk.reference("")
    assert segment.GetTag(segment.GetTerminologyEntryTagName(), tag)
    assert "~SCT^123037004^Anatomical Structure~SCT^87878005^Left ventricle~" in str(tag)


def test_slicer_s_terminology_reads_our_entry(segmented):
    entry = slicer.vtkSlicerTerminologyEntry()
    text = TERMS[Structure.LUNG_LEFT].slicer_entry()
    assert slicer.vtkSlicerTerminologiesModuleLogic().DeserializeTerminologyEntry(text, entry)
    assert entry.GetTypeObject().GetCodeValue() == "39607008"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Left"


def test_a_structure_absent_from_a_frame_is_an_empty_segment_there(segmented, cine):
    segmented.browser.SetSelectedItemNumber(3)
    assert segment_ids(segmented.proxy) == ["lv_blood", "lv_myocardium", "rv_blood"]
    assert not (labels_of_segmentation(segmented.proxy, cine.grid) == 3).any()


def test_labels_with_gaps_keep_their_structures(shown, cine):
    sparse = np.where(cine.labels == 2, int(Structure.AORTA), cine.labels).astype(np.uint8)
    nodes = add_label_frames(sparse, cine.grid, "Sparse", shown)
    assert segment_ids(nodes.proxy) == ["lv_blood", "rv_blood", "aorta"]
    np.testing.assert_array_equal(labels_of_node(nodes.sequence)[0], sparse)


def test_a_label_outside_the_table_is_refused(shown, cine):
    bad = cine.labels.copy()
    bad[0, 0, 0, 0] = 200
    with pytest.raises(InputError, match="label 200 is not in the table"):
        add_label_frames(bad, cine.grid, "Bad", shown)


def test_another_number_of_frames_is_refused(shown, cine):
    with pytest.raises(InputError, match="3 label frames do not fit a cine of 5 frames"):
        add_label_frames(cine.labels[:3], cine.grid, "Short", shown)


def test_an_edit_of_one_frame_stays_when_the_frame_changes(segmented, cine):
    segmented.browser.SetSelectedItemNumber(1)
    edited = cine.labels[1] == 1
    edited[2, 30:33, 5:8] = True
    edit(segmented.proxy, "lv_blood", edited, cine.grid)
    segmented.browser.SetSelectedItemNumber(0)
    segmented.browser.SetSelectedItemNumber(1)
    assert (labels_of_segmentation(segmented.proxy, cine.grid)[2, 30:33, 5:8] == 1).all()


def test_an_edit_of_one_frame_leaves_the_others_alone(segmented, cine):
    segmented.browser.SetSelectedItemNumber(1)
    edited = cine.labels[1] == 1
    edited[2, 30:33, 5:8] = True
    edit(segmented.proxy, "lv_blood", edited, cine.grid)
    segmented.browser.SetSelectedItemNumber(2)
    back, _ = labels_of_node(segmented.sequence)
    others = [0, 2, 3, 4]
    np.testing.assert_array_equal(back[others], cine.labels[others])


def test_the_segmentation_stands_beside_its_source(shown, cine, scene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "MR study")
    hierarchy.SetItemParent(item_of(shown.proxy), study)
    nodes = add_label_frames(cine.labels, cine.grid, "Heart", shown)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.proxy)) == study


def test_the_segmentation_refers_to_the_cine_for_its_geometry(segmented, shown):
    role = segmented.proxy.GetReferenceImageGeometryReferenceRole()
    assert segmented.proxy.GetNodeReference(role).GetID() == shown.proxy.GetID()


def test_a_single_segmentation_of_a_single_volume_comes_back(scene, cine):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "still")
    fill_volume(volume, cine.image[0], cine.grid)
    node = add_segmentation(cine.labels[0], cine.grid, "Heart", source=volume)
    back, grid = labels_of_node(node)
    np.testing.assert_array_equal(back, cine.labels[:1])
    np.testing.assert_allclose(grid.affine_ras, cine.grid.affine_ras, rtol=0, atol=1e-12)


def test_an_unknown_segment_is_named_in_the_error(segmented, cine):
    segmented.proxy.GetSegmentation().AddEmptySegment("Segment_9", "Tumour")
    with pytest.raises(InputError, match="'Tumour'.*rename them"):
        labels_of_segmentation(segmented.proxy, cine.grid)


def test_a_user_s_segments_are_read_by_the_table_he_gives(scene, cine):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    segmentation = node.GetSegmentation()
    segmentation.AddEmptySegment("Segment_1", "cavity")
    edit(node, "Segment_1", cine.labels[0] == 1, cine.grid)
    back = labels_of_segmentation(node, cine.grid, {"cavity": 1})
    np.testing.assert_array_equal(back == 1, cine.labels[0] == 1)


def test_a_segment_drawn_on_a_part_of_the_grid_lands_where_it_was(scene, cine, grid):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "cropped")
    node.GetSegmentation().AddEmptySegment("rv_blood", "RV blood pool")
    whole = np.zeros(grid.shape, dtype=np.uint8)
    whole[2:4, 16:24, 2:7] = 1
    image = oriented_image(whole, grid)
    cropped = slicer.vtkOrientedImageData()
    assert slicer.vtkOrientedImageDataResample.CopyImage(image, cropped, [2, 6, 16, 23, 2, 3])
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(cropped, node, "rv_blood", 0)
    np.testing.assert_array_equal(labels_of_segmentation(node, grid), whole * 3)


def test_label_volumes_come_in_with_their_numbers(scene, cine):
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    fill_volume(node, cine.labels[0].astype(np.int16), cine.grid)
    np.testing.assert_array_equal(labels_of_node(node)[0][0], cine.labels[0])


def test_an_image_is_not_taken_for_labels(scene, cine):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "image")
    fill_volume(node, cine.image[0], cine.grid)
    with pytest.raises(InputError, match="values that are no labels"):
        labels_of_node(node)


def test_surfaces_can_be_shown(segmented):
    show_3d(segmented.proxy)
    surface = vtk.vtkPolyData()
    assert segmented.proxy.GetClosedSurfaceRepresentation("lv_myocardium", surface)
    assert surface.GetNumberOfPoints() > 100


def test_every_structure_has_a_colour_of_its_own():
    assert len({term.rgb for term in TERMS.values()}) == len(TERMS)


def test_every_structure_but_outside_has_a_term():
    assert set(TERMS) == set(Structure) - {Structure.OUTSIDE}


def test_the_shipped_terminology_is_that_of_the_library():
    from CMRSimExtension.anatomy.terminology import terminology_context
    from CMRSimExtension.slicer_bridge.terminology_file import FILE

    assert json.loads(FILE.read_text(encoding="utf-8")) == terminology_context()


def test_the_shipped_terminology_recommends_the_colours_of_the_segments():
    from CMRSimExtension.slicer_bridge.terminology_file import FILE

    categories = json.loads(FILE.read_text(encoding="utf-8"))["SegmentationCodes"]["Category"]
    shown = {
        entry["CodeValue"]: entry.get("recommendedDisplayRGBValue") for part in categories for entry in part["Type"]}
    for label, rgb in LABEL_COLOURS.items():
        assert shown[TERMS[Structure(label)].type_code.value] == list(rgb)


def test_slicer_loads_the_shipped_terminology():
    from CMRSimExtension.anatomy.terminology import CONTEXT_NAME
    from CMRSimExtension.slicer_bridge.terminology_file import load_terminology

    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    load_terminology(logic)
    assert logic.GetNumberOfCategoriesInTerminology(CONTEXT_NAME) == 4


def test_an_edit_of_a_series_is_noticed_and_a_change_of_frame_is_not(scene, cine, labels, grid):
    from CMRSimExtension.slicer_bridge.anatomy_nodes import version_of

    shown = add_cine(cine, "Cine")
    proxy = add_label_frames(labels, grid, "Heart", shown).proxy
    before = version_of(proxy)
    shown.browser.SetSelectedItemNumber(2)
    assert version_of(proxy) == before
    edited = (labels[2] == 1).astype(np.uint8)
    edited[1, 2:5, 2:5] = 1
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        oriented_image(edited, grid), proxy, "lv_blood", 0)
    assert version_of(proxy) != before


@pytest.mark.parametrize("read", [
    labels_of_node, grid_of_segmentation, lambda node: labels_of_segmentation(node, grid_of_segmentation(node))])
@pytest.mark.parametrize("sequence", [True, False])
def test_a_segmentation_under_a_transform_is_refused_with_the_cure(shown, cine, scene, sequence, read):
    node = (add_label_frames(cine.labels, cine.grid, "Heart", shown).proxy if sequence
            else add_segmentation(cine.labels[0], cine.grid, "Heart", source=shown.proxy))
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="'Heart' stands under the transform 'moved'; take it out"):
        read(node)


def surface_points(node, segment_id: str) -> int:
    surface = vtk.vtkPolyData()
    return surface.GetNumberOfPoints() if node.GetClosedSurfaceRepresentation(segment_id, surface) else 0


def test_surfaces_follow_the_frame(segmented, cine):
    show_3d(segmented.proxy)
    sizes = []
    for frame in (0, 2):
        segmented.browser.SetSelectedItemNumber(frame)
        sizes.append(surface_points(segmented.proxy, "lv_blood"))
    assert sizes[0] > sizes[1] > 0  # the pool of frame 2 is the smaller one
    assert segmented.proxy.GetDisplayNode().GetDisplayRepresentationName3D() == "Closed surface"
    np.testing.assert_array_equal(labels_of_node(segmented.sequence)[0], cine.labels)
