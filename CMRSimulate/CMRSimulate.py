"""CMRSimulate: a virtual patient in a simulated MR scanner, as image, segmentation and function in the scene."""

import pathlib
import sys
from typing import Annotated, Any

import slicer
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

try:
    import CMRSimExtension  # noqa: F401
except ImportError:  # run from the source tree: only this module's own folder is on the path
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from CMRSimExtension.errors import CMRSimError, InputError
from CMRSimExtension.slicer_bridge.documentation import documentation_link
from CMRSimExtension.slicer_bridge.logic import ModuleLogic, Task
from CMRSimExtension.slicer_bridge.panel import ModulePanel, folder_text
from CMRSimExtension.slicer_bridge.previewing import LivePreview
from CMRSimExtension.slicer_bridge.simulation_choices import (
    FieldStrength,
    Pathology,
    Plane,
    Preset,
    Sex,
    SourceKind,
    Trajectory,
)
from CMRSimExtension.slicer_bridge.views import play, plot_layout, show_chart_and_table, show_volume

LARGEST_SEED = 2**31 - 1
FAULT_PARAMETERS = {
    "ghosting": "ghostingMm", "drift": "driftMm", "mistriggering": "mistriggering", "arrhythmia": "arrhythmia",
    "flow": "flow", "banding": "bandingHz", "spikes": "spikes", "aliasing": "aliasing"}
"""The library's name of each fault, and the parameter that holds its amount."""


#
# CMRSimulate
#


