"""The commit of the source tree that runs, which provenance states."""

import subprocess
from pathlib import Path


def source_commit() -> str | None:
    """The commit of the source tree that runs, marked if changed; None for an installed package."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
