"""Files that appear whole or not at all.

Everything this project writes goes to a temporary name beside its target first, is flushed to the disk and then
renamed, which every file system does in one step. An error, Ctrl-C or a power cut leaves the old file or the new one,
never half of one.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from CMRSimExtension.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Windows: "sharing violation" and "lock violation", another program has the target open.
_IN_USE_WINERRORS = (32, 33)


class StagedFiles:
    """A set of files that replace their targets together when the ``with`` block ends without an error.

    An `OSError` of the block that says that the disk is full becomes an `InputError` that names the first target.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with StagedFiles() as staged:
    ...     _ = staged.path(folder / "a.txt").write_text("one")
    ...     _ = staged.path(folder / "b.txt").write_text("two")
    >>> sorted(path.name for path in folder.iterdir())
    ['a.txt', 'b.txt']
    """

    def __init__(self) -> None:
        self._staged: dict[Path, Path] = {}
        self._obsolete: list[Path] = []
        self._new_folders: list[Path] = []

    def path(self, target: Path | str) -> Path:
        """Name to write to in place of `target`: in the same folder, with the same file ending.

        Raises
        ------
        InputError
            The folder of `target` does not exist and cannot be made, cannot be written to, or `target` is a folder.
        """
        target = Path(target)
        if target.is_dir():
            raise InputError(f"{target} is a folder; give the name of a file")
        if target in self._staged:
            return self._staged[target]
        self._new_folders += make_folder(target.parent)
        # The whole name goes behind a random prefix, so that endings such as .nii.gz stay what they are.
        try:
            handle, name = tempfile.mkstemp(prefix=".writing-", suffix="-" + target.name, dir=target.parent)
        except OSError as error:
            raise unwritable(target.parent, error) from error
        os.close(handle)
        self._staged[target] = Path(name)
        return self._staged[target]

    def remove(self, target: Path | str) -> None:
        """Delete `target`, where it exists, once the staged files are in place: it belonged to those they replace."""
        self._obsolete.append(Path(target))

    def forget(self) -> None:
        """Drop what was staged so far: nothing is replaced, and folders made for it go again."""
        for temporary in self._staged.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._staged.clear()
        self._obsolete.clear()
        for folder in reversed(self._new_folders):
            with suppress(OSError):  # not empty: its files are in place, or somebody else's
                folder.rmdir()
        self._new_folders.clear()

    def __enter__(self) -> "StagedFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
            elif self._staged and isinstance(error, OSError) and error.errno in _FULL:
                raise unwritable(next(iter(self._staged)), error) from error
        finally:
            self.forget()

    def _commit(self) -> None:
        umask = os.umask(0)
        os.umask(umask)
        for target, temporary in self._staged.items():
            _flush(temporary, target)
            # mkstemp makes files that only their owner can read; give them the mode any other new file would have.
            temporary.chmod(0o666 & ~umask)
        for target in self._staged:
            _refuse_if_in_use(target)
        for target, temporary in self._staged.items():
            try:
                temporary.replace(target)
            except OSError as error:
                raise unwritable(target, error) from error
        for target in self._obsolete:
            try:
                target.unlink(missing_ok=True)
            except OSError as error:
                raise unwritable(target, error) from error


def check_writable(target: Path | str) -> None:
    """Raise early where the file `target` could not be written, before minutes are spent on what should go there.

    Raises
    ------
    InputError
        A folder has that name, or its own folder cannot be made or written to.
    """
    with StagedFiles() as staged:
        staged.path(target)
        staged.forget()


@contextmanager
def atomic_file(target: Path | str) -> Iterator[Path]:
    """One file, written beside `target` and renamed to it at the end; see `StagedFiles`."""
    with StagedFiles() as staged:
        yield staged.path(target)


@contextmanager
def atomic_folder(target: Path | str) -> Iterator[Path]:
    """A new folder that appears whole or not at all.

    Parameters
    ----------
    target
        Folder to make; it must not exist, or be empty.

    Raises
    ------
    InputError
        `target` exists and holds something (two series in one folder could not be told apart), cannot be written, or
        the disk is full.
    """
    target = Path(target)
    if target.name in ("", ".."):
        target = target.resolve()
    if target.exists():
        if not target.is_dir():
            raise InputError(f"{target} is a file; give the name of a folder")
        if any(target.iterdir()):
            raise InputError(f"the folder {target} already holds files; give a new or an empty one")
    make_folder(target.parent)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", suffix="-" + target.name, dir=target.parent))
    except OSError as error:
        raise unwritable(target.parent, error) from error
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno in _FULL:
                raise unwritable(target, error) from error
            raise
        for path in temporary.rglob("*"):
            if path.is_file():
                _flush(path, target)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if target.exists():
            target.rmdir()
        try:
            temporary.replace(target)
        except OSError as error:
            raise unwritable(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(folder: Path) -> list[Path]:
    """Make `folder` and those above it, and tell which are new, the topmost first.

    Raises
    ------
    InputError
        It cannot be made; the message says why.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return new[::-1]


def unwritable(path: Path, error: OSError) -> InputError:
    """The error to raise when the operating system refuses to write to `path`."""
    if getattr(error, "winerror", None) in _IN_USE_WINERRORS or error.errno == errno.ETXTBSY:
        return InputError(f"{path} is open in another program; close it there and try again")
    if error.errno == errno.ENOSPC:
        return InputError(f"no space is left on the disk of {path}; free some or write to another one")
    if error.errno == errno.EDQUOT:
        return InputError(f"your quota on the disk of {path} is used up; free some space or write to another disk")
    if error.errno == errno.ENAMETOOLONG:
        return InputError(f"{path} is a longer name than this file system takes; give a shorter one")
    return InputError(f"{path} cannot be written ({error.strerror or error}); choose a place you may write to")


def _flush(path: Path, target: Path) -> None:
    """Some file systems tell only here that the disk is full."""
    try:
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
    except OSError as error:
        raise unwritable(target, error) from error


def _refuse_if_in_use(target: Path) -> None:
    """Raise before anything is replaced, so that a file open elsewhere does not split a set in two (Windows)."""
    if not target.exists():
        return
    if target.is_dir():
        raise InputError(f"{target} is a folder; give the name of a file")
    if os.name == "nt":
        try:
            target.replace(target)
        except OSError as error:
            raise unwritable(target, error) from error
