"""NRRD: Slicer's sequences and segmentations."""

from dataclasses import replace

import nrrd
import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.dicom_writing import write_dicom
from CMRSimExtension.files.display import LABEL_COLOURS
from CMRSimExtension.files.nrrd_files import read_segmentation, read_sequence, write_segmentation, write_sequence


@pytest.fixture
def sequence(small_cine, tmp_path):
    write_sequence(small_cine, tmp_path / "X.seq.nrrd")
    return tmp_path / "X.seq.nrrd"


def test_the_file_alone_holds_voxels_geometry_and_the_times_of_every_slice(sequence, small_cine):
    sequence.with_name("X.seq.nrrd.json").unlink()
    read = read_sequence(sequence)
    np.testing.assert_array_equal(read.image, small_cine.image)
    np.testing.assert_array_equal(read.labels, small_cine.labels)
    np.testing.assert_array_equal(read.grid.affine_ras, small_cine.grid.affine_ras)
    np.testing.assert_array_equal(read.times_ms, small_cine.times_ms)
    np.testing.assert_array_equal(read.heartbeats_ms, small_cine.heartbeats_ms)
    assert read.grid.slice_thickness_mm == 8.0


def test_the_sidecar_brings_function_and_record(sequence, small_cine):
    read = read_sequence(sequence)
    assert (read.function, read.sidecar) == (small_cine.function, small_cine.sidecar)


def test_the_header_is_lps_with_time_as_a_list_axis_in_ms(sequence):
    header = nrrd.read_header(str(sequence))
    assert header["space"] == "left-posterior-superior"
    assert header["kinds"] == ["domain", "domain", "domain", "list"]
    assert header["axis 3 index type"] == "numeric"
    assert header["axis 3 index values"] == "0 135.5 271 406.5 542 677.5"  # mean over the three slices


def test_the_same_cine_gives_the_same_bytes(small_cine, sequence, tmp_path):
    write_sequence(small_cine, tmp_path / "Y.seq.nrrd")
    assert sequence.read_bytes() == (tmp_path / "Y.seq.nrrd").read_bytes()


def test_slicer_opens_the_sequence_with_its_times_and_geometry(sequence, small_cine):
    slicer = pytest.importorskip("slicer")
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSequenceNode(), slicer.vtkMRMLVolumeSequenceStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(sequence))
    assert storage.ReadData(node) == 1
    assert [node.GetNthIndexValue(i) for i in range(6)] == ["0", "135.5", "271", "406.5", "542", "677.5"]
    assert node.GetIndexUnit() == "ms"
    frame, matrix = node.GetNthDataNode(4), vtk.vtkMatrix4x4()
    frame.GetIJKToRASMatrix(matrix)
    affine = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    np.testing.assert_allclose(affine, small_cine.grid.affine_ras, atol=1e-12)
    voxels = vtk_to_numpy(frame.GetImageData().GetPointData().GetScalars()).reshape(3, 40, 48)
    np.testing.assert_array_equal(voxels, small_cine.image[4])


def test_slicer_opens_a_segmentation_with_names_colours_and_codes(small_cine, tmp_path):
    slicer = pytest.importorskip("slicer")
    import vtk

    paths = write_segmentation(small_cine.labels[:1], small_cine.grid, tmp_path / "S.seg.nrrd")
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(paths[0]))
    assert storage.ReadData(node) == 1
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegment(i).GetName() for i in range(3)] == [
        "LV blood pool", "LV myocardium", "RV blood pool"]
    colours = [segmentation.GetNthSegment(i).GetColor() for i in range(3)]
    # Written with six digits.
    np.testing.assert_allclose(colours, np.array([LABEL_COLOURS[label] for label in (1, 2, 3)]) / 255, atol=1e-6)
    tag = vtk.reference("")
    segmentation.GetNthSegment(1).GetTag("TerminologyEntry", tag)
    assert "SCT^49848007" in str(tag)


def test_a_segmentation_of_each_frame_comes_back(small_cine, tmp_path):
    paths = write_segmentation(small_cine.labels, small_cine.grid, tmp_path / "S.seg.nrrd")
    assert [p.name for p in paths] == [f"S_frame{n:03d}.seg.nrrd" for n in range(1, 7)]
    for frame, path in enumerate(paths):
        np.testing.assert_array_equal(read_segmentation(path).values[0], small_cine.labels[frame])


def test_segments_in_several_layers_are_read(small_cine, tmp_path):
    # As Slicer saves segments that may overlap: layers along a list axis in front.
    layers = np.stack([small_cine.labels[0] == n for n in (1, 2)]).astype(np.uint8)
    affine = np.diag([-1.0, -1, 1]) @ small_cine.grid.affine_ras[:3, :3]
    header = {
        "space": "left-posterior-superior", "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.vstack([[np.nan] * 3, affine.T]), "space origin": [0, 0, 0],
        "Segment0_Name": "LV blood pool", "Segment0_Layer": "0", "Segment0_LabelValue": "1",
        "Segment1_Name": "LV myocardium", "Segment1_Layer": "1", "Segment1_LabelValue": "1",
    }
    nrrd.write(str(tmp_path / "L.seg.nrrd"), layers.transpose(0, 3, 2, 1), header)
    expected = np.where(small_cine.labels[0] == 3, 0, small_cine.labels[0])
    np.testing.assert_array_equal(read_segmentation(tmp_path / "L.seg.nrrd").values[0], expected)