class CMRSimulate(ScriptedLoadableModule):
    """Description of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CMR Simulate")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["Sequences", "Segmentations", "Terminologies"]
        self.parent.contributors = ["CMRSimExtension contributors"]
        self.parent.helpText = _(
            "Scans a virtual patient, an XCAT phantom or any heart segmentation with a simulated MR scanner, and gives "
            "a cine with its true segmentation, motion and function. For research, not for clinical use."
        ) + documentation_link(self.moduleName)
        self.parent.acknowledgementText = _("Methods and references are listed in the extension's documentation.")
        slicer.app.connect("startupCompleted()", loadTerms)
        slicer.app.connect("startupCompleted()", registerSampleData)


def loadTerms() -> None:
    """Make our terms known to Slicer."""
    from CMRSimExtension.slicer_bridge.terminology_file import load_terminology

    load_terminology(slicer.modules.terminologies.logic())


def registerSampleData() -> None:
    """Offer simulated cines in the Sample Data module."""
    from CMRSimExtension.slicer_bridge.sample_data import register

    register(pathlib.Path(__file__).parent / "Resources" / "Icons")


#
# CMRSimulateParameterNode
#


@parameterNodeWrapper
class CMRSimulateParameterNode:
    """Everything that a simulation is made from. Names never change once scenes exist.

    source .. still - who is scanned
    preset .. segmented - the protocol; slices 0 means as many as cover the heart
    ghostingMm .. aliasing - faults of the scan; 0 is none
    seed - of everything that is drawn at random
    """

    source: SourceKind = SourceKind.PARAMETRIC
    sex: Sex = Sex.FEMALE
    ageYears: Annotated[float, WithinRange(5, 90)] = 45.0
    heightCm: Annotated[float, WithinRange(90, 210)] = 166.0
    weightKg: Annotated[float, WithinRange(15, 160)] = 66.0
    pathology: Pathology = Pathology.NORMAL
    edvMl: Annotated[float, WithinRange(20, 700)] = 126.0
    esvMl: Annotated[float, WithinRange(5, 650)] = 50.0
    massG: Annotated[float, WithinRange(15, 600)] = 84.0
    xcatPath: pathlib.Path
    anatomyNode: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    labelMap: str = "cmrsim"
    still: bool = False

    preset: Preset = Preset.SIEMENS_1_5T
    plane: Plane = Plane.SAX
    fieldT: FieldStrength = FieldStrength.T1_5
    trMs: Annotated[float, WithinRange(1, 20)] = 2.9
    teMs: Annotated[float, WithinRange(0.2, 10)] = 1.25
    flipDeg: Annotated[float, WithinRange(1, 120)] = 65.0
    snr: Annotated[float, WithinRange(1, 200)] = 64.0
    matrixSize: Annotated[int, WithinRange(64, 512)] = 256
    slices: Annotated[int, WithinRange(0, 200)] = 0
    phases: Annotated[int, WithinRange(1, 60)] = 25
    coils: Annotated[int, WithinRange(1, 64)] = 12
    trajectory: Trajectory = Trajectory.CARTESIAN
    segmented: bool = False

    ghostingMm: Annotated[float, WithinRange(0, 40)] = 0.0
    driftMm: Annotated[float, WithinRange(0, 30)] = 0.0
    mistriggering: Annotated[float, WithinRange(0, 1)] = 0.0
    arrhythmia: Annotated[float, WithinRange(0, 0.5)] = 0.0
    flow: Annotated[float, WithinRange(0, 5)] = 0.0
    bandingHz: Annotated[float, WithinRange(-500, 500)] = 0.0
    spikes: Annotated[float, WithinRange(0, 100)] = 0.0
    aliasing: Annotated[float, WithinRange(0, 0.7)] = 0.0

    seed: Annotated[int, WithinRange(0, LARGEST_SEED)] = 1
    outputName: str = "Simulated cine"
    makeAnatomy: bool = False
    makeMotion: bool = False
    livePreview: bool = False
    previewSlice: Annotated[float, WithinRange(0, 1)] = 0.5
    previewPhase: Annotated[float, WithinRange(0, 0.99)] = 0.0

    populationFolder: pathlib.Path
    populationCount: Annotated[int, WithinRange(1, 100000)] = 10


#
# CMRSimulateWidget
#


class CMRSimulateWidget(ModulePanel):
    """The panel."""

    def createLogic(self) -> "CMRSimulateLogic":
        return CMRSimulateLogic()

    def setupPanel(self) -> None:
        self.job = self.addTask("apply", self._makeTask, _("The simulation failed."))
        self.populationJob = self.addTask(
            "population", self._makePopulationTask, _("Writing the population failed."))
        self._xcatShown: pathlib.Path | None = None
        self.preview = LivePreview(self.logic, self.ui.previewStatusLabel)
        self.ui.randomButton.connect("clicked(bool)", self.onRandom)
        # activated, not currentIndexChanged: a preset is taken over when the user picks it, not when a scene restores.
        self.ui.presetComboBox.connect("activated(int)", self.onPreset)

    def updatePanel(self) -> None:
        node = self._parameterNode
        self.ui.parametricWidget.visible = node.source == SourceKind.PARAMETRIC
        self.ui.xcatWidget.visible = node.source == SourceKind.XCAT
        self.ui.labelsWidget.visible = node.source == SourceKind.LABELS
        self.ui.stillCheckBox.visible = node.source != SourceKind.PARAMETRIC
        if node.source == SourceKind.XCAT:
            self._showXcatFrames(node.xcatPath)
        self.ui.populationFolderButton.text = folder_text(node.populationFolder)
        if node.livePreview and not self.busy:
            self.preview.refresh(node)
        else:
            self.preview.stop()

    def onLeave(self) -> None:
        self.preview.stop()
        self._xcatShown = None

    def _showXcatFrames(self, path: pathlib.Path) -> None:
        """Say which frames of XCAT's are picked, or what is wrong with the file; looked up once per visit."""
        if path != self._xcatShown:
            self._xcatShown = path
            self.ui.xcatFramesLabel.text = self.logic.xcatText(path)

    def onRandom(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("No subject could be drawn."), waitCursor=True):
            import secrets

            self.logic.randomise(self._parameterNode, secrets.randbelow(LARGEST_SEED))

    def onPreset(self, index: int = 0) -> None:
        with slicer.util.tryWithErrorDisplay(_("The protocol cannot be used.")):
            self.logic.applyPreset(self._parameterNode)

    def _makeTask(self) -> Task:
        task = self.logic.task(self._parameterNode)
        self._parameterNode.livePreview = False
        return task

    def _makePopulationTask(self) -> Task:
        from CMRSimExtension.slicer_bridge.packages import ensure

        task = self.logic.populationTask(self._parameterNode)
        ensure(self.requirements, self.moduleName)
        return task


#
# CMRSimulateLogic
#


