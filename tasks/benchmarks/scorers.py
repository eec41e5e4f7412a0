"""The packages that score stored answers: one version of each, by which the figures are told apart."""

from importlib.metadata import PackageNotFoundError, version

from tasks.core.errors import PermanentError

__all__ = ["require_scorer"]


def require_scorer(package: str, wanted: str, what: str) -> None:
    """Refuses to go on without the package, or with another version of it.

    Args:
        package: its name on PyPI.
        wanted: the version whose rules the figures stand under.
        what: it scores, in words.

    Raises:
        PermanentError: with one line that says what to install.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        raise PermanentError(
            f"{what} scored by {package}, which is not installed: pip install 'expo-flows[guards]'"
        ) from None
    if found != wanted:
        raise PermanentError(
            f"{what} scored by {package} {wanted}, and {found} is installed: "
            f"pip install '{package}=={wanted}'"
        )
