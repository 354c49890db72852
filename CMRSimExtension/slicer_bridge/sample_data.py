"""Sample data made by the simulator on first use, and kept for the next: nothing is downloaded."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from CMRSimExtension.errors import Cancelled
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.slicer_bridge.process import POLL_MS, ChildJob
from CMRSimExtension.slicer_bridge.scene import AllOrNothing
from CMRSimExtension.slicer_bridge.simulating import add_simulation
from CMRSimExtension.slicer_bridge.store import RECORD, read_values, write_values
from CMRSimExtension.slicer_bridge.tagging_nodes import add_tagged
from CMRSimExtension.slicer_bridge.views import play, show_volume
from CMRSimExtension.version import __version__

CATEGORY = "CMRSimExtension"
CINE_NAME, TAGGED_NAME = "SimulatedCine", "SimulatedTaggedCine"
SEED = 20
SAMPLE_PHASES, SAMPLE_MATRIX = 20, 160


def cine_request() -> dict[str, Any]:
    """Arguments of the ``simulate`` job for the sample: a normal subject at 1.5 T, quick to make."""
    preset = Protocol.preset("siemens_1.5t")
    rows = round(preset.matrix[0] * SAMPLE_MATRIX / max(preset.matrix))
    pixel = max(preset.fov_mm[0] / rows, preset.fov_mm[1] / SAMPLE_MATRIX)
    protocol = preset.replace(
        matrix=(rows, SAMPLE_MATRIX), phases=SAMPLE_PHASES, acquired_resolution_mm=(pixel, pixel))
    return {
        "source": "parametric", "anatomy": {"pathology": "normal"}, "protocol": protocol.as_dict(), "plane": "sax",
        "truth": ["labels", "motion"], "seed": SEED, "faults": {}}


def register(icons: Path) -> None:
    """Add our entries to the Sample Data module; `icons` holds their thumbnails.

    They are for its panel: the module's own ``downloadSample`` fetches addresses only, so scripts call `load_cine` and
    `load_tagged`.
    """
    import SampleData  # type: ignore[import-not-found]

    logic = SampleData.SampleDataLogic
    for name, make in ((CINE_NAME, load_cine), (TAGGED_NAME, load_tagged)):
        logic.registerCustomSampleDataSource(
            # Nothing is fetched from the address, but the module counts on every entry having one.
            category=CATEGORY, sampleName=name, uris=f"cmrsim:{name}",
            thumbnailFileName=str(icons / f"{name}.png"), customDownloader=_entry(make))


def _entry(make: Callable[[], Any]) -> Callable[[Any], Any]:
    def download(source: Any = None) -> Any:
        with slicer.util.tryWithErrorDisplay("The sample could not be made."):
            try:
                return make()
            except Cancelled:  # the user knows
                return None

    return download


def cache_folder() -> Path:
    """Where made samples are kept: Slicer's cache of downloaded data."""
    return Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / f"CMRSimExtension-{__version__}"


def made(name: str, kind: str, request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The values of a sample: from the cache, or made now in a child process behind a dialog that can cancel.

    Parameters
    ----------
    request
        Gives the arguments of the ``kind`` job; called only if the sample has to be made, and may make another first.

    Raises
    ------
    Cancelled
        If the user has cancelled it; nothing is kept.
    """
    import qt

    folder = cache_folder() / name
    if (folder / RECORD).is_file():
        return read_values(folder)
    values = request()  # before the dialog: what it makes first shows one of its own
    # Modal to all windows: what a click starts meanwhile would run inside this loop.
    dialog = slicer.util.createProgressDialog(
        labelText=f"Making {name}", maximum=100, windowModality=qt.Qt.ApplicationModal)
    job = None

    def show(share: float, text: str) -> None:
        dialog.value = int(share * 100)

    try:
        job = ChildJob(kind, values, show)
        while not job.poll():
            slicer.app.processEvents()
            if dialog.wasCanceled:
                raise Cancelled(f"{name} was cancelled; nothing was added")
            time.sleep(POLL_MS / 1000.0)
        result = job.result()
    except BaseException:
        if job is not None:
            job.cancel()
        raise
    finally:
        dialog.close()
    write_values(folder, result)
    return result


def load_cine() -> Any:
    """The simulated cine with its truths; returns its proxy volume."""
    values = made(CINE_NAME, "simulate", cine_request)
    with AllOrNothing():
        nodes = add_simulation(values["cine"], CINE_NAME)
    show_volume(nodes.cine.proxy)
    play(nodes.cine.browser)
    return nodes.cine.proxy


def load_tagged() -> Any:
    """The same subject tagged, with its labels; returns its proxy volume."""

    def request() -> dict[str, Any]:
        cine = made(CINE_NAME, "simulate", cine_request)["cine"]
        return {"cine": cine, "options": {}, "seed": SEED, "displacement": cine.displacement_mm}

    values = made(TAGGED_NAME, "tag", request)
    with AllOrNothing():
        nodes = add_tagged(values["cine"], TAGGED_NAME, None, keep_motion=False)
    show_volume(nodes.cine.proxy)
    play(nodes.cine.browser)
    return nodes.cine.proxy
