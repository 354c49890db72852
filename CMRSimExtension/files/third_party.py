"""The border to the packages that parse files: nothing of theirs reaches a user as a traceback."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from CMRSimExtension.errors import CMRSimError, CMRSimWarning, FileFormatError, InputError


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a parser raises while reading `path` into a `FileFormatError` that names file and cure.

    Parameters
    ----------
    path
        File being read.
    what
        What it should be, with its article: "a NIfTI image".

    Raises
    ------
    InputError
        The file is missing, is a folder, or may not be read.
    FileFormatError
        Anything else went wrong: the file is damaged, truncated or of another kind.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; check the name")
    if path.is_dir():
        raise InputError(f"{path} is a folder, where {what} was expected; give a file")
    try:
        with warnings.catch_warnings():
            # What the parsers grumble about is either an error here or of no interest to whoever reads a cine.
            warnings.simplefilter("ignore")
            yield
    except CMRSimError:
        raise
    except PermissionError as error:
        raise InputError(f"{path} may not be read ({error.strerror}); change its permissions") from error
    except MemoryError as error:
        raise FileFormatError(
            f"{path.name} claims to hold more than fits into memory; its header is damaged, or use a larger machine"
        ) from error
    # Parsers raise whatever type a broken byte leads them to (struct.error, IndexError, zlib.error, RecursionError,
    # ...); to the user each means the same: this file cannot be read.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileFormatError(
            f"{path.name} cannot be read as {what}: it is damaged, incomplete or of another kind ({reason}); "
            "copy or export it again"
        ) from error


class GeometryWarning(CMRSimWarning):
    """A file contradicts itself about where its voxels lie; the message says which statement was believed."""
