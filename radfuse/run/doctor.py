"""Find out whether this machine is fit to run radfuse."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version

from radfuse.run.environment import DISTRIBUTIONS


@dataclass(frozen=True)
class Finding:
    """One checked thing, and the remedy when it is not well."""

    what: str
    well: bool = True
    fix: str = ""


def checks() -> list[Finding]:
    """Check Python, the libraries, PyRadiomics' compiled part, the GPU, free space and MLflow."""
    return [*_python(), *_libraries(), *_pyradiomics(), *_device(), *_space(), *_tracking()]


def _python() -> Iterator[Finding]:
    well = sys.version_info >= (3, 11)
    yield Finding(f"Python {platform.python_version()}", well, "" if well else "radfuse needs Python 3.11 or newer.")


def _libraries() -> Iterator[Finding]:
    for name in DISTRIBUTIONS:
        try:
            yield Finding(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding(f"{name} is not installed", False, "pip install .")


def _pyradiomics() -> Iterator[Finding]:
    names = {(found.metadata["Name"] or "").lower() for found in distributions()}
    both = {"pyradiomics", "pyradiomics-cuda"} <= names
    fix = "pip uninstall pyradiomics, then pip install --force-reinstall pyradiomics-cuda" if both else ""
    yield Finding("one PyRadiomics distribution" if not both else "two PyRadiomics share one folder", not both, fix)
    try:
        from radiomics import cMatrices

        yield Finding(f"PyRadiomics' compiled matrices ({cMatrices.__name__.rpartition('.')[2]})")
    except ImportError as error:
        yield Finding(f"PyRadiomics does not import: {error}", False, "Reinstall it; it needs a C compiler.")


def _device() -> Iterator[Finding]:
    import torch

    found = torch.cuda.get_device_name() if torch.cuda.is_available() else "none, networks run on the CPU"
    yield Finding(f"CUDA device: {found}")


def _space() -> Iterator[Finding]:
    free_gb = shutil.disk_usage(".").free / 1e9
    yield Finding(f"{free_gb:.0f} GB free here", free_gb > 5, "" if free_gb > 5 else "A cohort needs a few GB.")


def _tracking() -> Iterator[Finding]:
    server = os.environ.get("MLFLOW_TRACKING_URI")
    yield Finding(
        "MLflow records into " + ("the server of MLFLOW_TRACKING_URI" if server else "each study's mlflow.db")
    )
