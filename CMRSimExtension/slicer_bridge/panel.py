"""What the three panels have in common: the parameter node, one job at a time, Apply that becomes Cancel."""

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from CMRSimExtension.slicer_bridge.process import POLL_MS, ChildJob
from CMRSimExtension.slicer_bridge.scene import AllOrNothing

PROGRESS_STEPS = 1000


class JobControls:
    """A button that starts a job and cancels it, a progress bar and a line of text.

    Parameters
    ----------
    button, progressBar, statusLabel
        Widgets of the panel.
    start
        Called when the button is pressed and nothing runs; it validates the input and calls `run`.
    failureText
        What the error message begins with.
    """

    def __init__(
        self, button: Any, progressBar: Any, statusLabel: Any, start: Callable[[], None], failureText: str  # noqa: N803
    ) -> None:
        self._button, self._bar, self._status = button, progressBar, statusLabel
        self._start, self._failureText = start, failureText
        self._idleText = button.text
        self._job: ChildJob | None = None
        self._finish: Callable[[dict[str, Any]], None] | None = None
        self.onEnded: Callable[[], None] = lambda: None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._bar.setRange(0, PROGRESS_STEPS)
        self._bar.visible = False
        self._status.text = ""
        button.connect("clicked(bool)", self._onButton)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def run(self, kind: str, values: dict[str, Any], finish: Callable[[dict[str, Any]], None]) -> None:
        """Start a job in a child process; `finish` gets its values, inside an `AllOrNothing` block."""
        self._job = ChildJob(kind, values, self._onProgress)
        self._finish = finish
        self._button.text = _("Cancel")
        self._bar.value = 0
        self._bar.visible = True
        self._status.text = _("Starting")
        self._timer.start()

    def cancel(self) -> None:
        """End the job, if any; the scene stays as it is."""
        if self._job is not None:
            job, self._job = self._job, None
            job.cancel()
            self._ended(_("Cancelled; nothing was changed"))

    def _onButton(self, checked: bool = False) -> None:
        if self.running:
            self.cancel()
            return
        self._status.text = ""
        with slicer.util.tryWithErrorDisplay(self._failureText):
            self._start()

    def _onProgress(self, share: float, text: str) -> None:
        self._bar.value = round(share * PROGRESS_STEPS)
        self._status.text = text

    def _poll(self) -> None:
        if self._job is None or not self._job.poll() or self._job is None:
            return
        job, self._job = self._job, None
        finish, self._finish = self._finish, None
        status = self._failureText
        try:
            with slicer.util.tryWithErrorDisplay(self._failureText, waitCursor=True), AllOrNothing():
                values = job.result()
                if finish is not None:
                    finish(values)
                status = _("Done")
        finally:
            self._ended(status)

    def _ended(self, status: str) -> None:
        self._timer.stop()
        self._button.text = self._idleText
        self._bar.visible = False
        self._status.text = status
        self.onEnded()


class ModulePanel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """A module's widget: loads ``Resources/UI/<module>.ui`` and keeps it in step with the parameter node.

    Subclasses override `createLogic`, `setupPanel` and `updatePanel`.
    """

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self._parameterNode: Any = None
        self._parameterNodeGuiTag: int | None = None
        self._controls: list[JobControls] = []

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.createLogic()
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.EndCloseEvent, self.onSceneEndClose)
        self.setupPanel()
        self.initializeParameterNode()

    def createLogic(self) -> Any:
        """The module's logic."""
        raise NotImplementedError

    def setupPanel(self) -> None:
        """Connect the panel's own widgets."""

    def updatePanel(self) -> None:
        """Show and enable what the parameters call for."""

    def addJob(
        self, button: Any, progressBar: Any, statusLabel: Any, start: Callable[[], None], failureText: str  # noqa: N803
    ) -> JobControls:
        """Let a button start a job; it is cancelled when the panel goes or the scene closes."""
        controls = JobControls(button, progressBar, statusLabel, start, failureText)
        controls.onEnded = self._onParametersModified
        self._controls.append(controls)
        return controls

    def cleanup(self) -> None:
        """Called when the application closes or the module is reloaded."""
        for controls in self._controls:
            controls.cancel()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens another module; a running job goes on."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """The nodes are about to go: what runs on them is ended."""
        for controls in self._controls:
            controls.cancel()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: Any, event: Any) -> None:
        """A new scene needs a new parameter node, at once if the panel is on show."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Make sure that there is a parameter node, shown by the panel."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, node: Any) -> None:
        """Show another parameter node, or none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(
                self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
        self._parameterNode = node
        if node is not None:
            self._parameterNodeGuiTag = node.connectGui(self.ui)
            self.addObserver(node.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
            self.updatePanel()

    def _onParametersModified(self, caller: Any = None, event: Any = None) -> None:
        if self._parameterNode is not None:
            self.updatePanel()
