"""Installs what a job needs at the moment it is asked for, the way each version of 3D Slicer recommends."""

import importlib.metadata
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from CMRSimExtension.errors import MissingDependencyError

TORCH_EXTENSION = "PyTorch"


def requirement_lines(path: Path) -> list[str]:
    """The requirements of a ``requirements.txt``, without comments."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def installed_version(package: str) -> str | None:
    """The version of an installed package, or None. Nothing is imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def satisfied(requirement: str) -> bool:
    """Whether a requirement of the form ``name>=version`` is met by what is installed."""
    match = re.fullmatch(r"\s*([A-Za-z0-9_.-]+)\s*(?:>=\s*([0-9.]+))?\s*", requirement)
    if match is None:
        raise ValueError(f"requirement '{requirement}' is not of the form name>=version")
    version = installed_version(match.group(1))
    return version is not None and (match.group(2) is None or _numbers(version) >= _numbers(match.group(2)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"[0-9.]*", version).group().split(".") if part)  # type: ignore[union-attr]


def ensure(requirements: Path, requester: str, *, torch: str | None = None) -> None:
    """Make sure that packages are installed; asks the user before anything is.

    Parameters
    ----------
    requirements
        A ``requirements.txt`` of ``name>=version`` lines.
    requester
        Whom the question names.
    torch
        Least version of torch, if it is needed. It is installed only through the PyTorch extension, which knows the
        build that fits the computer.

    Raises
    ------
    MissingDependencyError
        If something is missing and was not installed; the message says how to get it.
    """
    if torch is not None:
        _ensure_torch(torch)
    missing = [line for line in requirement_lines(requirements) if not satisfied(line)]
    if not missing:
        return
    try:
        _install(missing, requester)
    except Exception as error:
        raise MissingDependencyError(
            f"{', '.join(missing)} could not be installed ({error}); check the network and press Apply again, or run "
            f"slicer.util.pip_install('{' '.join(missing)}') in the Python console") from error
    importlib.invalidate_caches()
    still = [line for line in missing if not satisfied(line)]
    if still:
        raise MissingDependencyError(
            f"{', '.join(still)} is still missing; install it and press Apply again, or run "
            f"slicer.util.pip_install('{' '.join(still)}') in the Python console")


@contextmanager
def _wheels_only() -> Iterator[None]:
    """Let pip, started within, take wheels alone: Slicer's users have no compilers."""
    name = "PIP_ONLY_BINARY"
    before = os.environ.get(name)
    os.environ[name] = ":all:"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _install(missing: list[str], requester: str) -> None:
    try:
        packaging = importlib.import_module("slicer.packaging")
    except ImportError:
        packaging = None
    if packaging is not None:
        with _wheels_only():
            packaging.pip_ensure(missing, requester=requester)
        return
    # 3D Slicer 5.10 has no slicer.packaging: ask, then install.
    from slicer.i18n import tr as _  # the application's; slicer-core has none

    question = _("{module} needs {packages}. Install now? This changes Slicer's Python environment.").format(
        module=requester, packages=", ".join(missing))
    if not slicer.util.confirmOkCancelDisplay(question):
        raise RuntimeError("the installation was declined")
    for line in missing:
        slicer.util.pip_install(["--only-binary", ":all:", line])


def _ensure_torch(least: str) -> None:
    if satisfied(f"torch>={least}"):
        return
    try:
        utilities: Any = importlib.import_module("PyTorchUtils")
    except ImportError:
        raise MissingDependencyError(
            f"torch {least} or newer is needed; install the '{TORCH_EXTENSION}' extension (Extensions Manager), "
            "restart 3D Slicer and press Apply again") from None
    if utilities.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=f">={least}") is None:
        raise MissingDependencyError(
            f"torch {least} or newer was not installed; open the 'PyTorch Utils' module, install it there and press "
            "Apply again")
