"""Where results appear in the subject hierarchy: beside the source they were made from."""

from typing import Any

import slicer


def _hierarchy() -> Any:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        raise RuntimeError("the scene has no subject hierarchy; start from a scene of 3D Slicer or a BareScene")
    return hierarchy


def item_of(node: Any) -> int:
    """The node's item in the subject hierarchy.

    The application makes an item for every node as it enters the scene; without the application nobody does, so it is
    made here.
    """
    hierarchy = _hierarchy()
    item: int = hierarchy.GetItemByDataNode(node)
    return item or int(hierarchy.CreateItem(hierarchy.GetSceneItemID(), node))


def place_beside(node: Any, source: Any) -> None:
    """Give `node` the parent that `source` has in the subject hierarchy (its study or folder, else the scene)."""
    hierarchy = _hierarchy()
    hierarchy.SetItemParent(item_of(node), hierarchy.GetItemParent(item_of(source)))


def place_in_folder(nodes: list[Any], name: str) -> int:
    """Gather `nodes` in a new folder item `name`, so that one simulated subject is one entry; returns the folder."""
    hierarchy = _hierarchy()
    items = [item_of(node) for node in nodes]  # before the folder, which no error may leave behind empty
    folder: int = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), hierarchy.GenerateUniqueItemName(name))
    for item in items:
        hierarchy.SetItemParent(item, folder)
    return folder
