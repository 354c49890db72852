"""Drawing pictures needs matplotlib, which not every installation of this library has."""

from CMRSimExtension.errors import MissingDependencyError


def require_matplotlib(pictures: str) -> None:
    """Find out before long work whether its pictures can be drawn.

    Parameters
    ----------
    pictures
        What they are, in the plural.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"{pictures} need matplotlib, which is not installed; install it with: pip install matplotlib"
        ) from error