class CMRSimulateLogic(ModuleLogic):
    """The module's work; runs without a panel.

    Examples
    --------
    >>> logic = CMRSimulateLogic()                       # doctest: +SKIP
    >>> parameters = logic.getParameterNode()            # doctest: +SKIP
    >>> parameters.pathology, parameters.seed = Pathology.DCM, 7  # doctest: +SKIP
    >>> nodes = logic.process(parameters)                # doctest: +SKIP
    """

    parameterNodeClass = CMRSimulateParameterNode

    def protocol(self, node: CMRSimulateParameterNode) -> Any:
        """The `Protocol` that the parameters ask for.

        Raises
        ------
        InputError
            For values that no scanner can be set to.
        """
        from CMRSimExtension.scanner.protocol import Protocol

        preset = Protocol.preset(node.preset.value)
        longest = max(preset.matrix)
        rows, columns = (max(16, round(size * node.matrixSize / longest)) for size in preset.matrix)
        changes: dict[str, Any] = {
            "field_t": node.fieldT.value, "repetition_time_ms": node.trMs, "echo_time_ms": node.teMs,
            "flip_angle_deg": node.flipDeg, "snr": node.snr, "phases": node.phases, "coils": node.coils,
            "acceleration": min(preset.acceleration, node.coils), "trajectory": node.trajectory.value,
            "segmented": node.segmented,
            "slices": node.slices or preset.slices, "matrix": (rows, columns)}
        # A smaller matrix cannot show what a finer one acquired: the acquired resolution follows it.
        pixel = max(preset.fov_mm[0] / rows, preset.fov_mm[1] / columns)
        changes["acquired_resolution_mm"] = tuple(max(size, pixel) for size in preset.acquired_resolution_mm)
        return preset.replace(**changes)

    def faults(self, node: CMRSimulateParameterNode) -> dict[str, float]:
        """Amount of each fault that is not off, by the library's name."""
        amounts = {name: float(node.getValue(parameter)) for name, parameter in FAULT_PARAMETERS.items()}
        return {name: amount for name, amount in amounts.items() if amount}

    def applyPreset(self, node: CMRSimulateParameterNode) -> None:
        """Set the scan parameters to those of the chosen preset."""
        from CMRSimExtension.scanner.protocol import Protocol

        preset = Protocol.preset(node.preset.value)
        with slicer.util.NodeModify(node):
            node.fieldT = FieldStrength(preset.field_t)
            node.trMs, node.teMs = preset.repetition_time_ms, preset.echo_time_ms
            node.flipDeg, node.snr = float(preset.flip_angle_deg), float(preset.snr)
            node.matrixSize, node.phases, node.coils = max(preset.matrix), preset.phases, preset.coils
            node.slices, node.trajectory = preset.slices or 0, Trajectory(preset.trajectory)
            node.segmented = preset.segmented

    def randomise(self, node: CMRSimulateParameterNode, seed: int) -> None:
        """Draw a subject of the chosen pathology from published ranges, and set the parameters to it."""
        from CMRSimExtension.anatomy.subject import Subject

        subject = Subject.random(seed, pathology=node.pathology.value)
        torso, function = subject.parameters.torso, subject.function
        drawn = {
            "ageYears": torso.age_years, "heightCm": torso.height_cm, "weightKg": torso.weight_kg,
            "edvMl": function.lv_edv_ml, "esvMl": function.lv_esv_ml, "massG": function.lv_mass_g}
        values = {name: float(round(value)) for name, value in drawn.items()} | {"seed": seed, "sex": Sex(torso.sex)}
        before = {name: node.getValue(name) for name in values}
        with slicer.util.NodeModify(node):
            try:
                for name, value in values.items():
                    node.setValue(name, value)
            except ValueError:  # a value outside its range: half a subject would be nobody
                for name, value in before.items():
                    node.setValue(name, value)
                raise

    def anatomyValues(self, node: CMRSimulateParameterNode) -> dict[str, Any]:
        """``source`` and ``anatomy``, as the jobs want them.

        Raises
        ------
        InputError
            If the source that was chosen has no file or node, or the node no heart.
        FileFormatError
            If the file is none of XCAT's, or what explains it is missing.
        """
        anatomy: dict[str, Any]
        if node.source == SourceKind.PARAMETRIC:
            if node.esvMl >= node.edvMl:
                raise InputError(
                    f"the end-systolic volume of {node.esvMl:g} ml is not below the end-diastolic volume of "
                    f"{node.edvMl:g} ml; lower the one or raise the other")
            anatomy = {
                "sex": node.sex.value, "age_years": node.ageYears, "height_cm": node.heightCm,
                "weight_kg": node.weightKg, "edv_ml": node.edvMl, "esv_ml": node.esvMl, "mass_g": node.massG,
                "pathology": node.pathology.value}
        elif node.source == SourceKind.XCAT:
            from CMRSimExtension.slicer_bridge.xcat_choice import picked_series

            picked_series(node.xcatPath)
            anatomy = {"path": str(node.xcatPath), "still": node.still}
        else:
            from CMRSimExtension.slicer_bridge.anatomy_nodes import labels_for_simulation

            anatomy = vars(labels_for_simulation(node.anatomyNode, node.labelMap)) | {"still": node.still}
        return {"source": node.source.value, "anatomy": anatomy}

    def xcatText(self, path: pathlib.Path) -> str:
        """Which frames a log, a ``.par`` or an activity file of XCAT's stands for, or why it cannot be scanned."""
        from CMRSimExtension.slicer_bridge.xcat_choice import frames_text, picked_series

        if not path.name:
            return ""
        try:
            return frames_text(picked_series(path))
        except CMRSimError as error:
            return str(error)

    def task(self, node: CMRSimulateParameterNode) -> Task:
        """The scan, with everything that can be wrong found before it runs.

        Raises
        ------
        InputError
            As `anatomyValues` and `protocol`; or if there can be no motion transforms.
        """
        single = node.slices == 1 or node.slices == 0 and node.plane.value in ("2ch", "3ch", "4ch")
        if node.makeMotion and single:
            raise InputError(
                "motion as transforms needs two or more slices, and this scan has one; raise the number of slices or "
                "untick the motion")
        from CMRSimExtension.slicer_bridge.simulating import add_simulation

        truth = ["labels"] + ["anatomy"] * node.makeAnatomy + ["motion"] * node.makeMotion
        values = self.anatomyValues(node) | {
            "protocol": self.protocol(node).as_dict(), "plane": node.plane.value, "truth": truth, "seed": node.seed,
            "faults": self.faults(node)}
        name = node.outputName
        return Task("simulate", values, lambda result: add_simulation(result["cine"], name), self.showResult)

    def process(self, node: CMRSimulateParameterNode, progress: Any = None) -> Any:
        """Simulate in this process and add the result to the scene; returns its `SimulationNodes`."""
        return self.task(node).run_here(progress)

    def showResult(self, nodes: Any) -> None:
        """Bring the result into the views and let the heart beat."""
        show_volume(nodes.cine.proxy)
        if nodes.curves is not None:
            plot_layout()
            show_chart_and_table(nodes.curves.chart, nodes.function)
            play(nodes.cine.browser)

    def populationTask(self, node: CMRSimulateParameterNode) -> Task:
        """Writing subjects of the chosen pathology, drawn from ``seed`` on, to a folder.

        Raises
        ------
        InputError
            If there is no such folder.
        """
        folder = node.populationFolder
        if not folder.is_absolute() or not folder.is_dir():
            what = f"'{folder}' is no folder" if folder.is_absolute() else "no folder is chosen"
            raise InputError(f"{what}; choose one to write the population to")
        values = {
            "folder": str(folder), "count": node.populationCount, "pathology": node.pathology.value,
            "protocol": self.protocol(node).as_dict(), "plane": node.plane.value, "seed": node.seed}
        return Task(
            "population", values,
            summary=lambda result: _("{written} subjects written, {skipped} were there already.").format(
                written=result["written"], skipped=result["skipped"]))

    def subjectVersion(self, node: CMRSimulateParameterNode) -> Any:
        """Changes when the preview's anatomy has to be made anew."""
        if node.source != SourceKind.LABELS or node.anatomyNode is None:
            return repr(self.anatomyValues(node)), node.seed
        from CMRSimExtension.slicer_bridge.anatomy_nodes import version_of

        return version_of(node.anatomyNode), node.anatomyNode.GetID(), node.labelMap, node.still, node.seed

    def previewValues(self, node: CMRSimulateParameterNode) -> dict[str, Any]:
        """What to scan of the anatomy: one slice, one moment."""
        return {
            "protocol": self.protocol(node).as_dict(), "seed": node.seed, "plane": node.plane.value,
            "faults": self.faults(node), "slice_share": node.previewSlice, "cardiac_phase": node.previewPhase}


#
# CMRSimulateTest
#


class CMRSimulateTest(ScriptedLoadableModuleTest):
    """What *Reload and Test* and CTest run."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def test_a_small_cine_is_simulated(self) -> None:
        """A tiny scan adds a cine and its segmentation with matching frames."""
        logic = CMRSimulateLogic()
        parameters = logic.getParameterNode()
        parameters.matrixSize, parameters.slices, parameters.phases = 64, 2, 3
        nodes = logic.process(parameters)
        self.assertEqual(nodes.cine.sequence.GetNumberOfDataNodes(), 3)
        self.assertEqual(nodes.labels.sequence.GetNumberOfDataNodes(), 3)
        self.delayDisplay("Simulated a small cine")

    def test_an_impossible_heart_is_refused(self) -> None:
        """End-systolic volume above end-diastolic volume is named in the error."""
        logic = CMRSimulateLogic()
        parameters = logic.getParameterNode()
        parameters.edvMl, parameters.esvMl = 60.0, 80.0
        with self.assertRaises(InputError):
            logic.process(parameters)
