"""What the three panels have in common: the parameter node, and buttons that start a task and cancel it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from CMRSimExtension.slicer_bridge.logic import Task
from CMRSimExtension.slicer_bridge.process import POLL_MS, ChildJob
from CMRSimExtension.slicer_bridge.scene import AllOrNothing

PROGRESS_STEPS = 1000


def folder_text(folder: Path) -> str:
    """What the button of a folder shows. Left alone, it would show where Slicer was started as if that were chosen."""
    return str(folder) if folder.is_absolute() else str(_("Choose a folder…"))


class TaskControls:
    """A button that starts a task and cancels it, a progress bar and a line of text.

    Parameters
    ----------
    button, progressBar, statusLabel
        Widgets of the panel.
    makeTask
        Called when the button is pressed and nothing runs; raises what the user is told if there can be no task.
    failureText
        What the error message begins with.
    onChanged
        Called when a task has begun or ended.
    """

    def __init__(
        self, button: Any, progressBar: Any, statusLabel: Any, makeTask: Callable[[], Task],  # noqa: N803
        failureText: str, onChanged: Callable[[], None],  # noqa: N803
    ) -> None:
        self._button, self._bar, self._status = button, progressBar, statusLabel
        self._makeTask, self._failureText, self._onChanged = makeTask, failureText, onChanged
        self._idleText = button.text
        self._job: ChildJob | None = None
        self._task: Task | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._bar.setRange(0, PROGRESS_STEPS)
        self._bar.visible = False
        self._status.text = ""
        button.connect("clicked(bool)", self._onButton)

    @property
    def running(self) -> bool:
        """Whether a task is under way."""
        return self._job is not None

    def enable(self, enabled: bool) -> None:
        """Let the button be pressed, or not."""
        self._button.enabled = enabled

    def run(self, task: Task) -> None:
        """Start a task in a child process; its result is added to the scene when it has ended."""
        self._job, self._task = ChildJob(task.kind, task.values, self._onProgress), task
        self._button.text = _("Cancel")
        self._bar.value = 0
        self._bar.visible = True
        self._status.text = _("Starting")
        self._timer.start()
        self._onChanged()

    def cancel(self) -> None:
        """End the task, if any; the scene stays as it is."""
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
            self.run(self._makeTask())

    def _onProgress(self, share: float, text: str) -> None:
        self._bar.value = round(share * PROGRESS_STEPS)
        self._status.text = text

    def _poll(self) -> None:
        # Told of the end, the job may have been cancelled by what it told.
        if self._job is None or not self._job.poll() or self._job is None or self._task is None:
            return
        job, task = self._job, self._task
        self._job = None
        status = self._failureText
        try:
            with slicer.util.tryWithErrorDisplay(self._failureText, waitCursor=True):
                values = job.result()
                with AllOrNothing():
                    nodes = task.add(values)
                status = task.summary(values)
                task.show(nodes)  # the result is whole: a view that fails must not take it away
        finally:
            self._ended(status)

    def _ended(self, status: str) -> None:
        self._timer.stop()
        self._task = None
        self._button.text = self._idleText
        self._bar.visible = False
        self._status.text = status
        self._onChanged()


class ModulePanel(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """A module's widget: loads ``Resources/UI/<module>.ui`` and keeps it in step with the parameter node.

    Subclasses override `createLogic`, `setupPanel` and `updatePanel`. One task runs at a time: two would compete for
    the processors and for the scene.
    """

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self._parameterNode: Any = None
        self._parameterNodeGuiTag: int | None = None
        self._controls: list[tuple[TaskControls, Callable[[], bool]]] = []

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.createLogic()
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.EndCloseEvent, self.onSceneReplaced)
        # After the logic, which has forgotten its view of the parameters by then.
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.EndImportEvent, self.onSceneReplaced, priority=-1.0)
        self.setupPanel()
        self.initializeParameterNode()

    def createLogic(self) -> Any:
        """The module's logic."""
        raise NotImplementedError

    def setupPanel(self) -> None:
        """Connect the panel's own widgets."""

    def updatePanel(self) -> None:
        """Show and enable what the parameters call for."""

    def onLeave(self) -> None:
        """Put away what is there only while the panel shows this scene."""

    def addTask(
        self, name: str, makeTask: Callable[[], Task], failureText: str,  # noqa: N803
        ready: Callable[[], bool] = lambda: True,
    ) -> TaskControls:
        """Let ``<name>Button`` start a task, with ``<name>ProgressBar`` and ``<name>StatusLabel``.

        It is cancelled when the panel goes or the scene closes.

        Parameters
        ----------
        makeTask, failureText
            As `TaskControls`.
        ready
            Whether the parameters have what the task cannot do without.
        """
        button, bar, status = (
            getattr(self.ui, f"{name}{kind}") for kind in ("Button", "ProgressBar", "StatusLabel"))
        controls = TaskControls(button, bar, status, makeTask, failureText, self._update)
        self._controls.append((controls, ready))
        return controls

    @property
    def busy(self) -> bool:
        """Whether a task of this panel runs."""
        return any(controls.running for controls, _ready in self._controls)

    @property
    def requirements(self) -> Path:
        """The module's list of packages that it installs when they are needed."""
        return Path(self.resourcePath(f"Requirements/{self.moduleName}.txt"))

    def cleanup(self) -> None:
        """Called when the application closes or the module is reloaded."""
        self._cancelAll()
        self.onLeave()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens another module; a running task goes on."""
        self.onLeave()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """The nodes are about to go: what runs on them is ended."""
        self._cancelAll()
        self.onLeave()
        self.setParameterNode(None)

    def onSceneReplaced(self, caller: Any, event: Any) -> None:
        """Another scene needs another view of the parameters, at once if the panel is on show."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Make sure that there is a parameter node, shown by the panel."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, node: Any) -> None:
        """Show another parameter node, or none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
        self._parameterNode = node
        if node is not None:
            self._parameterNodeGuiTag = node.connectGui(self.ui)
            self.addObserver(node.parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
            self._update()

    def _cancelAll(self) -> None:
        for controls, _ready in self._controls:
            controls.cancel()

    def _update(self, caller: Any = None, event: Any = None) -> None:
        if self._parameterNode is None:
            return
        for controls, ready in self._controls:
            controls.enable(controls.running or not self.busy and ready())
        self.updatePanel()
