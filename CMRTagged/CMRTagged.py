"""CMRTagged: any cine turned into tagged CMR whose tags move with the heart."""

import pathlib
import sys
from typing import Annotated, Any

import slicer
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceNode,
    vtkMRMLTransformNode,
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
from CMRSimExtension.slicer_bridge.panel import ModulePanel
from CMRSimExtension.slicer_bridge.tagging_choices import (
    Method,
    Pattern,
    Readout,
    SpacingUnit,
    StrainMethod,
    TissueField,
    Train,
)
from CMRSimExtension.slicer_bridge.views import play, plot_layout, show_chart_and_table, show_volume

PAPER_SPACING_PX, PAPER_FLIP_DEG = 5.0, 70.0
MOVING_SPACING_MM, MOVING_FLIP_DEG = 7.0, 90.0


#
# CMRTagged
#


class CMRTagged(ScriptedLoadableModule):
    """Description of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CMR Tagged")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["Sequences", "Segmentations"]
        self.parent.contributors = ["CMRSimExtension contributors"]
        self.parent.helpText = _(
            "Turns a cine, real or simulated, into tagged CMR by MR physics: the tags follow the motion of the heart "
            "and fade as in a scanner, and the labels stay with the image. For research, not for clinical use."
        ) + documentation_link(self.moduleName)
        self.parent.acknowledgementText = _("Methods and references are listed in the extension's documentation.")


#
# CMRTaggedParameterNode
#


@parameterNodeWrapper
class CMRTaggedParameterNode:
    """Everything that a tagged cine is made from. Names never change once scenes exist.

    inputNode - volume sequence, MultiVolume or volume
    assembleStack - put the sequences beside the input together to one stack
    segmentation - of all frames or of end diastole: guides motion and contrast, and travels along
    labelMap - what the numbers of a label map volume mean
    motion - true motion, as CMRSimulate makes it; without it, motion is estimated
    fieldT - whose relaxation times fade the tags
    frames - frames of the tagged series, 0 keeps those of the cine
    snr - of added noise, 0 adds none
    strainInput .. strainMethod - what strain is measured in, and how; Apply chooses its own result here
    """

    inputNode: vtkMRMLScalarVolumeNode | vtkMRMLSequenceNode | None
    assembleStack: bool = False
    segmentation: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    labelMap: str = "cmrsim"
    motion: vtkMRMLTransformNode
    method: Method = Method.MOVING
    pattern: Pattern = Pattern.GRID
    spacing: Annotated[float, WithinRange(2, 30)] = MOVING_SPACING_MM
    spacingUnit: SpacingUnit = SpacingUnit.MM
    angleDeg: Annotated[float, WithinRange(-90, 90)] = 45.0
    train: Train = Train.T1_3_3_1
    flipDeg: Annotated[float, WithinRange(1, 180)] = MOVING_FLIP_DEG
    cspamm: bool = False
    readout: Readout = Readout.GRE
    fieldT: TissueField = TissueField.OWN
    frames: Annotated[int, WithinRange(0, 200)] = 0
    snr: Annotated[float, WithinRange(0, 200)] = 0.0
    keepMotion: bool = False
    seed: Annotated[int, WithinRange(0, 2**31 - 1)] = 1

    strainInput: vtkMRMLScalarVolumeNode | vtkMRMLSequenceNode | None
    strainSegmentation: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    strainMotion: vtkMRMLTransformNode
    strainMethod: StrainMethod = StrainMethod.BEST


#
# CMRTaggedWidget
#


class CMRTaggedWidget(ModulePanel):
    """The panel."""

    def createLogic(self) -> "CMRTaggedLogic":
        return CMRTaggedLogic()

    def setupPanel(self) -> None:
        self.job = self.addTask("apply", lambda: self.logic.task(self._parameterNode), _("The tagging failed."))
        self.strainJob = self.addTask(
            "strain", lambda: self.logic.strainTask(self._parameterNode), _("Measuring strain failed."),
            ready=lambda: self._parameterNode.strainInput is not None)
        # activated, not currentIndexChanged: a restored scene keeps the user's values.
        self.ui.methodComboBox.connect("activated(int)", self.onMethod)

    def updatePanel(self) -> None:
        node = self._parameterNode
        moving = node.method == Method.MOVING
        for widget in (
            self.ui.motionSelector, self.ui.cspammCheckBox, self.ui.readoutComboBox, self.ui.fieldTComboBox,
            self.ui.framesSpinBox, self.ui.snrSlider, self.ui.keepMotionCheckBox,
        ):
            widget.enabled = moving
        self.ui.labelMapWidget.visible = is_label_volume(node.segmentation) or is_label_volume(node.strainSegmentation)

    def onMethod(self, index: int = 0) -> None:
        self.logic.applyMethodDefaults(self._parameterNode)


#
# CMRTaggedLogic
#


class CMRTaggedLogic(ModuleLogic):
    """The module's work; runs without a panel.

    Examples
    --------
    >>> logic = CMRTaggedLogic()                                        # doctest: +SKIP
    >>> parameters = logic.getParameterNode()                           # doctest: +SKIP
    >>> parameters.inputNode = slicer.util.getNode("Cine")              # doctest: +SKIP
    >>> nodes = logic.process(parameters)                               # doctest: +SKIP
    >>> strain = logic.measureStrain(parameters)                        # doctest: +SKIP
    """

    parameterNodeClass = CMRTaggedParameterNode

    def applyMethodDefaults(self, parameters: CMRTaggedParameterNode) -> None:
        """Set spacing, flip and train to what the chosen method is used with."""
        paper = parameters.method == Method.PAPER
        with slicer.util.NodeModify(parameters):
            parameters.spacing = PAPER_SPACING_PX if paper else MOVING_SPACING_MM
            parameters.spacingUnit = SpacingUnit.PX if paper else SpacingUnit.MM
            parameters.flipDeg = PAPER_FLIP_DEG if paper else MOVING_FLIP_DEG
            parameters.train = Train.T1_3_3_1

    def options(self, parameters: CMRTaggedParameterNode, grid: Any) -> dict[str, Any]:
        """The keywords of `TagOptions`.

        Raises
        ------
        InputError
            If the library cannot use them on an image of this grid.
        """
        from CMRSimExtension.tagging.options import TagOptions

        moving = parameters.method == Method.MOVING
        options: dict[str, Any] = {
            "method": parameters.method.value, "pattern": parameters.pattern.value,
            f"spacing_{parameters.spacingUnit.value}": parameters.spacing, "angle_deg": parameters.angleDeg,
            "train": parameters.train.value, "flip_deg": parameters.flipDeg}
        if moving:
            options |= {
                "cspamm": parameters.cspamm, "readout": parameters.readout.value,
                "field_t": parameters.fieldT.tesla, "frames": parameters.frames or None,
                "snr": parameters.snr or None}
        TagOptions(**options).tag_pattern(grid)
        return options

    def task(self, parameters: CMRTaggedParameterNode) -> Task:
        """The tagging, with everything that can be wrong found before it runs.

        Raises
        ------
        InputError
            No input, one frame where a cine is needed, labels or motion of another cine, tags too close, or motion to
            be kept of one slice.
        """
        from CMRSimExtension.slicer_bridge.segmenting import read_input
        from CMRSimExtension.slicer_bridge.tagging_nodes import add_tagged, labels_for_tagging, motion_for_tagging

        cine = read_input(parameters.inputNode, parameters.assembleStack)
        options = self.options(parameters, cine.grid)
        if parameters.method == Method.MOVING and cine.image.shape[0] < 2:
            raise InputError(
                f"'{parameters.inputNode.GetName()}' has one frame, and moving tags need a cine of two or more; "
                "choose a sequence, or the static grid")
        if parameters.keepMotion and parameters.method == Method.MOVING and cine.grid.shape[0] < 2:
            raise InputError(
                f"motion as transforms needs two or more slices, and '{parameters.inputNode.GetName()}' has one; "
                "untick the motion, or put the slices together to a stack")
        values: dict[str, Any] = {"cine": cine, "options": options, "seed": parameters.seed}
        if parameters.segmentation is not None:
            values["labels"] = labels_for_tagging(parameters.segmentation, parameters.labelMap, cine)
        if parameters.motion is not None and parameters.method == Method.MOVING:
            values["displacement"] = motion_for_tagging(parameters.motion, cine)
        source, keepMotion = parameters.inputNode, parameters.keepMotion
        name = _("{name} tagged").format(name=source.GetName())

        def add(result: dict[str, Any]) -> Any:
            nodes = add_tagged(result["cine"], name, source, keepMotion)
            with slicer.util.NodeModify(parameters):
                parameters.strainInput = nodes.cine.proxy
                parameters.strainSegmentation = None if nodes.labels is None else nodes.labels.proxy
                parameters.strainMotion = None if nodes.motion is None else nodes.motion.proxy
            return nodes

        return Task("tag", values, add, self.showResult, self.motionText)

    def process(self, parameters: CMRTaggedParameterNode, progress: Any = None) -> Any:
        """Tag in this process and add the result to the scene; returns its `TaggedNodes`."""
        return self.task(parameters).run_here(progress)

    def showResult(self, nodes: Any) -> None:
        """Bring the result into the views and let the heart beat."""
        show_volume(nodes.cine.proxy)
        play(nodes.cine.browser)

    def motionText(self, result: dict[str, Any]) -> str:
        """Which motion the tags follow, for the user."""
        return {
            "true": _("The tags follow the true motion."), "estimated": _("The tags follow estimated motion."),
            "none": _("The tags do not move."),
        }[result["motion"]]

    def strainTask(self, parameters: CMRTaggedParameterNode) -> Task:
        """Measuring strain, with everything that can be wrong found before it runs.

        Raises
        ------
        InputError
            No cine, one frame, or labels or motion of another cine.
        """
        from CMRSimExtension.slicer_bridge.strain_nodes import add_strain, read_strain_input
        from CMRSimExtension.strain.series import StrainSeries

        source, method = parameters.strainInput, parameters.strainMethod
        values = read_strain_input(
            source, parameters.strainSegmentation, parameters.labelMap, parameters.strainMotion)
        name = _("{name} strain").format(name=source.GetName())

        def add(result: dict[str, Any]) -> Any:
            truth = None if result["truth"] is None else StrainSeries(**result["truth"])
            return add_strain(StrainSeries(**result["strain"]), truth, name, source)

        return Task(
            "strain", values | {"method": None if method == StrainMethod.BEST else method.value}, add,
            self.showStrain, self.strainText)

    def measureStrain(self, parameters: CMRTaggedParameterNode, progress: Any = None) -> Any:
        """Measure strain in this process; returns its `StrainNodes`."""
        return self.strainTask(parameters).run_here(progress)

    def showStrain(self, nodes: Any) -> None:
        """Show the curves and the bull's-eye values."""
        plot_layout()
        show_chart_and_table(nodes.curves.chart, nodes.bulls_eye)

    def strainText(self, result: dict[str, Any]) -> str:
        """What strain was measured from, for the user."""
        text = {
            "truth": _("Strain of the true motion."), "harp": _("Strain from the tags, by harmonic phase (HARP)."),
            "registration": _("Strain within the slices, from registration of the frames."),
        }[result["strain"]["source"]]
        faded = int((~result["strain"]["reliable"]).sum())
        if faded:
            text += " " + _("{count} frames are not relied on: their tags have faded.").format(count=faded)
        return text


