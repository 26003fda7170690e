"""Who decides where stages run."""

from dataclasses import replace

import pytest
import torch
from run.by_hand import by_hand, made, patients

from radfuse.config import Execution
from radfuse.errors import ConfigError
from radfuse.run.device import device_of
from radfuse.run.measuring import measure
from radfuse.run.progress import Silent
from radfuse.run.store import Store


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (True, {"auto": {"fuse": "cuda"}, "cpu": {}, "cuda": {"fuse": "cuda", "extract": "cuda", "voxelwise": "cuda"}}),
        (False, {"auto": {}, "cpu": {}}),
    ],
)
def test_extraction_uses_a_gpu_only_where_it_is_asked_for_by_name(gpu, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    for asked, there in expected.items():
        for stage in ("align", "fuse", "extract", "voxelwise"):
            assert device_of(stage, asked) == there.get(stage, "cpu"), (stage, asked)


def test_a_device_that_is_not_there_is_refused(monkeypatch, rng, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = by_hand(tmp_path / "run", made(rng))
    config = run.config.model_copy(update={"execution": Execution(device="cuda")})
    with pytest.raises(ConfigError, match="finds no CUDA device"):
        measure(replace(run, config=config), [], patients("N1"), Store(tmp_path / "new"), Silent())
    assert not (tmp_path / "new").exists()
    for stage in ("fuse", "extract", "voxelwise"):
        with pytest.raises(ConfigError, match="finds no CUDA device"):
            device_of(stage, "cuda")
