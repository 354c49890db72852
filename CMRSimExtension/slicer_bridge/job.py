"""One job in a child process: reads a request folder, calls the library, writes a result folder.

``python -m CMRSimExtension.slicer_bridge.job REQUEST RESULT``. Progress and errors go to standard output, one line of
JSON each after `MARK`, so that whatever a library prints in between does no harm. Imports neither ``slicer`` nor Qt.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

MARK = "cmrsim-job:"
REPORT_INTERVAL_S = 0.1


class LineReporter:
    """Prints progress as lines, at most one every `REPORT_INTERVAL_S`."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, share: float, text: str) -> None:
        now = time.monotonic()
        if share >= 1.0 or now - self._last >= REPORT_INTERVAL_S:
            self._last = now
            report(progress=float(share), text=text)


def report(**message: Any) -> None:
    """Print one message for the parent."""
    print(f"{MARK} {json.dumps(message)}", flush=True)


def main(arguments: list[str]) -> int:
    """Run the job; 0 for success, 2 for input that cannot be used, 1 for a failure of ours."""
    if hasattr(os, "setsid") and os.getpgrp() != os.getpid():
        # A group of its own: cancelling ends this process and all that it started, and nothing else.
        os.setsid()
    from CMRSimExtension.errors import CMRSimError
    from CMRSimExtension.slicer_bridge.jobs import run
    from CMRSimExtension.slicer_bridge.store import read_values, write_values

    request, result = (Path(argument) for argument in arguments)
    try:
        values = read_values(request)
        write_values(result, run(values.pop("kind"), values, LineReporter()))
    except CMRSimError as error:
        report(error=str(error), unusable_input=True)
        return 2
    except Exception as error:  # the parent's user sees the message; the log keeps the traceback
        traceback.print_exc()
        report(error=f"{type(error).__name__}: {error}", unusable_input=False)
        return 1
    report(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