@pytest.mark.parametrize(("unit", "expected"), [
    # Seconds are the index unit of a sequence that nobody gave another (vtkMRMLSequenceNode).
    ("s", [0, 30, 60, 90, 120, 150]), ("ms", [0, 0.03, 0.06, 0.09, 0.12, 0.15]), ("", None), ("mm", None),
])
def test_the_index_counts_in_the_unit_that_the_header_names(small_cine, tmp_path, unit, expected):
    affine = np.diag([-1.0, -1, 1]) @ small_cine.grid.affine_ras[:3, :3]
    header = {
        "space": "left-posterior-superior", "kinds": ["domain", "domain", "domain", "list"],
        "space directions": np.vstack([affine.T, [np.nan] * 3]), "space origin": [-12.25, 31.5, 77.125],
        "axis 3 index values": "0 0.03 0.06 0.09 0.12 0.15", "units": ["", "", "", unit],
    }
    nrrd.write(str(tmp_path / "a.seq.nrrd"), small_cine.image.transpose(3, 2, 1, 0), header)
    times = read_sequence(tmp_path / "a.seq.nrrd").times_ms
    assert (times is None) == (expected is None)
    if times is not None:
        np.testing.assert_allclose(times, np.tile(expected, (3, 1)), rtol=1e-12)


def test_a_sequence_that_slicer_saved_with_its_own_unit_of_seconds_keeps_its_times(small_cine, tmp_path):
    slicer = pytest.importorskip("slicer")
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSequenceNode(), slicer.vtkMRMLVolumeSequenceStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    assert node.GetIndexUnit() == "s"
    for frame, picture in enumerate(small_cine.image):
        volume = slicer.vtkMRMLScalarVolumeNode()
        data = vtk.vtkImageData()
        data.SetDimensions(*picture.shape[::-1])
        data.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(picture).ravel(), deep=True))
        volume.SetAndObserveImageData(data)
        node.SetDataNodeAtValue(volume, f"{0.04 * frame:g}")
    storage.SetFileName(str(tmp_path / "own.seq.nrrd"))
    assert storage.WriteData(node) == 1
    read = read_sequence(tmp_path / "own.seq.nrrd")
    np.testing.assert_array_equal(read.image, small_cine.image)
    np.testing.assert_allclose(read.times_ms[0], 40.0 * np.arange(6), rtol=1e-12)


def test_a_sequence_with_time_in_front_is_read(small_cine, tmp_path):
    # Slicer before 5.10 put the list axis first.
    affine = np.diag([-1.0, -1, 1]) @ small_cine.grid.affine_ras[:3, :3]
    header = {
        "space": "left-posterior-superior", "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.vstack([[np.nan] * 3, affine.T]), "space origin": [-12.25, 31.5, 77.125],
        "axis 0 index values": "0 30 60 90 120 150", "units": ["ms", "mm", "mm", "mm"],
    }
    nrrd.write(str(tmp_path / "old.seq.nrrd"), small_cine.image.transpose(0, 3, 2, 1), header)
    read = read_sequence(tmp_path / "old.seq.nrrd")
    np.testing.assert_array_equal(read.image, small_cine.image)
    np.testing.assert_array_equal(read.times_ms[2], [0, 30, 60, 90, 120, 150])


@pytest.mark.parametrize(("space", "signs"), [("right-anterior-superior", (1, 1, 1)), ("LPS", (-1, -1, 1)),
                                              ("left-anterior-superior", (-1, 1, 1))])
def test_every_space_is_turned_to_ras(tmp_path, space, signs):
    header = {"space": space, "space directions": np.diag([1.0, 2.0, 3.0]), "space origin": [5.0, 6.0, 7.0]}
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 5, 6), np.float32), header)
    affine = read_sequence(tmp_path / "a.nrrd").grid.affine_ras
    np.testing.assert_array_equal(affine[:3, 3], np.array(signs) * [5.0, 6.0, 7.0])
    np.testing.assert_array_equal(affine[:3, :3], np.diag(np.array(signs) * [1.0, 2.0, 3.0]))


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("um", 1e-3), ("cm", 10.0), ("m", 1000.0)])
def test_lengths_are_read_in_the_units_of_the_space(tmp_path, unit, mm):
    header = {"space": "LPS", "space directions": np.diag([1.0, 2.0, 3.0]), "space origin": [5.0, 6.0, 7.0],
              "space units": [unit] * 3}  # fmt: skip
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 5, 6), np.float32), header)
    grid = read_sequence(tmp_path / "a.nrrd").grid
    np.testing.assert_allclose(grid.spacing_mm, mm * np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(grid.affine_ras[:3, 3], mm * np.array([-5.0, -6.0, 7.0]))


@pytest.mark.parametrize("units", [["mm", "mm", "cm"], ["furlong"] * 3])
def test_space_units_that_are_not_known_are_refused(tmp_path, units):
    header = {"space": "LPS", "space directions": np.eye(3), "space origin": [0, 0, 0], "space units": units}
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 5, 6), np.float32), header)
    with pytest.raises(FileFormatError, match="for all axes is read here"):
        read_sequence(tmp_path / "a.nrrd")


