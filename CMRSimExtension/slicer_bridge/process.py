"""Runs one job in a child process of 3D Slicer, with progress and cancel.

The whole job runs in the child, so a long run neither blocks the application nor leaves it with torch loaded, and
Cancel ends it at once with all that it has started.

``slicer.util.launchConsoleProcess`` is not used. On Linux and macOS PythonSlicer is a launcher that runs the real
Python as its own child and passes no signal on, so a job can be ended only if launcher, Python and workers share a
process group of their own; that function cannot make one. It also reads the output in the system's encoding, where one
odd byte is an error.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import CMRSimExtension
from CMRSimExtension.errors import Cancelled, InputError
from CMRSimExtension.slicer_bridge.bare_scene import inside_application
from CMRSimExtension.slicer_bridge.job import MARK
from CMRSimExtension.slicer_bridge.store import read_values, write_values

POLL_MS = 50
"""How often a panel looks for news; well under what a user feels as a delay."""
END_TIMEOUT_S = 5.0
GRACE_S = 1.0
"""For what a job has started to put its things away when the job is ended."""
LOOK_S = 0.02
KEPT_LOG_LINES = 40
JOB_MODULE = "CMRSimExtension.slicer_bridge.job"


class JobFailed(RuntimeError):
    """The child process failed in a way that is not the user's; the log says how."""


def python_executable() -> str:
    """The Python that runs jobs: PythonSlicer inside the application, this one without it.

    Raises
    ------
    RuntimeError
        If the application's Python cannot be found.
    """
    if not inside_application():
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found is not None:
        return found
    if "slicer" not in Path(sys.executable).name.lower():  # a host that stands for the application
        return sys.executable
    raise RuntimeError("PythonSlicer was not found beside 3D Slicer; reinstall 3D Slicer")


class ChildProcess:
    """A Python process that runs one of our modules and reports in lines of JSON (`job.report`).

    Parameters
    ----------
    module
        Run as ``python -m module``.
    arguments
        Its command line.
    """

    def __init__(self, module: str, arguments: list[str]) -> None:
        library = str(Path(CMRSimExtension.__file__).resolve().parents[1])
        existing = os.environ.get("PYTHONPATH")
        environment = {
            "PYTHONPATH": library if not existing else os.pathsep.join((library, existing)),
            "PYTHONIOENCODING": "utf-8",
        }
        # A session of its own makes a group of its own, whose number is the process's: `end_process_tree` relies on it.
        self._process = subprocess.Popen(
            [python_executable(), "-m", module, *arguments], env=os.environ | environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
            start_new_session=os.name != "nt", creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.ended = False
        self.log: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # it is a pipe
        try:
            for line in self._process.stdout:
                self._lines.put(line.rstrip())
            self._process.wait()
        finally:
            self._lines.put(None)  # whoever waits for the end must hear of it, whatever went wrong

    @property
    def process_id(self) -> int:
        """Of the child."""
        return int(self._process.pid)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def messages(self, *, to_the_end: bool = False) -> Iterator[dict[str, Any]]:
        """What the child has reported since the last call; `to_the_end` waits until it has ended."""
        # Slicer's event loop keeps Python's lock: without a pause here the reading thread may never get it.
        time.sleep(0.001)
        while not self.ended:
            try:
                line = self._lines.get() if to_the_end else self._lines.get_nowait()
            except queue.Empty:
                return
            if line is None:
                self.ended = True
            elif line.startswith(MARK):
                yield json.loads(line[len(MARK):])
            elif line:
                self.log.append(line)

    def end(self) -> None:
        """End it and everything that it has started; returns when it has gone, and never waits for its output."""
        if not self.ended:
            end_process_tree(self._process)
            self.ended = True


class ChildJob:
    """One job, started at once.

    Parameters
    ----------
    kind, values
        As `jobs.run`.
    on_progress
        Called on the thread that polls, with the share done and a line of text.
    """

    def __init__(
        self, kind: str, values: dict[str, Any], on_progress: Callable[[float, str], None] | None = None
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cmrsim-job-"))
        self._on_progress = on_progress
        self._error: Exception | None = None
        self._cancelled = False
        try:
            write_values(self._folder / "request", {"kind": kind, **values})
            self._process = ChildProcess(
                JOB_MODULE, [str(self._folder / "request"), str(self._folder / "result")])
        except BaseException:
            self._remove_folder()
            raise

    @property
    def process_id(self) -> int:
        """Of the child."""
        return self._process.process_id

    def poll(self) -> bool:
        """Take in what the child has said; True once it has ended. `on_progress` is called from here."""
        for message in self._process.messages():
            self._take(message)
        return self._process.ended

    def _take(self, message: dict[str, Any]) -> None:
        if "error" in message:
            self._error = reported_error(message)
        elif "progress" in message and self._on_progress is not None and not self._cancelled:
            self._on_progress(message["progress"], message["text"])

    def result(self) -> dict[str, Any]:
        """The job's values; waits for the end.

        Raises
        ------
        Cancelled
            After `cancel`.
        InputError
            If the library could not use the input; the message is the library's.
        JobFailed
            For any other end without a result.
        """
        try:
            for message in self._process.messages(to_the_end=True):
                self._take(message)
            if self._cancelled:
                raise Cancelled("the run was cancelled; nothing was changed")
            if self._error is not None:
                raise self._error
            if self._process.exit_code != 0:
                last = "\n".join(self._process.log[-KEPT_LOG_LINES:])
                raise JobFailed(f"the child process ended with code {self._process.exit_code}:\n{last}")
            return read_values(self._folder / "result")
        finally:
            self._remove_folder()

    def cancel(self) -> None:
        """End the child and everything that it started; returns when it has gone."""
        self._cancelled = True
        try:
            self._process.end()
        finally:
            self._remove_folder()

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def reported_error(message: dict[str, Any]) -> Exception:
    """The error that a child has reported: an `InputError` where its input could not be used, else a `JobFailed`."""
    return InputError(message["error"]) if message["unusable_input"] else JobFailed(message["error"])


def end_process_tree(process: "subprocess.Popen[str]") -> None:
    """End a child process with all of its descendants.

    Parameters
    ----------
    process
        Leads a process group of its own (`ChildProcess` makes it so), except on Windows, which knows parents instead.
    """
    if os.name == "nt":
        subprocess.run(["taskkill", "/PID", str(process.pid), "/T", "/F"], capture_output=True, check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):  # it has been told; a panel must not wait for ever
            process.wait(END_TIMEOUT_S)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        if not _group_ends(process, GRACE_S):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_TIMEOUT_S)


def _group_ends(process: "subprocess.Popen[str]", limit_s: float) -> bool:
    """Whether no process of the group is left within `limit_s`."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        process.poll()  # an ended child counts until it has been asked for
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(LOOK_S)
    return False
