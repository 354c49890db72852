"""What 3D Slicer's side costs beyond the library: 25 frames of 10 slices of 256 x 256, in and out of the scene.

The aim is under 1 s for nodes and child process together, the start of a child with torch in it apart.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core (pip extra 'slicer')")

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge import jobs
from CMRSimExtension.slicer_bridge.bare_scene import BareScene
from CMRSimExtension.slicer_bridge.process import ChildJob
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames, labels_of_node
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node
from CMRSimExtension.slicer_bridge.store import read_values, write_values
from CMRSimExtension.slicer_bridge.tagging_nodes import add_tagged

ROUNDS = 3


@pytest.fixture(scope="module")
def cine() -> Cine:
    rng = np.random.default_rng(1)
    shape = (25, 10, 256, 256)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[:, 1:9, 100:150, 100:150] = 2
    labels[:, 1:9, 110:140, 110:140] = 1
    labels[:, 2:7, 105:145, 60:98] = 3
    return Cine(
        rng.random(shape, dtype=np.float32), ImageGrid(np.diag([1.4, 1.4, -10.0, 1.0]), shape[1:], 8.0),
        times_ms=np.tile(np.arange(25) * 35.0, (10, 1)), labels=labels)


@pytest.fixture
def scene():
    return BareScene()


def test_a_cine_and_its_segmentation_enter_the_scene(benchmark, scene, cine):
    def add():
        add_label_frames(cine.labels, cine.grid, "Heart", add_cine(cine, "Cine"))

    benchmark.pedantic(add, rounds=ROUNDS, iterations=1)


def test_a_cine_is_read_from_the_scene(benchmark, scene, cine):
    node = add_cine(cine, "Cine").proxy
    benchmark.pedantic(cine_of_node, (node,), rounds=ROUNDS, iterations=1)


def test_a_segmentation_sequence_is_read_from_the_scene(benchmark, scene, cine):
    node = add_label_frames(cine.labels, cine.grid, "Heart", add_cine(cine, "Cine")).proxy
    benchmark.pedantic(labels_of_node, (node, cine.grid), rounds=ROUNDS, iterations=1)


def test_a_cine_goes_to_a_child_process_and_back(benchmark, cine, tmp_path):
    def there_and_back():
        write_values(tmp_path, {"cine": cine})
        read_values(tmp_path)

    benchmark.pedantic(there_and_back, rounds=ROUNDS, iterations=1)


def test_a_child_process_starts_and_ends(benchmark):
    """Numpy and the library's bare values; the job itself is refused at once."""

    def start():
        with pytest.raises(ValueError, match="there is no job"):
            ChildJob("nothing", {}).result()

    benchmark.pedantic(start, rounds=ROUNDS, iterations=1)


def test_a_cine_in_the_scene_is_tagged_and_added_to_it(benchmark, scene, cine):
    """All of it, with the static grid, whose tagging costs least; a fresh Python's import of what tags comes with it.

    The saved results also hold the processor's time, which other work leaves as it is: ``cpu_s`` of both processes in
    one round, and ``library_cpu_s`` of the tagging itself.
    """
    nodes = add_cine(cine, "Cine")
    heart = add_label_frames(cine.labels, cine.grid, "Heart", nodes)
    options = {"method": "paper", "spacing_px": 5.0, "flip_deg": 70.0}

    def request() -> dict:
        read = cine_of_node(nodes.proxy)
        return {
            "cine": read, "labels": labels_of_node(heart.proxy, read.grid)[0], "options": options, "seed": 1}

    def tag():
        add_tagged(ChildJob("tag", request()).result()["cine"], "Tagged", nodes.proxy, keep_motion=False)

    def cpu_s() -> float:
        return sum(os.times()[:4])

    values = request()
    for _ in range(2):  # the first imports, too
        before = cpu_s()
        jobs.run("tag", values, lambda share, text: None)
    benchmark.extra_info["library_cpu_s"] = cpu_s() - before
    before = cpu_s()
    benchmark.pedantic(tag, rounds=ROUNDS, iterations=1)
    benchmark.extra_info["cpu_s"] = (cpu_s() - before) / ROUNDS


def test_torch_and_monai_are_imported_in_a_child_process(benchmark):
    """Its own line: the price of a network, not of the bridge."""
    command = [sys.executable, "-c", "import CMRSimExtension.segmentation.job"]
    benchmark.pedantic(subprocess.run, (command,), {"check": True}, rounds=2, iterations=1)
