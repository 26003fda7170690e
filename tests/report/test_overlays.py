"""What is shown in colour: time points together on one scale, drawn and recorded."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError
from radfuse.report.drawing import png
from radfuse.report.follow import follow
from radfuse.report.overlays import SHOWN, SUBJECTS, overlays
from radfuse.report.planes import Place
from radfuse.report.section import Fold, Picture
from radfuse.report.sheet import sheet


def named(volume: Volume, name: str, factor: float = 1.0, unit: str | None = None) -> Volume:
    return Volume(volume.array * np.float32(factor), volume.geometry, name, unit or volume.unit)


@pytest.fixture
def subject(ct: Volume, pet: Volume, sphere: Mask) -> Subject:
    """CT, PET at two times, the second half as hot, and SPECT; each PET fused with CT by two methods."""
    volumes = {"CT": ct, "PET_early": named(pet, "PET_early"), "PET_late": named(pet, "PET_late", 0.5)}
    for when in ("early", "late"):
        for method in ("average", "mdafuse"):
            name = f"fused-{method}-CT_PET_{when}"
            volumes[name] = named(pet, name, 0.05, "fused")
    both = "fused-mdafuse-CT_PET_early_PET_late"
    volumes[both] = named(pet, both, 0.05, "fused")
    volumes["SPECT"] = named(pet, "SPECT", 100.0, "counts")
    return Subject("s1", volumes, {"CT": sphere})


def study(*subjects: Subject) -> Study:
    return Study("s", {}, pd.DataFrame(), pd.DataFrame(), examples=subjects)


def test_time_points_stand_together_each_on_its_own_fused_volume(subject: Subject) -> None:
    pets, spect = follow(subject)
    assert pets.names == ["PET_early", "PET_late"]
    assert [volume.modality for volume in pets.luminance.values()] == [
        "fused-mdafuse-CT_PET_early", "fused-mdafuse-CT_PET_late",
    ]  # fmt: skip
    top = np.percentile(subject.volumes["PET_early"].array, 99.5)
    assert pets.scale.uptake[1] == np.ceil(top / 0.5) * 0.5
    assert spect.names == ["SPECT"]
    assert spect.luminance["SPECT"].modality == "CT"
    assert spect.scale.unit == "counts"


def test_the_change_is_against_the_first_with_symmetric_limits(subject: Subject) -> None:
    pets = follow(subject)[0]
    change = pets.changes["PET_late"]
    np.testing.assert_allclose(change, -0.5 * subject.volumes["PET_early"].array, rtol=1e-6)
    assert pets.change_limit == np.ceil(np.percentile(np.abs(change), 99.5) / 0.5) * 0.5
    assert pets.record()["change"] == {"against": "PET_early", "limit": pets.change_limit}
    assert pets.record()["for"] == "display only"


def test_the_lightness_can_be_chosen_and_must_exist(subject: Subject) -> None:
    chosen = follow(subject, "CT")[0]
    assert {volume.modality for volume in chosen.luminance.values()} == {"CT"}
    assert chosen.scale.luminance == (-160.0, 240.0)
    with pytest.raises(ConfigError, match="s1 has no volume 'MR'"):
        follow(subject, "MR")


def test_a_missing_fused_volume_puts_all_times_on_the_anatomy(subject: Subject) -> None:
    volumes = {name: v for name, v in subject.volumes.items() if not name.endswith("late") or name == "PET_late"}
    pets = follow(Subject("s1", volumes, subject.masks))[0]
    assert {volume.modality for volume in pets.luminance.values()} == {"CT"}


def test_uptake_alone_or_anatomy_alone_shows_nothing(ct: Volume, pet: Volume, sphere: Mask) -> None:
    assert follow(Subject("s", {"PET": pet}, {"PET": sphere})) == []
    assert follow(Subject("s", {"CT": ct}, {"CT": sphere})) == []


def test_the_sheet_shows_the_colours_of_the_region(subject: Subject, sphere: Mask) -> None:
    found = follow(subject)[0]
    place = Place.of(sphere.geometry, sphere)
    drawn = [png(*sheet(found, place, sphere.inside)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    seen = np.asarray(Image.open(io.BytesIO(drawn[0])).convert("RGB")).reshape(-1, 3)
    pixels = {tuple(pixel) for pixel in seen}

    def share_found(rgb: np.ndarray) -> float:
        voxels = np.rint(place.cut(rgb, "axial") * 255).astype(np.uint8).reshape(-1, 3)
        coloured = voxels[np.ptp(voxels, axis=-1) > 8]
        return float(np.mean([tuple(voxel) in pixels for voxel in coloured]))

    # Drawn without interpolation: the voxels are there as they were computed, but for those under outline and letters.
    assert share_found(found.images["PET_early"].rgb) > 0.6
    assert share_found(found.images["PET_early"].rgb[..., ::-1]) < 0.1


def test_letters_stand_in_dark_boxes_also_where_nothing_changed_and_all_is_white(
    subject: Subject, sphere: Mask
) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    figure = Figure()
    draw, _, _ = sheet(follow(subject)[0], Place.of(sphere.geometry, sphere), sphere.inside)
    draw(figure)
    letters = [text for axes in figure.axes for text in axes.texts]
    assert [text.get_text() for text in letters].count("R") == 2 * 3  # axial and coronal; two times and their change
    for text in letters:
        box = text.get_bbox_patch()
        assert box is not None
        assert max(to_rgb(box.get_facecolor())) < 0.25
        assert box.get_alpha() in (None, 1)
        assert min(to_rgb(text.get_color())) == 1.0


def test_the_section_shows_a_bounded_number_of_subjects(subject: Subject) -> None:
    many = [Subject(f"s{k}", subject.volumes, subject.masks) for k in range(SUBJECTS + 2)]
    section = overlays(study(*many), 99)
    shown = [block for block in section.blocks if isinstance(block, Picture)]
    (fold,) = [block for block in section.blocks if isinstance(block, Fold)]
    assert len(shown) == SHOWN
    assert len(shown) + len(fold.blocks) == 2 * SUBJECTS  # PET and SPECT of each
    assert "PET_early, PET_late from 0 to" in shown[0].caption
    assert len(overlays(study(*many), 1).blocks) == 3


def test_without_anything_to_show_the_section_says_so(ct: Volume, sphere: Mask) -> None:
    section = overlays(study(Subject("s", {"CT": ct}, {"CT": sphere})), 6)
    assert section.blocks[0].tone == "absent"


def test_scans_on_two_grids_are_passed_over(ct: Volume, pet: Volume, sphere: Mask) -> None:
    from dataclasses import replace

    moved = replace(pet, geometry=replace(pet.geometry, origin_mm=(0.0, 0.0, 0.0)))
    section = overlays(study(Subject("s", {"CT": ct, "PET": moved}, {"CT": sphere})), 6)
    assert section.blocks[0].tone == "absent"
