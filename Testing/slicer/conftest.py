"""The three modules in the test host."""

import pytest

pytest.importorskip("slicer", reason="needs slicer-core (pip extra 'slicer')")
pytest.importorskip("PySide6", reason="needs PySide6-Essentials (pip extra 'test')")

from Testing.slicer_host import pythonqt
from Testing.slicer_host.host import SlicerHost

CHILD_SECONDS = 120
"""A child starts Python and works on a tiny cine; only a hang takes this long."""


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
def tiny(open_panel):
    """CMRSimulate's panel set to the smallest useful scan."""
    panel = open_panel("CMRSimulate")
    parameters = panel.logic.getParameterNode()
    parameters.matrixSize, parameters.slices, parameters.phases = 64, 2, 3
    return panel


@pytest.fixture
def slot_errors():
    """What slots raised; reading it here means that the test expects it."""
    errors = pythonqt.slot_errors
    yield errors
    errors.clear()


@pytest.fixture
def cine():
    """The cine that tests share which make none of their own."""
    from Testing.slicer.segmented_rings import rings

    return rings()


@pytest.fixture
def segment_panel(open_panel, shown, tiny_bundle):
    """CMRSegment's panel with the cine and the tiny network chosen."""
    opened = open_panel("CMRSegment")
    parameters = opened.logic.getParameterNode()
    parameters.inputNode = shown.proxy
    parameters.model = "folder"
    parameters.modelFolder = tiny_bundle
    return opened


@pytest.fixture
def shown(host, cine):
    """The test's own cine in the scene."""
    from CMRSimExtension.slicer_bridge.sequences import add_cine

    return add_cine(cine, "Cine")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A MONAI bundle of a tiny untrained network: its output is arbitrary, and the same every time."""
    torch = pytest.importorskip("torch", reason="needs torch (pip extra 'segment')")
    from CMRSimExtension.networks.catalogue import build_network
    from CMRSimExtension.segmentation.bundle import write_bundle

    settings = {"widths": (4, 8, 8)}
    torch.manual_seed(3)
    network = build_network("slice_unet", 1, 4, **settings)
    return write_bundle(
        tmp_path_factory.mktemp("models") / "tiny", name="tiny", state=network.state_dict(), network="slice_unet",
        network_settings=settings, classes=("lv_blood", "lv_myocardium", "rv_blood"), description="untrained", size=64)


def node_ids() -> set[str]:
    """Ids of all nodes of the scene."""
    import slicer

    scene = slicer.mrmlScene
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
