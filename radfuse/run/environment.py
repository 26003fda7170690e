"""Versions and machine, for the record of a run."""

import json
import os
import platform
from importlib.metadata import version

import radfuse

DISTRIBUTIONS = (
    "numpy", "pandas", "scipy", "scikit-learn", "xgboost", "torch", "SimpleITK", "pyradiomics-cuda", "PyWavelets",
    "neuroCombat", "mlflow",
)  # fmt: skip


def environment() -> dict[str, str]:
    """Versions of what decides numbers, and the kind of machine; no user, no host, no path."""
    found = {"radfuse": radfuse.__version__, "python": platform.python_version()}
    found |= {name: version(name) for name in DISTRIBUTIONS}
    return found | {"system": f"{platform.system()} {platform.machine()}", "cores": str(os.cpu_count())}


def describe_environment() -> str:
    """The same as JSON text."""
    return json.dumps(environment(), indent=1) + "\n"
