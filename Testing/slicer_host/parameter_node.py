"""Stand-in for ``slicer.parameterNodeWrapper``: the part of it that our panels use, with its strictness.

Own work, written from its documentation and behaviour; ``SLICER_SOURCE_DIR`` swaps in the real one.
"""

import enum
import pathlib
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

RESERVED = ("allParameters", "default", "isCached", "dataType", "getValue", "setValue", "connectGui",
            "connectParametersToGui", "disconnectGui", "StartModify", "EndModify", "AddObserver", "RemoveObserver",
            "Modified")


@dataclass
class Default:
    value: Any


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float


class Validator:
    def validate(self, value: Any) -> None:
        raise NotImplementedError


class WithinRange(Validator):
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Choice(Validator):
    def __init__(self, choices: Any) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value must be one of {self.choices}, is {value}")


def _node_classes(kind: Any) -> tuple[type, ...]:
    options = typing.get_args(kind) if _is_union(kind) else (kind,)
    if len(options) > 1 and type(None) not in options:
        raise TypeError(f"{kind} needs '| None': Slicer cannot write an empty choice of several node classes")
    options = tuple(option for option in options if option is not type(None))
    if options and all(isinstance(option, type) and issubclass(option, slicer.vtkMRMLNode) for option in options):
        return options
    return ()


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


@dataclass
class _Parameter:
    """One declared parameter: how it is kept in the node, checked and shown."""

    name: str
    kind: Any
    annotations: tuple[Any, ...]
    default: Any

    def annotation(self, kind: type) -> Any:
        return next((item for item in self.annotations if isinstance(item, kind)), None)

    def write(self, node: Any, value: Any) -> None:
        nodes = _node_classes(self.kind)
        if nodes:
            if value is not None and not isinstance(value, nodes):
                raise TypeError(f"{self.name} must be a {nodes}, is {type(value)}")
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, None if value is None else value.GetID())
            return
        if issubclass(self.kind, enum.Enum):
            if not isinstance(value, self.kind):
                raise ValueError(f"{self.name} must be a {self.kind.__name__}, is {value!r}")
            node.SetParameter(self.name, value.name)
            return
        if self.kind is bool:
            if not isinstance(value, bool):
                raise TypeError(f"{self.name} must be a bool, is {type(value)}")
            node.SetParameter(self.name, "True" if value else "False")
            return
        if self.kind in (int, float):
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                raise TypeError(f"{self.name} must be a number, is {type(value)}")
            if self.kind is int and not isinstance(value, int):
                raise TypeError(f"{self.name} must be an int, is {type(value)}")
        elif issubclass(self.kind, pathlib.PurePath):
            if not isinstance(value, pathlib.PurePath):
                raise TypeError(f"{self.name} must be a path, is {type(value)}")
        elif not isinstance(value, self.kind):
            raise TypeError(f"{self.name} must be a {self.kind}, is {type(value)}")
        for item in self.annotations:
            if isinstance(item, Validator):
                item.validate(value)
        node.SetParameter(self.name, str(value))

    def read(self, node: Any) -> Any:
        if _node_classes(self.kind):
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if issubclass(self.kind, enum.Enum):
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)

    def is_in(self, node: Any) -> bool:
        return bool(node.HasParameter(self.name))


def _parameters(declared: type) -> dict[str, _Parameter]:
    result = {}
    for name, hint in typing.get_type_hints(declared, include_extras=True).items():
        annotations: tuple[Any, ...] = ()
        if typing.get_origin(hint) is typing.Annotated:
            hint, *rest = typing.get_args(hint)
            annotations = tuple(rest)
        known = bool(_node_classes(hint)) or isinstance(hint, type) and (
            hint in (int, float, str, bool) or issubclass(hint, (enum.Enum, pathlib.PurePath)))
        if not known:
            raise TypeError(f"no serializer for parameter '{name}' of type {hint}")
        given = next((item.value for item in annotations if isinstance(item, Default)), None)
        if hasattr(declared, name):
            default = getattr(declared, name)
        elif given is not None:
            default = given
        elif _node_classes(hint):
            default = None
        elif issubclass(hint, enum.Enum):
            default = next(iter(hint))
        else:
            default = hint()
        parameter = _Parameter(name, hint, annotations, default)
        for item in annotations:
            if isinstance(item, Validator):
                item.validate(default)
        result[name] = parameter
    return result


def parameterNodeWrapper(declared: type) -> type:  # noqa: N802 - Slicer's name
    """Make a class of declared parameters into a typed view of a parameter node."""
    for name in RESERVED:
        if name in declared.__dict__ or name in declared.__annotations__:
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    parameters = _parameters(declared)

    def property_of(name: str) -> property:
        return property(
            lambda self: parameters[name].read(self.parameterNode),
            lambda self, value: parameters[name].write(self.parameterNode, value))

    members: dict[str, Any] = {name: property_of(name) for name in parameters}
    members |= {"allParameters": parameters, "__doc__": declared.__doc__, "__module__": declared.__module__}
    return type(declared.__name__, (_ParameterNode,), members)


class _ParameterNode:
    allParameters: dict[str, _Parameter]  # noqa: N815

    def __init__(self, parameter_node: Any) -> None:
        self.parameterNode = parameter_node
        self._guis: dict[int, tuple[list[Any], int]] = {}
        self._next_tag = 0
        self._updating = False
        for name, parameter in self.allParameters.items():
            if not parameter.is_in(parameter_node):
                parameter.write(parameter_node, parameter.default)
            elif not isinstance(name, str):
                raise TypeError(name)

    def _parameter(self, name: str) -> _Parameter:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return self.allParameters[name]

    def getValue(self, name: str) -> Any:  # noqa: N802
        return self._parameter(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:  # noqa: N802
        self._parameter(name).write(self.parameterNode, value)

    def default(self, name: str) -> Default:
        return Default(self._parameter(name).default)

    def connectGui(self, gui: Any) -> int:  # noqa: N802
        from Testing.slicer_host.gui_connectors import connector_for

        connectors = []
        for widget in gui.__dict__.values():
            name = widget.property("SlicerParameterName")
            if name:
                connectors.append((name, connector_for(widget, self._parameter(name))))
        for name, connector in connectors:
            connector.write(self.getValue(name))
            connector.connect(self._writer(name, connector))
        tag = self._next_tag
        self._next_tag += 1
        observer = self.parameterNode.AddObserver(
            vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._update_gui(connectors))
        self._guis[tag] = (connectors, observer)
        return tag

    def _writer(self, name: str, connector: Any) -> Callable[[], None]:
        def write() -> None:
            if not self._updating:
                self.setValue(name, connector.read())

        return write

    def _update_gui(self, connectors: list[Any]) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            for name, connector in connectors:
                connector.write(self.getValue(name))
        finally:
            self._updating = False

    def disconnectGui(self, tag: int) -> None:  # noqa: N802
        connectors, observer = self._guis.pop(tag)
        for _, connector in connectors:
            connector.disconnect()
        self.parameterNode.RemoveObserver(observer)

    def StartModify(self) -> Any:  # noqa: N802
        return self.parameterNode.StartModify()

    def EndModify(self, was: Any) -> None:  # noqa: N802
        self.parameterNode.EndModify(was)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:  # noqa: N802
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:  # noqa: N802
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:  # noqa: N802
        self.parameterNode.Modified()
