"""Streams, folders and batches: repeatable, in the right shares, and clear about what is wrong."""

import json

import nibabel
import numpy as np
import pytest
import torch

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.training.batches import BatchStream, FolderPool, SimulatedPool, read_folder, validation_set
from CMRSimExtension.training.configuration import as_table, read_configuration, shipped
from CMRSimExtension.training.label_numbers import label_table
from CMRSimExtension.training.labelled_folder import FolderSource, find_cases
from CMRSimExtension.training.losses import one_hot
from CMRSimExtension.training.module import class_numbers
from CMRSimExtension.training.simulated_source import SimulatedSource, chunks
from CMRSimExtension.training.transfer import read_weights

TOY = SimulatedSource("Testing.training.toy_slices:draw", chunk=4, settings={"size": 32})


def first_chunks(count, **options):
    supply = chunks(TOY, 3, (1, 0), **options)
    return [next(supply)[0] for _ in range(count)]


def test_a_stream_starts_at_any_chunk():
    assert torch.equal(first_chunks(4)[3], first_chunks(1, start=3)[0])


def test_the_number_of_workers_does_not_change_the_stream():
    assert all(torch.equal(a, b) for a, b in zip(first_chunks(5), first_chunks(5, workers=2, ahead=2), strict=True))


def test_each_training_process_has_a_stream_of_its_own():
    first, second = (next(chunks(TOY, 3, (1, rank)))[0] for rank in (0, 1))
    assert not torch.equal(first, second)


def test_validation_images_are_not_in_the_training_stream():
    validation = validation_set(TOY, 3, 8)[0]
    training = torch.cat(first_chunks(20))
    assert not any(torch.equal(a, b) for a in validation for b in training)


def batches(position, pools=None, steps=5, size=6, weights=(1.0,)):
    pools = pools or [SimulatedPool(TOY, 3, reuse=2.0, window=80)]
    return list(BatchStream(pools, weights, size, 3, 0, steps, lambda: position))


def test_a_resumed_stream_gives_the_batches_of_an_uninterrupted_one():
    pool = [SimulatedPool(TOY, 3, reuse=2.0, window=80)]
    for position in range(8):
        whole = batches(position, pool)
    resumed = batches(7)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(whole, resumed, strict=True))


def test_the_window_slides_on_by_one_over_reuse_images_per_image_trained():
    pool = SimulatedPool(TOY, 3, reuse=2.0, window=80)
    for position in range(40):
        batches(position, [pool])
    drawn = 4 * pool._next - 64
    assert drawn == pytest.approx(40 * 5 * 6 / 2.0, abs=8)


def write_pair(folder, name, label=1, shape=(20, 24, 3), affine=None, ending="_gt"):
    image = np.zeros(shape, np.float32)
    labels = np.zeros(shape, np.uint8)
    labels[5:12, 6:14] = label
    image[labels > 0] = 1.0
    for values, path in ((image, folder / f"{name}.nii.gz"), (labels, folder / f"{name}{ending}.nii.gz")):
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1.5, 1.5, 8.0, 1.0]) if affine is None else affine), path)


@pytest.mark.parametrize("ending", ["_gt", "_labels", "_seg"])
def test_pairs_are_found_by_their_endings(tmp_path, ending):
    write_pair(tmp_path, "a", ending=ending)
    assert [case.name for case in find_cases(tmp_path)] == ["a"]


