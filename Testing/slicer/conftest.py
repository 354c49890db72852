"""The three modules in the test host."""

import pytest

pytest.importorskip("slicer", reason="needs slicer-core (pip extra 'slicer')")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials (pip extra 'test')")

from Testing.slicer_host import pythonqt
from Testing.slicer_host.host import SlicerHost


@pytest.fixture(scope="session")
def application() -> SlicerHost:
    return SlicerHost()


@pytest.fixture
def host(application):
    """The application with a new scene. A slot that raised, and was not expected to, fails the test."""
    application.new_scene()
    yield application
    unexpected = list(pythonqt.slot_errors)
    pythonqt.slot_errors.clear()
    assert unexpected == []


@pytest.fixture
def open_panel(host):
    """Opens panels and closes them after the test."""
    opened = []

    def open_one(name: str):
        opened.append(host.open_panel(name))
        return opened[-1]

    yield open_one
    for panel in opened:
        host.close_panel(panel)


@pytest.fixture
def slot_errors():
    """What slots raised; reading it here means that the test expects it."""
    errors = pythonqt.slot_errors
    yield errors
    errors.clear()
