"""Config files that come with radfuse."""

from pathlib import Path

import radfuse


def shipped(name: str) -> Path:
    """Give the path of a shipped config, installed or in a checkout."""
    package = Path(radfuse.__file__).parent
    installed = package / "configs" / name
    return installed if installed.exists() else package.parent / "configs" / name
