"""k-space on its way from the scan to the raw data file: on disk, since all of it rarely fits into memory."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.files.atomic import make_folder, unwritable
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.segmented import LineSchedule
from CMRSimExtension.scanner.trajectories import of_protocol
from CMRSimExtension.simulation.cine import Cine


class KspaceStore:
    """Takes slices in any order, as the scan finishes them, and writes them in theirs, with noise and reference scans.

    Use it in a ``with`` block; call it with a slice's index and k-space. It is a `CMRSimExtension.simulation.run`
    ``KspaceSink`` that takes the prescan too.

    Parameters
    ----------
    folder
        Where to keep them meanwhile: the disk that the result goes to has room for them. It is made where it is
        missing, and goes again where nothing else came into it.

    Raises
    ------
    InputError
        `folder` cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self._new_folders = make_folder(folder)
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=".writing-kspace-", dir=folder))
        except OSError as error:
            raise unwritable(folder, error) from error

    def __call__(self, index: int, kspace: NDArray[np.complexfloating]) -> None:
        np.save(self._path(index), kspace)

    def take_noise(self, samples: NDArray[np.complexfloating]) -> None:
        """Keep the noise (coils, readouts, samples) of the series."""
        np.save(self._noise, samples)

    def take_reference(self, index: int, kspace: NDArray[np.complexfloating]) -> None:
        """Keep the reference scan (coils, acquired rows, acquired columns) of a slice."""
        np.save(self._path(index, "reference-"), kspace)

    def write(self, cine: Cine, path: Path) -> None:
        """Write the raw data of `cine` to exactly `path`."""
        from CMRSimExtension.files.ismrmrd_writing import write_raw

        protocol = Protocol.from_dict(cine.sidecar["protocol"])
        noise = np.load(self._noise) if self._noise.exists() else None
        if protocol.trajectory == "cartesian":
            holds = cine.sidecar["breath_holds"]
            schedules = [LineSchedule.from_dict(hold["schedule"]) for hold in holds] if holds else None
            references = self._slices("reference-") if self._path(0, "reference-").exists() else None
            write_raw(
                cine, path, self._slices(), phase_direction=protocol.phase_direction, schedules=schedules, noise=noise,
                references=references)
        else:
            write_raw(
                cine, path, self._slices(), trajectory=lambda frame: of_protocol(protocol, frame), noise=noise)

    def __enter__(self) -> "KspaceStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for folder in reversed(self._new_folders):
            with suppress(OSError):  # not empty: the result lies there
                folder.rmdir()

    @property
    def _noise(self) -> Path:
        return self._folder / "noise.npy"

    def _path(self, index: int, kind: str = "") -> Path:
        return self._folder / f"{kind}{index}.npy"

    def _slices(self, kind: str = "") -> Iterator[NDArray[np.complexfloating]]:
        index = 0
        while self._path(index, kind).exists():
            yield np.load(self._path(index, kind))
            index += 1
