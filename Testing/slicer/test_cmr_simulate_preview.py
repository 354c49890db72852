"""CMRSimulate's live preview: it follows the sliders, says what makes no scan, and leaves nothing behind."""

import numpy as np
import slicer

from Testing.slicer.conftest import CHILD_SECONDS, node_ids


def preview_node():
    return slicer.mrmlScene.GetFirstNodeByName("CMRSimulate preview")


def preview_is_idle(panel) -> bool:
    return preview_node() is not None and panel.preview.idle


def test_the_preview_appears_and_goes(tiny, host):
    before = node_ids()
    tiny.ui.livePreviewCheckBox.checked = True
    shown = lambda: slicer.mrmlScene.GetFirstNodeByName("CMRSimulate preview")  # noqa: E731
    assert host.run_until(lambda: shown() is not None, CHILD_SECONDS)
    assert slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0].GetBackgroundVolumeID() == shown().GetID()
    tiny.ui.livePreviewCheckBox.checked = False
    assert node_ids() == before


def test_the_preview_ends_at_the_last_position_of_the_slider(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    for flip in (20, 40, 60, 80):
        tiny.ui.flipSlider.value = flip
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    last = slicer.util.arrayFromVolume(preview_node()).copy()
    tiny.ui.flipSlider.value = 20
    assert host.run_until(lambda: tiny.preview.idle, CHILD_SECONDS)
    tiny.ui.flipSlider.value = 80
    assert host.run_until(lambda: tiny.preview.idle, CHILD_SECONDS)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(preview_node()), last)


def test_what_makes_no_scan_is_said_beside_the_sliders_and_goes_with_its_cause(tiny, host):
    parameters = tiny.logic.getParameterNode()
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    before = node_ids()
    parameters.esvMl = 300.0
    assert host.run_until(lambda: "lower the one or raise the other" in tiny.ui.previewStatusLabel.text, 5)
    assert node_ids() == before
    parameters.esvMl = 50.0
    assert host.run_until(lambda: tiny.ui.previewStatusLabel.text == "", CHILD_SECONDS)


def test_the_preview_s_process_ends_with_it(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    process = tiny.preview._process
    tiny.ui.livePreviewCheckBox.checked = False
    assert process.ended and process.exit_code is not None


def test_closing_the_scene_ends_the_preview(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    process = tiny.preview._process
    slicer.mrmlScene.Clear(False)
    assert process.ended and preview_node() is None
    assert not tiny.ui.livePreviewCheckBox.checked


def test_leaving_the_module_puts_the_preview_away_and_coming_back_brings_it(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    tiny.exit()
    assert preview_node() is None
    tiny.enter()
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)


def test_a_fault_shows_in_the_preview(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    clean = slicer.util.arrayFromVolume(preview_node()).copy()
    tiny.ui.ghostingSlider.value = 20
    assert host.run_until(lambda: tiny.preview.idle, CHILD_SECONDS)
    assert not np.array_equal(slicer.util.arrayFromVolume(preview_node()), clean)


def test_the_preview_is_offered_in_no_selector(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    host.run_until(lambda: slicer.mrmlScene.GetFirstNodeByName("CMRSimulate preview") is not None, CHILD_SECONDS)
    preview = slicer.mrmlScene.GetFirstNodeByName("CMRSimulate preview")
    assert preview.GetHideFromEditors() and not preview.GetSaveWithScene()
