"""Subjects in the run folder: what goes in comes out."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.fuse.stage import Fuse
from radfuse.run.store import Store
from radfuse.run.subjects import load_aligned, load_fused, save_aligned, save_fused


def test_what_scans_cover_comes_back_for_measured_and_for_fused_volumes(
    tmp_path: Path, ct: Volume, pet: Volume, sphere: Mask
) -> None:
    view = np.ones(sphere.geometry.shape, np.uint8)
    view[:4] = 0
    subject = Subject("s1", {"CT": ct, "PET": pet}, {"CT": sphere, "PET": sphere})
    still = {name: Transform.identity() for name in subject.volumes}
    subject = replace(subject, transforms=still, seen={"PET": Mask(view, sphere.geometry)})
    fused = Fuse(methods=("average",))(subject)
    store = Store(tmp_path)
    for stage in ("align", "fuse"):
        store.folder(stage, "s1").mkdir(parents=True)
    assert "PET.seen.nii.gz" in save_aligned(store.folder("align", "s1"), subject)
    save_fused(store.folder("fuse", "s1"), subject, fused)
    again = load_fused(store, load_aligned(store, "s1"))
    assert list(again.seen) == list(fused.seen) == ["PET", "fused-average-CT_PET"]
    for mask in again.seen.values():
        assert np.array_equal(mask.inside, view.astype(bool))
