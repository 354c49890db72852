"""What trains a run, beyond its configuration: the code, the libraries and the arithmetic."""

import hashlib
import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from CMRSimExtension.files.atomic import atomic_file
from CMRSimExtension.version import __version__

TRAINED_BY = "trained_by.json"
"""Name of the record in a run's folder: one entry for the start and one for each resumption by something else."""
_LIBRARIES = ("torch", "lightning", "monai", "numpy", "scipy")
_PACKAGE = Path(__file__).parents[1]


def code_sha256(package: Path = _PACKAGE) -> str:
    """SHA-256 over names and contents of the package's Python and YAML files: the simulator, networks and
    configurations of one commit, whether or not the files lie in a repository."""
    digest = hashlib.sha256()
    files = (file for suffix in ("py", "yaml") for file in package.rglob(f"*.{suffix}"))
    for name, file in sorted((file.relative_to(package).as_posix(), file) for file in files):
        # Line endings are the checkout's, not the code's.
        digest.update(f"{name}\0".encode() + file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def trained_by(precision: str, device: str, processes: int) -> dict[str, Any]:
    """JSON-able: version and checksum of the code, libraries, precision, device, threads and processes, and whether
    torch was asked for algorithms that repeat their results (`arithmetic.repeatable`)."""
    return {
        "version": __version__,
        "code_sha256": code_sha256(),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
        "precision": precision,
        "device": device,
        "machine": torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def note_trained_by(folder: Path, now: dict[str, Any], report: Callable[[str], None]) -> None:
    """Write down what trains a run from here on; say what differs from what trained it before."""
    entries = read_trained_by(folder)
    if entries and entries[-1] == now:
        return
    if entries:
        changed = [f"{name} {entries[-1].get(name)} -> {value}" for name, value in now.items()
                   if entries[-1].get(name) != value]  # fmt: skip
        report(f"{folder} goes on with something else than it was trained by before: {', '.join(changed)}")
    with atomic_file(Path(folder) / TRAINED_BY) as staged:
        staged.write_text(json.dumps([*entries, now], indent=1) + "\n", encoding="utf-8")


def read_trained_by(folder: Path) -> list[dict[str, Any]]:
    """All entries of a run's record; none for a run of a version that kept no such record."""
    file = Path(folder) / TRAINED_BY
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else []
