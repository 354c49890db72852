"""Git gives out the shipped bundles byte for byte, on systems that turn line ends too."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from CMRSimExtension.segmentation.bundle import checksums

ROOT = Path(__file__).resolve().parents[2]
MODELS = "CMRSimExtension/segmentation/models"


def git(*arguments):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a work tree of the repository")
    usable = subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True, text=True)
    if usable.returncode:
        pytest.skip(f"git does not take this work tree: {usable.stderr.strip()}")
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def attribute(name, path):
    return git("check-attr", name, "--", path).rsplit(": ", 1)[1].strip()


def test_a_checkout_that_turns_line_ends_keeps_the_checksums_of_the_bundles(tmp_path):
    files = git("ls-files", "--", MODELS).split()
    git("-c", "core.autocrlf=true", "checkout-index", f"--prefix={tmp_path.as_posix()}/", "--", *files)
    bundles = [path.parent for path in tmp_path.rglob("checksums.json")]
    assert bundles
    for bundle in bundles:
        assert checksums(bundle) == json.loads((bundle / "checksums.json").read_bytes())["sha256"], bundle.name


@pytest.mark.parametrize("name", ["checksums.json", "docs/README.md", "configs/metadata.json", "LICENSE"])
def test_no_file_of_a_bundle_is_text_to_git(name):
    assert attribute("text", f"{MODELS}/any/{name}") == "unset"


@pytest.mark.parametrize("path", ["picture.png", "weights.pt", f"{MODELS}/any/models/model.pt"])
def test_pictures_and_weights_are_binary_to_git(path):
    assert (attribute("text", path), attribute("diff", path)) == ("unset", "unset")
