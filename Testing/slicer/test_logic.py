"""What the logics of the three modules have in common."""

import gc
import sys
from types import FunctionType

import slicer


def forgetters() -> int:
    """Callbacks of logics that some scene still holds."""
    gc.collect()
    return sum(type(item) is FunctionType and item.__name__ == "forget_view" for item in gc.get_objects())


def test_a_logic_that_is_gone_leaves_nothing_with_the_scene(host):
    module = sys.modules.get("CMRTagged") or host.load_module("CMRTagged")
    before = forgetters()
    for _ in range(3):
        module.CMRTaggedLogic().getParameterNode()
    slicer.mrmlScene.InvokeEvent(slicer.vtkMRMLScene.EndImportEvent)
    assert forgetters() <= before
