"""What the three modules' logics have in common: the parameter node, and tasks that run here or in a child process."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from CMRSimExtension.slicer_bridge import jobs
from CMRSimExtension.slicer_bridge.scene import AllOrNothing

Values = dict[str, Any]


def _done(values: Values) -> str:
    return str(_("Done"))


@dataclass(frozen=True)
class Task:
    """One piece of work for the library, and what becomes of its result.

    A logic makes it from the parameters and finds everything that can be wrong with them; nothing has run yet, and the
    parameters may change while it runs.

    Attributes
    ----------
    kind, values
        As `jobs.run`.
    add
        Adds the values that the job gave to the scene and returns the nodes.
    show
        Brings those nodes into the views.
    summary
        A line for the user on what came out.
    """

    kind: str
    values: Values
    add: Callable[[Values], Any] = lambda values: None
    show: Callable[[Any], None] = lambda nodes: None
    summary: Callable[[Values], str] = _done

    def run_here(self, progress: jobs.Progress | None = None) -> Any:
        """Run in this process and add the result to the scene; returns the nodes.

        Raises
        ------
        CMRSimError
            If the library cannot use the input; the scene is as it was.
        """
        values = jobs.run(self.kind, self.values, progress or (lambda share, text: None))
        with AllOrNothing():
            return self.add(values)


class ModuleLogic(ScriptedLoadableModuleLogic):
    """A module's logic; runs without a panel.

    Subclasses name the class of their parameter node, made by ``@parameterNodeWrapper``, in `parameterNodeClass`.
    """

    parameterNodeClass: Any = None

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._view: Any = None
        # The scene lives longer than a logic that a script has made: it must not keep it.
        logic = weakref.ref(self)

        def forget_view(caller: Any, event: Any) -> None:
            found = logic()
            if found is None:
                caller.RemoveObserver(tag)  # with it goes the last that is left of the logic
            else:
                found._view = None

        # A view that was there while a scene was read has taken nodes that came after the parameters for missing.
        tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, forget_view)

    def getParameterNode(self) -> Any:
        """The typed view of the module's parameter node; the same one until the scene is closed or another is read.

        Two views of one node each keep a copy of its values, and VTK does not say which of them hears of a change
        first: a panel would now and then show what a script has just replaced. With one view there is one copy.
        """
        node = super().getParameterNode()
        # A scene that closes keeps the node and empties it: a new view fills it with the defaults again.
        if self._view is None or self._view.parameterNode is not node or node.GetParameterCount() == 0:
            self._view = self.parameterNodeClass(node)
        return self._view
