"""What a job needs is installed when it is asked for, and only if the user agrees."""

import os
import sys
import types

import pytest
import slicer

from CMRSimExtension.errors import MissingDependencyError
from CMRSimExtension.slicer_bridge import packages


@pytest.fixture
def requirements(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("# a comment\nnumpy>=1.0  # there\ncmrsim-no-such-package>=2\n", encoding="utf-8")
    return path


@pytest.fixture
def without_packaging(monkeypatch):
    """3D Slicer before 5.11; its language is English, unless the test puts another in the dictionary that it gets."""
    dictionary = {}
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: dictionary.get(text, text)
    monkeypatch.setitem(sys.modules, "slicer.i18n", i18n)
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    return dictionary


def test_comments_are_no_requirements(requirements):
    assert packages.requirement_lines(requirements) == ["numpy>=1.0", "cmrsim-no-such-package>=2"]


@pytest.mark.parametrize(
    ("version", "requirement", "met"),
    [("2.4.1", "x>=2.4", True), ("2.13.0", "x>=2.4", True), ("2.3.9", "x>=2.4", False), ("2.4.0+cpu", "x>=2.4", True),
     (None, "x", False), ("1.0", "x", True)])
def test_versions_are_compared_by_number(monkeypatch, version, requirement, met):
    monkeypatch.setattr(packages, "installed_version", lambda name: version)
    assert packages.satisfied(requirement) is met


def test_nothing_is_asked_when_all_is_there(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("numpy>=1.0\n", encoding="utf-8")
    packages.ensure(path, "Test")


def test_only_what_is_missing_is_installed(requirements, without_packaging, monkeypatch):
    installed = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: True)
    monkeypatch.setattr(slicer.util, "pip_install", installed.append)
    with pytest.raises(MissingDependencyError, match="cmrsim-no-such-package>=2 is still missing"):
        packages.ensure(requirements, "Test")
    assert installed == [["--only-binary", ":all:", "cmrsim-no-such-package>=2"]]


def test_a_refusal_stops_with_the_way_to_install_it_later(requirements, without_packaging, monkeypatch):
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: False)
    with pytest.raises(MissingDependencyError, match=r"declined.*slicer\.util\.pip_install"):
        packages.ensure(requirements, "Test")


def test_the_question_names_who_asks_and_for_what(requirements, without_packaging, monkeypatch):
    asked = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text))
    with pytest.raises(MissingDependencyError):
        packages.ensure(requirements, "CMRSegment")
    assert "CMRSegment needs cmrsim-no-such-package>=2" in asked[0]


def test_the_question_is_translated(requirements, without_packaging, monkeypatch):
    asked = []
    question = "{module} needs {packages}. Install now? This changes Slicer's Python environment."
    without_packaging[question] = "{packages}: für {module}?"
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text))
    with pytest.raises(MissingDependencyError):
        packages.ensure(requirements, "CMRSegment")
    assert asked == ["cmrsim-no-such-package>=2: für CMRSegment?"]


def test_slicer_s_own_installer_is_used_where_there_is_one(requirements, monkeypatch):
    calls = []
    module = types.ModuleType("slicer.packaging")
    module.pip_ensure = lambda names, requester: calls.append((names, requester, os.environ.get("PIP_ONLY_BINARY")))
    monkeypatch.setenv("PIP_ONLY_BINARY", "numpy")
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    with pytest.raises(MissingDependencyError):
        packages.ensure(requirements, "Test")
    assert calls == [(["cmrsim-no-such-package>=2"], "Test", ":all:")]
    assert os.environ["PIP_ONLY_BINARY"] == "numpy"


def test_torch_comes_through_its_extension_only(requirements, monkeypatch):
    monkeypatch.setattr(packages, "installed_version", lambda name: None)
    with pytest.raises(MissingDependencyError, match="install the 'PyTorch' extension"):
        packages.ensure(requirements, "Test", torch="2.4")


def test_the_torch_extension_is_asked_for_the_version_needed(requirements, monkeypatch):
    asked = []

    class Logic:
        def installTorch(self, **keywords):  # noqa: N802
            asked.append(keywords)

    monkeypatch.setattr(packages, "installed_version", lambda name: None)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=Logic))
    with pytest.raises(MissingDependencyError, match="PyTorch Utils"):
        packages.ensure(requirements, "Test", torch="2.4")
    assert asked == [{"askConfirmation": True, "torchVersionRequirement": ">=2.4"}]
