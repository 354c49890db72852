"""Scans single slices, one after the other, for the live preview; a child process that keeps the anatomy in between.

``python -m CMRSimExtension.slicer_bridge.previews FOLDER``. Request and result number *n* are the folders
``FOLDER/request-n`` and ``FOLDER/result-n``; the parent sends the next request when it has heard of the last one. The
process ends with its folder, or when nothing is asked for a long time. Imports neither ``slicer`` nor Qt.
"""

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.scanner.breath_hold import line_by_line
from CMRSimExtension.scanner.faults import narrowed
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.slicer_bridge import jobs
from CMRSimExtension.slicer_bridge.job import report, report_error
from CMRSimExtension.slicer_bridge.store import RECORD, read_values, write_values

SUB_SAMPLES = 2
"""Fewer points a voxel than a scan takes: a preview is for contrast and position, and has to follow the slider."""
LOOK_S = 0.01
LONGEST_IDLE_S = 600.0


def preview_slice(
    anatomy: Anatomy, protocol: Protocol, seed: int, *, plane: str, slice_share: float, cardiac_phase: float,
    faults: dict[str, float],
) -> tuple[NDArray[np.float32], ImageGrid]:
    """Scan one slice at one moment.

    Parameters
    ----------
    slice_share
        Where in the planned stack: 0 the most basal slice, 1 the last one.
    cardiac_phase
        Moment in [0, 1), rounded to a frame of the protocol.
    faults
        Amount by name.

    Returns
    -------
    image, grid
        (1, rows, columns) and its geometry, RAS.
    """
    from CMRSimExtension.simulation.scene import one_slice
    from CMRSimExtension.simulation.simulate import simulate

    wrong = jobs.fault_values(faults)
    stack = plan(anatomy.heart_frame, narrowed(protocol, wrong), plane)
    grid = one_slice(stack, round(slice_share * (stack.shape[0] - 1)))
    frame = min(int(cardiac_phase * protocol.phases), protocol.phases - 1)
    # What goes line by line is spread over the heartbeat, so all frames have to be scanned for it.
    one_moment = not line_by_line(protocol, wrong)
    cine = simulate(
        anatomy, protocol, seed, grid=grid, truth=(), sub_samples=SUB_SAMPLES, faults=wrong,
        phases=(frame / protocol.phases,) if one_moment else None)
    return cine.image[0 if one_moment else frame], cine.grid


class Previews:
    """Answers one request after the other."""

    def __init__(self) -> None:
        self._anatomy: Any = None

    def answer(self, values: dict[str, Any]) -> dict[str, Any]:
        """``image`` and ``grid`` for a request; one that says nothing about the anatomy means the last one."""
        if "anatomy" in values:
            self._anatomy = None
            self._anatomy = jobs.build_anatomy(values.pop("source"), values["seed"], values.pop("anatomy"))
        protocol = Protocol.from_dict(values.pop("protocol"))
        image, grid = preview_slice(self._anatomy, protocol, values.pop("seed"), **values)
        return {"image": image, "grid": grid}


def main(folder: Path) -> int:
    """Answer until the folder goes."""
    previews, number, asked = Previews(), 1, time.monotonic()
    while folder.is_dir() and time.monotonic() - asked < LONGEST_IDLE_S:
        request = folder / f"request-{number}"
        if not (request / RECORD).is_file():
            time.sleep(LOOK_S)
            continue
        try:
            write_values(folder / f"result-{number}", previews.answer(read_values(request)))
            report(ready=number)
        except Exception as error:
            if not folder.is_dir():  # ended by the parent in the midst of it
                break
            report_error(error)
        shutil.rmtree(request, ignore_errors=True)
        number, asked = number + 1, time.monotonic()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
