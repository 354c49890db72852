"""The scene that results go to, the module logics that serve it, and all-or-nothing changes to it."""

import weakref
from types import TracebackType
from typing import Any

import slicer

from CMRSimExtension.errors import InputError

ATTRIBUTE_PREFIX = "CMRSimExtension."
"""Every node attribute and node reference role that we write starts with this."""

_own_logics: "weakref.WeakKeyDictionary[Any, dict[str, Any]]" = weakref.WeakKeyDictionary()


def module_logic(module_name: str, class_name: str) -> Any:
    """The logic that serves the current scene.

    In the application this is the module's own (`slicer.modules.sequences.logic()`), which the views and widgets share.
    Without the application (``slicer-core``) there are no modules, so one logic of the class is made for each scene.

    Parameters
    ----------
    module_name
        As in ``slicer.modules``, e.g. ``"sequences"``.
    class_name
        As in ``slicer``, e.g. ``"vtkSlicerSequencesLogic"``.
    """
    module = getattr(getattr(slicer, "modules", None), module_name, None)
    # A scene of its own (a `BareScene`) is not served by the application's logics, even inside the application.
    if module is not None and module.logic().GetMRMLScene() == slicer.mrmlScene:
        return module.logic()
    logics = _own_logics.setdefault(slicer.mrmlScene, {})
    if class_name not in logics:
        logic = getattr(slicer, class_name)()
        logic.SetMRMLScene(slicer.mrmlScene)
        logics[class_name] = logic
    return logics[class_name]


def adopt_logics(scene: Any, logics: dict[str, Any]) -> None:
    """Let `module_logic` answer with these (by class name) for `scene`: two logics on one scene would work twice."""
    _own_logics.setdefault(scene, {}).update(logics)


def sequences_logic() -> Any:
    """The logic that keeps proxy nodes and sequences in step (``vtkSlicerSequencesLogic``)."""
    return module_logic("sequences", "vtkSlicerSequencesLogic")


def segmentations_logic() -> Any:
    """The logic that converts between label maps, segments and closed surfaces."""
    return module_logic("segmentations", "vtkSlicerSegmentationsModuleLogic")


def new_node(class_name: str, name: str) -> Any:
    """A new node in the current scene, under a name no other node has.

    Raises
    ------
    RuntimeError
        If this Slicer does not know the class (``AddNewNodeByClass`` would answer None).
    """
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, slicer.mrmlScene.GenerateUniqueName(name))
    if node is None:
        raise RuntimeError(f"this 3D Slicer cannot make a {class_name}; version 5.10 or later is needed")
    return node


def require(node: Any, class_names: tuple[str, ...], what: str) -> Any:
    """`node` if it is of one of the classes.

    Raises
    ------
    InputError
        If there is no node, or it is of another class; `what` says in the user's words what was asked for.
    """
    if node is None:
        raise InputError(f"no {what} is selected; choose one and press Apply again")
    if not any(node.IsA(name) for name in class_names):
        raise InputError(
            f"'{node.GetName()}' is a {node.GetNodeTagName()} node, where a {what} is needed; choose another node")
    return node


def get_attribute(node: Any, name: str) -> str | None:
    """The value of one of our attributes, or None."""
    value: str | None = node.GetAttribute(ATTRIBUTE_PREFIX + name)
    return value


def set_attribute(node: Any, name: str, value: str) -> None:
    """Keep `value` as one of our attributes of `node`."""
    node.SetAttribute(ATTRIBUTE_PREFIX + name, value)


class AllOrNothing:
    """A block of scene changes that leaves nothing behind if it fails.

    Every node that was added to the scene since the block began is removed again when the block raises, so an error or
    a cancel leaves the scene as it was. Blocks may only add nodes and change those they added.

    Examples
    --------
    >>> with AllOrNothing():            # doctest: +SKIP
    ...     add_cine(cine, "Cine")
    """

    def __init__(self) -> None:
        self._scene = slicer.mrmlScene
        self._before: set[str] = set()

    def __enter__(self) -> "AllOrNothing":
        # By MRML id: the Python object of a node may go and come back as another one while the node stays.
        self._before = {node.GetID() for node in self._nodes()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            return
        added = [node for node in reversed(self._nodes()) if node.GetID() not in self._before]
        # Browsers first: one that lives makes a new proxy node for each that is removed.
        added.sort(key=lambda node: not node.IsA("vtkMRMLSequenceBrowserNode"))
        for node in added:
            if self._scene.IsNodePresent(node):
                self._scene.RemoveNode(node)

    def _nodes(self) -> list[Any]:
        collection = self._scene.GetNodes()
        return [collection.GetItemAsObject(index) for index in range(collection.GetNumberOfItems())]
