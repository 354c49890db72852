"""PySide6 seen through PythonQt's rules.

What PythonQt does and PySide6 does not, and this module therefore does:

- Qt properties are attributes (``w.value``, ``w.text``); calling one raises. ``isChecked()`` and ``setX()`` stay
  methods.
- Setting an attribute that does not exist raises.
- Constructors and methods take no keyword arguments.
- Signals connect by text (``w.connect("clicked(bool)", slot)``) and by attribute (``w.clicked.connect(slot)``); a
  signal that does not exist raises. A slot gets as many of the signal's arguments as its signature can take, default
  arguments included: ``clicked`` hands its bool to ``lambda name=value: ...``.
- Enums are ints; string-list properties are tuples.
- Conversion is loose: ``slider.value = 3.7`` gives 3 to an int property, ``label.text = None`` gives ``'None'``.
- ``findChild("name")`` is legal; ``getOpenFileName`` and its like return just the name.
- ``name`` is another name of ``objectName``.
"""

import enum
import inspect
import traceback
import types
import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

_MISSING = object()
_SEARCHED = (QtCore, QtGui, QtWidgets)
_classes: dict[type, type] = {}
_live: "weakref.WeakValueDictionary[int, Proxy]" = weakref.WeakValueDictionary()
slot_errors: list[BaseException] = []
"""What slots raised: PythonQt, too, prints the traceback and goes on."""

NAME_DIALOGS = ("getOpenFileName", "getSaveFileName", "getOpenFileNames", "getExistingDirectory")


class EnumInt(int):
    """An enum value as PythonQt shows it: an int. It remembers the Qt value, which PySide6 insists on."""

    qt_value: Any

    @classmethod
    def of(cls, member: Any) -> "EnumInt":
        value = cls(member.value)
        value.qt_value = member
        return value

    def __or__(self, other: Any) -> Any:
        return wrap(self.qt_value | unwrap(other))

    def __and__(self, other: Any) -> Any:
        return wrap(self.qt_value & unwrap(other))

    def __invert__(self) -> Any:
        return wrap(~self.qt_value)


def wrap(value: Any) -> Any:
    """A PySide6 value as the panel's code sees it."""
    if isinstance(value, (enum.Enum, enum.Flag)):
        return EnumInt.of(value)
    if isinstance(value, list):
        return [wrap(item) for item in value]
    if isinstance(value, shiboken6.Object):
        # By address only where Qt owns identity: a QColor is a value, a QWidget is a thing.
        if isinstance(value, QtCore.QObject):
            address = shiboken6.getCppPointer(value)[0]
            known = _live.get(address)
            if known is not None and known._q is value:
                return known
            proxy = object.__new__(proxy_class(type(value)))
            object.__setattr__(proxy, "_q", value)
            _live[address] = proxy
            return proxy
        proxy = object.__new__(proxy_class(type(value)))
        object.__setattr__(proxy, "_q", value)
        return proxy
    return value


def unwrap(value: Any) -> Any:
    """The PySide6 value behind what the panel's code hands over."""
    if isinstance(value, Proxy):
        return value._q
    if isinstance(value, EnumInt):
        return value.qt_value
    if isinstance(value, (list, tuple)):
        return type(value)(unwrap(item) for item in value)
    if isinstance(value, type) and issubclass(value, Proxy):
        return value._qt_class
    return value


def _no_keywords(name: str, keywords: dict[str, Any]) -> None:
    if keywords:
        raise TypeError(f"{name}() takes no keyword arguments in PythonQt: {', '.join(keywords)}")


def _call(function: Callable[..., Any], name: str, arguments: tuple[Any, ...]) -> Any:
    plain = tuple(unwrap(argument) for argument in arguments)
    try:
        return function(*plain)
    except TypeError:
        # PythonQt turns a float into the int that C++ asks for, and the other way round.
        loose = tuple(int(item) if type(item) is float else item for item in plain)
        if loose == plain and all(type(a) is type(b) for a, b in zip(loose, plain, strict=True)):
            raise
        return function(*loose)


class BoundMethod:
    """A Qt method of one object."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function, self._name = function, name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        _no_keywords(self._name, keywords)
        result = wrap(_call(self._function, self._name, arguments))
        if self._name in NAME_DIALOGS and isinstance(result, tuple):
            return result[0]
        return result


def accepted_arguments(slot: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """As many of the signal's arguments as PythonQt would hand to this slot."""
    function = slot.__func__ if isinstance(slot, types.MethodType) else slot
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return arguments
    limit = code.co_argcount - (1 if isinstance(slot, types.MethodType) else 0)
    return arguments[:limit]


