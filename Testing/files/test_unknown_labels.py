"""Numbers in label files that nobody can know: said in a line, whatever they are."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.unknown_labels import check_known_labels, label_map_name
from CMRSimExtension.training.label_numbers import translate_labels


@pytest.mark.parametrize(("value", "said"), [(np.inf, "inf"), (-np.inf, "-inf"), (np.nan, "nan"), (1.5, "1.5")])
def test_a_value_that_is_no_whole_number_is_refused(value, said):
    values = np.array([[0.0, 1.0], [2.0, value]])
    expected = f"a.nii.gz holds values that are no whole numbers, such as {said}, so it is no label file; give"
    with pytest.raises(InputError, match=expected):
        check_known_labels(values, {1: 1, 2: 2}, "a.nii.gz", "look")
    with pytest.raises(InputError, match=expected):
        translate_labels(values, {1: 1, 2: 2}, "a.nii.gz")


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.uint64, np.float32, np.float64])
def test_whole_numbers_of_any_kind_are_labels(kind):
    check_known_labels(np.array([0, 1, 1], kind), {1: 1}, "a.nii.gz", "look")
    with pytest.raises(InputError, match="holds the labels 1, which the label table '2=lv_blood' lacks; look"):
        check_known_labels(np.array([0, 1, 1], kind), {2: 1}, "a.nii.gz", "look")


def test_of_a_long_table_the_first_pairs_are_named():
    table = {number: number for number in range(1, 80)}
    assert label_map_name(table).endswith("5=la_blood and 74 more") and label_map_name(table).startswith("1=lv_blood,")
    with pytest.raises(InputError) as error:
        check_known_labels(np.arange(40, 240), table, "a.nii.gz", "look")
    assert len(str(error.value)) < 300
    assert label_map_name({number: 1 for number in range(1, 6)}).count("lv_blood") == 5
