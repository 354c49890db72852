"""The host must refuse what PythonQt refuses, or the panels' tests prove nothing."""

import pytest
import slicer

from Testing.slicer_host.ui_loader import UiFileError


@pytest.fixture
def qt(host):
    import qt

    return qt


def test_a_property_is_an_attribute_not_a_call(qt):
    button = qt.QPushButton("press")
    assert button.text == "press"
    with pytest.raises(TypeError, match="not callable"):
        button.text()


def test_an_attribute_that_does_not_exist_cannot_be_set(qt):
    with pytest.raises(AttributeError, match="no attribute 'txet'"):
        qt.QPushButton("press").txet = "no"


def test_an_attribute_that_does_not_exist_cannot_be_read(qt):
    with pytest.raises(AttributeError, match="no attribute 'txet'"):
        qt.QPushButton("press").txet  # noqa: B018


def test_a_read_only_property_cannot_be_written(qt):
    with pytest.raises(AttributeError, match="cannot be written"):
        qt.QComboBox().count = 3


def test_constructors_take_no_keywords(qt):
    with pytest.raises(TypeError, match="no keyword arguments in PythonQt: text"):
        qt.QPushButton(text="press")


def test_methods_take_no_keywords(qt):
    with pytest.raises(TypeError, match="no keyword arguments"):
        qt.QSlider().setRange(minimum=0, maximum=3)


def test_clicked_hands_its_slot_a_bool_even_to_a_default_argument(qt):
    button, got = qt.QPushButton("press"), []
    button.connect("clicked(bool)", lambda name="kept": got.append(name))
    button.click()
    assert got == [False]


def test_a_slot_without_parameters_gets_none(qt):
    button, got = qt.QPushButton("press"), []
    button.connect("clicked(bool)", lambda: got.append("called"))
    button.clicked.connect(lambda: got.append("again"))
    button.click()
    assert got == ["called", "again"]


def test_a_signal_that_does_not_exist_is_refused(qt):
    with pytest.raises(ValueError, match="no signal 'pressd"):
        qt.QPushButton("press").connect("pressd(bool)", print)


def test_a_signal_without_its_arguments_is_refused(qt):
    with pytest.raises(ValueError, match="lacks its argument list"):
        qt.QPushButton("press").connect("clicked", print)


def test_a_slot_that_was_not_connected_cannot_be_disconnected(qt):
    with pytest.raises(RuntimeError, match="is not connected"):
        qt.QPushButton("press").clicked.disconnect(print)


def test_a_disconnected_slot_is_not_called(qt):
    button, got = qt.QPushButton("press"), []
    slot = lambda: got.append(1)  # noqa: E731
    button.clicked.connect(slot)
    button.clicked.disconnect(slot)
    button.click()
    assert got == []


def test_enums_are_ints(qt):
    assert isinstance(qt.QMessageBox.Ok, int) and isinstance(qt.Qt.WaitCursor, int)
    assert qt.QMessageBox.Ok | qt.QMessageBox.Cancel == qt.QMessageBox.Ok + qt.QMessageBox.Cancel


def test_conversion_is_as_loose_as_in_slicer(qt):
    slider, label = qt.QSlider(), qt.QLabel()
    slider.value = 3.7
    label.text = None
    assert (slider.value, label.text) == (3, "None")


def test_list_properties_are_tuples(host):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert selector.nodeTypes == ("vtkMRMLScalarVolumeNode",)


def test_find_child_takes_a_name(qt):
    parent = qt.QWidget()
    child = qt.QPushButton("press")
    qt.QVBoxLayout(parent).addWidget(child)
    child.name = "theChild"
    assert parent.findChild("theChild") is child


def test_a_widget_class_is_exact(qt):
    assert type(qt.QCheckBox()) is qt.QCheckBox
    assert isinstance(qt.QCheckBox(), qt.QWidget)


def test_a_selector_without_a_scene_offers_nothing(host):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "volume")
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert selector.nodeCount() == 0
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.nodeCount() == 1


def test_a_selector_follows_the_scene(host):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLTableNode"]
    selector.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "table")
    assert selector.currentNode() == node
    slicer.mrmlScene.RemoveNode(node)
    assert selector.currentNode() is None


def ui_file(tmp_path, body: str) -> str:
    path = tmp_path / "panel.ui"
    path.write_text(
        '<?xml version="1.0"?><ui version="4.0"><class>P</class><widget class="qMRMLWidget" name="P">'
        f'<layout class="QVBoxLayout" name="layout"><item>{body}</item></layout></widget></ui>', encoding="utf-8")
    return str(path)


def test_a_ui_file_with_an_unknown_widget_is_refused(host, tmp_path):
    with pytest.raises(UiFileError, match="class ctkFantasy"):
        slicer.util.loadUI(ui_file(tmp_path, '<widget class="ctkFantasy" name="x"/>'))


def test_a_ui_file_with_an_unknown_property_is_refused(host, tmp_path):
    body = '<widget class="QPushButton" name="x"><property name="txet"><string>a</string></property></widget>'
    with pytest.raises(UiFileError, match="has no property 'txet'"):
        slicer.util.loadUI(ui_file(tmp_path, body))


def test_the_parameter_node_refuses_what_slicer_refuses(host):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(Exception, match="(?i)serializer|reserved"):

        @parameterNodeWrapper
        class Bad:
            values: complex


def test_the_parameter_node_refuses_a_value_out_of_range(host):
    from typing import Annotated

    from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        angle: Annotated[float, WithinRange(0, 90)] = 45.0

    node = Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "p"))
    with pytest.raises(ValueError, match="within range"):
        node.angle = 91.0
    assert node.angle == 45.0


def test_a_slider_cannot_show_an_unbounded_parameter(host):
    import ctk
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        angle: float = 45.0

    node = Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "p"))
    slider = ctk.ctkSliderWidget()
    slider.setProperty("SlicerParameterName", "angle")
    gui = type("Gui", (), {})()
    gui.slider = slider
    with pytest.raises(RuntimeError, match="unbounded"):
        node.connectGui(gui)


def test_the_modules_own_tests_pass_in_the_host(host):
    """What *Reload and Test* runs in Slicer."""
    for name in ("CMRSimulate", "CMRTagged", "CMRSegment"):
        module = host.load_module(name)
        getattr(module, f"{name}Test")("runTest").runTest()


def test_every_module_describes_itself(host):
    for name in ("CMRSimulate", "CMRTagged", "CMRSegment"):
        host.load_module(name)
        entry = getattr(slicer.modules, name.lower())
        assert entry.title and entry.categories == ["Cardiac"]
        assert "not for clinical use" in entry.helpText
