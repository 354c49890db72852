"""Classes of networks and the label numbers they have in files."""

import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.networks.class_labels import COMPOUNDS, labels_of_classes, name_of_class
from CMRSimExtension.training.configuration import read_configuration


def test_classes_have_the_numbers_of_the_structures_they_are_called_by():
    six = ["lv_blood", "lv_myocardium", "rv_blood", "lung", "liver", "body_wall"]
    assert labels_of_classes(six) == {1: 1, 2: 2, 3: 3, 4: 40, 5: 44, 6: 30}
    assert labels_of_classes(["myo", "la"]) == {1: 2, 2: 5}


def test_a_compound_is_called_by_its_own_name():
    assert name_of_class(40, "lung") == "Lungs" and name_of_class(5, "la_blood") == "Left atrium"
    assert len({structure for structure, _ in COMPOUNDS.values()}) == len(COMPOUNDS)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (["lv_myocardium", "scar"], "'scar', which has no label in files; name it lv_blood"),
        (["lv_blood", "lv_blood"], "both have the label 1"),
        (["lv_blood", "lv"], "'lv_blood' and 'lv' both have the label 1"),
        (["lung", "lung_left"], "both have the label 40"),
        (["background", "lv"], "is the background"),
        ([3], "called '3', which has no label in files; name it lv_blood"),
        ([], "write a list of names"),
        ("lv_blood", "classes is 'lv_blood'; write a list, such as"),
    ],
)
def test_a_configuration_whose_classes_have_no_labels_of_their_own_is_refused(classes, says):
    with pytest.raises(InputError, match=says):
        read_configuration({"name": "x", "classes": classes, "train": [{"simulated": {"draw": "a:b"}}]})


@pytest.mark.parametrize(
    ("classes", "merge"),
    [
        (["rv_blood", "lv_myocardium", "lv_blood"], {3: 1, 2: 2, 1: 3}),
        (["lv_blood", "lv_myocardium", "la_blood"], {1: 1, 2: 2, 5: 3}),
        (["lv_myocardium"], {2: 1}),
    ],
)
def test_classes_in_another_order_than_their_labels_need_a_merge_table_which_is_named(classes, merge):
    """Without it the network would learn one structure and write it as another."""
    table = {"name": "x", "classes": classes, "train": [{"simulated": {"draw": "a:b"}}]}
    with pytest.raises(InputError, match="which without a merge table are taken") as error:
        read_configuration(table)
    assert f"write merge: {merge} " in str(error.value)
    assert read_configuration(table | {"merge": merge}).merge == merge


def test_classes_in_the_order_of_their_labels_need_no_merge_table():
    for classes in (["lv_blood"], ["lv", "myo"], ["lv_blood", "lv_myocardium", "rv_blood"]):
        table = {"name": "x", "classes": classes, "train": [{"simulated": {"draw": "a:b"}}]}
        assert not read_configuration(table).merge
