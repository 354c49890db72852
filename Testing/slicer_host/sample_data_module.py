"""The Sample Data module: Slicer's own where its sources are, else one that is as strict about an entry."""

import importlib.util
import types
from typing import Any

import slicer

from Testing.slicer_host.host import slicer_sources


class SampleDataSource:
    """One entry. Slicer gives every address a file name, a node name and so on, and so counts addresses first.

    With one address as text, what is missing becomes one None; without any address nothing can be counted.
    """

    def __init__(self, **entry: Any) -> None:
        addresses = entry.get("uris")
        if not isinstance(addresses, str):
            raise TypeError(f"the addresses are {addresses!r}: here only a single one, as text, is known")
        for name in ("sampleName", "thumbnailFileName", "customDownloader"):
            setattr(self, name, entry.pop(name, None))
        self.uris = [entry.pop("uris")]
        if entry:
            raise TypeError(f"entries have no {', '.join(entry)} here")


class SampleDataLogic:
    """Keeps the entries where the module's panel looks for them."""

    @staticmethod
    def registerCustomSampleDataSource(category: str = "Custom", **entry: Any) -> None:  # noqa: N802
        known = vars(slicer.modules).setdefault("sampleDataSources", {}).setdefault(category, [])
        source = SampleDataSource(**entry)
        if source.sampleName not in [other.sampleName for other in known]:
            known.append(source)


def sample_data_module() -> types.ModuleType:
    """What ``import SampleData`` is to give."""
    package = slicer_sources()
    if package is None:
        module = types.ModuleType("SampleData")
        vars(module).update(SampleDataLogic=SampleDataLogic, SampleDataSource=SampleDataSource)
    else:
        path = package.parents[2] / "Modules" / "Scripted" / "SampleData" / "SampleData.py"
        specification = importlib.util.spec_from_file_location("SampleData", path)
        if specification is None or specification.loader is None:
            raise ImportError(f"there is no module {path}")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    return module
