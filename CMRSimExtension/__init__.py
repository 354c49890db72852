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
    from CMRSimExtension.anatomy.label_image import LabelAnatomy
    from CMRSimExtension.anatomy.material import Anatomy, HeartFrame, Material, Moment
    from CMRSimExtension.anatomy.structures import Structure, Tissue
    from CMRSimExtension.anatomy.subject import Subject
    from CMRSimExtension.anatomy.xcat import XcatAnatomy
    from CMRSimExtension.errors import CMRSimError
    from CMRSimExtension.files.cine_files import read_cine, write_cine
    from CMRSimExtension.files.formats import read_image
    from CMRSimExtension.scanner.geometry import ImageGrid
    from CMRSimExtension.scanner.protocol import Protocol
    from CMRSimExtension.simulation.cine import Cine
    from CMRSimExtension.simulation.record import simulate_again
    from CMRSimExtension.simulation.simulate import simulate

_HOME = {
    "Anatomy": "anatomy.material",
    "CMRSimError": "errors",
    "CardiacFunction": "anatomy.function",
    "Cine": "simulation.cine",
    "HeartFrame": "anatomy.material",
    "ImageGrid": "scanner.geometry",
    "LabelAnatomy": "anatomy.label_image",
    "Material": "anatomy.material",
    "Moment": "anatomy.material",
    "Protocol": "scanner.protocol",
    "Structure": "anatomy.structures",
    "Subject": "anatomy.subject",
    "Tissue": "anatomy.structures",
    "XcatAnatomy": "anatomy.xcat",
    "read_cine": "files.cine_files",
    "read_image": "files.formats",
    "simulate": "simulation.simulate",
    "simulate_again": "simulation.record",
    "write_cine": "files.cine_files",
}

__all__ = [
    "Anatomy",
    "CMRSimError",
    "CardiacFunction",
    "Cine",
    "HeartFrame",
    "ImageGrid",
    "LabelAnatomy",
    "Material",
    "Moment",
    "Protocol",
    "Structure",
    "Subject",
    "Tissue",
    "XcatAnatomy",
    "__version__",
    "read_cine",
    "read_image",
    "simulate",
    "simulate_again",
    "write_cine",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
