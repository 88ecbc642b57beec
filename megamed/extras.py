"""Packages of an extra, which an installation may lack."""

import importlib.util


def require(extra: str, work: str, *packages: str) -> None:
    """Make sure that packages of an extra are there.

    Args:
        extra: Name of the extra.
        work: What needs the packages, with which the message begins.
        packages: Names by which the packages are imported.

    Raises:
        ModuleNotFoundError: If one is not there.
    """
    # of a module in a package, the package is sought: where that is missing, seeking the module itself fails
    if missing := [package for package in packages if importlib.util.find_spec(package.partition(".")[0]) is None]:
        raise ModuleNotFoundError(missing_extra(extra, work, " and ".join(missing)), name=missing[0])


def missing_extra(extra: str, work: str, libraries: str) -> str:
    """Message of a work that needs libraries which an extra installs."""
    return (
        f"{work} needs {libraries}: expected the extra {extra}, got an installation without it. "
        f"Run: {installing(extra)}"
    )


def installing(extra: str) -> str:
    """Command that installs an extra."""
    return f'pip install "incontext-seg[{extra}]"'
