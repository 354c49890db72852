"""What the commands say: results on standard output, everything else on standard error."""

import sys
import time
from types import TracebackType
from typing import Any, TextIO

_PLAIN_INTERVAL_S = 5.0
"""Away from a terminal a line this often says how far the work is: enough for a log, too few to fill it."""


class Console:
    """Where a command speaks.

    Parameters
    ----------
    quiet
        Leave out messages and progress; errors, warnings and results stay.
    stream
        For messages; standard error when None.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self._stream = stream

    @property
    def stream(self) -> TextIO:
        return self._stream or sys.stderr

    def say(self, text: str) -> None:
        """A message for a person; `--quiet` silences it."""
        if not self.quiet:
            print(text, file=self.stream, flush=True)

    def warn(self, text: str) -> None:
        """Something the user should know even with `--quiet`."""
        print(f"cmrsim: note: {text}", file=self.stream, flush=True)

    def result(self, text: str) -> None:
        """What the command was asked for, on standard output."""
        print(text)

    def progress(self, what: str) -> "Progress":
        """A progress report for `what`: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`."""
        return Progress(what, self.quiet, self.stream)


class Progress:
    """Call it with the share done (0 to 1) and a line of text, as often as you like; use it in a ``with`` block."""

    def __init__(self, what: str, quiet: bool, stream: TextIO) -> None:
        self._what = what
        self._quiet = quiet
        self._stream = stream
        self._bar: Any = None
        self._last = -_PLAIN_INTERVAL_S
        self._most = 0.0

    def __call__(self, share: float, text: str = "") -> None:
        if self._quiet:
            return
        fraction = min(1.0, max(share, self._most))
        self._most = fraction
        if self._stream.isatty():
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(total=100.0, desc=self._what, file=self._stream, leave=False,
                                 bar_format="{desc} |{bar}| {n:3.0f} % {postfix} [{elapsed}<{remaining}]")
            if text:
                self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(100.0 * fraction - self._bar.n)
        elif time.monotonic() - self._last >= _PLAIN_INTERVAL_S:
            self._last = time.monotonic()
            print(f"{self._what}: {100 * fraction:.0f} %{' ' + text if text else ''}", file=self._stream, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
