"""Series of one slice each, which CMRSegment puts together to a stack."""

import numpy as np
import pytest

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.sequences import add_cine

pytest.importorskip("torch", reason="needs torch (pip extra 'segment')")


@pytest.fixture
def panel(segment_panel):
    return segment_panel


def split(cine: Cine) -> list[Cine]:
    """One series per slice, as scanners export a stack."""
    series = []
    for index in range(cine.grid.shape[0]):
        affine = np.array(cine.grid.affine_ras)
        affine[:3, 3] += index * affine[:3, 2]
        affine[:3, 2] *= 8.0 / 9.0  # a lone slice knows its thickness, not the distance to the next
        series.append(Cine(
            cine.image[:, index : index + 1], ImageGrid(affine, (1, *cine.grid.shape[1:]), 8.0),
            times_ms=cine.times_ms[index : index + 1]))
    return series


def test_series_of_one_stack_are_put_together_by_position(host, cine):
    from CMRSimExtension.slicer_bridge.hierarchy import place_in_folder
    from CMRSimExtension.slicer_bridge.stacks import stack_of_node

    series = [add_cine(part, f"Series {index}") for index, part in enumerate(split(cine))]
    place_in_folder([series[2].proxy, series[0].proxy, series[1].proxy], "Study")
    stack = stack_of_node(series[1].proxy)
    order = slice(None) if np.allclose(stack.grid.affine_ras[:3, 3], cine.grid.affine_ras[:3, 3]) else (
        slice(None, None, -1))
    np.testing.assert_array_equal(stack.image[:, order], cine.image)
    assert stack.grid.spacing_mm[2] == pytest.approx(9.0, abs=1e-9)


def test_a_missing_slice_of_a_stack_is_noticed(cine):
    from CMRSimExtension.slicer_bridge.stacks import assemble

    longer = Cine(np.repeat(cine.image, 2, axis=1), ImageGrid(cine.grid.affine_ras, (6, 72, 80), 8.0),
                  times_ms=np.repeat(cine.times_ms, 2, axis=0))
    parts = split(longer)
    del parts[2]
    with pytest.raises(ValueError, match="a slice is missing"):
        assemble(parts)


def test_a_repeated_series_of_a_stack_is_noticed(cine):
    from CMRSimExtension.slicer_bridge.stacks import assemble

    parts = split(cine)
    with pytest.raises(ValueError, match="same position"):
        assemble([*parts, parts[1]])


def test_a_stack_of_one_is_refused_with_the_cure(panel, shown, slot_errors):
    panel.logic.getParameterNode().assembleStack = True
    panel.ui.applyButton.click()
    assert "untick 'stack'" in str(slot_errors[0])
