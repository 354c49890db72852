"""Reading what XCAT writes: headerless activity files, and the log or parameter file that explains them."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.xcat_organs import HEART_ORGANS, ORGAN_STRUCTURES, USUAL_NUMBERS, organ_named
from CMRSimExtension.errors import FileFormatError, InputError

_FRAME_NAME = re.compile(r"(?P<name>.+)_act_(?P<frame>\d+)(?:\.bin)?")


def _name_of(path: Path) -> re.Match[str]:
    match = _FRAME_NAME.fullmatch(path.name)
    if match is None:
        raise FileFormatError(f"{path.name} is no <name>_act_<t>.bin")
    return match


@dataclass(frozen=True)
class XcatFrame:
    """One activity file.

    Attributes
    ----------
    path
        The file.
    cardiac
        Heart phase in [0, 1): 0 end diastole, about 0.4 end systole.
    inhaled
        Depth of breath: 0 full exhalation, 1 full inhalation.
    respiratory
        XCAT's respiratory phase in [0, 1): 0 full exhalation, about 0.4 full inhalation.
    """

    path: Path
    cardiac: float
    respiratory: float
    inhaled: float

    @property
    def run(self) -> str:
        """Name of the run of XCAT that wrote it."""
        return _name_of(self.path)["name"]

    @property
    def number(self) -> int:
        """Which frame of its run it is, from 1."""
        return int(_name_of(self.path)["frame"])

    @cached_property
    def sha256(self) -> str:
        """Digest of the file, read when first asked for."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class XcatSeries:
    """What the log or parameter file says about a run of XCAT.

    Attributes
    ----------
    frames
        The activity files that are there.
    shape
        (slices, rows, columns) of each.
    spacing_mm
        (slice, row, column) distances.
    organs
        Activity value -> organs that have it.
    cycle_ms
        Heartbeat.
    lv_volumes_ml, lv_lengths_mm
        End-diastolic and end-systolic values, where the log tells them.
    source
        Name of the file that told all this.
    """

    frames: tuple[XcatFrame, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    organs: dict[float, tuple[str, ...]]
    cycle_ms: float
    lv_volumes_ml: tuple[float, float] | None = None
    lv_lengths_mm: tuple[float, float] | None = None
    source: str = ""
    shared: dict[float, tuple[str, ...]] = field(default_factory=dict)

    @property
    def affine_ras(self) -> NDArray[np.float64]:
        """(4, 4): (column, row, slice, 1) to RAS mm; x runs to the left, y to the back, z to the head (NOTE 4)."""
        dz, dy, dx = self.spacing_mm
        return np.diag([-dx, -dy, dz, 1.0])

    def structures(self, frame: XcatFrame) -> NDArray[np.uint8]:
        """(slices, rows, columns) `Structure` numbers of a frame.

        Raises
        ------
        FileFormatError
            If the file has the wrong size, or values that no organ has.
        """
        expected = int(np.prod(self.shape)) * 4
        size = frame.path.stat().st_size
        if size != expected:
            raise FileFormatError(
                f"{frame.path.name} has {size} bytes, but {self.source} describes {self.shape[2]} x {self.shape[1]} x "
                f"{self.shape[0]} float32 voxels, which are {expected}: the file is cut off, or belongs to another run"
            )
        raw = np.fromfile(frame.path, dtype=np.uint32)
        unknown: list[float] = []
        for order in ("<f4", ">f4"):
            stored = raw if order == "<f4" else raw.byteswap()
            patterns, index = np.unique(stored, return_inverse=True)
            values = patterns.view(np.float32)
            numbers = [self._structure_of(float(v)) for v in values]
            unknown = [float(v) for v, n in zip(values, numbers, strict=True) if n is None]
            if not unknown:
                table = np.array([0 if n is None else n for n in numbers], dtype=np.uint8)
                return table[index].reshape(self.shape)
            if order == "<f4":
                first = unknown
        shown = ", ".join(f"{v:g}" for v in first[:8]) + (" ..." if len(first) > 8 else "")
        raise FileFormatError(
            f"{frame.path.name} holds activities that no organ in {self.source} has ({shown}); "
            "keep the log of the run that wrote it beside it"
        )

    def _structure_of(self, value: float) -> int | None:
        if value == 0.0:
            return int(Structure.OUTSIDE)
        # Logs print six decimals; a denormal is what a file of the other byte order looks like, not a zero.
        near = [a for a in self.organs if abs(a - value) <= 1e-6 + 1e-6 * abs(a)]
        return int(ORGAN_STRUCTURES[self.organs[near[0]][0]]) if near else None


def read_xcat(path: str | Path) -> XcatSeries:
    """Read a run of XCAT.

    Parameters
    ----------
    path
        A ``<name>_log`` (all its frames that are there), a ``<name>_act_<t>.bin`` (that frame; its log or a ``.par``
        lies beside it), or a ``.par``, which names none (every ``*_act_<t>.bin`` beside it).

    Raises
    ------
    FileFormatError
        If the file is no XCAT file, or what explains it is missing or incomplete.
    InputError
        If heart and other organs share an activity value, or two files are the same frame.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"there is no file {path}; give an XCAT log or a <name>_act_<t>.bin")
    frame = _FRAME_NAME.fullmatch(path.name)
    folder = path.parent
    if frame:
        log = folder / f"{frame['name']}_log"
        pars = sorted(folder.glob("*.par"))
        if not log.is_file() and not pars:
            raise FileFormatError(
                f"{path.name} has no header, and neither {log.name} nor a .par lies beside it; copy one there"
            )
        chosen = {int(frame["frame"]): path}
        return _from_text(log if log.is_file() else pars[0], chosen, pars)
    if path.suffix == ".par":
        return _from_text(path, _frames_in(folder, None), [path])
    name = re.sub(r"_log(\.txt)?$", "", path.name)
    if name == path.name:
        raise FileFormatError(f"{path.name} is neither <name>_log, <name>_act_<t>.bin nor a .par: no XCAT file")
    return _from_text(path, _frames_in(folder, name), sorted(folder.glob("*.par")))


def _frames_in(folder: Path, name: str | None) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for one in sorted(folder.iterdir()):
        match = _FRAME_NAME.fullmatch(one.name)
        if match and name in (None, match["name"]):
            number = int(match["frame"])
            if number in found:
                raise InputError(
                    f"{found[number].name} and {one.name} in {folder} are both frame {number}: give the _log of one "
                    "run, or leave the frames of one run alone in a folder"
                )
            found[number] = one
    if not found:
        raise FileFormatError(f"no {name or '<name>'}_act_<t>.bin lies in {folder}; copy the activity files there")
    return found


def _values(text: str) -> dict[str, float]:
    """Every ``name = number`` of a log or parameter file, by its lower-case name."""
    out: dict[str, float] = {}
    for line in text.splitlines():
        match = re.match(r"\s*(?:==>)?\s*([A-Za-z][\w /.,()-]*?)\s*=\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)", line)
        if match:
            out.setdefault(match[1].strip().lower(), float(match[2]))
    return out


def _from_text(source: Path, files: dict[int, Path], pars: list[Path]) -> XcatSeries:
    text = source.read_text(encoding="latin-1")
    values = _values(text)
    first = values.get("starting slice number", values.get("startslice"))
    last = values.get("ending slice number", values.get("endslice"))
    size = values.get("array_size")
    pixel, distance = (values.get(f"{k} width", values.get(f"{k}_width")) for k in ("pixel", "slice"))
    if first is None or last is None or size is None or pixel is None or distance is None:
        raise FileFormatError(
            f"{source.name} does not tell array_size, pixel and slice width and first and last slice: it is no "
            "complete XCAT log or parameter file"
        )
    if not (size >= 1 and last >= first and pixel > 0 and distance > 0):
        raise FileFormatError(
            f"{source.name} describes an image of no size: array_size {size:g}, slices {first:g} to {last:g}"
        )
    shape = (int(last - first) + 1, int(size), int(size))
    organs = _organs(values, [_values(p.read_text(encoding="latin-1")) for p in pars if p != source], source.name)
    period = values.get("beating heart period", values.get("hrt_period", 1.0))
    volumes = _pair(text, r"V1 \(end-diastole\)\s+([\d.]+)", r"V2 \(end-systole\)\s+([\d.]+)")
    lengths = _pair(text, r"\(Diastole\)-+\s+Length\s+([\d.]+)", r"\(Systole\)-+\s+Length\s+([\d.]+)")
    frames = tuple(_frame(text, values, number, files[number]) for number in sorted(files))
    shared = {n: o for n, o in organs.items() if len({ORGAN_STRUCTURES[name] for name in o}) > 1}
    spacing = (distance * 10.0, pixel * 10.0, pixel * 10.0)
    return XcatSeries(frames, shape, spacing, organs, period * 1000.0, volumes, lengths, source.name, shared)


def _organs(values: dict[str, float], beside: list[dict[str, float]], source: str) -> dict[float, tuple[str, ...]]:
    """Activity -> organs: as the log says, then the parameter file beside it, then XCAT's usual numbers.

    Logs leave some organs out (the spinal cord, the thyroid) that their phantoms hold all the same.
    """
    numbers: dict[str, float] = {}
    for told in (values, *beside):
        for spelling, value in told.items():
            organ = organ_named(spelling)
            if organ:
                numbers.setdefault(organ, value)
    if "bldpllv" not in numbers or "myolv" not in numbers:
        raise FileFormatError(
            f"{source} gives the LV's blood and wall no activity: it is no XCAT log or parameter file"
        )
    for organ, usual in USUAL_NUMBERS.items():
        if organ not in numbers and float(usual) not in numbers.values():
            numbers[organ] = float(usual)
    if values.get("which_breast", 1.0) == 0.0:
        numbers = {o: v for o, v in numbers.items() if not o.endswith("_breast")}
    out: dict[float, tuple[str, ...]] = {}
    for organ in ORGAN_STRUCTURES:
        # 0 is the air around the body, whatever organs were left out by giving them 0.
        if numbers.get(organ):
            out[numbers[organ]] = (*out.get(numbers[organ], ()), organ)
    for value, organs in out.items():
        mixed = len({ORGAN_STRUCTURES[o] for o in organs}) > 1
        if mixed and any(o in HEART_ORGANS for o in organs):
            raise InputError(
                f"{source} gives activity {value:g} to {', '.join(organs)}: the heart cannot be told apart; run "
                "XCAT with an activity of its own for each part of the heart"
            )
    return out


def _pair(text: str, first: str, second: str) -> tuple[float, float] | None:
    a, b = re.search(first, text), re.search(second, text)
    return (float(a[1]), float(b[1])) if a and b else None


def _frame(text: str, values: dict[str, float], number: int, path: Path) -> XcatFrame:
    block = re.search(rf"CREATING FRAME #{number} \.\.\.(.*?)(?=CREATING FRAME #|\Z)", text, flags=re.DOTALL)
    if block:
        heart = re.search(r"heart phase index\s*=\s*([\d.]+)", block[1])
        breath = re.search(r"resp phase index\s*=\s*([\d.]+)\s*\(([^)]*)\)", block[1])
        if heart and breath:
            percent = re.search(r"(\d+)% (inhaled|exhaled)", breath[2])
            if percent:
                depth = float(percent[1]) / 100.0
                depth = depth if percent[2] == "inhaled" else 1.0 - depth
            else:
                depth = 1.0 if "inhal" in breath[2] else 0.0
            return XcatFrame(path, float(heart[1]) % 1.0, float(breath[1]) % 1.0, depth)
    # A parameter file tells where the first frame starts and how time goes on.
    seconds = (number - 1) * values.get("time_per_frame", 0.0)
    option = int(values.get("motion_option", 2))
    start = values.get("hrt_start_ph_index", values.get("heart start phase index", 0.0))
    cardiac = start + (seconds / values.get("hrt_period", 1.0) if option in (0, 2) else 0.0)
    breath_start = values.get("resp_start_ph_index", values.get("resp. start phase index", 0.0))
    respiratory = breath_start + (seconds / values.get("resp_period", 5.0) if option in (1, 2) else 0.0)
    return XcatFrame(path, cardiac % 1.0, respiratory % 1.0, depth_of_breath(respiratory % 1.0))


def depth_of_breath(respiratory: float) -> float:
    """XCAT's default breathing: 0 at phase 0 (full exhalation), 1 at phase 0.4 (full inhalation), cosine between."""
    u = respiratory / 0.4 if respiratory <= 0.4 else (1.0 - respiratory) / 0.6
    return float(0.5 - 0.5 * np.cos(np.pi * np.clip(u, 0.0, 1.0)))
