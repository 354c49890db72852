"""Failed work leaves no trace, and a child process ends with all that it started."""

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import slicer

from CMRSimExtension.errors import Cancelled, InputError
from CMRSimExtension.slicer_bridge import process
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


def assert_gone(process_id: int) -> None:
    """The orphan is reaped by init, a moment after it has ended; until then it is a zombie."""
    status = Path(f"/proc/{process_id}/stat")
    for _ in range(100):
        try:
            os.kill(process_id, 0)
            if status.exists() and status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process_id} still runs")


@pytest.mark.skipif(not hasattr(os, "setsid"), reason="process groups are POSIX; taskkill ends the tree on Windows")
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
    parent = slicer.util.launchConsoleProcess([sys.executable, str(script)], useStartupEnvironment=False)
    grandchild = int(parent.stdout.readline())
    end_process_tree(parent)
    assert_gone(grandchild)


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """PythonSlicer as on Linux and macOS, a launcher with the real Python as its child; gives the file of its pid."""
    if os.name == "nt":
        pytest.skip("the stand-in is a shell script")
    script, number = tmp_path / "PythonSlicer", tmp_path / "child"
    script.write_text(
        f'#!/bin/sh\n"{sys.executable}" "$@" &\necho $! > "{number}.part"\nmv "{number}.part" "{number}"\nwait $!\n',
        encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(process, "python_executable", lambda: str(script))
    return number


def wait_until(true) -> None:
    """Wait for a child's first words; only a hang takes two minutes."""
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def in_time(work) -> None:
    """Fail instead of hanging where `work` waits for what never comes."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_cancel_ends_the_python_behind_a_launcher(launcher):
    from CMRSimExtension.scanner.protocol import Protocol

    heard = []
    whole = Protocol.preset("siemens_1.5t")  # takes longer than `in_time` waits
    job = ChildJob(
        "simulate", tiny_scan(phases=60) | {"protocol": whole.as_dict()}, lambda share, text: heard.append(share))
    wait_until(lambda: job.poll() or heard)
    in_time(job.cancel)
    assert_gone(int(launcher.read_text(encoding="utf-8")))


def test_a_preview_ends_behind_a_launcher(launcher, tmp_path):
    """Its folder is still there: the process ends because it is told to."""
    folder = tmp_path / "requests"
    write_values(folder / "request-1", {"unusable": True})
    child = process.ChildProcess("CMRSimExtension.slicer_bridge.previews", [str(folder)])
    wait_until(lambda: any("error" in message for message in child.messages()))  # it runs, and goes on
    in_time(child.end)
    assert_gone(int(launcher.read_text(encoding="utf-8")))


def test_a_line_that_is_no_utf_8_does_not_keep_the_end_from_being_heard():
    child = process.ChildProcess("timeit", ["-n1", "-r1", "import sys; sys.stdout.buffer.write(b'\\xff\\nafter\\n')"])
    in_time(lambda: list(child.messages(to_the_end=True)))
    assert child.ended and child.exit_code == 0
    assert "after" in child.log
