"""Stand-ins for the qMRML widgets that the panels use, working on the real scene."""

from typing import Any

import slicer
from PySide6.QtCore import Property, QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget


class qMRMLWidget(QWidget):  # noqa: N801 - Slicer's name
    """The root of a module's panel: hands its scene to the widgets that the .ui file connects to it."""

    mrmlSceneChanged = Signal(object)
    SIGNATURES = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._receivers: list[Any] = []

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    @Slot(object)
    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        self._scene = scene
        for receiver in self._receivers:
            receiver.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QWidget):  # noqa: N801
    """A selector of nodes; without a scene it offers none, as the real one."""

    currentNodeChanged = Signal(object)
    nodeAddedByUser = Signal(object)
    currentNodeIDChanged = Signal(str)
    SIGNATURES = (
        "currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)", "nodeAddedByUser(vtkMRMLNode*)",
        "currentNodeIDChanged(QString)")

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._box = QComboBox()
        layout.addWidget(self._box)
        self._scene: Any = None
        self._observed: list[tuple[Any, int]] = []
        observed = self._observed
        # As in C++, the observers go with the widget.
        self.destroyed.connect(lambda: [scene.RemoveObserver(tag) for scene, tag in observed])
        self._types: list[str] = []
        self._flags = {
            "noneEnabled": False, "addEnabled": True, "removeEnabled": True, "editEnabled": False,
            "renameEnabled": False, "showHidden": False, "showChildNodeTypes": True,
            "selectNodeUponCreation": True}
        self._none_display = "None"
        self._base_name = ""
        self._nodes: list[Any] = []
        self._box.currentIndexChanged.connect(self._on_index)

    def _flag(name: str, self_property: Any = Property) -> Any:  # type: ignore[misc]
        def get(self: Any) -> bool:
            return bool(self._flags[name])

        def set_(self: Any, on: bool) -> None:
            self._flags[name] = on
            self._refresh()

        return self_property(bool, get, set_)

    noneEnabled = _flag("noneEnabled")
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    editEnabled = _flag("editEnabled")
    renameEnabled = _flag("renameEnabled")
    showHidden = _flag("showHidden")
    showChildNodeTypes = _flag("showChildNodeTypes")
    selectNodeUponCreation = _flag("selectNodeUponCreation")

    def _set_types(self, types: list[str]) -> None:
        unknown = [name for name in types if not hasattr(slicer, name)]
        if unknown:
            raise ValueError(f"there is no node class {', '.join(unknown)}")
        self._types = list(types)
        self._refresh()

    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    noneDisplay = Property(str, lambda self: self._none_display, lambda self, text: self._set_none_display(text))
    baseName = Property(str, lambda self: self._base_name, lambda self, text: setattr(self, "_base_name", text))
    currentNodeID = Property(
        str, lambda self: "" if self.currentNode() is None else self.currentNode().GetID(),
        lambda self, node_id: self.setCurrentNodeID(node_id))

    def _set_none_display(self, text: str) -> None:
        self._none_display = text
        self._refresh()

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    @Slot(object)
    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        for old_scene, tag in self._observed:
            old_scene.RemoveObserver(tag)
        self._observed.clear()
        self._scene = scene
        if scene is not None:
            for event in (
                slicer.vtkMRMLScene.NodeAddedEvent, slicer.vtkMRMLScene.NodeRemovedEvent,
                slicer.vtkMRMLScene.EndCloseEvent, slicer.vtkMRMLScene.EndImportEvent,
            ):
                self._observed.append((scene, scene.AddObserver(event, self._on_scene)))
        self._refresh()

    def _on_scene(self, caller: Any, event: str) -> None:
        self._refresh()

    def _accepts(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self._flags["showHidden"]:
            return False
        if self._flags["showChildNodeTypes"]:
            return any(node.IsA(name) for name in self._types)
        return node.GetClassName() in self._types

    def _refresh(self) -> None:
        selected = self.currentNode()
        nodes = [] if self._scene is None else [
            node for node in (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
            if self._accepts(node)]
        with QSignalBlocker(self._box):
            self._box.clear()
            self._nodes = [None, *nodes] if self._flags["noneEnabled"] else nodes
            for node in self._nodes:
                self._box.addItem(self._none_display if node is None else node.GetName())
            if selected in nodes:
                index = self._nodes.index(selected)
            else:
                # Like the real one: None where that is a choice, else the first node.
                index = 0 if self._nodes else -1
            self._box.setCurrentIndex(index)
        if self.currentNode() is not selected:
            self._emit()

    def _on_index(self, index: int) -> None:
        self._emit()

    def _emit(self) -> None:
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self.currentNodeIDChanged.emit("" if node is None else node.GetID())

    @Slot(result=object)
    def currentNode(self) -> Any:  # noqa: N802
        index = self._box.currentIndex()
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    @Slot(object)
    def setCurrentNode(self, node: Any) -> None:  # noqa: N802
        if node is None:
            self._box.setCurrentIndex(0 if self._flags["noneEnabled"] else -1)
        elif node in self._nodes:
            self._box.setCurrentIndex(self._nodes.index(node))

    def setCurrentNodeID(self, node_id: str) -> None:  # noqa: N802
        self.setCurrentNode(None if self._scene is None else self._scene.GetNodeByID(node_id))

    def nodeCount(self) -> int:  # noqa: N802
        return sum(node is not None for node in self._nodes)

    def addNode(self, node_class: str = "") -> Any:  # noqa: N802
        name = self._scene.GenerateUniqueName(self._base_name or "Node")
        node = self._scene.AddNewNodeByClass(node_class or self._types[0], name)
        self.setCurrentNode(node)
        return node


class qMRMLSliderWidget(QWidget):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class qMRMLSpinBox(QWidget):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class qMRMLRangeWidget(QWidget):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class qSlicerWidget(qMRMLWidget):  # noqa: N801
    """What holds a module's panel in the application."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entered = False
        layout = QVBoxLayout(self)
        layout.setAlignment(Qt.AlignmentFlag.AlignTop)

    def _set_entered(self, entered: bool) -> None:
        self._entered = entered

    isEntered = Property(bool, lambda self: self._entered, _set_entered)


WIDGETS = (
    qMRMLWidget, qMRMLNodeComboBox, qMRMLSliderWidget, qMRMLSpinBox, qMRMLRangeWidget, qSlicerWidget)
