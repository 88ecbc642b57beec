"""Packages of an extra, which an installation may lack."""

import importlib.util


def require(extra: str, *packages: str) -> None:
    """Make sure that packages of an extra are there.

    Args:
        extra: Name of the extra.
        packages: Names by which the packages are imported.

    Raises:
        ModuleNotFoundError: If one is not there.
    """
    # of a module in a package, the package is sought: where that is missing, seeking the module itself fails
    if missing := [package for package in packages if importlib.util.find_spec(package.partition(".")[0]) is None]:
        msg = (
            f"{' and '.join(missing)} cannot be imported: expected the extra {extra}, got an installation without it. "
            f"Run: pip install 'incontext-seg[{extra}]'."
        )
        raise ModuleNotFoundError(msg)
