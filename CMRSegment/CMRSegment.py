"""CMRSegment: heart chambers of a cine over the whole heartbeat, to review, edit and measure."""

import enum
import pathlib
import sys
from typing import Any

import slicer
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

try:
    import CMRSimExtension  # noqa: F401
except ImportError:  # run from the source tree: only this module's own folder is on the path
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from CMRSimExtension.errors import InputError
from CMRSimExtension.slicer_bridge.panel import ModulePanel
from CMRSimExtension.slicer_bridge.parameters import KeptView
from CMRSimExtension.slicer_bridge.scene import AllOrNothing, require
from CMRSimExtension.slicer_bridge.views import plot_layout, show_chart_and_table, show_volume

LEAST_TORCH = "2.4"
MODEL_FROM_FOLDER = "folder"
"""Entry of the model list that stands for the folder chosen below it."""


#
# CMRSegment
#


class CMRSegment(ScriptedLoadableModule):
    """Description of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CMR Segment")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["Segmentations", "Sequences"]
        self.parent.contributors = ["CMRSimExtension contributors"]
        self.parent.helpText = _(
            "Segments the left ventricle, its myocardium and the right ventricle in cine and tagged CMR with networks "
            "that were trained on simulated images alone. For research, not for clinical use."
        )
        self.parent.acknowledgementText = _("Methods and references are listed in the extension's documentation.")


#
# CMRSegmentParameterNode
#


class Frames(enum.Enum):
    """Which frames are segmented. Members are stored by name in scenes and never change."""

    ALL = "all"
    ED_AND_ES = "edes"
    CURRENT = "current"

    def label(self) -> str:
        return {"all": _("All frames"), "edes": _("End diastole and end systole"), "current": _("Frame on show")}[
            self.value]


class Device(enum.Enum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def label(self) -> str:
        return {"auto": _("Automatic"), "cpu": _("Processor"), "cuda": _("Graphics card (CUDA)")}[self.value]


@parameterNodeWrapper
class CMRSegmentParameterNode:
    """Everything that a segmentation is made from. Names never change once scenes exist.

    inputNode - volume, volume sequence or MultiVolume
    assembleStack - put the sequences beside the input together to one stack
    model - name in the registry, or "folder" for the bundle in modelFolder
    outputSegmentation - what Apply made last: the Edit, Show 3D and Compare buttons work on it
    reference - segmentation or label volume to compare with
    """

    inputNode: vtkMRMLScalarVolumeNode | vtkMRMLSequenceNode | None
    assembleStack: bool = False
    model: str = "cine_sax"
    modelFolder: pathlib.Path
    frames: Frames = Frames.ALL
    device: Device = Device.AUTO
    outputSegmentation: vtkMRMLSegmentationNode
    reference: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None


#
# CMRSegmentWidget
#


class CMRSegmentWidget(ModulePanel):
    """The panel."""

    def createLogic(self) -> "CMRSegmentLogic":
        return CMRSegmentLogic()

    def setupPanel(self) -> None:
        self.job = self.addJob(
            self.ui.applyButton, self.ui.progressBar, self.ui.statusLabel, self._start, _("The segmentation failed."))
        self.comparison = self.addJob(
            self.ui.compareButton, self.ui.compareProgressBar, self.ui.compareStatusLabel, self._startComparison,
            _("The comparison failed."))
        self.ui.editButton.connect("clicked(bool)", self.onEdit)
        self.ui.show3dButton.connect("clicked(bool)", self.onShow3D)
        self.ui.modelComboBox.connect("activated(int)", self.onModel)
        self.fillModels()

    def fillModels(self) -> None:
        """List the models of the registry: only their small descriptions are read."""
        self._models = self.logic.models()
        self.ui.modelComboBox.clear()
        for name, text in self._models:
            self.ui.modelComboBox.addItem(text)
            self.ui.modelComboBox.setItemData(self.ui.modelComboBox.count - 1, name)

    def enter(self) -> None:
        self.fillModels()
        ModulePanel.enter(self)

    def updatePanel(self) -> None:
        node = self._parameterNode
        names = [name for name, text in self._models]
        self.ui.modelComboBox.currentIndex = names.index(node.model) if node.model in names else -1
        self.ui.folderWidget.visible = node.model == MODEL_FROM_FOLDER
        self.ui.applyButton.enabled = self.job.running or not self.comparison.running
        result = node.outputSegmentation is not None
        self.ui.editButton.enabled = result
        self.ui.show3dButton.enabled = result
        self.ui.compareButton.enabled = self.comparison.running or (
            result and node.reference is not None and not self.job.running)

    def onModel(self, index: int = 0) -> None:
        self._parameterNode.model = self._models[index][0]

    def onEdit(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("The Segment Editor could not be opened.")):
            self.logic.edit(self._parameterNode)

    def onShow3D(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("No surface could be made."), waitCursor=True):
            from CMRSimExtension.slicer_bridge.segmentations import show_3d

            show_3d(require(
                self._parameterNode.outputSegmentation, ("vtkMRMLSegmentationNode",), "segmentation"))

    def _start(self) -> None:
        parameters = self._parameterNode
        cine, values = self.logic.request(parameters)
        self.logic.ensurePackages(pathlib.Path(self.resourcePath("Requirements/CMRSegment.txt")))
        inputNode, stack = parameters.inputNode, parameters.assembleStack

        def finish(result: dict[str, Any]) -> None:
            nodes = self.logic.addResult(inputNode, cine, stack, result)
            self.logic.getParameterNode().outputSegmentation = nodes.segmentation
            self.logic.showResult(nodes)
            self.ui.notesLabel.text = "\n".join(result["notes"])

        self.ui.notesLabel.text = ""
        self.job.run("segment", values, finish)
        self.updatePanel()

    def _startComparison(self) -> None:
        parameters = self._parameterNode
        values = self.logic.comparisonRequest(parameters)
        self.logic.ensurePackages(pathlib.Path(self.resourcePath("Requirements/CMRSegment.txt")))
        segmentation = parameters.outputSegmentation

        def finish(result: dict[str, Any]) -> None:
            self.logic.showComparison(self.logic.addComparison(segmentation, result))

        self.comparison.run("compare", values, finish)
        self.updatePanel()


#
# CMRSegmentLogic
#


class CMRSegmentLogic(ScriptedLoadableModuleLogic):
    """The module's work; runs without a panel.

    Examples
    --------
    >>> logic = CMRSegmentLogic()                                       # doctest: +SKIP
    >>> parameters = logic.getParameterNode()                           # doctest: +SKIP
    >>> parameters.inputNode = slicer.util.getNode("Cine")              # doctest: +SKIP
    >>> nodes = logic.process(parameters)                               # doctest: +SKIP
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._parameters = KeptView(CMRSegmentParameterNode)

    def getParameterNode(self) -> CMRSegmentParameterNode:
        return self._parameters.of(super().getParameterNode())

    def models(self) -> list[tuple[str, str]]:
        """(name, text) of every model of the registry, and the entry for a folder."""
        from CMRSimExtension.segmentation.registry import list_models

        shown = [
            (entry.name, entry.name if entry.shipped else _("{name} (added)").format(name=entry.name))
            for entry in list_models()]
        return [*shown, (MODEL_FROM_FOLDER, _("Bundle folder…"))]

    def ensurePackages(self, requirements: pathlib.Path) -> None:
        """Install torch and MONAI if they are missing and the user agrees."""
        from CMRSimExtension.slicer_bridge.packages import ensure

        ensure(requirements, "CMRSegment", torch=LEAST_TORCH)

    def modelName(self, parameters: CMRSegmentParameterNode) -> str:
        """What the library calls the chosen model.

        Raises
        ------
        InputError
            If none is chosen, it is not there, or the folder is no bundle.
        """
        from CMRSimExtension.segmentation.registry import find_model

        if parameters.model != MODEL_FROM_FOLDER:
            find_model(parameters.model)
            return parameters.model
        folder = parameters.modelFolder
        if not (folder / "configs" / "metadata.json").is_file():
            raise InputError(
                f"'{folder}' is no MONAI bundle (it has no configs/metadata.json); choose the folder of one")
        return str(folder)

    def request(self, parameters: CMRSegmentParameterNode) -> tuple[Any, dict[str, Any]]:
        """The cine and the arguments of the ``segment`` job; what can be wrong is found here, before anything runs."""
        from CMRSimExtension.slicer_bridge.segmenting import current_frame, read_input

        model = self.modelName(parameters)
        cine = read_input(parameters.inputNode, parameters.assembleStack)
        if parameters.frames == Frames.CURRENT:
            frames = str(current_frame(parameters.inputNode))
        else:
            frames = parameters.frames.value
        return cine, {"cine": cine, "model": model, "frames": frames, "device": parameters.device.value}

    def process(self, parameters: CMRSegmentParameterNode, progress: Any = None) -> Any:
        """Segment in this process and add the result to the scene; returns its `SegmentationNodes`."""
        from CMRSimExtension.slicer_bridge import jobs

        cine, values = self.request(parameters)
        result = jobs.run("segment", values, progress or (lambda share, text: None))
        with AllOrNothing():
            nodes = self.addResult(parameters.inputNode, cine, parameters.assembleStack, result)
        parameters.outputSegmentation = nodes.segmentation
        return nodes

    def addResult(self, inputNode: Any, cine: Any, stack: bool, result: dict[str, Any]) -> Any:
        """Show what the job made beside its input."""
        from CMRSimExtension.slicer_bridge.jobs import function_curves
        from CMRSimExtension.slicer_bridge.segmenting import add_segmented

        name = _("{name} segmentation").format(name=inputNode.GetName())
        return add_segmented(
            inputNode, cine, stack, result["labels"], result["frames"], function_curves(result["curves"]), name)

    def showResult(self, nodes: Any) -> None:
        """Bring the result into the views."""
        show_volume(nodes.source)
        if nodes.curves is not None:
            plot_layout()
        show_chart_and_table(None if nodes.curves is None else nodes.curves.chart, nodes.function)

    def edit(self, parameters: CMRSegmentParameterNode) -> None:
        """Open the Segment Editor on the result; edits stay with their frame."""
        from CMRSimExtension.slicer_bridge.sequences import browser_of, sequence_of

        segmentation = require(parameters.outputSegmentation, ("vtkMRMLSegmentationNode",), "segmentation")
        role = segmentation.GetReferenceImageGeometryReferenceRole()
        sequence = sequence_of(segmentation)
        if sequence is not None:
            # A frame that changes while it plays cannot be drawn on, and a change that is not saved would be lost.
            browser = browser_of(sequence)
            browser.SetPlaybackActive(False)
            browser.SetSaveChanges(sequence, True)
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(segmentation.GetNodeReference(role))

    def comparisonRequest(self, parameters: CMRSegmentParameterNode) -> dict[str, Any]:
        """The arguments of the ``compare`` job."""
        from CMRSimExtension.slicer_bridge.segmenting import frames_to_compare

        segmentation = require(parameters.outputSegmentation, ("vtkMRMLSegmentationNode",), "segmentation")
        reference = require(
            parameters.reference, ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"), "reference segmentation")
        return frames_to_compare(segmentation, reference)

    def compare(self, parameters: CMRSegmentParameterNode, progress: Any = None) -> Any:
        """Compare in this process; returns the table node of Dice and HD95 per structure and frame."""
        from CMRSimExtension.slicer_bridge import jobs

        values = self.comparisonRequest(parameters)
        result = jobs.run("compare", values, progress or (lambda share, text: None))
        with AllOrNothing():
            return self.addComparison(parameters.outputSegmentation, result)

    def addComparison(self, segmentation: Any, result: dict[str, Any]) -> Any:
        """The comparison as a table beside the segmentation."""
        from CMRSimExtension.slicer_bridge.segmenting import add_comparison

        return add_comparison(
            result["rows"], _("{name} accuracy").format(name=segmentation.GetName()), segmentation)

    def showComparison(self, table: Any) -> None:
        """Show the table."""
        plot_layout()
        show_chart_and_table(None, table)


#
# CMRSegmentTest
#


class CMRSegmentTest(ScriptedLoadableModuleTest):
    """What *Reload and Test* and CTest run; without torch only what needs none."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def test_no_input_is_refused(self) -> None:
        """The cure is named."""
        logic = CMRSegmentLogic()
        parameters = logic.getParameterNode()
        with self.assertRaises(InputError):
            logic.request(parameters)

    def test_a_segmentation_is_compared_with_itself(self) -> None:
        """The frames of a segmentation that is its own reference are the same."""
        import numpy as np

        from CMRSimExtension.scanner.geometry import ImageGrid
        from CMRSimExtension.slicer_bridge.segmentations import add_segmentation
        from CMRSimExtension.slicer_bridge.volumes import fill_volume

        grid = ImageGrid(np.diag([1.5, 1.5, 8.0, 1.0]), (3, 32, 32), 8.0)
        labels = np.zeros(grid.shape, dtype=np.uint8)
        labels[:, 8:20, 8:20] = 2
        labels[:, 11:17, 11:17] = 1
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Image")
        fill_volume(volume, labels.astype(np.float32), grid)
        logic = CMRSegmentLogic()
        parameters = logic.getParameterNode()
        segmentation = add_segmentation(labels, grid, "Heart", source=volume)
        parameters.outputSegmentation = parameters.reference = segmentation
        request = logic.comparisonRequest(parameters)
        self.assertTrue((request["predicted"] == request["reference"]).all())
        self.assertEqual(int(request["predicted"].max()), 2)
        self.delayDisplay("Compared a segmentation with itself")
