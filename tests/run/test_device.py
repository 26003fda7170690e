"""Who decides where stages run."""

import pytest
import torch

from radfuse.errors import ConfigError
from radfuse.run.device import device_of


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


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for stage in ("fuse", "extract", "voxelwise"):
        with pytest.raises(ConfigError, match="finds no CUDA device"):
            device_of(stage, "cuda")
