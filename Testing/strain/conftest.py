import importlib.util
import sys
from pathlib import Path

import pytest

_NAME = "beating_cylinder"


def _load():
    # The phantom of the tagging tests.
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).parents[1] / "tagging" / f"{_NAME}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
        spec.loader.exec_module(module)
    return sys.modules[_NAME]


@pytest.fixture(scope="session")
def cylinder():
    return _load().BeatingCylinder


@pytest.fixture(scope="session")
def beating(cylinder):
    """A small cine with truth, shared by tests that only read it."""
    return cylinder().cine()
