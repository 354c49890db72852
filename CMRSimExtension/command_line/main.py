"""`cmrsim`: finds the commands, parses the line, and answers every end with its exit code."""

import argparse
import difflib
import importlib
import importlib.util
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.errors import Cancelled, CMRSimError
from CMRSimExtension.version import __version__

SUCCESS, FAILURE, UNUSABLE_INPUT, INTERRUPTED = 0, 1, 2, 130

COMMANDS = (
    "demo", "simulate", "preview", "info", "convert", "tag", "strain", "segment", "evaluate", "models", "train",
    "population", "match", "translate", "inpaint",
)
"""In the order of the help. A command is there when its module is: the others belong to work not done yet."""

EXTRA_OF = {"torch": "segment", "monai": "segment", "array_api_compat": "segment", "lightning": "train",
            "tensorboard": "train", "finufft": "radial"}
"""Optional packages by the name they are imported with, and the extra of pip that brings them."""

_DESCRIPTION = """\
Simulated, tagged and segmented cardiac MR images, for research, not for clinical use.

A virtual subject is drawn from a seed, scanned by a simulated MR scanner, and written as a cine
(x, y, z, t) with its true labels, motion and function, and a sidecar from which it is made again.
"""

_EPILOG = """\
examples:
  cmrsim demo                                       a page to look at: demo/index.html
  cmrsim simulate --out heart.nii.gz --seed 7       a cine with labels
  cmrsim simulate --help                            all that can be chosen

Labels: 1 LV blood pool, 2 LV myocardium, 3 RV blood pool.
Exit codes: 0 success, 2 input that cannot be used, 1 a failure of ours, 130 Ctrl-C.
"""


class Parser(argparse.ArgumentParser):
    """argparse with the raw layout of our help texts, whole option names only, and a guess at what was meant."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE_INPUT, f"{self.prog}: error: {message}{self._guess(message)}\n"
                                  f"Try '{self.prog} --help'.\n")

    def _guess(self, message: str) -> str:
        if not message.startswith("unrecognized arguments:"):
            return ""
        options = list(self._option_string_actions)
        for word in message.split():
            if word.startswith("--"):
                close = difflib.get_close_matches(word.split("=")[0], options, n=1, cutoff=0.6)
                if close:
                    return f"; did you mean {close[0]}?"
        return ""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but what is left over is reported by the command's own parser, which knows its options."""
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            parser = getattr(parsed, "parser", self)
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed


def command_modules() -> dict[str, ModuleType]:
    """The command modules that exist, by name."""
    home = "CMRSimExtension.command_line"
    return {
        name: importlib.import_module(f"{home}.{name}")
        for name in COMMANDS
        if importlib.util.find_spec(f"{home}.{name}") is not None
    }


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(prog="cmrsim", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"cmrsim {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for name, module in command_modules().items():
        sub = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION, epilog=module.EXAMPLES)
        module.add_arguments(sub)
        sub.add_argument("--quiet", action="store_true", help="no messages and no progress; errors and results stay")
        sub.set_defaults(run=module.run, parser=sub)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `cmrsim` with `arguments` (those of the process when None) and return its exit code."""
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else UNUSABLE_INPUT
    except KeyboardInterrupt:  # while the commands are still being loaded
        return _interrupted()
    console = Console(options.quiet)
    return answered(lambda: options.run(options, console), console)


def answered(work: Callable[[], None], console: Console) -> int:
    """Do the work of a command: every end becomes its exit code, and what went wrong a message."""
    _stop_like_ctrl_c()
    with warnings.catch_warnings():
        _show_warnings_on(console)
        try:
            work()
        except Cancelled as error:
            console.warn(str(error) or "stopped; nothing was written")
            return INTERRUPTED
        except CMRSimError as error:
            print(f"cmrsim: error: {error}", file=sys.stderr)
            return UNUSABLE_INPUT
        except KeyboardInterrupt:
            return _interrupted()
        except BrokenPipeError:
            # Whoever read our output (head, less) has enough of it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return SUCCESS
        except MemoryError:
            print("cmrsim: error: not enough memory; ask for fewer slices, frames or truths", file=sys.stderr)
            return FAILURE
        # The last line of defence: a fault of ours must not look like a fault of the input.
        except Exception as error:
            if os.environ.get("CMRSIM_TRACEBACK"):
                raise
            missing = _missing_package(error)
            if missing is not None:
                print(f"cmrsim: error: {missing}", file=sys.stderr)
                return UNUSABLE_INPUT
            print(
                f"cmrsim: this is a fault of ours, not of your input: {type(error).__name__}: {error}\n"
                "Please report it, with the traceback that CMRSIM_TRACEBACK=1 in the environment shows.",
                file=sys.stderr,
            )
            return FAILURE
    return SUCCESS


def _missing_package(error: Exception) -> str | None:
    """What to install, where `error` is that an optional package is missing; None for any other error."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in EXTRA_OF:
        return None
    return f"this needs {package}, which is not installed; pip install 'CMRSimExtension[{EXTRA_OF[package]}]' brings it"


def _interrupted() -> int:
    print("cmrsim: stopped; nothing was written", file=sys.stderr)
    return INTERRUPTED


def _stop_like_ctrl_c() -> None:
    """Let a plain `kill` (or a closed terminal) clean up as Ctrl-C does, where the platform and the thread allow it."""

    def stop(number: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            try:
                signal.signal(getattr(signal, name), stop)
            except ValueError:  # not in the main thread: whoever called us from there handles signals
                return


def _show_warnings_on(console: Console) -> None:
    from CMRSimExtension.errors import CMRSimWarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, CMRSimWarning):
            console.warn(str(message))

    warnings.simplefilter("always", CMRSimWarning)
    warnings.showwarning = show  # type: ignore[assignment]


if __name__ == "__main__":
    sys.exit(main())
