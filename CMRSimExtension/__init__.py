"""Cardiac magnetic resonance images that are simulated, tagged and segmented: the library behind `cmrsim` and Slicer.

Nothing heavy is imported here; each public name is loaded from its module when it is first used.

Examples
--------
>>> import CMRSimExtension as cmrsim
>>> cmrsim.Moment(cardiac=0.35).cardiac
0.35
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from CMRSimExtension.version import __version__

if TYPE_CHECKING:
    from CMRSimExtension.anatomy.function import CardiacFunction
    from CMRSimExtension.anatomy.material import Anatomy, HeartFrame, Material, Moment
    from CMRSimExtension.anatomy.structures import Structure, Tissue
    from CMRSimExtension.errors import CMRSimError
    from CMRSimExtension.files.cine_files import read_cine, write_cine
    from CMRSimExtension.scanner.geometry import ImageGrid
    from CMRSimExtension.simulation.cine import Cine

_HOME = {
    "Anatomy": "anatomy.material",
    "CMRSimError": "errors",
    "CardiacFunction": "anatomy.function",
    "Cine": "simulation.cine",
    "HeartFrame": "anatomy.material",
    "ImageGrid": "scanner.geometry",
    "Material": "anatomy.material",
    "Moment": "anatomy.material",
    "Structure": "anatomy.structures",
    "Tissue": "anatomy.structures",
    "read_cine": "files.cine_files",
    "write_cine": "files.cine_files",
}

__all__ = [
    "Anatomy",
    "CMRSimError",
    "CardiacFunction",
    "Cine",
    "HeartFrame",
    "ImageGrid",
    "Material",
    "Moment",
    "Structure",
    "Tissue",
    "__version__",
    "read_cine",
    "write_cine",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
