"""The errors this library raises on purpose.

Each subclasses the builtin that fits, so ``except ValueError`` keeps working, and each message names the offending
value, the limit it broke and the cure.
"""


class CMRSimError(Exception):
    """Base of every error that the library raises about its input; the command line answers it with exit code 2."""


class InputError(CMRSimError, ValueError):
    """A value, array or option cannot be used."""


class FileFormatError(CMRSimError, ValueError):
    """A file is not what its name or header says, or is damaged."""


class MissingDependencyError(CMRSimError, ImportError):
    """An optional package is needed and not installed; the message names the pip extra that brings it."""


class Cancelled(CMRSimError):
    """The caller asked a long operation to stop; nothing was written."""


class CMRSimWarning(UserWarning):
    """Something a user should know that does not stop the work; the command line prints it, the sidecar keeps it."""
