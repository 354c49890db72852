"""The frame of the command line: help, exit codes, where it speaks."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from CMRSimExtension.command_line import main as frame
from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import Cancelled, InputError


@pytest.fixture
def command(monkeypatch):
    """A function that makes `cmrsim info` do something else."""
    from CMRSimExtension.command_line import info

    def replace(action):
        monkeypatch.setattr(info, "run", action)

    return replace


def _raise(error):
    def run(options, console):
        raise error

    return run


def test_help_lists_every_command_that_exists(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in frame.command_modules())


@pytest.mark.parametrize("name", sorted(frame.command_modules()))
def test_every_command_teaches_with_examples_that_it_accepts(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith("cmrsim ")]
    assert examples
    parser = frame.build_parser()
    for example in examples:
        parser.parse_args(example.split("   ")[0].split()[1:])


def test_the_help_of_train_says_which_runs_another_can_start_from(capsys):
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "folder of a finished run" in text and "last.ckpt" in text


@pytest.mark.parametrize(("error", "code"), [
    (InputError("seed is -1; give 0 or above"), 2), (Cancelled(), 130), (KeyboardInterrupt(), 130),
    (RuntimeError("boom"), 1), (MemoryError(), 1)])
def test_every_end_has_its_exit_code(command, error, code):
    command(_raise(error))
    assert main(["info", "x"]) == code


def test_bad_input_is_told_in_one_line_on_standard_error(command, capsys):
    command(_raise(InputError("seed is -1; give 0 or above")))
    main(["info", "x"])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "cmrsim: error: seed is -1; give 0 or above\n")


def test_a_fault_of_ours_says_so_without_a_traceback(command, capsys, monkeypatch):
    monkeypatch.delenv("CMRSIM_TRACEBACK", raising=False)
    command(_raise(RuntimeError("boom")))
    main(["info", "x"])
    err = capsys.readouterr().err
    assert "fault of ours" in err and "boom" in err and "Traceback" not in err


def test_a_wrong_option_is_answered_with_a_guess(capsys):
    assert main(["simulate", "--out", "x.nii.gz", "--edv-m", "120"]) == 2
    assert "did you mean --edv-ml?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["simulate"], ["nonsense"], ["simulate", "--out", "x", "--plane", "5ch"]])
def test_a_line_that_cannot_be_understood_ends_with_2(arguments):
    assert main(arguments) == 2


def test_results_go_to_standard_output_and_messages_to_standard_error(capsys):
    console = Console()
    console.say("working")
    console.result("x.nii.gz")
    assert capsys.readouterr() == ("x.nii.gz\n", "working\n")


def test_quiet_leaves_results_and_warnings(capsys):
    console = Console(quiet=True)
    console.say("working")
    console.warn("look")
    with console.progress("work") as progress:
        progress(0.5, "half")
    console.result("x.nii.gz")
    assert capsys.readouterr() == ("x.nii.gz\n", "cmrsim: note: look\n")


def test_away_from_a_terminal_progress_is_plain_lines(capsys, monkeypatch):
    from CMRSimExtension.command_line import console as module

    monkeypatch.setattr(module, "_PLAIN_INTERVAL_S", 0.0)
    with Console().progress("simulating") as progress:
        progress(0.25, "slice 1")
        progress(0.2, "slice 0")  # threads report late: it never goes back
        progress(0.5)
    assert capsys.readouterr().err.splitlines() == [
        "simulating: 25 % slice 1", "simulating: 25 % slice 0", "simulating: 50 %"]


def test_on_a_terminal_progress_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Console().progress("simulating") as progress:
        progress(0.5, "slice 1")
    assert "simulating |" in capsys.readouterr().err


def test_the_module_runs_as_a_script():
    done = subprocess.run([sys.executable, "-m", "CMRSimExtension.command_line.main", "--version"],
                          capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("cmrsim ")


def test_ctrl_c_while_the_commands_are_loaded_is_told_without_a_traceback(capsys, monkeypatch):
    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr(frame, "build_parser", stopped)
    assert main(["info", "x"]) == 130
    assert capsys.readouterr().err == "cmrsim: stopped; nothing was written\n"


@pytest.mark.parametrize(("name", "extra"), [("torch", "segment"), ("lightning.pytorch", "train")])
def test_a_missing_optional_package_is_named_with_what_brings_it(command, capsys, monkeypatch, name, extra):
    monkeypatch.delenv("CMRSIM_TRACEBACK", raising=False)
    command(_raise(ModuleNotFoundError(f"No module named {name!r}", name=name)))
    assert main(["info", "x"]) == 2
    said = capsys.readouterr().err
    assert said == (f"cmrsim: error: this needs {name.partition('.')[0]}, which is not installed; "
                    f"pip install 'CMRSimExtension[{extra}]' brings it\n")


def test_a_missing_package_that_no_extra_brings_is_a_fault_of_ours(command, capsys, monkeypatch):
    monkeypatch.delenv("CMRSIM_TRACEBACK", raising=False)
    command(_raise(ModuleNotFoundError("No module named 'CMRSimExtension.nowhere'", name="CMRSimExtension.nowhere")))
    assert main(["info", "x"]) == 1


def test_every_package_of_the_users_extras_is_known_by_its_extra():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = {re.split(r"[<>=\[]", package)[0].replace("-", "_"): extra for extra in ("segment", "radial", "train")
               for package in project["optional-dependencies"][extra]}
    assert brought.pop("CMRSimExtension") == "train"
    assert brought == frame.EXTRA_OF
