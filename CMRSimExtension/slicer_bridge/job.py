"""One job in a child process: reads a request folder, calls the library, writes a result folder.

``python -m CMRSimExtension.slicer_bridge.job REQUEST RESULT``. Progress and errors go to standard output, one line of
JSON each after `MARK`, so that whatever a library prints in between does no harm. Imports neither ``slicer`` nor Qt.
"""

import json
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

MARK = "cmrsim-job:"
REPORT_INTERVAL_S = 0.1


class LineReporter:
    """Prints progress as lines, at most one every `REPORT_INTERVAL_S`; the library may call it from any thread."""

    def __init__(self) -> None:
        self._last = 0.0
        self._share = 0.0
        self._lock = threading.Lock()

    def __call__(self, share: float, text: str) -> None:
        with self._lock:
            now = time.monotonic()
            if share < self._share or share < 1.0 and now - self._last < REPORT_INTERVAL_S:
                return
            self._last, self._share = now, share
            report(progress=float(share), text=text)


def report(**message: Any) -> None:
    """Print one message for the parent."""
    # One write for the whole line: what other threads print must not come in between.
    sys.stdout.write(f"\n{MARK} {json.dumps(message)}\n")
    sys.stdout.flush()


def report_error(error: Exception) -> int:
    """Tell the parent why there is no result; returns the exit code: 2 for unusable input, 1 for a failure of ours."""
    from CMRSimExtension.errors import CMRSimError

    if isinstance(error, CMRSimError):
        report(error=str(error), unusable_input=True)
        return 2
    traceback.print_exception(error, file=sys.stdout)  # the log keeps it; the parent's user sees the message
    report(error=f"{type(error).__name__}: {error}", unusable_input=False)
    return 1


def main(arguments: list[str]) -> int:
    """Run the job; 0 for success, else as `report_error`."""
    from CMRSimExtension.slicer_bridge.jobs import run
    from CMRSimExtension.slicer_bridge.store import read_values, write_values

    request, result = (Path(argument) for argument in arguments)
    try:
        values = read_values(request)
        write_values(result, run(values.pop("kind"), values, LineReporter()))
    except Exception as error:
        return report_error(error)
    report(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
