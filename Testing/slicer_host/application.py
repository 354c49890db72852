"""Stand-ins for ``slicer.app`` and ``slicer.modules``, on real logics and nodes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from CMRSimExtension.slicer_bridge.bare_scene import BareScene
from Testing.slicer_host import pythonqt

SLICE_VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class Strict:
    """Only what is declared can be read or set, as on a wrapped C++ object."""

    __slots__ = ()


class SliceWidget(Strict):
    """One slice view's widget."""

    __slots__ = ("_logic",)

    def __init__(self, logic: Any) -> None:
        self._logic = logic

    def sliceLogic(self) -> Any:  # noqa: N802
        return self._logic

    def mrmlSliceNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceCompositeNode()


class LayoutManager(Strict):
    """The views of the layout: three slice views with real logics."""

    __slots__ = ("_logics", "layout")

    def __init__(self, logics: dict[str, Any]) -> None:
        self._logics = logics
        self.layout = int(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def sliceViewNames(self) -> tuple[str, ...]:  # noqa: N802
        return tuple(self._logics)

    def sliceWidget(self, name: str) -> SliceWidget:  # noqa: N802
        return SliceWidget(self._logics[name])

    def setLayout(self, layout: int) -> None:  # noqa: N802
        self.layout = int(layout)

    def resetSliceViews(self) -> None:  # noqa: N802
        for logic in self._logics.values():
            logic.FitSliceToAll()


class ModuleManager(Strict):
    """Knows when modules are unloaded; here none ever is."""

    __slots__ = ()

    def connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        return signal == "moduleAboutToBeUnloaded(QString)"

    def disconnect(self, signal: str, slot: Callable[..., Any]) -> bool:
        return True


class Application(Strict):
    """``slicer.app``."""

    __slots__ = ("_host", "_layout_manager", "_started", "applicationVersion", "majorVersion", "minorVersion",
                 "temporaryPath", "documentationBaseUrl")

    def __init__(self, host: "HostScene") -> None:
        self._host = host
        self._layout_manager = LayoutManager(host.slice_logics)
        self._started: list[Callable[[], None]] = []
        self.majorVersion, self.minorVersion, self.applicationVersion = 5, 13, "5.13.0"
        self.temporaryPath = str(Path(tempfile.gettempdir()))
        self.documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"

    def processEvents(self) -> None:  # noqa: N802
        QtWidgets.QApplication.processEvents()

    def setOverrideCursor(self, cursor: int) -> None:  # noqa: N802
        QtWidgets.QApplication.setOverrideCursor(pythonqt.unwrap(cursor))

    def restoreOverrideCursor(self) -> None:  # noqa: N802
        QtWidgets.QApplication.restoreOverrideCursor()

    def testingEnabled(self) -> bool:  # noqa: N802
        return True

    def settings(self) -> Any:
        return pythonqt.wrap(QtCore.QSettings())

    userSettings = settings  # noqa: N815

    def layoutManager(self) -> LayoutManager:  # noqa: N802
        return self._layout_manager

    def applicationLogic(self) -> Any:  # noqa: N802
        return self._host.logics["application"]

    def moduleManager(self) -> ModuleManager:  # noqa: N802
        return ModuleManager()

    def topLevelWidgets(self) -> list[Any]:  # noqa: N802
        return [pythonqt.wrap(widget) for widget in QtWidgets.QApplication.topLevelWidgets()]

    def translate(self, context: str, text: str) -> str:
        return text

    def connect(self, signal: str, slot: Callable[[], None]) -> bool:
        if signal != "startupCompleted()":
            raise ValueError(f"the application has no signal '{signal}' here")
        self._started.append(slot)
        return True

    def complete_startup(self) -> None:
        """Call what waits for the application to have started."""
        for slot in self._started:
            slot()


class Module(Strict):
    """One entry of ``slicer.modules``."""

    __slots__ = ("_logic", "_widget", "name", "path")

    def __init__(self, name: str, path: str = "", logic: Any = None) -> None:
        self.name, self.path, self._logic, self._widget = name, path, logic, None

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:  # noqa: N802
        return self._widget


class SequencesModule(Module):
    """The Sequences module, which shows a browser in its toolbar."""

    __slots__ = ("browser_in_toolbar",)

    def __init__(self, logic: Any) -> None:
        super().__init__("sequences", logic=logic)
        self.browser_in_toolbar: Any = None

    def showSequenceBrowser(self, browser: Any) -> bool:  # noqa: N802
        if not browser.IsA("vtkMRMLSequenceBrowserNode"):
            raise ValueError(f"{browser.GetClassName()} is no sequence browser")
        self.browser_in_toolbar = browser
        return True


class SegmentEditorWidget(Strict):
    """What the Segment Editor's panel is asked for: ``self().editor`` with its two nodes."""

    __slots__ = ("_nodes",)

    def __init__(self) -> None:
        self._nodes: dict[str, Any] = {}

    def self(self) -> "SegmentEditorWidget":
        return self

    @property
    def editor(self) -> "SegmentEditorWidget":
        return self

    def setSegmentationNode(self, node: Any) -> None:  # noqa: N802
        self._nodes["segmentation"] = node

    def setSourceVolumeNode(self, node: Any) -> None:  # noqa: N802
        self._nodes["source"] = node

    def segmentationNode(self) -> Any:  # noqa: N802
        return self._nodes.get("segmentation")

    def sourceVolumeNode(self) -> Any:  # noqa: N802
        return self._nodes.get("source")


class Modules:
    """``slicer.modules``; a module that is not there raises AttributeError, as in Slicer."""

    def __init__(self, logics: dict[str, Any]) -> None:
        for name, logic in logics.items():
            if name != "application":
                setattr(self, name, Module(name, logic=logic))
        self.sequences = SequencesModule(logics["sequences"])
        self.segmenteditor = Module("segmenteditor")
        self.segmenteditor._widget = SegmentEditorWidget()
        self.terminologies = Module("terminologies", logic=slicer.vtkSlicerTerminologiesModuleLogic())


class HostScene(BareScene):
    """A bare scene with slice views and the nodes that the application keeps."""

    def __init__(self) -> None:
        super().__init__()
        application = self.logics["application"]
        self.slice_logics: dict[str, Any] = {}
        for name, orientation in SLICE_VIEWS.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(application)
            node = logic.AddSliceNode(name)
            node.SetOrientation(orientation)
            self.slice_logics[name] = logic
        layout = slicer.vtkMRMLLayoutNode()
        self.scene.AddNode(layout)
        self.application = Application(self)
        self.modules = Modules(self.logics)
