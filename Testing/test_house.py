"""The frame of the house: what importing costs, what the README promises, what may be committed."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import CMRSimExtension

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "monai", "matplotlib", "dask")
LIBRARY = sorted((ROOT / "CMRSimExtension").rglob("*.py"))


def _modules_after(statement: str) -> set[str]:
    """Top-level packages loaded in a fresh interpreter after `statement`."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_library_loads_nothing_heavy():
    assert not _modules_after("import CMRSimExtension") & {*HEAVY, "numpy", "scipy", "nibabel", "yaml", "tqdm", "PIL"}


@pytest.mark.parametrize("name", CMRSimExtension.__all__)
def test_every_public_name_resolves(name):
    assert getattr(CMRSimExtension, name) is not None


def test_public_names_of_the_simulation_load_neither_torch_nor_file_packages():
    loaded = _modules_after("import CMRSimExtension as c\nfor n in c.__all__:\n"
                            "    if n not in ('read_cine', 'read_image', 'write_cine'): getattr(c, n)")
    assert not loaded & {*HEAVY, "nibabel", "yaml", "tqdm", "PIL", "pydicom", "highdicom"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Hart'"):
        CMRSimExtension.Hart  # noqa: B018


def test_the_help_loads_no_numpy():
    statement = ("import contextlib, io\nfrom CMRSimExtension.command_line.main import main\n"
                 "with contextlib.redirect_stdout(io.StringIO()): main(['--help'])")
    assert not _modules_after(statement) & {*HEAVY, "numpy", "scipy", "nibabel", "pydicom"}


@pytest.mark.parametrize("folder", ["anatomy", "physics", "scanner", "simulation"])
def test_the_simulation_folders_import_numpy_and_scipy_alone(folder):
    allowed = {"numpy", "scipy", "CMRSimExtension", *sys.stdlib_module_names}
    for path in (ROOT / "CMRSimExtension" / folder).rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.match(r"(?:from|import) (\w+)", line)  # at file scope: what importing the module costs
            assert not found or found.group(1) in allowed, f"{path.name}: {line}"




def test_nothing_below_imports_from_the_command_line_or_the_bridge():
    top = re.compile(r"(?:from|import) CMRSimExtension\.(command_line|slicer_bridge)")
    for path in LIBRARY:
        folder = path.relative_to(ROOT / "CMRSimExtension").parts[0]
        if folder not in ("command_line", "slicer_bridge"):
            assert not top.search(path.read_text(encoding="utf-8")), path


FOLDERS = [
    "anatomy", "physics", "scanner", "simulation", "tagging", "strain", "files", "population", "networks", "evaluation",
    "training", "segmentation", "command_line", "slicer_bridge",
]
"""The library's folders: what is used lies before what uses it, so that the labels' table lies below all."""


def test_every_folder_of_the_library_has_its_place_in_the_order():
    found = {path.relative_to(ROOT / "CMRSimExtension").parts[0] for path in LIBRARY}
    assert {name for name in found if not name.endswith(".py")} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS[:-1])
def test_the_library_imports_downwards_only(folder):
    above = "|".join(FOLDERS[FOLDERS.index(folder) + 1:])
    pattern = re.compile(
        rf"^\s*(?:from CMRSimExtension import .*\b|(?:from|import) CMRSimExtension\.)({above})\b", re.MULTILINE
    )
    for path in (ROOT / "CMRSimExtension" / folder).rglob("*.py"):
        found = pattern.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.name} imports {found.group(1)}, which lies above {folder}"


def test_only_the_bridge_imports_slicer_and_vtk():
    pattern = re.compile(r"^\s*(?:from|import) (slicer|vtk|qt|ctk)\b", re.MULTILINE)
    for path in LIBRARY:
        if "slicer_bridge" not in path.parts:
            assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_no_module_is_called_utils_helpers_or_common():
    assert not [path for path in LIBRARY if path.stem in ("utils", "helpers", "common")]


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_test_extra_brings_all_other_extras():
    extras = _project()["project"]["optional-dependencies"]
    line = next(entry for entry in extras["test"] if entry.startswith("CMRSimExtension["))
    assert set(line.removeprefix("CMRSimExtension[").rstrip("]").split(",")) == set(extras) - {"test"}


def test_the_console_command_exists():
    module, function = _project()["project"]["scripts"]["cmrsim"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_torch_is_pinned_for_the_set_up_commands():
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().split()


def test_the_readme_has_exactly_the_two_set_up_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"<!-- command: (\w+) -->\n```sh\n(.+?)\n```", readme, re.DOTALL))
    assert set(commands) == {"demo", "tests"}
    assert "cmrsim demo" in commands["demo"] and "pytest" in commands["tests"]
    assert all("-m venv" in command and "-c constraints.txt" in command for command in commands.values())


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_package_data_covers_every_file_of_the_library():
    patterns = [p.lstrip("*") for p in _project()["tool"]["setuptools"]["package-data"]["*"]]
    for path in (ROOT / "CMRSimExtension").rglob("*"):
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
            assert any(path.name.endswith(p) for p in patterns), f"{path} would not be installed"
