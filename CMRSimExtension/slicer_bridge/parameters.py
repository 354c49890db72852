"""One typed view of a parameter node for a logic and its panel."""

from typing import Any


class KeptView:
    """Gives out the same typed view as long as the parameter node is the same.

    Two views of one node each keep a copy of its values, and VTK does not say which of them hears of a change first: a
    panel would now and then show what a script has just replaced. With one view there is one copy.

    Parameters
    ----------
    view_class
        A class made by ``@parameterNodeWrapper``.
    """

    def __init__(self, view_class: Any) -> None:
        self._class = view_class
        self._view: Any = None

    def of(self, node: Any) -> Any:
        """The view of a ``vtkMRMLScriptedModuleNode``."""
        # A scene that closes keeps the node and empties it: a new view fills it with the defaults again.
        if self._view is None or self._view.parameterNode is not node or node.GetParameterCount() == 0:
            self._view = self._class(node)
        return self._view
