"""CMRSimulate: a virtual patient in a simulated MR scanner, as image, segmentation and function in the scene."""

import enum
import pathlib
import sys
from typing import Annotated, Any

import qt
import slicer
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
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
from CMRSimExtension.slicer_bridge.scene import AllOrNothing
from CMRSimExtension.slicer_bridge.views import play, plot_layout, show_chart_and_table, show_volume

PREVIEW_DELAY_MS = 150
"""A slider that is still moving does not start a preview."""
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
        self.parent.dependencies = []
        self.parent.contributors = ["CMRSimExtension contributors"]
        self.parent.helpText = _(
            "Scans a virtual patient, an XCAT phantom or any heart segmentation with a simulated MR scanner, and gives "
            "a cine with its true segmentation, motion and function. For research, not for clinical use."
        )
        self.parent.acknowledgementText = _("Methods and references are listed in the extension's documentation.")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer simulated cines in the Sample Data module and make our terms known to Slicer."""
    from CMRSimExtension.slicer_bridge.sample_data import register
    from CMRSimExtension.slicer_bridge.terminology_file import load_terminology

    register(pathlib.Path(__file__).parent / "Resources" / "Icons")
    load_terminology(slicer.modules.terminologies.logic())


#
# CMRSimulateParameterNode
#


class SourceKind(enum.Enum):
    """Where the anatomy comes from. Members are stored by name in scenes and never change."""

    PARAMETRIC = "parametric"
    XCAT = "xcat"
    LABELS = "labels"

    def label(self) -> str:
        texts = {"parametric": _("Virtual patient"), "xcat": _("XCAT phantom files"), "labels": _("Segmentation")}
        return texts[self.value]


class Sex(enum.Enum):
    """Sex of the virtual patient."""

    FEMALE = "F"
    MALE = "M"

    def label(self) -> str:
        return {"F": _("Female"), "M": _("Male")}[self.value]


class FieldStrength(enum.Enum):
    """Field strength of the scanner in tesla."""

    T1_5 = 1.5
    T3 = 3.0

    def label(self) -> str:
        return f"{self.value:g} T"


class Preset(enum.Enum):
    """Protocol presets of the library."""

    SIEMENS_1_5T = "siemens_1.5t"
    SIEMENS_3T = "siemens_3t"
    PHILIPS_1_5T = "philips_1.5t"
    PHILIPS_3T = "philips_3t"
    GE_1_5T = "ge_1.5t"
    GE_3T = "ge_3t"
    CANON_1_5T = "canon_1.5t"
    CANON_3T = "canon_3t"
    UKBIOBANK = "ukbiobank"
    SIEMENS_3T_GRE = "siemens_3t_gre"
    WHOLE_HEART_1_5T = "whole_heart_1.5t"

    def label(self) -> str:
        special = {
            "ukbiobank": _("UK Biobank (Siemens 1.5 T)"), "siemens_3t_gre": _("Siemens 3 T, spoiled GRE"),
            "whole_heart_1.5t": _("Whole heart, isotropic (Philips 1.5 T)")}
        vendors = {"siemens": "Siemens", "philips": "Philips", "ge": "GE", "canon": "Canon"}
        if self.value in special:
            return special[self.value]
        vendor, field = self.value.split("_")
        return f"{vendors[vendor]} {field.removesuffix('t')} T"


class Plane(enum.Enum):
    """Orientation of the slices."""

    SAX = "sax"
    TWO_CHAMBER = "2ch"
    THREE_CHAMBER = "3ch"
    FOUR_CHAMBER = "4ch"
    AXIAL = "axial"
    WHOLE_HEART = "whole_heart"

    def label(self) -> str:
        return {
            "sax": _("Short-axis stack"), "2ch": _("2-chamber view"), "3ch": _("3-chamber view"),
            "4ch": _("4-chamber view"), "axial": _("Axial stack"), "whole_heart": _("Whole heart")}[self.value]


class Pathology(enum.Enum):
    """Group that the heart is drawn from."""

    NORMAL = "normal"
    DCM = "dcm"
    HCM = "hcm"
    MINF = "minf"
    RV = "rv"
    DMD = "dmd"

    def label(self) -> str:
        return {
            "normal": _("Normal"), "dcm": _("Dilated cardiomyopathy"), "hcm": _("Hypertrophic cardiomyopathy"),
            "minf": _("Myocardial infarction"), "rv": _("Abnormal right ventricle"),
            "dmd": _("Duchenne muscular dystrophy")}[self.value]


class Trajectory(enum.Enum):
    """How k-space is sampled."""

    CARTESIAN = "cartesian"
    RADIAL = "radial"
    GOLDEN_ANGLE = "golden_angle"

    def label(self) -> str:
        return {"cartesian": _("Cartesian"), "radial": _("Radial"), "golden_angle": _("Golden angle")}[self.value]


@parameterNodeWrapper
class CMRSimulateParameterNode:
    """Everything that a simulation is made from. Names never change once scenes exist.

    source .. still - who is scanned
    preset .. trajectory - the protocol; slices 0 means as many as cover the heart
    ghostingMm .. aliasing - faults of the scan; 0 is none
    seed - of everything that is drawn at random
    """

    source: SourceKind = SourceKind.PARAMETRIC
    sex: Sex = Sex.FEMALE
    ageYears: Annotated[float, WithinRange(5, 90)] = 45.0
    heightCm: Annotated[float, WithinRange(90, 210)] = 166.0
    weightKg: Annotated[float, WithinRange(15, 160)] = 66.0
    pathology: Pathology = Pathology.NORMAL
    edvMl: Annotated[float, WithinRange(20, 450)] = 126.0
    esvMl: Annotated[float, WithinRange(5, 400)] = 50.0
    massG: Annotated[float, WithinRange(15, 400)] = 84.0
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
    snr: Annotated[float, WithinRange(1, 200)] = 32.0
    matrixSize: Annotated[int, WithinRange(64, 512)] = 256
    slices: Annotated[int, WithinRange(0, 200)] = 0
    phases: Annotated[int, WithinRange(1, 60)] = 25
    coils: Annotated[int, WithinRange(1, 64)] = 12
    trajectory: Trajectory = Trajectory.CARTESIAN

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
        self.job = self.addJob(
            self.ui.applyButton, self.ui.progressBar, self.ui.statusLabel, self._start, _("The simulation failed."))
        self.populationJob = self.addJob(
            self.ui.populationButton, self.ui.populationProgressBar, self.ui.populationStatusLabel,
            self._startPopulation, _("Writing the population failed."))
        self.ui.randomButton.connect("clicked(bool)", self.onRandom)
        # activated, not currentIndexChanged: a preset is taken over when the user picks it, not when a scene restores.
        self.ui.presetComboBox.connect("activated(int)", self.onPreset)
        self._previewTimer = qt.QTimer()
        self._previewTimer.setSingleShot(True)
        self._previewTimer.setInterval(PREVIEW_DELAY_MS)
        self._previewTimer.connect("timeout()", self.onPreview)

    def updatePanel(self) -> None:
        node = self._parameterNode
        self.ui.parametricWidget.visible = node.source == SourceKind.PARAMETRIC
        self.ui.xcatWidget.visible = node.source == SourceKind.XCAT
        self.ui.labelsWidget.visible = node.source == SourceKind.LABELS
        self.ui.stillCheckBox.visible = node.source != SourceKind.PARAMETRIC
        self.ui.applyButton.enabled = self.job.running or not self.populationJob.running
        self.ui.populationButton.enabled = self.populationJob.running or not self.job.running
        if node.livePreview and not self.job.running:
            self._previewTimer.start()
        elif not node.livePreview:
            self._previewTimer.stop()
            self.logic.removePreview()

    def cleanup(self) -> None:
        self._previewTimer.stop()
        if self.logic is not None:
            self.logic.removePreview()
        ModulePanel.cleanup(self)

    def exit(self) -> None:
        self._previewTimer.stop()
        self.logic.removePreview()
        ModulePanel.exit(self)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        self._previewTimer.stop()
        self.logic.forgetPreview()
        ModulePanel.onSceneStartClose(self, caller, event)

    def onRandom(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("No subject could be drawn."), waitCursor=True):
            import secrets

            self.logic.randomise(self._parameterNode, secrets.randbelow(LARGEST_SEED))

    def onPreset(self, index: int = 0) -> None:
        with slicer.util.tryWithErrorDisplay(_("The protocol cannot be used.")):
            self.logic.applyPreset(self._parameterNode)

    def onPreview(self) -> None:
        if self._parameterNode is None or not self._parameterNode.livePreview:
            return
        try:
            self.logic.showPreview(self._parameterNode)
            self.ui.previewStatusLabel.text = ""
        except InputError as error:
            # While sliders move, some combinations make no scan: said beside the sliders, not in a dialog.
            self.ui.previewStatusLabel.text = str(error)

    def _start(self) -> None:
        node = self._parameterNode
        name, values = node.outputName, self.logic.request(node)
        node.livePreview = False

        def finish(result: dict[str, Any]) -> None:
            nodes = self.logic.addResult(result, name)
            self.logic.showResult(nodes)

        self.job.run("simulate", values, finish)
        self.updatePanel()

    def _startPopulation(self) -> None:
        from CMRSimExtension.slicer_bridge.packages import ensure

        values = self.logic.populationRequest(self._parameterNode)
        ensure(pathlib.Path(self.resourcePath("Requirements/CMRSimulate.txt")), "CMRSimulate")

        def finish(result: dict[str, Any]) -> None:
            self.ui.populationResultLabel.text = _("{written} subjects written, {skipped} were there already.").format(
                written=result["written"], skipped=result["skipped"])

        self.ui.populationResultLabel.text = ""
        self.populationJob.run("population", values, finish)
        self.updatePanel()



#
# CMRSimulateLogic
#


class CMRSimulateLogic(ScriptedLoadableModuleLogic):
    """The module's work; runs without a panel.

    Examples
    --------
    >>> logic = CMRSimulateLogic()                       # doctest: +SKIP
    >>> parameters = logic.getParameterNode()            # doctest: +SKIP
    >>> parameters.pathology, parameters.seed = Pathology.DCM, 7  # doctest: +SKIP
    >>> nodes = logic.process(parameters)                # doctest: +SKIP
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._parameters = KeptView(CMRSimulateParameterNode)
        self._preview: Any = None
        self._previewSubject: tuple[Any, Any] | None = None

    def getParameterNode(self) -> CMRSimulateParameterNode:
        return self._parameters.of(super().getParameterNode())

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

    def randomise(self, node: CMRSimulateParameterNode, seed: int) -> None:
        """Draw a subject of the chosen pathology from published ranges, and set the parameters to it."""
        from CMRSimExtension.anatomy.subject import Subject

        subject = Subject.random(seed, pathology=node.pathology.value)
        torso, function = subject.parameters.torso, subject.function
        with slicer.util.NodeModify(node):
            node.seed = seed
            node.sex = Sex(torso.sex)
            node.ageYears, node.heightCm = float(round(torso.age_years)), float(round(torso.height_cm))
            node.weightKg = float(round(torso.weight_kg))
            node.edvMl, node.esvMl = float(round(function.lv_edv_ml)), float(round(function.lv_esv_ml))
            node.massG = float(round(function.lv_mass_g))

    def anatomyValues(self, node: CMRSimulateParameterNode) -> dict[str, Any]:
        """``source``, ``anatomy`` and, for a segmentation, ``labels`` and ``grid``, as the job wants them.

        Raises
        ------
        InputError
            If the source that was chosen has no file or node, or the node no heart.
        """
        if node.source == SourceKind.PARAMETRIC:
            if node.esvMl >= node.edvMl:
                raise InputError(
                    f"the end-systolic volume of {node.esvMl:g} ml is not below the end-diastolic volume of "
                    f"{node.edvMl:g} ml; lower the one or raise the other")
            return {"source": "parametric", "anatomy": {
                "sex": node.sex.value, "age_years": node.ageYears, "height_cm": node.heightCm,
                "weight_kg": node.weightKg, "edv_ml": node.edvMl, "esv_ml": node.esvMl, "mass_g": node.massG,
                "pathology": node.pathology.value}}
        if node.source == SourceKind.XCAT:
            if not node.xcatPath.is_file():
                raise InputError(f"'{node.xcatPath}' is no file; choose an XCAT activity file (.bin)")
            return {"source": "xcat", "anatomy": {"path": str(node.xcatPath), "still": node.still}}
        from CMRSimExtension.slicer_bridge.anatomy_nodes import labels_for_simulation

        labels, grid, labelMap = labels_for_simulation(node.anatomyNode, node.labelMap)
        return {"source": "labels", "anatomy": {"label_map": labelMap, "still": node.still},
                "labels": labels, "grid": grid}

    def request(self, node: CMRSimulateParameterNode) -> dict[str, Any]:
        """The arguments of the ``simulate`` job; everything that can be wrong is found here, before anything runs."""
        single = node.slices == 1 or node.slices == 0 and node.plane.value in ("2ch", "3ch", "4ch")
        if node.makeMotion and single:
            raise InputError(
                "motion as transforms needs two or more slices, and this scan has one; raise the number of slices or "
                "untick the motion")
        truth = ["labels"] + ["anatomy"] * node.makeAnatomy + ["motion"] * node.makeMotion
        return self.anatomyValues(node) | {
            "protocol": self.protocol(node).as_dict(), "plane": node.plane.value, "truth": truth, "seed": node.seed,
            "faults": self.faults(node)}

    def process(self, node: CMRSimulateParameterNode, progress: Any = None) -> Any:
        """Simulate in this process and add the result to the scene; returns its `SimulationNodes`."""
        from CMRSimExtension.slicer_bridge import jobs

        values = jobs.run("simulate", self.request(node), progress or (lambda share, text: None))
        with AllOrNothing():
            return self.addResult(values, node.outputName)

    def addResult(self, values: dict[str, Any], name: str) -> Any:
        """Show what the job made."""
        from CMRSimExtension.slicer_bridge.simulating import add_simulation

        return add_simulation(values["cine"], name)

    def showResult(self, nodes: Any) -> None:
        """Bring the result into the views and let the heart beat."""
        show_volume(nodes.cine.proxy)
        if nodes.curves is not None:
            plot_layout()
            show_chart_and_table(nodes.curves.chart, nodes.function)
            play(nodes.cine.browser)

    def populationRequest(self, node: CMRSimulateParameterNode) -> dict[str, Any]:
        """The arguments of the ``population`` job: subjects of the chosen pathology, drawn from ``seed`` on."""
        folder = node.populationFolder
        if not str(folder) or not folder.is_absolute() or not folder.is_dir():
            raise InputError(f"'{folder}' is no folder; choose one to write the population to")
        return {
            "folder": str(folder), "count": node.populationCount, "pathology": node.pathology.value,
            "protocol": self.protocol(node).as_dict(), "plane": node.plane.value, "seed": node.seed}

    def showPreview(self, node: CMRSimulateParameterNode) -> Any:
        """Scan one slice at one moment and show it in the slice views, in a volume that scenes do not keep."""
        from CMRSimExtension.slicer_bridge import jobs
        from CMRSimExtension.slicer_bridge.previewing import PreviewVolume, preview_slice

        values = self.anatomyValues(node)
        labels, grid = values.pop("labels", None), values.pop("grid", None)
        key = repr((values, node.seed, node.labelMap, None if labels is None else node.anatomyNode.GetMTime()))
        if self._previewSubject is None or self._previewSubject[0] != key:
            anatomy = values["anatomy"] | ({} if labels is None else {"labels": labels, "grid": grid})
            self._previewSubject = (key, jobs.build_anatomy(values["source"], node.seed, anatomy))
        image, imageGrid = preview_slice(
            self._previewSubject[1], self.protocol(node), node.seed, node.plane.value, node.previewSlice,
            node.previewPhase)
        if self._preview is None:
            self._preview = PreviewVolume()
        return self._preview.show(image, imageGrid)

    def removePreview(self) -> None:
        """Take the preview out of the scene, and give the slice views back what they showed."""
        if self._preview is not None:
            self._preview.remove()
            self._preview = None

    def forgetPreview(self) -> None:
        """The scene is closing: it takes the preview with it."""
        self._preview = None


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
