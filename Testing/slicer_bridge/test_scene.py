"""Failed work leaves no trace, and a child process ends with all that it started."""

import os
import time

import numpy as np
import pytest
import slicer

from CMRSimExtension.errors import Cancelled, InputError
from CMRSimExtension.slicer_bridge.process import ChildJob, JobFailed
from CMRSimExtension.slicer_bridge.scene import AllOrNothing, new_node
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames
from CMRSimExtension.slicer_bridge.sequences import add_cine
from CMRSimExtension.slicer_bridge.store import read_values, write_values


def ids(scene) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def test_a_failed_block_leaves_the_scene_as_it_was(scene, cine):
    new_node("vtkMRMLTableNode", "before")
    before = ids(scene)
    with pytest.raises(InputError), AllOrNothing():
        nodes = add_cine(cine, "Cine")
        add_label_frames(cine.labels[:2], cine.grid, "too short", nodes)
    assert ids(scene) == before


def test_a_cancelled_block_leaves_the_scene_as_it_was(scene, cine):
    before = ids(scene)
    with pytest.raises(Cancelled), AllOrNothing():
        add_cine(cine, "Cine")
        raise Cancelled("enough")
    assert ids(scene) == before


def test_a_block_that_succeeds_keeps_what_it_added(scene, cine):
    with AllOrNothing():
        add_cine(cine, "Cine")
    assert scene.GetFirstNodeByName("Cine") is not None


def test_an_unknown_node_class_is_an_error_not_a_none(scene):
    with pytest.raises(RuntimeError, match="cannot make a vtkMRMLNoSuchNode"):
        new_node("vtkMRMLNoSuchNode", "none")


def test_values_come_back_from_a_folder(tmp_path, cine):
    write_values(tmp_path, {"kind": "x", "cine": cine, "grid": cine.grid, "number": 3, "array": cine.labels})
    back = read_values(tmp_path)
    np.testing.assert_array_equal(back["cine"].image, cine.image)
    np.testing.assert_array_equal(back["cine"].times_ms, cine.times_ms)
    np.testing.assert_array_equal(back["grid"].affine_ras, cine.grid.affine_ras)
    np.testing.assert_array_equal(back["array"], cine.labels)
    assert (back["number"], back["cine"].sidecar, back["cine"].fractions) == (3, cine.sidecar, None)


def test_an_unfinished_folder_is_no_result(tmp_path, cine):
    with pytest.raises(ValueError, match="no complete result"):
        read_values(tmp_path)


def test_an_unknown_job_is_refused_by_the_child():
    with pytest.raises(InputError, match="there is no job 'nonsense'; choose from"):
        ChildJob("nonsense", {}).result()


def test_a_child_that_breaks_tells_why():
    with pytest.raises(JobFailed, match="TypeError"):
        ChildJob("simulate", {"no_such_argument": 1}).result()


def tiny_scan(phases: int) -> dict:
    from CMRSimExtension.scanner.protocol import Protocol

    protocol = Protocol.preset("siemens_1.5t").replace(
        matrix=(54, 64), acquired_resolution_mm=(6.0, 6.0), slices=1, phases=phases)
    return {
        "source": "parametric", "anatomy": {}, "protocol": protocol.as_dict(), "plane": "sax", "truth": ["labels"],
        "seed": 1, "faults": {}}


def test_a_child_reports_progress_to_the_end():
    shares = []
    job = ChildJob("simulate", tiny_scan(phases=2), lambda share, text: shares.append(share))
    assert job.result()["cine"].image.shape[0] == 2
    assert shares[-1] == 1.0 and shares == sorted(shares)


def test_a_cancelled_child_is_gone_when_cancel_returns():
    job = ChildJob("simulate", tiny_scan(phases=60))
    job.cancel()
    with pytest.raises(Cancelled, match="nothing was changed"):
        job.result()
    with pytest.raises(ProcessLookupError):
        os.kill(job.process_id, 0)


def test_cancel_ends_the_grandchildren_too(tmp_path):
    """What a job has started itself (a worker of a population) must not go on alone."""
    from CMRSimExtension.slicer_bridge.process import end_process_tree

    script = tmp_path / "parent.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "os.setsid()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n", encoding="utf-8")
    if not hasattr(os, "setsid"):
        pytest.skip("process groups are POSIX; taskkill ends the tree on Windows")
    import sys

    process = slicer.util.launchConsoleProcess([sys.executable, str(script)], useStartupEnvironment=False)
    grandchild = int(process.stdout.readline())
    end_process_tree(process)
    for _ in range(100):  # the orphan is reaped by init, a moment later
        try:
            state = (open(f"/proc/{grandchild}/stat").read().split()[2]  # noqa: PTH123, SIM115
                     if os.path.exists("/proc") else "")  # noqa: PTH110
            os.kill(grandchild, 0)
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"process {grandchild} still runs")
