"""The options that say who is scanned, and how: one table for the command line and for the YAML file."""

import argparse
import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.person import SEX_SPELLINGS

PLANES = ("sax", "2ch", "3ch", "4ch", "axial", "whole_heart")
TRUTHS = ("labels", "anatomy", "motion", "fractions", "kspace")


@dataclass(frozen=True)
class ScanOption:
    """One option.

    Attributes
    ----------
    name
        With dashes, as typed after ``--``; the YAML key is the same, with dashes or underscores.
    group
        Heading in the help.
    kind
        Turns the text into the value.
    help, metavar
        As argparse.
    choices
        Allowed values, or None.
    repeatable
        May be given more than once; its value is a list.
    flag
        Takes no value.
    """

    name: str
    group: str
    kind: Callable[[str], Any]
    help: str
    metavar: str = ""
    choices: tuple[str, ...] | None = None
    repeatable: bool = False
    flag: bool = False

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")


_SUBJECT = "subject (drawn from the seed where not given)"
_ANATOMY = "anatomy from files, in place of the drawn subject"
_SCAN = "scan (the protocol's own value where not given)"
_TAGS = "tags, laid on by the scan (they deform with the tissue and fade)"
_TRUTH = "truth"

OPTIONS = (
    ScanOption("seed", _SUBJECT, int, "everything that is drawn at random follows from this number (default 0)", "N"),
    ScanOption("sex", _SUBJECT, str, "female or male, or F or M", choices=SEX_SPELLINGS),
    ScanOption("age-years", _SUBJECT, float, "age; children are possible", "A"),
    ScanOption("height-cm", _SUBJECT, float, "body height", "H"),
    ScanOption("weight-kg", _SUBJECT, float, "body weight", "W"),
    ScanOption("edv-ml", _SUBJECT, float, "LV end-diastolic volume, reached within 1 %%", "ML"),
    ScanOption("esv-ml", _SUBJECT, float, "LV end-systolic volume, reached within 1 %%", "ML"),
    ScanOption("mass-g", _SUBJECT, float, "LV mass, reached within 1 %%", "G"),
    ScanOption("pathology", _SUBJECT, str, "normal, dcm, hcm, minf, rv ... (an unknown one lists them all)", "NAME"),
    ScanOption("chest-half-width-mm", _SUBJECT, float,
               "half the width of the chest inside the ribs, at the heart", "MM"),
    ScanOption("chest-half-depth-mm", _SUBJECT, float, "half its depth, front to back", "MM"),
    ScanOption("heart-left-mm", _SUBJECT, float, "way of the heart's centre from the midline to the left", "MM"),
    ScanOption("frontal-deg", _SUBJECT, float, "long axis of the heart below the horizontal, seen from the front, 0 to "
               "65 (drawn around 38)", "DEG"),
    ScanOption("transverse-deg", _SUBJECT, float, "long axis forward of the left-right line, seen from below, 10 to 75 "
               "(drawn around 46)", "DEG"),
    ScanOption("roll-deg", _SUBJECT, float, "turn of the heart about its long axis, -45 to 45; more lowers the RV "
               "(drawn around -8)", "DEG"),
    ScanOption("anatomy", _ANATOMY, str, "label image (.nii.gz, .nrrd; one volume or a series), or XCAT .bin or log",
               "FILE"),
    ScanOption("labels-map", _ANATOMY, str,
               "what the labels mean: acdc, mms, cmrsim, or a table such as 1=rv,2=myo,3=lv", "MAP"),
    ScanOption("phase-of-labels", _ANATOMY, float,
               "cardiac phase, 0 to 1, of a single label image: 0 end diastole (default), about 0.39 end systole",
               "P"),
    ScanOption("xcat-vectors", _ANATOMY, str,
               "XCAT's own motion of a beating series: one of its <name>_vec_frame1_to_frame<t>.txt, or their folder; "
               "found by itself beside the frames under the same name", "FILE"),
    ScanOption("still", _ANATOMY, str, "leave the heart as it is in the file; without it, it beats", flag=True),
    ScanOption("protocol", _SCAN, str, "preset of a vendor and field strength (default siemens_1.5t)", "NAME"),
    ScanOption("plane", _SCAN, str, "short-axis stack (default), one long-axis plane, axial stack or isotropic volume",
               choices=PLANES),
    ScanOption("rotation-deg", _SCAN, float, "turn the field of view in its plane, -180 to 180: the heart turns "
               "anticlockwise in the image (default 0; real short-axis stacks are turned by 30 either way)", "DEG"),
    ScanOption("field-t", _SCAN, float, "field strength, 1.5 or 3", "T"),
    ScanOption("tr-ms", _SCAN, float, "repetition time", "MS"),
    ScanOption("te-ms", _SCAN, float, "echo time", "MS"),
    ScanOption("flip-deg", _SCAN, float, "flip angle", "DEG"),
    ScanOption("snr", _SCAN, float, "mean heart signal over noise SD", "SNR"),
    ScanOption("matrix", _SCAN, int, "pixels along the longer side of the field of view; a coarser matrix than the "
               "protocol acquires lowers the acquired resolution with it", "N"),
    ScanOption("slices", _SCAN, int, "number of slices; as many as cover the heart where not given", "N"),
    ScanOption("phases", _SCAN, int, "frames in a heartbeat", "N"),
    ScanOption("coils", _SCAN, int, "receive channels", "N"),
    ScanOption("trajectory", _SCAN, str, "cartesian, radial or golden_angle", "NAME"),
    ScanOption("segmented", _SCAN, str, "put each frame together from lines of several heartbeats, as breath-held "
               "cines are: motion within a segment blurs; without it, each frame is one moment", flag=True),
    ScanOption("fault", _SCAN, str, "spoil the scan as real ones are, for example ghosting=5; repeatable "
               "(an unknown name lists them all)", "NAME[=AMOUNT]", repeatable=True),
    ScanOption("tissue", _SCAN, str, "give a tissue these values instead of the drawn ones, for example "
               "myocardium:t1_ms=1100,t2_ms=45; also t2_star_ms, proton_density (0 to 1), chemical_shift_ppm; "
               "repeatable (an unknown name lists all tissues); in a file tissue: {myocardium: {t1_ms: 1100}}",
               "NAME:VALUES", repeatable=True),
    ScanOption("tag", _TAGS, str, "lay tags on", choices=("grid", "lines")),
    ScanOption("spacing-mm", _TAGS, float, "distance of the tags (default 7)", "S"),
    ScanOption("spacing-px", _TAGS, float, "the same in pixels", "S"),
    ScanOption("angle-deg", _TAGS, float, "angle of the lines to the rows (default 45)", "A"),
    ScanOption("train", _TAGS, str, "1-1, 1-2-1, 1-3-3-1 (default) or 1-4-6-4-1", "T"),
    ScanOption("tag-flip-deg", _TAGS, float, "total flip angle of the preparation (default 90); --flip-deg, --tr-ms "
               "and --te-ms are those of the readout after it", "F"),
    ScanOption("cspamm", _TAGS, str, "complementary tagging: tags that do not fade", flag=True),
    ScanOption("readout", _TAGS, str, "readout of the tagged series (default gre)", choices=("gre", "bssfp")),
    ScanOption("truth", _TRUTH, str,
               f"what to write beside the image, with commas: {','.join(TRUTHS)} (default labels)", "LIST"),
)
_BY_KEY = {option.key: option for option in OPTIONS}
DEFAULT_PROTOCOL = "siemens_1.5t"
SUBJECT_KEYS = ("sex", "age_years", "height_cm", "weight_kg", "edv_ml", "esv_ml", "mass_g", "pathology",
                "chest_half_width_mm", "chest_half_depth_mm", "heart_left_mm", "frontal_deg", "transverse_deg",
                "roll_deg")


