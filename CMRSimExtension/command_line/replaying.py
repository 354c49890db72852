"""A cine made again from its sidecar: what `cmrsim simulate --again` does."""

from pathlib import Path
from typing import Any

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.tag_options import tags_on_record
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.cine_files import is_nifti_name, sidecar_path
from CMRSimExtension.files.sidecar import read_sidecar
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.simulation.record import check_drawn, incomplete, simulate_again
from CMRSimExtension.simulation.run import KspaceSink

_WHERE = ("anatomy", "xcat_vectors")
"""Options that go with a record: where the anatomy's files lie, which it does not say."""

_FROM_FILES = ("label image", "XCAT")


class RecordedScan:
    """The scan that a sidecar describes.

    Parameters
    ----------
    path
        The sidecar, or the NIfTI image that it lies beside.
    values
        What else was chosen, see `scan_options.chosen`.

    Attributes
    ----------
    with_kspace
        Whether raw data were written with the image.

    Raises
    ------
    InputError
        There is no such file, an option says what the record says, a file of the anatomy is not found, or the anatomy
        needs none.
    FileFormatError
        It is no sidecar of this project, or damaged.
    """

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        contradicting = [_option(key) for key in values if key not in _WHERE]
        if contradicting:
            raise InputError(
                f"--again makes a cine again as its record says; {', '.join(contradicting)} would make another one: "
                "leave one or the other out"
            )
        place = sidecar_path(path) if is_nifti_name(path) else path
        if not place.is_file():
            raise InputError(f"{place} does not exist; give the .json file that was written with the image")
        sidecar = read_sidecar(place)
        if sidecar is None:
            raise FileFormatError(f"{place.name} is not a sidecar of this project; give the one written with the image")
        self._record = sidecar.record
        self.with_kspace = "kspace" in sidecar.files
        if "simulation" not in self._record and "tagging" in self._record:
            raise InputError(
                f"{place.name} is of a cine that 'cmrsim tag' laid tags on, not of a scan; make again what it was "
                "tagged from, and tag that"
            )
        check_drawn(self._record)
        try:
            self._tags = tags_on_record(self._record)
            self._from_file = self._anatomy_files(place.parent, values)
        except InputError:
            raise
        except KeyError as error:
            raise incomplete(self._record, str(error.args[0])) from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise FileFormatError(f"{place.name} is damaged ({error}); copy it again") from error

    @property
    def files(self) -> list[Path]:
        """Files of the anatomy that are read."""
        found = self._from_file
        return [] if found is None else [path for path in (found["path"], found["xcat_vectors"]) if path is not None]

    def scan(self, console: Console, on_kspace: KspaceSink | None = None) -> Cine:
        """Make the cine again; `on_kspace` is handed each slice's k-space.

        Raises
        ------
        InputError
            As `simulate_again` and the anatomy's reader.
        """
        tags = self._tags
        anatomy = self._anatomy()
        with console.progress("simulating") as progress:
            cine = simulate_again(
                self._record, anatomy=anatomy, preparation=None if tags is None else tags.preparation,
                progress=progress, on_kspace=on_kspace,
            )  # fmt: skip
        return cine if tags is None else tags.recorded(cine)

    def _anatomy(self) -> Anatomy | None:
        """The anatomy in its file; None where the record itself describes it."""
        if self._from_file is None:
            return None
        from CMRSimExtension.command_line.anatomy_files import anatomy_from_file

        found: Anatomy = anatomy_from_file(**self._from_file)
        return found

    def _anatomy_files(self, folder: Path, values: dict[str, Any]) -> dict[str, Any] | None:
        """What `anatomy_from_file` is to be asked for; None where the anatomy is of no file."""
        described = self._record["anatomy"]
        kind = described["kind"]
        if kind not in _FROM_FILES:
            given = [_option(key) for key in _WHERE if key in values]
            if given:
                raise InputError(f"the record describes a {kind}, which needs no file; leave {', '.join(given)} out")
            return None
        vectors = values.get("xcat_vectors")
        asked = {
            "still": not described["beat"], "seed": int(described["seed"]),
            "xcat_vectors": None if vectors is None else Path(vectors),
        }  # fmt: skip
        if kind == "XCAT":
            # One frame of a run that has more is named by its own file: the log would bring all of them.
            frames = described["frames"]
            name = frames[0]["file"] if len(frames) == 1 else described["source"]
            return asked | {"path": _found(name, folder, values), "labels_map": None}
        table = ",".join(f"{number}={structure}" for number, structure in described["label_map"].items())
        phases = described["phases_of_labels"]
        return asked | {
            "path": _found(described["source"], folder, values), "labels_map": table,
            "phase_of_labels": phases[0] if len(phases) == 1 else None,
        }  # fmt: skip


def _found(name: str, folder: Path, values: dict[str, Any]) -> Path:
    """The anatomy's file: where the user says, beside the sidecar, or in the current folder."""
    if "anatomy" in values:
        return Path(values["anatomy"])
    for path in (folder / name, Path(name)):
        if name and path.exists():
            return path
    raise InputError(
        f"the cine was made from {name or 'a file without a name'}, which lies neither beside the sidecar nor in the "
        "current folder; say with --anatomy FILE where it is"
    )


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")
