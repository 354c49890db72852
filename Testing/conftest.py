"""What all tests share: where real data lies, and that benchmarks run only when asked for."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the benchmarks out unless the command line names them: they measure minutes of work, and prove nothing."""
    if collection_path.name != "benchmarks":
        return None
    asked_for = any("benchmarks" in str(argument) for argument in config.args)
    return None if asked_for else True


@pytest.fixture(scope="session")
def cmrsim_data() -> Path:
    """Folder with real images: `CMRSIM_DATA`, or ../shared/data; the test is skipped where there is none."""
    folder = Path(os.environ.get("CMRSIM_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs real images: set CMRSIM_DATA to their folder")
    return folder