def add_scan_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of `OPTIONS`, and ``--config``, to `parser`; what is not given stays None."""
    parser.add_argument("--config", metavar="Y.yaml",
                        help="YAML file with any of the options below by name; those on the command line come first")
    groups: dict[str, Any] = {}
    for option in OPTIONS:
        group = groups.get(option.group) or parser.add_argument_group(option.group)
        groups[option.group] = group
        name = f"--{option.name}"
        if option.flag:
            group.add_argument(name, action="store_true", default=None, help=option.help)
        else:
            more: dict[str, Any] = {"action": "append"} if option.repeatable else {}
            if option.choices:
                more["choices"] = option.choices
            else:
                more["metavar"] = option.metavar
            group.add_argument(name, type=option.kind, help=option.help, **more)


def chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The values given, by key: those of ``--config`` with those of the command line laid over them.

    Raises
    ------
    InputError
        The YAML file is missing or damaged, or holds an unknown key or a value of the wrong kind.
    """
    values = read_config(Path(options.config)) if options.config else {}
    for option in OPTIONS:
        given = getattr(options, option.key, None)
        if given is not None:
            # One value of a tissue says nothing of the file's others; the last one counts.
            values[option.key] = [*values.get("tissue", ()), *given] if option.key == "tissue" else given
    return values


def read_config(path: Path) -> dict[str, Any]:
    """Values of a YAML file whose keys are option names; ``protocol`` may be a mapping of `Protocol` values.

    Examples
    --------
    A file that `cmrsim simulate --config` takes::

        seed: 7
        pathology: dcm
        protocol:
          preset: siemens_3t
          snr: 25
          fov_mm: [300, 340]
        fault: [ghosting=5]
        tissue:
          myocardium: {t1_ms: 1100, t2_ms: 45}
    """
    document = read_document(path, _BY_KEY)
    return {key: _config_value(path, _BY_KEY[key], value) for key, value in document.items()}


