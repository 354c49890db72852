"""Stand-in for the widget side of ``slicer.parameterNodeWrapper``: which widget can show which parameter.

The widget's class must match exactly, as Slicer's connectors demand.
"""

import enum
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import slicer

from Testing.slicer_host.parameter_node import Choice, Decimals, SingleStep, WithinRange, _node_classes, _Parameter


class Connector:
    """Reads and writes one widget."""

    def __init__(
        self, widget: Any, signal: str, read: Callable[[], Any], write: Callable[[Any], None]
    ) -> None:
        self._signal = getattr(widget, signal)
        self.read, self.write = read, write
        self._callback: Callable[[], None] | None = None

    def connect(self, callback: Callable[[], None]) -> None:
        self._callback = lambda: callback()
        self._signal.connect(self._callback)

    def disconnect(self) -> None:
        self._signal.disconnect(self._callback)


def _attribute(widget: Any, signal: str, name: str, convert: Callable[[Any], Any] = lambda v: v) -> Connector:
    def write(value: Any) -> None:
        if getattr(widget, name) != value:
            setattr(widget, name, value)

    return Connector(widget, signal, lambda: convert(getattr(widget, name)), write)


def _number(widget: Any, parameter: _Parameter) -> Connector:
    bounds = parameter.annotation(WithinRange)
    decimals, step = parameter.annotation(Decimals), parameter.annotation(SingleStep)
    if parameter.kind is int and hasattr(widget, "decimals"):
        widget.decimals = 0
    elif decimals is not None:
        widget.decimals = decimals.value
    if bounds is not None:
        widget.minimum, widget.maximum = bounds.minimum, bounds.maximum
    if step is not None:
        widget.singleStep = step.value
    return _attribute(widget, "valueChanged", "value", parameter.kind)


def _choices(widget: Any, values: list[Any], texts: list[str]) -> Connector:
    widget.clear()
    for text in texts:
        widget.addItem(text)

    def write(value: Any) -> None:
        widget.currentIndex = values.index(value)

    return Connector(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)


def connector_for(widget: Any, parameter: _Parameter) -> Connector:
    """The connector of a widget and a parameter; raises RuntimeError where Slicer has none."""
    qt, ctk = sys.modules["qt"], sys.modules["ctk"]
    kind, shown = parameter.kind, type(widget)
    if _node_classes(kind):
        if shown == slicer.qMRMLNodeComboBox:
            widget.nodeTypes = [node.__name__ for node in _node_classes(kind)]
            return Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    elif kind is bool and shown == qt.QCheckBox:
        return _attribute(widget, "stateChanged", "checked")
    elif kind is bool and shown == qt.QPushButton and widget.checkable:
        return _attribute(widget, "toggled", "checked")
    elif kind is int and shown in (qt.QSlider, qt.QSpinBox):
        return _number(widget, parameter)
    elif kind in (int, float) and shown in (qt.QDoubleSpinBox, ctk.ctkSliderWidget):
        if shown == ctk.ctkSliderWidget and parameter.annotation(WithinRange) is None:
            raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
        return _number(widget, parameter)
    elif shown == qt.QComboBox and issubclass(kind, enum.Enum):
        label = getattr(kind, "label", lambda member: member.name)
        return _choices(widget, list(kind), [label(member) for member in kind])
    elif shown == qt.QComboBox and kind is str and parameter.annotation(Choice) is not None:
        values = list(parameter.annotation(Choice).choices)
        return _choices(widget, values, [str(value) for value in values])
    elif shown == qt.QLineEdit and kind is str:
        return _attribute(widget, "textChanged", "text")
    elif shown == ctk.ctkPathLineEdit and issubclass(kind, pathlib.PurePath):
        return Connector(widget, "currentPathChanged", lambda: kind(widget.currentPath),
                         lambda value: setattr(widget, "currentPath", str(value)))
    elif shown == ctk.ctkDirectoryButton and issubclass(kind, pathlib.PurePath):
        return Connector(widget, "directoryChanged", lambda: kind(widget.directory),
                         lambda value: setattr(widget, "directory", str(value)))
    raise RuntimeError(f"Unable to create GUI connector from datatype '{kind}' to widget type '{shown}'.")
