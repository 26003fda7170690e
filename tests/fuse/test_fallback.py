"""A GPU whose memory runs out costs time, and no volume."""

import logging
from typing import Literal

import numpy as np
import pytest
import torch

from radfuse.data.geometry import Geometry
from radfuse.fuse import Fuser, FusionMethod
from radfuse.fuse.average import Average
from radfuse.fuse.fallback import build_for


def test_the_cpu_takes_over_when_the_gpu_is_full(monkeypatch: pytest.MonkeyPatch, caplog, rng) -> None:
    average = Average()

    def full(volumes, names, grid):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def build(self: FusionMethod, device: Literal["cpu", "cuda"]) -> Fuser:
        return Fuser(full) if device == "cuda" else Fuser(lambda volumes, names, grid: sum(volumes) / len(volumes))

    monkeypatch.setattr(Average, "build", build)
    pair = [rng.random((4, 5, 6), dtype=np.float32) for _ in range(2)]
    with caplog.at_level(logging.WARNING):
        fused = build_for(average, "cuda")(pair, ["CT", "PET"], Geometry((6, 5, 4), (1.0, 1.0, 1.0)))
    assert fused == pytest.approx((pair[0] + pair[1]) / 2)
    assert "average ran out of memory on cuda; this volume is fused on the CPU" in caplog.text
