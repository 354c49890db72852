"""A scene without the application: what ``slicer-core`` needs before nodes can be made, read and saved."""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import slicer

from CMRSimExtension.slicer_bridge.scene import adopt_logics

LOGICS = {
    "sequences": "vtkSlicerSequencesLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "transforms": "vtkSlicerTransformLogic",
    "tables": "vtkSlicerTablesLogic",
    "plots": "vtkSlicerPlotsLogic",
    "texts": "vtkSlicerTextsLogic",
    "models": "vtkSlicerModelsLogic",
    "colors": "vtkSlicerColorLogic",
}
"""``slicer.modules`` name and logic class of each module whose nodes we use."""


def inside_application() -> bool:
    """Whether this Python runs inside 3D Slicer (or a host that stands for it)."""
    return getattr(slicer, "app", None) is not None


class BareScene:
    """A new, empty ``slicer.mrmlScene`` with the logics that register node classes and storage with it.

    Attributes
    ----------
    scene
        The ``vtkMRMLScene``.
    logics
        Logic by module name (the keys of `LOGICS`), plus ``"application"``.
    """

    def __init__(self) -> None:
        self.scene: Any = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        # Reading archives wants a cache folder of the scene's own; it goes when the scene does.
        cache = Path(tempfile.mkdtemp(prefix="cmrsim-scene-"))
        weakref.finalize(self, shutil.rmtree, cache, ignore_errors=True)
        self.logics: dict[str, Any] = {}
        application = slicer.vtkSlicerApplicationLogic()
        application.SetHomeDirectory(str(cache))
        application.SetShareDirectory("share")
        (cache / "share" / "ColorFiles").mkdir(parents=True)
        (cache / ".slicer-cache").touch()  # marks a folder that the cache may clear
        application.SetTemporaryPath(str(cache))
        application.SetMRMLScene(self.scene)
        self.logics["application"] = application
        for name, class_name in LOGICS.items():
            logic = getattr(slicer, class_name)()
            if hasattr(logic, "SetMRMLApplicationLogic"):
                logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(self.scene)
            self.logics[name] = logic
        adopt_logics(self.scene, {logic.GetClassName(): logic for logic in self.logics.values()})
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(self.scene)
        self._remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        self._remote.AddDataIOToScene()
        self._data = slicer.vtkDataIOManagerLogic()
        self._data.SetMRMLApplicationLogic(application)
        self._data.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