def test_an_nnunet_raw_data_set_is_found(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    write_pair(tmp_path, "a")
    (tmp_path / "a.nii.gz").rename(tmp_path / "imagesTr" / "a_0000.nii.gz")
    (tmp_path / "a_gt.nii.gz").rename(tmp_path / "labelsTr" / "a.nii.gz")
    assert [case.name for case in find_cases(tmp_path)] == ["a"]


def test_a_monai_data_list_is_found(tmp_path):
    write_pair(tmp_path, "a")
    entry = {"image": "a.nii.gz", "label": "a_gt.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [entry]}))
    assert [case.labels.name for case in find_cases(tmp_path / "dataset.json")] == ["a_gt.nii.gz"]


def test_a_folder_without_pairs_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match="_labels.nii.gz"):
        find_cases(tmp_path)


def test_labels_are_translated_by_the_map(tmp_path):
    write_pair(tmp_path, "a", label=3)
    labels = read_folder(FolderSource(str(tmp_path), "acdc", size=(32, 32)))[1]
    assert set(labels.unique().tolist()) == {0, 1}


def test_a_label_outside_the_table_is_named(tmp_path):
    write_pair(tmp_path, "a", label=7)
    with pytest.raises(InputError, match="a_gt.nii.gz holds the labels 7, which the label table .acdc. lacks; choose"):
        read_folder(FolderSource(str(tmp_path), "acdc"))


def test_labels_of_another_shape_than_the_image_are_refused(tmp_path):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b", shape=(20, 24, 4))
    (tmp_path / "b_gt.nii.gz").replace(tmp_path / "a_gt.nii.gz")
    (tmp_path / "b.nii.gz").unlink()
    with pytest.raises(InputError, match="labels of this image"):
        read_folder(FolderSource(str(tmp_path)))


def test_slices_are_resampled_to_the_spacing_asked_for(tmp_path):
    write_pair(tmp_path, "a")
    labels = read_folder(FolderSource(str(tmp_path), "mms", spacing_mm=(0.75, 0.75), size=(64, 64)))[1]
    assert (labels == 1).sum().item() == 3 * 4 * 7 * 8  # three slices of 7 x 8 pixels, each now 2 x 2


def test_cut_slices_have_the_labels_in_their_middle(tmp_path):
    write_pair(tmp_path, "a")
    labels = read_folder(FolderSource(str(tmp_path), "mms", spacing_mm=None, size=(32, 32)))[1]
    centre = torch.nonzero(labels[0]).float().mean(0)
    assert torch.all((centre - 15.5).abs() <= 1.0)


def test_volumes_keep_their_slices_together(tmp_path):
    write_pair(tmp_path, "a")
    images, labels = read_folder(FolderSource(str(tmp_path), "mms", (8.0, 1.5, 1.5), (4, 32, 32)))
    assert images.shape == (1, 1, 4, 32, 32) and labels.shape == (1, 4, 32, 32)


def test_sources_share_each_batch_by_their_weights(tmp_path):
    write_pair(tmp_path, "a")
    folder = FolderPool(FolderSource(str(tmp_path), "mms", None, (32, 32)))
    folder.images += 100.0
    batch = batches(0, [SimulatedPool(TOY, 3, window=80), folder], size=8, weights=(3.0, 1.0))[0]
    assert (batch["image"].flatten(1).mean(1) > 50).sum().item() == 2


def test_sources_of_different_shapes_are_refused(tmp_path):
    write_pair(tmp_path, "a")
    folder = FolderPool(FolderSource(str(tmp_path), "mms", None, (48, 48)))
    with pytest.raises(InputError, match="different shapes"):
        batches(0, [SimulatedPool(TOY, 3, window=80), folder], weights=(1.0, 1.0))


def test_a_drawing_function_that_does_not_exist_is_named():
    with pytest.raises(InputError, match="no_such"):
        SimulatedSource("Testing.training.toy_slices:no_such").make(0, (), 0)


def test_a_misspelt_setting_is_answered_with_the_right_one():
    table = {"name": "x", "train": [{"simulated": {"draw": "a:b"}}], "optimisation": {"learning_rates": 1}}
    with pytest.raises(InputError, match="learning_rate"):
        read_configuration(table)


def test_a_source_is_simulated_or_a_folder_and_not_both():
    with pytest.raises(InputError, match="one of the two"):
        read_configuration({"name": "x", "train": [{"weight": 1.0}]})


def test_a_broken_yaml_file_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("name: [")
    with pytest.raises(InputError, match="a.yaml is no valid YAML"):
        read_configuration(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_configuration_reads_and_reads_back(name):
    configuration = read_configuration(shipped()[name])
    assert read_configuration(as_table(configuration)) == configuration
    assert configuration.name == name


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_label_a_shipped_configuration_can_meet_is_one_of_its_classes(name):
    """Cheaper than drawing a batch of it, and stricter: no number that its sources can give is left out."""
    configuration = read_configuration(shipped()[name])
    for source in configuration.train:
        if source.folder is not None:
            labels = sorted(set(label_table(source.folder.labels_map).values()) & {1, 2, 3})
        elif source.simulated.settings.get("truth") == "anatomy":
            labels = [int(structure) for structure in Structure]
        else:
            labels = [1, 2, 3]
        numbers = class_numbers(torch.tensor([[0, *labels]]), configuration)
        classes = len(configuration.classes) + 1
        assert one_hot(numbers, classes).shape == (1, classes, len(labels) + 1)
        assert set(numbers.flatten().tolist()) == set(range(classes)), "a class never comes up"


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_configuration_is_used_on_the_pixels_it_learns_from(name):
    configuration = read_configuration(shipped()[name])
    for source in configuration.train:
        if source.folder is not None:
            assert configuration.use.size == min(source.folder.size[-2:])
            if source.folder.spacing_mm is not None:
                assert configuration.use.pixel_mm == source.folder.spacing_mm[-1]
        else:
            settings = source.simulated.settings
            # What the drawing functions take where nothing is said.
            volumes = source.simulated.draw.endswith("draw_volumes")
            pixel_mm = settings.get("pixel_mm", 1.5625 if volumes else (1.0, 2.6))
            assert np.min(pixel_mm) <= configuration.use.pixel_mm <= np.max(pixel_mm)
            assert configuration.use.size == settings.get("rows", 128)


def test_a_table_of_labels_replaces_that_of_the_configuration_it_changes(tmp_path):
    (tmp_path / "six.yaml").write_text(
        "{name: six, classes: [lv, lung], merge: {1: 1, 40: 2}, train: [{simulated: {draw: x:y}}]}"
    )
    (tmp_path / "one.yaml").write_text("{based_on: six, name: one, classes: [lv], merge: {1: 1}}")
    assert read_configuration(tmp_path / "one.yaml").merge == {1: 1}


@pytest.mark.parametrize("merge", [{1: 4}, {1: -1}, {300: 1}, {"heart": 1}, {1: None}, [1, 2]])
def test_a_merge_table_that_names_no_class_is_refused(merge):
    with pytest.raises(InputError, match="merge"):
        read_configuration({"name": "x", "train": [{"simulated": {"draw": "a:b"}}], "merge": merge})


def test_a_data_folder_takes_the_place_of_its_prefix():
    table = {"name": "x", "train": [{"folder": {"folder": "data:acdc"}}]}
    assert read_configuration(table, "/somewhere").train[0].folder.folder.endswith("acdc")
    assert "data:" not in read_configuration(table, "/somewhere").train[0].folder.folder


class Harmful:
    def __reduce__(self):
        return (print, ("code was run",))


def test_weights_that_would_run_code_are_refused(tmp_path, capsys):
    torch.save({"a": Harmful()}, tmp_path / "weights.pt")
    with pytest.raises(FileFormatError, match="run code"):
        read_weights(tmp_path / "weights.pt")
    assert "code was run" not in capsys.readouterr().out