def test_skipped_bytes_of_compressed_data_are_refused_in_words(tmp_path):
    header = {"space": "LPS", "space directions": np.eye(3), "space origin": [0, 0, 0]}
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 5, 6), np.float32), header)
    whole = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(whole.replace(b"encoding: gzip\n", b"encoding: gzip\nbyte skip: 16\n"))
    with pytest.raises(FileFormatError, match="without byte skip"):
        read_sequence(tmp_path / "a.nrrd")


def test_missing_detached_data_are_named(tmp_path):
    nrrd.write(str(tmp_path / "a.nhdr"), np.zeros((4, 5, 6), np.float32),
               {"space": "LPS", "space directions": np.eye(3), "space origin": [0, 0, 0]}, detached_header=True)
    data = next(p for p in tmp_path.iterdir() if p.suffix != ".nhdr")
    assert read_sequence(tmp_path / "a.nhdr").image.shape == (1, 6, 5, 4)
    data.unlink()
    with pytest.raises(FileFormatError, match=f"{data.name}, which is not beside it"):
        read_sequence(tmp_path / "a.nhdr")


def test_a_truncated_file_is_named(sequence):
    whole = sequence.read_bytes()
    sequence.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="X.seq.nrrd.*damaged, incomplete"):
        read_sequence(sequence)


def test_a_header_that_claims_terabytes_is_refused(sequence):
    data = sequence.read_bytes().replace(b"sizes: 48 40 3 6", b"sizes: 48000 40000 3000 6")
    sequence.write_bytes(data)
    with pytest.raises(FileFormatError, match="truncated or its header damaged"):
        read_sequence(sequence)


def test_colours_are_refused(tmp_path):
    header = {"space": "LPS", "kinds": ["RGB-color", "domain", "domain", "domain"], "space origin": [0, 0, 0],
              "space directions": np.vstack([[np.nan] * 3, np.eye(3)])}
    nrrd.write(str(tmp_path / "rgb.nrrd"), np.zeros((3, 4, 5, 6), np.uint8), header)
    with pytest.raises(FileFormatError, match="rgb-color values"):
        read_sequence(tmp_path / "rgb.nrrd")


def test_a_file_without_any_size_of_voxels_is_refused(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 5, 6), np.float32))
    with pytest.raises(FileFormatError, match="no size"):
        read_sequence(tmp_path / "a.nrrd")


def test_a_segment_of_an_unknown_structure_is_named(small_cine, tmp_path):
    path = write_segmentation(small_cine.labels[:1], small_cine.grid, tmp_path / "S.seg.nrrd")[0]
    data = path.read_bytes().replace(b"Segment0_ID:=lv_blood", b"Segment0_ID:=x").replace(
        b"Segment0_Name:=LV blood pool", b"Segment0_Name:=left ear")
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="'left ear'"):
        read_segmentation(path)


@pytest.mark.parametrize("field", ["Layer", "LabelValue"])
def test_a_segment_whose_place_is_no_number_is_damaged(small_cine, tmp_path, field):
    path = write_segmentation(small_cine.labels[:1], small_cine.grid, tmp_path / "S.seg.nrrd")[0]
    start = path.read_bytes().index(f"Segment0_{field}:=".encode()) + len(f"Segment0_{field}:=")
    path.write_bytes(path.read_bytes()[:start] + b"\x00" + path.read_bytes()[start:])
    with pytest.raises(FileFormatError, match=f"{field} .*is no whole number; the file is damaged"):
        read_segmentation(path)


def test_uneven_slices_are_refused(small_cine, tmp_path):
    origins = np.array([[0.0, 0, 0], [0, 0, 8], [0, 0, 20]])
    with pytest.raises(InputError, match="NRRD cannot hold"):
        write_sequence(replace(small_cine, slice_origins_mm=origins), tmp_path / "X.seq.nrrd")


def test_labels_of_an_uneven_stack_are_not_written_on_an_even_grid(small_cine, tmp_path, capsys):
    affine = np.array(small_cine.grid.affine_ras)
    origins = affine[:3, 3] + np.outer([0, 1, 2.3], affine[:3, 2])
    affine[:3, 2] *= 2.3 / 2
    grid = replace(small_cine.grid, affine_ras=affine)
    write_dicom(replace(small_cine, slice_origins_mm=origins, grid=grid), tmp_path / "study")
    assert main(["convert", str(tmp_path / "study"), str(tmp_path / "S.seg.nrrd")]) == 2
    assert "a segmentation of Slicer cannot hold that" in capsys.readouterr().err
    assert main(["segment", str(tmp_path / "study"), "--out", str(tmp_path / "S.nii.gz")]) == 2
    assert "a label image cannot hold that" in capsys.readouterr().err
    assert not list(tmp_path.glob("S*"))
