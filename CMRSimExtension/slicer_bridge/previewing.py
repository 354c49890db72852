"""The live preview: one slice at one moment in the slice views while the sliders move."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from CMRSimExtension.errors import CMRSimError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.process import POLL_MS, ChildProcess, reported_error
from CMRSimExtension.slicer_bridge.scene import AllOrNothing, new_node
from CMRSimExtension.slicer_bridge.store import read_values, write_values
from CMRSimExtension.slicer_bridge.views import show_volume
from CMRSimExtension.slicer_bridge.volumes import fill_volume

PREVIEW_NAME = "CMRSimulate preview"
PREVIEW_MODULE = "CMRSimExtension.slicer_bridge.previews"


class PreviewedLogic(Protocol):
    """What the preview asks of CMRSimulate's logic."""

    def subjectVersion(self, node: Any) -> Any:
        """A value that changes when the anatomy has to be made anew."""

    def anatomyValues(self, node: Any) -> dict[str, Any]:
        """``source`` and ``anatomy`` of a request."""

    def previewValues(self, node: Any) -> dict[str, Any]:
        """The rest of a request to `previews`."""


class LivePreview:
    """Keeps the preview in step with the parameters, in a child process: the panel never waits for it.

    While one slice is being scanned, newer wishes replace one another, so the picture follows the slider as fast as
    slices can be scanned and ends at its last position.

    Parameters
    ----------
    logic
        CMRSimulate's.
    statusLabel
        Where it is said what makes no scan: while sliders move, that is no reason for a dialog.
    """

    def __init__(self, logic: PreviewedLogic, statusLabel: Any) -> None:  # noqa: N803
        self._logic, self._status = logic, statusLabel
        self._volume = PreviewVolume()
        self._process: ChildProcess | None = None
        self._folder: Path | None = None
        self._number = 0
        self._looking = self._waiting = False
        self._wish: Any = None
        self._version: Any = None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def idle(self) -> bool:
        """Whether what was asked for last is shown, or cannot be."""
        return self._wish is None and not self._waiting

    def refresh(self, node: Any) -> None:
        """Show the slice that the parameters ask for, as soon as it is scanned."""
        self._wish = node
        if not self._looking:  # starting it again would put off its next call
            self._looking = True
            self._timer.start()

    def stop(self) -> None:
        """End the process and give the slice views back what they showed."""
        self._timer.stop()
        self._looking = False
        self._wish = None
        self._end_process()
        self._volume.remove()
        self._status.text = ""

    def _end_process(self) -> None:
        # The folder first: without it the process ends of itself, should it not hear that it is to end.
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._process is not None:
            process, self._process = self._process, None
            process.end()
        self._number, self._waiting, self._version = 0, False, None

    def _poll(self) -> None:
        if self._process is not None:
            for message in self._process.messages():
                self._take(message)
            if self._process.ended:
                if self._waiting:
                    self._status.text = _("The preview failed: {log}").format(log="\n".join(self._process.log[-3:]))
                self._end_process()
        if self._wish is None or self._waiting:
            return
        node, self._wish = self._wish, None
        try:
            self._send(node)
        except CMRSimError as error:
            self._status.text = str(error)

    def _send(self, node: Any) -> None:
        version = self._logic.subjectVersion(node)
        values = self._logic.previewValues(node)
        if version != self._version:
            values |= self._logic.anatomyValues(node)
            self._status.text = _("Making the subject")
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="cmrsim-preview-"))
            self._process = ChildProcess(PREVIEW_MODULE, [str(self._folder)])
        self._number += 1
        write_values(self._folder / f"request-{self._number}", values)
        self._version, self._waiting = version, True

    def _take(self, message: dict[str, Any]) -> None:
        self._waiting = False
        if "error" in message:
            self._version = None  # whether the anatomy or the scan failed, the next request is whole again
            self._status.text = str(reported_error(message))
            return
        assert self._folder is not None  # it goes with the process
        folder = self._folder / f"result-{self._number}"
        values = read_values(folder)
        shutil.rmtree(folder, ignore_errors=True)
        self._status.text = ""
        self._volume.show(values["image"], values["grid"])


class PreviewVolume:
    """A volume that shows the preview, is offered in no selector and saved with no scene."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}
        self._volume: Any = None

    def show(self, image: NDArray[Any], grid: ImageGrid) -> None:
        """Show an image in the slice views."""
        first = self._volume is None
        with AllOrNothing():
            volume = self._added() if first else self._volume
            fill_volume(volume, image, grid)
            if first:
                volume.CreateDefaultDisplayNodes()
                display = volume.GetDisplayNode()
                if display is not None:
                    display.SetSaveWithScene(False)
            show_volume(volume, fit=first)
        self._volume = volume

    def _added(self) -> Any:
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        self._before = {composite.GetID(): composite.GetBackgroundVolumeID() for composite in composites}
        volume = new_node("vtkMRMLScalarVolumeNode", PREVIEW_NAME)
        volume.SetName(PREVIEW_NAME)  # there is one at a time; a scene counts those there have been
        volume.SetHideFromEditors(True)
        volume.SetSaveWithScene(False)
        return volume

    def remove(self) -> None:
        """Take the volume out of the scene; the slice views show again what they showed before."""
        if self._volume is None:
            return
        for node_id, background in self._before.items():
            composite = slicer.mrmlScene.GetNodeByID(node_id)
            if composite is not None and composite.GetBackgroundVolumeID() == self._volume.GetID():
                composite.SetBackgroundVolumeID(background)
        display = self._volume.GetDisplayNode()
        slicer.mrmlScene.RemoveNode(self._volume)
        if display is not None and slicer.mrmlScene.IsNodePresent(display):
            slicer.mrmlScene.RemoveNode(display)
        self._volume = None
        self._before = {}
