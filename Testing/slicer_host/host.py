"""Starts modules: puts ``qt``, ``ctk`` and what ``slicer`` lacks in place, and opens panels."""

import importlib
import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtWidgets

from Testing.slicer_host import ctk_widgets, mrml_widgets, pythonqt
from Testing.slicer_host.application import HostScene, Module
from Testing.slicer_host.scripted_module import stand_in_modules
from Testing.slicer_host.ui_loader import HostUiLoader

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE_VARIABLE = "SLICER_SOURCE_DIR"
REAL_MODULES = (
    "slicer.i18n", "slicer.packaging", "slicer.ScriptedLoadableModule", "slicer.parameterNodeWrapper")


def slicer_sources() -> Path | None:
    """The ``slicer`` Python package of a checkout of Slicer, where the environment names one.

    Raises
    ------
    FileNotFoundError
        If the variable is set and there is no such package: a check that was asked for must not be skipped.
    """
    named = os.environ.get(SOURCE_VARIABLE)
    if not named:
        return None
    package = Path(named) / "Base" / "Python" / "slicer"
    if not (package / "ScriptedLoadableModule.py").is_file():
        raise FileNotFoundError(f"{SOURCE_VARIABLE} is {named}, which has no Base/Python/slicer of Slicer's sources")
    return package


def module_file(name: str) -> Path:
    """Where a scripted module's file lies; in the source tree, in a folder of its own."""
    return REPOSITORY / name / f"{name}.py"


class ModuleEntry(Module):
    """``slicer.modules.x`` of a scripted module, and the ``parent`` that its class describes itself to."""

    __slots__ = ("acknowledgementText", "associatedNodeTypes", "categories", "contributors", "dependencies",
                 "helpText", "hidden", "icon", "title")


class SlicerHost:
    """One running pretence of the application.

    Attributes
    ----------
    scene
        The current `HostScene`.
    real
        Whether Slicer's own Python classes are in use.
    """

    def __init__(self) -> None:
        existing = QtWidgets.QApplication.instance()
        self._qt_application = existing or QtWidgets.QApplication(["slicer-host"])
        QtCore.QCoreApplication.setOrganizationName("cmrsim-test-host")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        self.real = self._install()
        self.selected_modules: list[str] = []
        # Without a main window there is no module selector: what would be opened is noted.
        slicer.util.selectModule = self.selected_modules.append
        self.scene = HostScene()
        self._attach()

    def _install(self) -> bool:
        sys.modules["qt"] = pythonqt.QtModule({"QUiLoader": HostUiLoader})
        ctk = types.ModuleType("ctk")
        for widget in ctk_widgets.WIDGETS:
            setattr(ctk, widget.__name__, pythonqt.proxy_class(widget))
        sys.modules["ctk"] = ctk
        for widget in mrml_widgets.WIDGETS:
            setattr(slicer, widget.__name__, pythonqt.proxy_class(widget))
        slicer.selfTests = {}
        package = slicer_sources()
        if package is None:
            for name, module in stand_in_modules().items():
                sys.modules[name] = module
                setattr(slicer, name.removeprefix("slicer."), module)
            return False
        slicer.__path__.append(str(package))
        # i18n asks for slicer.app while the others are imported.
        slicer.app = types.SimpleNamespace(translate=lambda context, text: text)
        for name in REAL_MODULES:
            setattr(slicer, name.removeprefix("slicer."), importlib.import_module(name))
        return True

    def _attach(self) -> None:
        slicer.app = self.scene.application
        slicer.modules = self.scene.modules

    def new_scene(self) -> Any:
        """A fresh scene and application state; returns the ``vtkMRMLScene``."""
        entries = [entry for entry in vars(slicer.modules).values() if isinstance(entry, ModuleEntry)]
        self.scene = HostScene()
        self._attach()
        for entry in entries:
            setattr(slicer.modules, entry.name.lower(), entry)
        pythonqt.slot_errors.clear()
        return self.scene.scene

    def load_module(self, name: str) -> types.ModuleType:
        """Import a scripted module as Slicer does (its own folder alone on the path) and register it."""
        path = module_file(name)
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        specification = importlib.util.spec_from_file_location(name, path)
        if specification is None or specification.loader is None:
            raise ImportError(f"there is no module {path}")
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        specification.loader.exec_module(module)
        entry = ModuleEntry(name, str(path))
        setattr(slicer.modules, name.lower(), entry)
        getattr(module, name)(entry)
        return module

    def open_panel(self, name: str) -> Any:
        """The module's widget, set up inside a parent as the application makes one, and entered."""
        module = sys.modules.get(name) or self.load_module(name)
        parent = slicer.qSlicerWidget()
        parent.setMRMLScene(slicer.mrmlScene)
        widget = getattr(module, f"{name}Widget")(parent)
        widget.setup()
        parent.isEntered = True
        if hasattr(widget, "enter"):
            widget.enter()
        return widget

    def close_panel(self, widget: Any) -> None:
        """Leave and clean up, as when the application closes."""
        if hasattr(widget, "exit"):
            widget.exit()
        widget.cleanup()
        widget.parent.deleteLater()
        QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)

    def run_until(self, finished: Any, seconds: float) -> bool:
        """Let Qt work until `finished()` is true; False if it did not become so in time."""
        timer = QtCore.QElapsedTimer()
        timer.start()
        while not finished():
            if timer.elapsed() > seconds * 1000:
                return False
            QtWidgets.QApplication.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 20)
        return True
