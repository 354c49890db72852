"""Stand-ins for ``slicer.ScriptedLoadableModule``, ``slicer.i18n`` and ``slicer.packaging``.

Own work after their documented behaviour; ``SLICER_SOURCE_DIR`` swaps in the real ones.
"""

import importlib.metadata
import re
import types
import unittest
from pathlib import Path
from typing import Any

import slicer

from Testing.slicer_host import parameter_node


class ScriptedLoadableModule:
    """Describes the module to the application."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        icon = Path(parent.path).parent / "Resources" / "Icons" / f"{self.moduleName}.svg"
        if not icon.is_file():
            icon = icon.with_suffix(".png")
        if icon.is_file():
            import qt

            parent.icon = qt.QIcon(str(icon))

    def resourcePath(self, filename: str) -> str:  # noqa: N802
        return str(Path(self.parent.path).parent / "Resources" / filename)


class ScriptedLoadableModuleWidget:
    """The panel."""

    def __init__(self, parent: Any = None) -> None:
        import qt

        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if parent is None:
            parent = slicer.qMRMLWidget()
            parent.setLayout(qt.QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, filename: str) -> str:  # noqa: N802
        path = getattr(slicer.modules, self.moduleName.lower()).path
        return str(Path(path).parent / "Resources" / filename)

    def setup(self) -> None:
        """Overridden by the panel."""

    def cleanup(self) -> None:
        """Overridden by the panel."""


class ScriptedLoadableModuleLogic:
    """Finds or makes the parameter node of the module."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:  # noqa: N802
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
            node = slicer.mrmlScene.AddNode(node)
        node.SetAttribute("ModuleName", self.moduleName)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """What *Reload and Test* runs."""

    def delayDisplay(self, message: str, requestedDelay: Any = None, msec: Any = None) -> None:  # noqa: N802, N803
        """Only shows a message in the application."""

    def runTest(self) -> None:  # noqa: N802
        for name in dir(self):
            if name.startswith("test"):
                self.setUp()
                getattr(self, name)()
                self.tearDown()


def tr(text: str) -> str:
    """No translation; an f-string that reached ``_()`` is caught by the test of the sources."""
    return text


def translate(context: str, text: str) -> str:
    return text


def load_requirements(path: str | Path) -> list[str]:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def pip_ensure(requirements: Any, **options: Any) -> None:
    """Nothing is installed in a test; what is missing fails, as in Slicer when the user declines."""
    for requirement in requirements:
        name = re.split(r"[<>=!~\[; ]", str(requirement))[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise RuntimeError(f"User declined to install {requirement}") from None


def stand_in_modules() -> dict[str, types.ModuleType]:
    """The modules by the name that panels import them by."""
    def module(name: str, **members: Any) -> types.ModuleType:
        made = types.ModuleType(name)
        made.__dict__.update(members)
        return made

    classes = (
        ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest)
    scripted = module("slicer.ScriptedLoadableModule", **{item.__name__: item for item in classes})
    scripted.__all__ = [item.__name__ for item in classes]  # type: ignore[attr-defined]
    names = ("Choice", "Decimals", "Default", "SingleStep", "WithinRange", "parameterNodeWrapper")
    return {
        "slicer.ScriptedLoadableModule": scripted,
        "slicer.parameterNodeWrapper": module(
            "slicer.parameterNodeWrapper", **{name: getattr(parameter_node, name) for name in names}),
        "slicer.i18n": module("slicer.i18n", tr=tr, translate=translate),
        "slicer.packaging": module(
            "slicer.packaging", load_requirements=load_requirements, pip_ensure=pip_ensure),
    }
