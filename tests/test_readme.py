"""What the README shows works as shown."""

import re
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from conftest import REPOSITORY, radfuse

from radfuse.data.geometry import Geometry
from radfuse.fuse import Fuser, FusionMethod

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_a_method_is_one_class_in_one_file(grid: Geometry) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, Any] = {"FusionMethod": FusionMethod, "Fuser": Fuser, "ClassVar": ClassVar, "Literal": Literal}
    try:
        exec(code, names | {"np": np, "__name__": "radfuse.fuse.minimum"})
        low, high = np.zeros(grid.shape, np.float32), np.ones(grid.shape, np.float32)
        fused = FusionMethod.choose("minimum").build("cpu")([high, low], ["CT", "PET"], grid)
        np.testing.assert_array_equal(fused, low)
    finally:
        FusionMethod._known.pop("minimum", None)


SHOWN = sorted(set(re.findall(r"(?:^|[`;&] ?)radfuse ([a-z]+)", README, flags=re.MULTILINE)))


@pytest.mark.parametrize("command", SHOWN)
def test_every_command_shown_exists(command: str) -> None:
    assert radfuse(command, "--help").returncode == 0