class Signal:
    """A signal of one object."""

    def __init__(self, owner: "Proxy", name: str, signature: str | None = None) -> None:
        self._owner, self._name = owner, name
        self._arguments = None if signature is None else _argument_count(signature)

    def _bound(self) -> Any:
        return getattr(self._owner._q, self._name)

    def _parameter_count(self) -> int:
        if self._arguments is not None:
            return self._arguments
        meta = self._owner._q.metaObject()
        methods = (meta.method(index) for index in range(meta.methodCount()))
        return max(item.parameterCount() for item in methods if bytes(item.name().data()).decode() == self._name)

    def connect(self, slot: Callable[..., Any]) -> bool:
        if not callable(slot):
            raise TypeError(f"signal {self._name} cannot be connected to {slot!r}, which cannot be called")

        def deliver(*arguments: Any) -> None:
            try:
                slot(*accepted_arguments(slot, tuple(wrap(item) for item in arguments)))
            except Exception as error:
                traceback.print_exc()
                slot_errors.append(error)

        # PySide6 counts the parameters of what it calls, and leaves those out that it does not see.
        relays: tuple[Callable[..., None], ...] = (
            lambda: deliver(), lambda a: deliver(a), lambda a, b: deliver(a, b), lambda a, b, c: deliver(a, b, c))
        relay = relays[self._parameter_count()]
        self._owner._relays().append((self._name, slot, relay))
        self._bound().connect(relay)
        return True

    def disconnect(self, slot: Callable[..., Any] | None = None) -> bool:
        kept, removed = [], []
        for entry in self._owner._relays():
            (removed if entry[0] == self._name and slot in (None, entry[1]) else kept).append(entry)
        if slot is not None and not removed:
            raise RuntimeError(f"{slot!r} is not connected to signal {self._name}")
        for _, _, relay in removed:
            self._bound().disconnect(relay)
        self._owner._relays()[:] = kept
        return True

    def emit(self, *arguments: Any) -> None:
        self._bound().emit(*(unwrap(argument) for argument in arguments))

    __call__ = emit


def _argument_count(signature: str) -> int:
    inside = signature[signature.index("(") + 1 : signature.rindex(")")].strip()
    return 0 if not inside else inside.count(",") + 1


class _ProxyType(type):
    """Class-level access: constructors, static methods and enum values."""

    _qt_class: Any

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        _no_keywords(cls.__name__, keywords)
        created = _call(cls._qt_class, cls.__name__, arguments)
        proxy = wrap(created)
        if cls is not type(proxy):  # a Python subclass of a Qt class
            proxy = object.__new__(cls)
            object.__setattr__(proxy, "_q", created)
        if isinstance(created, QtCore.QObject) and created.parent() is None:
            object.__setattr__(proxy, "_owned", created)
        return proxy

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(cls._qt_class, name, _MISSING)
        if value is _MISSING:
            raise AttributeError(f"{cls.__name__} has no attribute '{name}'")
        if isinstance(value, type) and issubclass(value, enum.Enum):
            return types.SimpleNamespace(**{member.name: EnumInt.of(member) for member in value if member.name})
        return BoundMethod(value, name) if callable(value) and not isinstance(value, type) else wrap(value)