def read_document(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """The values of a YAML file as they are, by key; dashes in its keys count as underscores.

    Raises
    ------
    InputError
        The file cannot be read, is no YAML file of ``name: value`` lines, or has a key that is none of `keys`.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the configuration {path} cannot be read ({error}); give a YAML text file") from error
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the configuration {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InputError(f"the configuration {path} must be 'name: value' lines, not a {type(document).__name__}")
    values = {}
    for name, value in document.items():
        key = str(name).replace("-", "_")
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            guess = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(keys)}"
            raise InputError(f"the configuration {path} has an unknown key {name!r}{guess}")
        values[key] = value
    return values


def _config_value(path: Path, option: ScanOption, value: Any) -> Any:
    where = f"the configuration {path} has {option.key}: {value!r}"
    if option.flag:
        if not isinstance(value, bool):
            raise InputError(f"{where}; write true or false")
        return value
    if option.key == "protocol" and isinstance(value, dict):
        return value
    if option.key == "tissue" and isinstance(value, dict):
        return _tissue_texts(where, value)
    if option.repeatable:
        return [str(v) for v in (value if isinstance(value, list) else [value])]
    if option.key == "truth" and isinstance(value, list):
        return ",".join(str(v) for v in value)
    if option.kind is str:
        if isinstance(value, (list, dict)):
            raise InputError(f"{where}; one word is needed")
        if option.choices and str(value) not in option.choices:
            raise InputError(f"{where}; choose from {', '.join(option.choices)}")
        return str(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (option.kind is int and value != int(value)):
        raise InputError(f"{where}; {'a whole number' if option.kind is int else 'a number'} is needed")
    return option.kind(value)  # type: ignore[arg-type]


def _tissue_texts(where: str, tissues: dict[Any, Any]) -> list[str]:
    """A file's table of tissues in the form in which the command line takes them."""
    texts = []
    for name, row in tissues.items():
        if not isinstance(row, dict) or any(isinstance(value, (list, dict)) for value in row.values()):
            raise InputError(f"{where}; write {{NAME: {{t1_ms: 1100, t2_ms: 45}}}}, with a number for each value")
        texts += [f"{name}:{quantity}={value}" for quantity, value in row.items()]
    return texts


def truths(values: dict[str, Any]) -> frozenset[str]:
    """The truths asked for; the labels where nothing was said."""
    names = frozenset(name.strip() for name in str(values.get("truth", "labels")).split(",") if name.strip())
    unknown = sorted(names - set(TRUTHS))
    if unknown:
        raise InputError(f"--truth has {', '.join(unknown)}; choose from {', '.join(TRUTHS)}")
    return names


def build_protocol(values: dict[str, Any], default: str = DEFAULT_PROTOCOL) -> Any:
    """The `Protocol` that the values ask for: a preset, then the configuration's changes, then the options'."""
    from CMRSimExtension.scanner.protocol import Protocol

    given = values.get("protocol", default)
    changes: dict[str, Any] = {}
    if isinstance(given, dict):
        changes = {str(k).replace("-", "_"): v for k, v in given.items()}
        given = changes.pop("preset", default)
    protocol = Protocol.preset(str(given))
    if changes:
        try:
            protocol = protocol.replace(**changes)
        except TypeError as error:
            raise InputError(f"the configuration's protocol has a value of the wrong kind ({error})") from error
    names = {"field_t": "field_t", "tr_ms": "repetition_time_ms", "te_ms": "echo_time_ms", "flip_deg": "flip_angle_deg",
             "snr": "snr", "slices": "slices", "phases": "phases", "coils": "coils", "trajectory": "trajectory",
             "segmented": "segmented"}
    options = {field: values[key] for key, field in names.items() if key in values}
    if "coils" in options and "acceleration" not in changes:
        options["acceleration"] = min(protocol.acceleration, max(1, options["coils"]))
    if "matrix" in values:
        options |= _matrix(protocol, values["matrix"], options.get("acceleration", protocol.acceleration))
    return protocol.replace(**options) if options else protocol


def _matrix(protocol: Any, longest: int, acceleration: int) -> dict[str, Any]:
    """Same field of view and square pixels with `longest` of them along the longer side.

    A shorter side is a multiple of the acceleration where it is the phase direction's, so that it can be unfolded.
    """
    if not 16 <= longest <= 2048:
        raise InputError(f"--matrix is {longest}; choose a value from 16 to 2048")
    pixel = max(protocol.fov_mm) / longest
    sides = [max(16, round(side / pixel)) for side in protocol.fov_mm]
    along_phase = 0 if protocol.phase_direction == "rows" else 1
    if sides[along_phase] < longest:
        sides[along_phase] = max(1, round(sides[along_phase] / acceleration)) * acceleration
    rows, columns = sides
    phase, read = protocol.acquired_resolution_mm
    return {
        "matrix": (rows, columns),
        "fov_mm": (rows * pixel, columns * pixel),
        "acquired_resolution_mm": (max(phase, pixel), max(read, pixel)),
    }
