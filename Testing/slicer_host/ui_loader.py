"""Loads .ui files as Slicer does, and refuses what Slicer would silently drop or not know."""

import functools
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from Testing.slicer_host import ctk_widgets, mrml_widgets

CUSTOM = {widget.__name__: widget for widget in (*ctk_widgets.WIDGETS, *mrml_widgets.WIDGETS)}
SCENE_SIGNAL, SCENE_SLOT = "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"


class UiFileError(ValueError):
    """A .ui file names something that Slicer does not have."""


class HostUiLoader(QtCore.QObject):
    """Stands for Slicer's ``QUiLoader`` with its CTK and qMRML plugins."""

    def load(self, file: QtCore.QFile, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        root = ElementTree.fromstring(Path(file.fileName()).read_text(encoding="utf-8"))
        _check(root)
        loader = QtUiTools.QUiLoader()
        for widget in CUSTOM.values():
            loader.registerCustomWidget(widget)
        scene_connections = _take_scene_connections(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        panel = loader.load(buffer, parent)
        if panel is None:
            raise UiFileError(f"{file.fileName()}: {loader.errorString()}")
        _connect_scene(scene_connections, panel)
        return panel


@functools.cache
def _property_names(widget_class: type) -> frozenset[str]:
    # From a widget: PySide6 loses the class's own meta object when the first widget of the class dies.
    widget = widget_class()
    meta = widget.metaObject()
    return frozenset(meta.property(index).name() for index in range(meta.propertyCount()))


def _check(root: ElementTree.Element) -> None:
    """Every widget class is known, and has every property that is set on it."""
    names: set[str] = set()
    for element in root.iter("widget"):
        kind, name = element.get("class", ""), element.get("name", "")
        widget_class = CUSTOM.get(kind) or getattr(QtWidgets, kind, None)
        if widget_class is None:
            raise UiFileError(f"widget '{name}' is of class {kind}, which is neither Qt's nor stood in for")
        if name in names:
            raise UiFileError(f"two widgets are called '{name}'")
        names.add(name)
        known = _property_names(widget_class)
        for item in element.findall("property"):
            if item.get("stdset") == "0":
                continue
            if item.get("name") not in known:
                raise UiFileError(f"widget '{name}' ({kind}) has no property '{item.get('name')}'")


def _take_scene_connections(root: ElementTree.Element) -> list[tuple[str, str]]:
    """(sender, receiver) of the connections of a MRML scene, which PySide6 cannot make; they are taken out."""
    taken = []
    for parent in root.iter("connections"):
        for connection in list(parent):
            if (connection.findtext("signal"), connection.findtext("slot")) == (SCENE_SIGNAL, SCENE_SLOT):
                taken.append((connection.findtext("sender", ""), connection.findtext("receiver", "")))
                parent.remove(connection)
    return taken


def _connect_scene(connections: list[tuple[str, str]], panel: Any) -> None:
    for pair in connections:
        sender, receiver = (
            panel if panel.objectName() == name else panel.findChild(QtCore.QObject, name) for name in pair)
        if sender is None or receiver is None:
            raise UiFileError(f"the connection from '{pair[0]}' to '{pair[1]}' names what is not in the file")
        sender._receivers.append(receiver)