#
# CMRTaggedTest
#


class CMRTaggedTest(ScriptedLoadableModuleTest):
    """What *Reload and Test* and CTest run."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def test_a_still_image_gets_a_static_grid(self) -> None:
        """The reference transform needs one frame only, and keeps the grid of the image."""
        import numpy as np

        from CMRSimExtension.scanner.geometry import ImageGrid
        from CMRSimExtension.slicer_bridge.volumes import fill_volume

        grid = ImageGrid(np.diag([1.5, 1.5, 8.0, 1.0]), (1, 48, 48), 8.0)
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Image")
        fill_volume(volume, np.full(grid.shape, 100.0, dtype=np.float32), grid)
        logic = CMRTaggedLogic()
        parameters = logic.getParameterNode()
        parameters.inputNode, parameters.method = volume, Method.PAPER
        logic.applyMethodDefaults(parameters)
        tagged = slicer.util.arrayFromVolume(logic.process(parameters).cine.proxy)
        self.assertEqual(tagged.shape, (1, 48, 48))
        self.assertGreater(float(tagged.std()), 0.1 * float(tagged.mean()))
        self.delayDisplay("Tagged a still image")

    def test_moving_tags_need_a_cine(self) -> None:
        """One frame is refused with the cure."""
        logic = CMRTaggedLogic()
        parameters = logic.getParameterNode()
        with self.assertRaises(InputError):
            logic.task(parameters)
