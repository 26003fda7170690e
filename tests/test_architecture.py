"""The shape of the package, read from its syntax trees."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "radfuse"
STAGES = ("align", "fuse", "extract", "harmonize", "train", "report")
LAYERS = {"errors": 0, "data": 1, "component": 2, **dict.fromkeys(STAGES, 3), "config": 4, "run": 5, "cli": 6}
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(path for folder in ("benchmarks", "pipelines") for path in (PACKAGE.parent / folder).glob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            found.append(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_left_only(path: Path) -> None:
    own = layer_of(path)
    if own in ("__init__", "__main__"):
        return
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "radfuse" or len(parts) == 1:
            continue
        other = parts[1]
        assert other in LAYERS, f"{path.name} imports {name}, which no layer holds"
        assert LAYERS[other] <= LAYERS[own], f"{path.name} imports {name}: {own} may not know {other}"
        if own in STAGES:
            assert other == own or other not in STAGES, f"stage {own} imports stage {other}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_what_the_package_has(path: Path) -> None:
    """No test runs most of them: they would not notice that a name has gone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "radfuse":
            module = importlib.import_module(node.module)
            absent = [a.name for a in node.names if not hasattr(module, a.name)]
            modules = [name for name in absent if importlib.util.find_spec(f"{node.module}.{name}") is None]
            assert modules == [], f"{node.module} has no {modules}"


def test_only_tracking_imports_mlflow() -> None:
    users = {path.name for path in FILES if any(name.split(".")[0] == "mlflow" for name in imports_of(path))}
    assert users == {"tracking.py"}


def test_no_room_without_a_name() -> None:
    words = ("utils", "helpers", "common", "misc")
    assert [path for path in FILES if any(word in part for word in words for part in path.parts[-2:])] == []


def test_files_stay_small() -> None:
    long = {path.name: count for path in FILES if (count := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_computation_does_not_print() -> None:
    for path in FILES:
        if layer_of(path) in ("cli",):
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls), path


@pytest.mark.parametrize("stage", STAGES)
def test_stages_touch_neither_disk_nor_clock(stage: str) -> None:
    forbidden = {"time", "datetime", "logging.config", "pickle", "shutil", "tempfile", "requests", "mlflow"}
    for path in (PACKAGE / stage).rglob("*.py"):
        assert not forbidden & {name.split(".")[0] for name in imports_of(path)}, path


def test_help_is_light() -> None:
    heavy = ["torch", "pandas", "sklearn", "mlflow", "SimpleITK", "xgboost", "radiomics", "matplotlib", "numpy"]
    code = (
        "import sys\nfrom radfuse.cli.app import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"found = [name for name in {heavy!r} if name in sys.modules]\nsys.exit(f'loaded {{found}}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "harmonize" in done.stdout


def test_what_every_study_command_imports_is_light() -> None:
    """Reading a config, finding a fault in it and starting a worker wait for no network or model library."""
    heavy = ["torch", "scipy", "sklearn", "mlflow", "SimpleITK", "xgboost", "radiomics", "matplotlib", "numba"]
    code = (
        "import sys, radfuse.run.study, radfuse.run.tasks, radfuse.run.permuting\n"
        f"found = [name for name in {heavy!r} if name in sys.modules]\nsys.exit(f'loaded {{found}}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
