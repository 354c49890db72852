"""CMRSegment: heart chambers of a cine over the whole heartbeat, to review, edit and measure."""

import pathlib
import sys
from typing import Annotated, Any

import slicer
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

try:
    import CMRSimExtension  # noqa: F401
except ImportError:  # run from the source tree: only this module's own folder is on the path
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from CMRSimExtension.errors import InputError
from CMRSimExtension.slicer_bridge.documentation import documentation_link
from CMRSimExtension.slicer_bridge.label_tables import is_label_volume
from CMRSimExtension.slicer_bridge.logic import ModuleLogic, Task
from CMRSimExtension.slicer_bridge.panel import ModulePanel, folder_text
from CMRSimExtension.slicer_bridge.scene import require
from CMRSimExtension.slicer_bridge.segmentation_choices import Device, Frames, ModelChoice, Sex, Views
from CMRSimExtension.slicer_bridge.views import plot_layout, show_chart_and_table, show_controls, show_volume

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
        ) + documentation_link(self.moduleName)
        self.parent.acknowledgementText = _("Methods and references are listed in the extension's documentation.")


#
# CMRSegmentParameterNode
#


@parameterNodeWrapper
class CMRSegmentParameterNode:
    """Everything that a segmentation is made from. Names never change once scenes exist.

    inputNode - volume, volume sequence or MultiVolume
    assembleStack - put the sequences beside the input together to one stack
    model - name in the registry, or "folder" for the bundle in modelFolder
    views - how many flips of each slice are averaged
    probabilities - also make maps of probability and of uncertainty
    sex .. weightKg - of the person in the image, for indexed values and normal ranges; 0 is not known
    outputSegmentation - what Apply made last: the Edit, Show 3D and Compare buttons work on it
    reference - segmentation or label volume to compare with
    referenceLabelMap - what the numbers of a label map volume mean
    """

    inputNode: vtkMRMLScalarVolumeNode | vtkMRMLSequenceNode | None
    assembleStack: bool = False
    model: str = "cine_sax"
    modelFolder: pathlib.Path
    frames: Frames = Frames.ALL
    device: Device = Device.AUTO
    views: Views = Views.FOUR
    probabilities: bool = False
    sex: Sex = Sex.UNKNOWN
    ageYears: Annotated[int, WithinRange(0, 110)] = 0
    heightCm: Annotated[float, WithinRange(0, 250)] = 0.0
    weightKg: Annotated[float, WithinRange(0, 400)] = 0.0
    outputSegmentation: vtkMRMLSegmentationNode
    reference: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    referenceLabelMap: str = "cmrsim"


#
# CMRSegmentWidget
#


class CMRSegmentWidget(ModulePanel):
    """The panel."""

    def createLogic(self) -> "CMRSegmentLogic":
        return CMRSegmentLogic()

    def setupPanel(self) -> None:
        self.job = self.addTask("apply", self._makeTask, _("The segmentation failed."))
        self.comparison = self.addTask(
            "compare", self._makeComparisonTask, _("The comparison failed."), ready=lambda: (
                self._parameterNode.outputSegmentation is not None and self._parameterNode.reference is not None))
        self.ui.editButton.connect("clicked(bool)", self.onEdit)
        self.ui.show3dButton.connect("clicked(bool)", self.onShow3D)
        self.ui.functionButton.connect("clicked(bool)", self.onUpdateFunction)
        self.ui.modelComboBox.connect("activated(int)", self.onModel)
        self.fillModels()

    def fillModels(self) -> None:
        """List the models of the registry: only their small descriptions are read."""
        self._models = self.logic.models()
        self.ui.modelComboBox.clear()
        for choice in self._models:
            self.ui.modelComboBox.addItem(choice.text)

    def enter(self) -> None:
        self.fillModels()
        ModulePanel.enter(self)

    def updatePanel(self) -> None:
        node = self._parameterNode
        names = [choice.name for choice in self._models]
        index = names.index(node.model) if node.model in names else -1
        self.ui.modelComboBox.currentIndex = index
        self.ui.modelLabel.text = "" if index < 0 else self._models[index].description
        self.ui.modelLabel.visible = self.ui.modelLabel.text != ""
        self.ui.folderWidget.visible = node.model == MODEL_FROM_FOLDER
        self.ui.modelFolderButton.text = folder_text(node.modelFolder)
        self.ui.labelMapWidget.visible = is_label_volume(node.reference)
        result = node.outputSegmentation is not None
        self.ui.editButton.enabled = result
        self.ui.show3dButton.enabled = result
        self.ui.functionButton.enabled = result

    def onModel(self, index: int = 0) -> None:
        self._parameterNode.model = self._models[index].name

    def onEdit(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("The Segment Editor could not be opened.")):
            self.logic.edit(self._parameterNode)

    def onShow3D(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("No surface could be made."), waitCursor=True):
            from CMRSimExtension.slicer_bridge.segmentations import show_3d

            show_3d(require(
                self._parameterNode.outputSegmentation, ("vtkMRMLSegmentationNode",), "segmentation"))

    def onUpdateFunction(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("Function could not be measured."), waitCursor=True):
            nodes = self.logic.updateFunction(self._parameterNode)
            self.ui.applyStatusLabel.text = nodes.note or ""
            show_chart_and_table(None if nodes.curves is None else nodes.curves.chart, nodes.table)

    def _makeTask(self) -> Task:
        task = self.logic.task(self._parameterNode)
        self.logic.ensurePackages(self.requirements)
        return task

    def _makeComparisonTask(self) -> Task:
        task = self.logic.comparisonTask(self._parameterNode)
        self.logic.ensurePackages(self.requirements)
        return task


