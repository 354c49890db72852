"""What the extension installs is what the repository holds: a file that is not listed is silently left out."""

import fnmatch
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from Testing.slicer_host.host import REPOSITORY

MODULES = ("CMRSimulate", "CMRTagged", "CMRSegment")


def tracked(folder: str) -> set[str]:
    """Files of a folder that git knows, or that are new and not ignored, relative to it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder], cwd=REPOSITORY,
        capture_output=True, text=True, check=True).stdout.split()
    return {str(Path(path).relative_to(folder).as_posix()) for path in listed if (REPOSITORY / path).is_file()}


def listed(cmake: Path, variable: str) -> list[str]:
    """Entries of a ``set(variable ...)`` or ``file(GLOB_RECURSE variable ...)``."""
    text = re.sub(r"#.*", "", cmake.read_text(encoding="utf-8"))
    match = re.search(rf"(?:set|file)\((?:GLOB_RECURSE )?{variable}\s([^)]*)\)", text)
    assert match is not None, f"{cmake} does not set {variable}"
    skip = {"RELATIVE", "${CMAKE_CURRENT_SOURCE_DIR}", "CONFIGURE_DEPENDS"}
    name = re.search(r"set\(MODULE_NAME (\w+)\)", text)
    entries = [entry for entry in match.group(1).split() if entry not in skip]
    return [entry.replace("${MODULE_NAME}", name.group(1) if name else "") for entry in entries]


@pytest.mark.parametrize("module", MODULES)
def test_the_lists_of_a_module_equal_its_folder(module):
    cmake = REPOSITORY / module / "CMakeLists.txt"
    entries = listed(cmake, "MODULE_PYTHON_SCRIPTS") + listed(cmake, "MODULE_PYTHON_RESOURCES")
    assert sorted(entries) == sorted(tracked(module) - {"CMakeLists.txt"})


def test_every_file_of_the_library_is_found_by_its_patterns():
    cmake = REPOSITORY / "CMRSimExtension" / "CMakeLists.txt"
    patterns = listed(cmake, "LIBRARY_PYTHON_SCRIPTS") + listed(cmake, "LIBRARY_PYTHON_RESOURCES")
    missed = {
        path for path in tracked("CMRSimExtension") - {"CMakeLists.txt"}
        if not any(fnmatch.fnmatchcase(Path(path).name, pattern) for pattern in patterns)}
    assert missed == set()


def test_every_folder_with_python_files_is_a_package():
    folders = {Path(path).parent for path in tracked("CMRSimExtension") if path.endswith(".py")}
    library = REPOSITORY / "CMRSimExtension"
    bare = {str(folder) for folder in folders if not (library / folder / "__init__.py").is_file()}
    assert bare == set()


def test_the_extension_adds_every_module_and_the_library():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert set(re.findall(r"add_subdirectory\((\w+)\)", text)) == {"CMRSimExtension", *MODULES}
    for variable in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS", "README_FILE",
                     "LICENSE_FILE"):
        assert f"set(EXTENSION_{variable} " in text


def test_nothing_is_installed_under_a_name_that_others_use():
    for cmake in REPOSITORY.glob("*/CMakeLists.txt"):
        assert cmake.parent.name.lower() not in ("testing", "utils", "lib")


def test_the_library_has_no_generic_module_test():
    text = (REPOSITORY / "CMRSimExtension" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "WITH_SUBDIR" in text and "WITH_GENERIC_TESTS" not in text


@pytest.mark.parametrize("module", MODULES)
def test_a_module_file_has_the_five_classes(module):
    text = (REPOSITORY / module / f"{module}.py").read_text(encoding="utf-8")
    for suffix in ("", "ParameterNode", "Widget", "Logic", "Test"):
        assert re.search(rf"^class {module}{suffix}\b", text, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_no_translated_text_is_an_f_string(module):
    text = (REPOSITORY / module / f"{module}.py").read_text(encoding="utf-8")
    assert not re.search(r"\b_\(\s*f[\"']", text)


@pytest.mark.parametrize("module", MODULES)
def test_every_parameter_that_a_ui_file_names_exists(module, host):
    import sys

    loaded = sys.modules.get(module) or host.load_module(module)
    root = ElementTree.parse(REPOSITORY / module / "Resources" / "UI" / f"{module}.ui")
    named = [
        item.findtext("string") for item in root.iter("property") if item.get("name") == "SlicerParameterName"]
    assert named and set(named) <= set(getattr(loaded, f"{module}ParameterNode").allParameters)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("module", MODULES)
def test_every_selector_gets_the_scene(module):
    root = ElementTree.parse(REPOSITORY / module / "Resources" / "UI" / f"{module}.ui")
    selectors = {item.get("name") for item in root.iter("widget") if item.get("class") == "qMRMLNodeComboBox"}
    connected = {
        item.findtext("receiver") for item in root.iter("connection")
        if item.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"}
    assert selectors == connected


@pytest.mark.parametrize("module", MODULES)
def test_every_panel_says_that_it_is_for_research(module):
    text = (REPOSITORY / module / "Resources" / "UI" / f"{module}.ui").read_text(encoding="utf-8")
    assert "For research, not for clinical use." in text


@pytest.mark.parametrize("module", MODULES)
def test_every_choice_and_slider_explains_itself(module):
    root = ElementTree.parse(REPOSITORY / module / "Resources" / "UI" / f"{module}.ui")
    explained = {"ctkSliderWidget", "QComboBox", "QSpinBox", "QCheckBox", "qMRMLNodeComboBox", "QPushButton"}
    silent = {
        item.get("name") for item in root.iter("widget")
        if item.get("class") in explained
        and not any(part.get("name") == "toolTip" for part in item.findall("property"))}
    assert silent == set()


@pytest.mark.parametrize("module", MODULES)
def test_every_label_of_a_choice_explains_it(module):
    root = ElementTree.parse(REPOSITORY / module / "Resources" / "UI" / f"{module}.ui")
    silent = set()
    for item in root.iter("widget"):
        values = {part.get("name"): part.findtext("string") for part in item.findall("property")}
        if item.get("class") == "QLabel" and (values.get("text") or "").endswith(":") and not values.get("toolTip"):
            silent.add(values["text"])
    assert silent == set()


def test_the_index_entry_has_what_the_extensions_index_demands():
    entry = json.loads((REPOSITORY / "Docs" / "CMRSimExtension.json").read_text(encoding="utf-8"))
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert set(entry) == {"$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url",
                          "tier"}
    depends = re.search(r'set\(EXTENSION_DEPENDS "([^"]*)"', (REPOSITORY / "CMakeLists.txt").read_text("utf-8"))
    assert depends is not None and entry["build_dependencies"] == depends.group(1).split(";")


def test_the_icon_and_screenshots_of_the_extension_are_there():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    for url in re.findall(r'"https://raw.githubusercontent.com/[^/]+/[^/]+/main/([^"]+)"', text):
        assert (REPOSITORY / url).is_file(), url


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_page_of_documentation(module):
    page = (REPOSITORY / "Docs" / f"{module}.md").read_text(encoding="utf-8")
    assert "not for clinical use" in page
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page):
        assert (REPOSITORY / "Docs" / picture).is_file(), picture


def installed_names(module: str) -> dict[str, Path]:
    """Where Slicer puts each file of a module, in the one folder that all modules of an extension share."""
    cmake = REPOSITORY / module / "CMakeLists.txt"
    entries = listed(cmake, "MODULE_PYTHON_SCRIPTS") + listed(cmake, "MODULE_PYTHON_RESOURCES")
    return {entry: REPOSITORY / module / entry for entry in entries}


def test_no_two_modules_install_a_file_under_one_name():
    names = [name for module in MODULES for name in installed_names(module)]
    assert len(names) == len(set(names))


def test_the_modules_work_from_the_installed_layout(tmp_path):
    """All in one folder, beside the library, and nothing of the source tree on the path."""
    import shutil
    import sys

    folder = tmp_path / "qt-scripted-modules"
    for module in MODULES:
        for name, source in installed_names(module).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    for name in tracked("CMRSimExtension"):
        (folder / "CMRSimExtension" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "CMRSimExtension" / name, folder / "CMRSimExtension" / name)
    shutil.copytree(REPOSITORY / "Testing" / "slicer_host", tmp_path / "tests" / "Testing" / "slicer_host")
    script = (
        "import sys, pathlib\n"
        f"sys.path[:0] = [{str(folder)!r}, {str(tmp_path / 'tests')!r}]\n"
        "from Testing.slicer_host import host as hosting\n"
        f"hosting.module_file = lambda name: pathlib.Path({str(folder)!r}) / f'{{name}}.py'\n"
        "host = hosting.SlicerHost()\n"
        f"panels = [host.open_panel(name) for name in {MODULES!r}]\n"
        "import CMRSimExtension\n"
        "print('library:', CMRSimExtension.__file__)\n"
        "[host.close_panel(panel) for panel in panels]\n")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"library: {folder}" in done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_the_help_of_a_module_links_to_its_page(host, module):
    import slicer

    host.load_module(module)
    (link,) = re.findall(r'<a href="([^"]+)">', getattr(slicer.modules, module.lower()).helpText)
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    homepage = re.search(r'EXTENSION_HOMEPAGE "([^"]+)"', text)
    assert homepage is not None and link == f"{homepage.group(1)}/blob/main/Docs/{module}.md"
    assert (REPOSITORY / "Docs" / f"{module}.md").is_file()
