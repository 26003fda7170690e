"""Keep fitted models on disk as skops files: no pickle, and only types on our own list are ever loaded."""

from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

from radfuse.errors import DataError

OURS = ("radfuse.train.", "radfuse.harmonize.")
THEIRS = ("sklearn.tree._tree.Tree", "xgboost.core.Booster", "xgboost.sklearn.XGBClassifier")
"""Beside skops' own safe list, a model holds our steps and these; a file that names anything else is refused."""


def save_model(model: Any, path: Path) -> None:
    """Write a fitted pipeline."""
    from skops.io import dump

    dump(model, path)


def trusted_types(path: Path) -> list[str]:
    """The types of a model file that need trust, after checking each against our own list.

    The file is not believed: what it names is compared with our list (fault F83).
    """
    return _trusted(path.read_bytes(), str(path))


def load_model(path: Path) -> Any:
    """Read a fitted pipeline that `save_model` wrote."""
    return parse_model(path.read_bytes(), str(path))


def parse_model(content: bytes, source: str) -> Any:
    """Make a fitted pipeline of the content of a file, which may have been checked before.

    Parameters
    ----------
    source : what to call the file in an error.
    """
    from skops.io import loads

    return loads(content, trusted=_trusted(content, source))


def _trusted(content: bytes, source: str) -> list[str]:
    from zipfile import BadZipFile

    from skops.io import get_untrusted_types

    try:
        found = get_untrusted_types(data=content)
    except (BadZipFile, KeyError, ValueError) as error:
        raise DataError(
            f"{source} is not a model that radfuse wrote: {error}", hint="Do not use this file; train the model again."
        ) from error
    strange = [name for name in found if name not in THEIRS and not _is_ours(name)]
    if strange:
        raise DataError(
            f"{source} holds types that radfuse never writes: {', '.join(strange)}",
            hint="Do not use this file; train the model again.",
        )
    return sorted(found)


def _is_ours(name: str) -> bool:
    """Whether a name is a class or function that a file of our steps defines, and not one that it merely imports."""
    if not name.startswith(OURS):
        return False
    module, _, own = name.rpartition(".")
    try:
        found = getattr(import_module(module), own, None)
    except ImportError:
        return False
    return isinstance(found, (type, FunctionType)) and found.__module__ == module