#
# CMRSegmentLogic
#


class CMRSegmentLogic(ModuleLogic):
    """The module's work; runs without a panel.

    Examples
    --------
    >>> logic = CMRSegmentLogic()                                       # doctest: +SKIP
    >>> parameters = logic.getParameterNode()                           # doctest: +SKIP
    >>> parameters.inputNode = slicer.util.getNode("Cine")              # doctest: +SKIP
    >>> nodes = logic.process(parameters)                               # doctest: +SKIP
    """

    parameterNodeClass = CMRSegmentParameterNode

    def models(self) -> list[ModelChoice]:
        """Every model of the registry, and the entry for a folder."""
        from CMRSimExtension.segmentation.registry import list_models

        shown = []
        for entry in list_models():
            description = entry.description
            failures = entry.metadata.get("cmrsim", {}).get("known_failures", ())
            if failures:
                description += "\n" + _("Known to fail: {cases}").format(cases="; ".join(failures))
            text = entry.name if entry.shipped else _("{name} (added)").format(name=entry.name)
            shown.append(ModelChoice(entry.name, text, description))
        return [*shown, ModelChoice(MODEL_FROM_FOLDER, _("Bundle folder…"), "")]

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

    def person(self, parameters: CMRSegmentParameterNode) -> dict[str, Any]:
        """What is known of the person in the image, as the job wants it.

        Raises
        ------
        InputError
            If one of height and weight, or of sex and age, is known without the other.
        """
        from CMRSimExtension.person import check_person

        known = {
            "sex": parameters.sex.value or None, "age_years": parameters.ageYears or None,
            "height_cm": parameters.heightCm or None, "weight_kg": parameters.weightKg or None}
        check_person(**known)
        return known

    def task(self, parameters: CMRSegmentParameterNode) -> Task:
        """The segmentation, with everything that can be wrong found before it runs.

        Raises
        ------
        InputError
            No input, one that holds no greyscale volumes, no such model.
        """
        from CMRSimExtension.slicer_bridge.segmenting import add_segmented, current_frame, read_input

        model = self.modelName(parameters)
        source, stack = parameters.inputNode, parameters.assembleStack
        cine = read_input(source, stack)
        frames = parameters.frames.value
        if parameters.frames == Frames.CURRENT:
            frames = str(current_frame(source))
        name = _("{name} segmentation").format(name=source.GetName())

        def add(result: dict[str, Any]) -> Any:
            nodes = add_segmented(source, cine, stack, result, name)
            parameters.outputSegmentation = nodes.segmentation
            return nodes

        return Task(
            "segment", {
                "cine": cine, "model": model, "frames": frames, "device": parameters.device.value,
                "views": parameters.views.value, "probabilities": parameters.probabilities,
                "person": self.person(parameters)},
            add, self.showResult, lambda result: "\n".join([_("Done"), *result["notes"]]))

    def process(self, parameters: CMRSegmentParameterNode, progress: Any = None) -> Any:
        """Segment in this process and add the result to the scene; returns its `SegmentationNodes`."""
        return self.task(parameters).run_here(progress)

    def showResult(self, nodes: Any) -> None:
        """Bring the result into the views."""
        show_volume(nodes.source)
        if nodes.sequence is not None:
            show_controls(nodes.sequence.browser)
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

    def updateFunction(self, parameters: CMRSegmentParameterNode) -> Any:
        """Measure the result as it is now, corrections included; returns its new `FunctionNodes`."""
        from CMRSimExtension.slicer_bridge.measuring import update_function

        segmentation = require(parameters.outputSegmentation, ("vtkMRMLSegmentationNode",), "segmentation")
        return update_function(segmentation, self.person(parameters))

    def comparisonTask(self, parameters: CMRSegmentParameterNode) -> Task:
        """Comparing the result with the reference.

        Raises
        ------
        InputError
            If either is missing, or they are not of one cine.
        """
        from CMRSimExtension.slicer_bridge.comparing import add_comparison, frames_to_compare

        segmentation = require(parameters.outputSegmentation, ("vtkMRMLSegmentationNode",), "segmentation")
        reference = require(
            parameters.reference, ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"), "reference segmentation")
        name = _("{name} accuracy").format(name=segmentation.GetName())
        return Task(
            "compare", frames_to_compare(segmentation, reference, parameters.referenceLabelMap),
            lambda result: add_comparison(result["rows"], name, segmentation), self.showComparison,
            lambda result: "\n".join([_("Done"), *result["notes"]]))

    def compare(self, parameters: CMRSegmentParameterNode, progress: Any = None) -> Any:
        """Compare in this process; returns the `ComparisonNodes` of Dice and HD95 per structure and frame."""
        return self.comparisonTask(parameters).run_here(progress)

    def showComparison(self, nodes: Any) -> None:
        """Show the table, and Dice over the frames."""
        plot_layout()
        show_chart_and_table(None if nodes.curves is None else nodes.curves.chart, nodes.table)


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
            logic.task(parameters)

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
        request = logic.comparisonTask(parameters).values
        self.assertTrue((request["predicted"] == request["reference"]).all())
        self.assertEqual(int(request["predicted"].max()), 2)
        self.delayDisplay("Compared a segmentation with itself")
