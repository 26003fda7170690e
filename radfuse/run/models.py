"""Keep fitted models on disk as skops files: no pickle, and only types on our own list are ever loaded."""

from pathlib import Path
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
    from skops.io import get_untrusted_types

    found = get_untrusted_types(file=path)
    strange = [name for name in found if not name.startswith(OURS) and name not in THEIRS]
    if strange:
        raise DataError(
            f"{path} holds types that radfuse never writes: {', '.join(strange)}",
            hint="Do not use this file; train the model again.",
        )
    return sorted(found)


def load_model(path: Path) -> Any:
    """Read a fitted pipeline that `save_model` wrote."""
    from skops.io import load

    return load(path, trusted=trusted_types(path))