class Proxy(metaclass=_ProxyType):
    """One Qt object seen through PythonQt's rules."""

    _qt_class: Any = None
    _q: Any

    def _relays(self) -> list[tuple[str, Any, Any]]:
        # Kept with the Qt object: the proxy may go while the connection lives on.
        relays = self._q.__dict__.setdefault("_cmrsim_relays", []) if hasattr(self._q, "__dict__") else []
        return relays  # type: ignore[no-any-return]

    def _property(self, name: str) -> Any:
        """The QMetaProperty, or None."""
        if not isinstance(self._q, QtCore.QObject):
            return None
        meta = self._q.metaObject()
        index = meta.indexOfProperty(name)
        return None if index < 0 else meta.property(index)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "name" and isinstance(self._q, QtCore.QObject):
            name = "objectName"
        described = self._property(name)
        if described is not None:
            value = self._q.property(name)
            return tuple(value) if isinstance(value, list) else wrap(value)
        if isinstance(self._q, QtCore.QObject):
            if name.encode() in [bytes(item.data()) for item in self._q.dynamicPropertyNames()]:
                return wrap(self._q.property(name))
            if name == "className":
                return lambda: self._q.metaObject().className()
            if isinstance(getattr(type(self._q), name, None), QtCore.Signal):
                return Signal(self, name)
        value = getattr(self._q, name, _MISSING)
        if value is _MISSING:
            raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")
        return BoundMethod(value, name) if callable(value) else wrap(value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "name" and isinstance(self._q, QtCore.QObject):
            name = "objectName"
        described = self._property(name)
        if described is None:
            raise AttributeError(f"{type(self).__name__} has no attribute '{name}' that could be set")
        if not described.isWritable():
            raise AttributeError(f"{type(self).__name__}.{name} cannot be written")
        if not self._q.setProperty(name, _loosely(value, described)):
            raise TypeError(f"{type(self).__name__}.{name} cannot be {value!r}")

    def connect(self, signal: str, slot: Any) -> bool:
        name = self._check_signal(signal)
        return Signal(self, name, signal).connect(slot)

    def disconnect(self, signal: str, slot: Any = None) -> bool:
        return Signal(self, self._check_signal(signal), signal).disconnect(slot)

    def _check_signal(self, signal: str) -> str:
        if "(" not in signal:
            raise ValueError(f"signal '{signal}' lacks its argument list, as in 'clicked(bool)'")
        text = signal.replace(" ", "")
        known = getattr(type(self._q), "SIGNATURES", ())
        found = self._q.metaObject().indexOfSignal(QtCore.QMetaObject.normalizedSignature(text).data().decode()) >= 0
        if not found and text not in known:
            raise ValueError(f"{type(self).__name__} has no signal '{signal}'")
        return text[: text.index("(")]

    def findChild(self, kind: Any, name: str = "") -> Any:
        if isinstance(kind, str):
            kind, name = QtCore.QObject, kind
        return wrap(self._q.findChild(unwrap(kind), name)) if name else wrap(self._q.findChild(unwrap(kind)))

    def findChildren(self, kind: Any, name: str = "") -> list[Any]:
        if isinstance(kind, str):
            kind, name = QtCore.QObject, kind
        found = self._q.findChildren(unwrap(kind), name) if name else self._q.findChildren(unwrap(kind))
        return [wrap(item) for item in found]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proxy) and bool(self._q == other._q)

    def __hash__(self) -> int:
        return hash(self._q)

    def __bool__(self) -> bool:
        return not isinstance(self._q, QtCore.QObject) or shiboken6.isValid(self._q)

    def __repr__(self) -> str:
        return f"<PythonQt {type(self).__name__}>"


def _loosely(value: Any, described: Any) -> Any:
    """`value` as PythonQt would convert it for the property's C++ type."""
    kind = described.typeName()
    if described.isEnumType():
        return unwrap(value)
    if kind in ("int", "uint", "qlonglong") and isinstance(value, (int, float)):
        return int(value)
    if kind in ("double", "float") and isinstance(value, (int, float)):
        return float(value)
    if kind == "bool":
        return bool(value)
    if kind == "QString":
        return str(value)
    if kind == "QStringList":
        return [str(item) for item in value]
    return unwrap(value)


def proxy_class(qt_class: type) -> type:
    """The class that stands for a Qt class, with the same inheritance."""
    if qt_class not in _classes:
        bases = tuple(
            proxy_class(base) for base in qt_class.__bases__
            if base is not shiboken6.Object and issubclass(base, shiboken6.Object))
        _classes[qt_class] = _ProxyType(qt_class.__name__, bases or (Proxy,), {"_qt_class": qt_class})
    return _classes[qt_class]


class QtModule(types.ModuleType):
    """The ``qt`` module: every class of QtCore, QtGui and QtWidgets, and what is put in its place."""

    def __init__(self, replacements: dict[str, type]) -> None:
        super().__init__("qt")
        for name, qt_class in replacements.items():
            setattr(self, name, proxy_class(qt_class))

    def __getattr__(self, name: str) -> Any:
        for module in _SEARCHED:
            value = getattr(module, name, None)
            if isinstance(value, type):
                return proxy_class(value)
        raise AttributeError(f"qt has no class '{name}'")
