"""Subjects brought to a template: the map, the one interpolation, the mask that comes back, and what is refused."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts.test_registration import CT_VALUES, FIXED, MOVING, PET_VALUES, body, rigid
from pydantic import ValidationError

from radfuse.align.grid import carry, resample
from radfuse.align.point_spread import point_spread
from radfuse.align.registration.affine import Affine
from radfuse.align.stage import Align
from radfuse.align.template import Atlas, Template
from radfuse.data.deformation import Deformation, composed, straight
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import write_mask, write_volume
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError

QUICK = {"method": "affine", "search_mm": 16.0, "turns_deg": [15.0], "points": 4000}
BY_HEADERS = {"registration": "none", "refused": "headers"}
PLANTED = Transform.from_array(rigid(7.0, (60.0, -45.0, 30.0)).array @ np.diag([0.92, 0.9, 0.94, 1.0]))
BALL_MM, RADIUS_MM = np.array([46.0, 40.0, 40.0]), 9.0


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ball(grid: Geometry, to_scene: Transform) -> Mask:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    points = to_scene.apply(index.reshape(-1, 3) @ grid.index_to_physical[:3, :3].T + grid.origin_mm)
    inside = np.linalg.norm(points - BALL_MM, axis=1) <= RADIUS_MM
    return Mask(inside.reshape(grid.shape).astype(np.uint8), grid)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A template of a body with organs, and where its left organ is, on a grid of its own."""
    folder = tmp_path_factory.mktemp("template")
    fine = Geometry((80, 72, 75), (1.0, 1.0, 1.0))
    write_volume(folder / "template.nii.gz", body(FIXED, Transform.identity(), CT_VALUES, "CT"))
    write_mask(folder / "mask.nii.gz", ball(fine, Transform.identity()))
    return {
        "image": str(folder / "template.nii.gz"),
        "sha256": sha256(folder / "template.nii.gz"),
        "mask": str(folder / "mask.nii.gz"),
        "mask_sha256": sha256(folder / "mask.nii.gz"),
    }


def patient() -> Subject:
    """The template's body, smaller, turned and elsewhere in space, seen by two scanners; a ball is drawn in it."""
    there = PLANTED.apply(FIXED.corners_mm)
    grid = replace(MOVING, origin_mm=tuple(float(v) for v in there.min(axis=0) - 5.0))
    scans = {
        "CT": body(grid, PLANTED.inverse, CT_VALUES, "CT"),
        "MR": body(grid, PLANTED.inverse, PET_VALUES, "MR"),
    }
    return Subject("S1", scans, {"CT": ball(grid, PLANTED.inverse)})


def study(files: dict[str, Any], **settings: Any) -> Align:
    template = {**files, "registration": QUICK, **settings.pop("template", {})}
    plain = {"registration": "none", "spacing_mm": 2.0, "intensity": {"CT": "physical"}}
    return Align.model_validate({**plain, "template": template, **settings})


@pytest.fixture(scope="module")
def brought(files: dict[str, Any]) -> Subject:
    intensity = {"CT": "physical", "MR": {"method": "zscore", "over": "left"}}
    return study(files, tissues={"left": "template"}, intensity=intensity)(patient())


def test_a_planted_affine_is_found_and_everything_lies_on_the_templates_grid(brought: Subject) -> None:
    found = brought.transforms["MR"]
    middle = FIXED.corners_mm.mean(axis=0)
    points = middle + 0.5 * (FIXED.corners_mm - middle)
    assert np.linalg.norm(found.apply(points) - PLANTED.apply(points), axis=1).max() < 3.0
    grid = FIXED.with_spacing_mm(2.0, 2.0, 2.0)
    assert {v.geometry for v in (*brought.volumes.values(), *brought.masks.values())} == {grid}
    assert brought.transforms["CT"] == found


def test_the_region_lands_where_it_is_on_the_template_and_grows_with_the_head(brought: Subject) -> None:
    region, findings = brought.masks["CT"], brought.findings["align"]
    index = np.argwhere(region.inside)[:, ::-1].mean(axis=0)
    centre = (region.geometry.index_to_physical @ [*index, 1.0])[:3]
    assert np.linalg.norm(centre - BALL_MM) < 2.0
    assert region.volume_ml == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3 / 1000, rel=0.12)
    assert findings["template"]["scan"] == "CT"
    assert findings["template"]["accepted"]
    assert findings["template"]["volume_factor"] == pytest.approx(1 / PLANTED.volume_change, rel=0.08)


def test_the_templates_mask_is_the_reference_of_a_scale_and_is_measured_nowhere(brought: Subject) -> None:
    given = patient()
    found = brought.transforms["MR"]
    assert isinstance(found, Transform)
    mr = given.volumes["MR"]
    brain = carry(ball(Geometry((80, 72, 75), (1.0, 1.0, 1.0)), Transform.identity()), mr.geometry, found.inverse)
    drawn = ball(mr.geometry, PLANTED.inverse)
    both = (brain.inside & drawn.inside).sum()
    assert 2 * both / (brain.voxels + drawn.voxels) > 0.8
    values = mr.array[brain.inside].astype(float)
    by_hand = mr.with_array(((mr.array - values.mean()) / values.std()).astype(np.float32), "z")
    once = resample(by_hand, brought.volumes["MR"].geometry, found)
    np.testing.assert_allclose(brought.volumes["MR"].array, once.array, atol=1e-5)
    assert brought.volumes["MR"].unit == "z"
    assert not brought.regions


def test_in_the_subjects_space_only_the_mask_comes_back(files: dict[str, Any]) -> None:
    template = {**BY_HEADERS, "space": "subject"}
    given = Subject("S1", {"MR": body(FIXED, Transform.identity(), CT_VALUES, "MR")}, {})
    given = replace(given, masks={"MR": ball(FIXED, Transform.identity())})
    over = {"MR": {"method": "zscore", "over": "left"}}
    out = study(files, template=template, tissues={"left": "template"}, intensity=over)(given)
    assert out.volumes["MR"].geometry == FIXED.with_spacing_mm(2, 2, 2)
    assert out.transforms["MR"] == Transform.identity()
    inside = carry(ball(Geometry((80, 72, 75), (1.0, 1.0, 1.0)), Transform.identity()), FIXED, Transform.identity())
    values = given.volumes["MR"].array[inside.inside].astype(float)
    assert out.volumes["MR"].array.max() <= (given.volumes["MR"].array.max() - values.mean()) / values.std() + 1e-4


def test_a_scan_other_than_the_reference_may_lead_to_the_template(files: dict[str, Any]) -> None:
    template = Template.model_validate({**files, **BY_HEADERS, "modality": "MR"})
    turned = rigid(8.0, (5.0, 6.0, 7.0))
    placed = template.place(patient(), "CT", {"CT": Transform.identity(), "MR": turned})
    points = FIXED.corners_mm
    np.testing.assert_allclose(placed.transforms["MR"].apply(points), points, atol=1e-9)
    np.testing.assert_allclose(turned.apply(placed.transforms["CT"].apply(points)), points, atol=1e-9)


def wavy(grid: Geometry, size_mm: float) -> np.ndarray:
    z, y, x = np.indices(grid.shape)
    return (size_mm * np.stack([np.sin(y / 5), np.cos(z / 4), 0.5 * np.sin(x / 6)], -1)).astype(np.float32)


@pytest.mark.parametrize("bent", ["first", "then", "both"])
def test_two_maps_become_one(bent: str) -> None:
    first, then = PLANTED, rigid(-12.0, (4.0, 0.0, -9.0))
    coarse = Geometry((24, 22, 26), (4.0, 4.0, 4.0), (-8.0, -8.0, -8.0))
    there = Geometry(
        (40, 40, 40), (4.0, 4.0, 4.0), tuple(float(v) for v in PLANTED.apply(FIXED.corners_mm).min(0) - 20)
    )
    one = Deformation(first, wavy(coarse, 3.0), coarse) if bent != "then" else first
    other = Deformation(then, wavy(there, 3.0), there) if bent != "first" else then
    grid = Geometry((88, 80, 86), (1.0, 1.0, 1.0), (-4.0, -4.0, -4.0))
    points = np.random.default_rng(3).uniform((2, 2, 2), (76, 68, 70), (400, 3))
    wanted = other.apply(one.apply(points))
    np.testing.assert_allclose(composed(one, other, grid).apply(points), wanted, atol=0.08)


def test_the_mask_comes_back_through_a_bend_as_through_the_shift_that_it_is() -> None:
    field = np.broadcast_to(np.float32([4.0, 0.0, 0.0]), (*FIXED.shape, 3)).copy()
    bend = Deformation(rigid(10.0, (3.0, 2.0, 1.0)), field, FIXED)
    shifted = Transform.from_array(bend.linear.array @ Transform.about((0, 0, 0), np.eye(3), (4, 0, 0)).array)
    atlas = Atlas(body(FIXED, Transform.identity(), CT_VALUES, "CT"), ball(FIXED, Transform.identity()))
    there, straight = atlas.drawn_on(MOVING, bend), atlas.drawn_on(MOVING, shifted)
    assert straight.voxels > 100
    np.testing.assert_array_equal(there.array, straight.array)


@pytest.mark.parametrize("bends", [False, True], ids=["linear", "a bend that passes"])
def test_a_refused_map_fails_the_subject_or_trusts_its_headers_as_declared(files: dict[str, Any], bends: bool) -> None:
    strict = {**QUICK, "gate": {"max_inverse_mm": 1e-9}, "starts": ["headers"], "search_mm": 4.0, "turns_deg": [5.0]}
    lenient = {"max_inverse_mm": 50.0, "min_gain": 0.0}
    way = {"method": "demons", "linear": strict, "gate": lenient} if bends else strict
    beside = rigid(0.0, (9.0, 0.0, 0.0))
    given = Subject("S7", {"MR": body(FIXED, beside, PET_VALUES, "MR")}, {"MR": ball(FIXED, Transform.identity())})
    with pytest.raises(DataError, match="MR of S7 could not be brought to the template: registering back") as caught:
        study(files, template={"registration": way})(given)
    assert "refused: headers" in caught.value.hint
    out = study(files, template={"registration": way, "refused": "headers"})(given)
    assert out.findings["align"]["template"]["accepted"] is bends
    assert isinstance(out.transforms["MR"], Deformation if bends else Transform)
    assert straight(out.transforms["MR"]) == Transform.identity()


@pytest.mark.parametrize("elsewhere_mm", [0.0, -30.0])
def test_part_of_a_head_is_brought_to_its_place_wherever_its_headers_had_put_it(
    files: dict[str, Any], elsewhere_mm: float
) -> None:
    part = Geometry((40, 36, 14), FIXED.spacing_mm, (0.0, 0.0, 38.0 + elsewhere_mm))
    scan = body(part, rigid(0.0, (0.0, 0.0, -elsewhere_mm)), CT_VALUES, "MR")
    template = Template.model_validate({**files, "registration": {**QUICK, "method": "rigid"}})
    placed = template.place(Subject("S1", {"MR": scan}), "MR", {"MR": Transform.identity()})
    wanted = BALL_MM + np.array([0.0, 0.0, elsewhere_mm])
    assert np.linalg.norm(placed.motions["MR"].apply(BALL_MM) - wanted) < 2.0


def test_a_point_spread_is_the_patients_and_grows_with_the_head_on_the_template(files: dict[str, Any]) -> None:
    grown = Transform.from_array(np.diag([0.5, 0.8, 1.0, 1.0]))  # the template is larger along x and y
    grid, scan = Geometry((8, 8, 8), (2.0, 2.0, 2.0)), Geometry((4, 4, 4), (1.0, 1.0, 1.0))
    pet = Volume(np.zeros((4, 4, 4), np.float32), scan, "PET", "SUV", header_fwhm_mm=(3.0, 3.0, 3.0))
    assert point_spread(pet, (4.0, 4.0, 4.0), grid, motion=grown)[0] == pytest.approx((8.0, 5.0, 4.0))
    assert point_spread(pet, "header", grid, (4.0, 4.0, 4.0), grown)[0] == pytest.approx((10.0, 6.25, 5.0))
    assert point_spread(pet, 4.0, grid, motion=rigid(8.0, (1.0, 2.0, 3.0)))[0] == (4.0, 4.0, 4.0)
    with pytest.raises(DataError, match="oblique"):
        point_spread(pet, "header", grid, motion=rigid(30.0, (0.0, 0.0, 0.0)))
    out = study(files, fwhm_mm={"MR": 4.0}, target_fwhm_mm=9.0)(patient())
    lengths = np.linalg.norm(out.transforms["MR"].array[:3, :3], axis=0)  # type: ignore[union-attr]
    assert out.findings["align"]["resolution"]["MR"]["source_fwhm_mm"] == pytest.approx(4.0 / lengths)
    plain = {**files, "registration": "rigid"}
    assert study(plain, fwhm_mm={"MR": 4.0}, template={"registration": "rigid"}).target_fwhm_mm is None


def test_a_subject_without_the_scan_that_leads_fails_by_name(files: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="S1 has no MR_T1, which is brought to the template"):
        study(files, template={"modality": "MR_T1"})(patient())


def test_what_is_left_out_suits_two_spaces(files: dict[str, Any]) -> None:
    plain = Template.model_validate(files).registration
    assert isinstance(plain, Affine)
    assert plain.starts == ("headers", "centres", "moments")
    assert (plain.gate.headers, plain.gate.max_volume_change) == ("ignored", 2.5)
    asked = {"headers": "judged", "min_gain": 0.1}
    own = Template.model_validate({**files, "registration": {"method": "rigid", "gate": asked}})
    gate = own.registration.gate  # type: ignore[attr-defined]
    assert (gate.headers, gate.min_gain, gate.max_inverse_mm) == ("judged", 0.1, 15.0)
    bent = Template.model_validate({**files, "registration": "bspline"}).registration
    assert bent.linear == plain  # type: ignore[attr-defined]
    assert Template.model_validate(Template.model_validate(files).model_dump(mode="json")) == Template.model_validate(
        files
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"template": {"image": "mni.nii"}}, "needs `image` and its `sha256`"),
        ({"template": {"mask_sha256": ""}}, "mask needs `mask` and `mask_sha256`"),
        ({"template": {"registration": "none"}}, "asks for `refused: headers`"),
        ({"template": {"registration": {"method": "demons", "linear": "none"}}}, "asks for `refused: headers`"),
        ({"template": {"registration": {"method": "rigid", "gate": {"min_gain": 0.1}}}}, "set `headers: judged` too"),
        ({"template": {}, "fwhm_mm": {"PET": 6.0}}, "grows and shrinks with each subject"),
        ({"template": None, "tissues": {"brain": "template"}}, "align.template.mask"),
        ({"tissues": {"main": "manifest"}}, "means something else"),
        ({"tissues": {"a brain": "manifest"}}, "must be a letter"),
        ({"tissues": {"brain": "tool"}}, "`command` goes with `of: tool`"),
        ({"tissues": {"brain": {"of": "tool", "command": "bet {image} {out}"}}}, "must hold {image}"),
        ({"tissues": {"brain": {"of": "tool", "command": "bet {image.real}"}}}, "must hold {image}"),
        ({"tissues": {"brain": {"of": "tool", "command": "bet '{image}"}}}, "cannot be read"),
        ({"tissues": {"brain": {"of": "tool", "command": "x {image}", "result": "image.nii.gz"}}}, "the image itself"),
        ({"tissues": {"brain": {"of": "tool", "command": "x {image}", "result": ".."}}}, "should match pattern"),
    ],
)
def test_what_cannot_work_is_refused_at_the_door(files: dict[str, Any], settings: Any, said: str) -> None:
    if settings.get("template") == {"image": "mni.nii"}:
        settings = {"template": {"image": "mni.nii", "sha256": ""}}
    whole = {**files, **(settings.get("template") or {})}
    given = {**settings, "template": None if settings.get("template", {}) is None else whole}
    with pytest.raises(ValidationError, match=said.replace("{", r"\{").replace("}", r"\}")):
        Align.model_validate(given)


def test_other_files_than_those_meant_are_refused_before_work_begins(files: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file has SHA-256"):
        study({**files, "sha256": "0" * 64}).require()
    with pytest.raises(ConfigError, match="template's mask not found"):
        study({**files, "mask": str(tmp_path / "none.nii.gz")}).require()
    write_mask(tmp_path / "empty.nii.gz", Mask(np.zeros(FIXED.shape, np.uint8), FIXED))
    empty = {**files, "mask": str(tmp_path / "empty.nii.gz"), "mask_sha256": sha256(tmp_path / "empty.nii.gz")}
    with pytest.raises(ConfigError, match="is empty"):
        study(empty).require()
    bent = study(files, registration="demons", reference="MR", template={"modality": "CT"})
    with pytest.raises(ConfigError, match="has to be turned round"):
        bent.require()
    with pytest.raises(ConfigError, match="has no mask"):
        Atlas(Volume(np.zeros((2, 2, 2), np.float32), Geometry((2, 2, 2), (1, 1, 1)), "t", "a.u."), None).drawn_on(
            FIXED, Transform.identity()
        )


def test_a_drawn_tissue_scales_and_is_not_measured(files: dict[str, Any]) -> None:
    mr = body(FIXED, Transform.identity(), PET_VALUES, "MR")
    main = ball(FIXED, Transform.identity())
    inside = (mr.array > 0.5).astype(np.uint8)
    given = Subject("S1", {"MR": mr}, {"MR": main}, regions={"brain": {"MR": Mask(inside, FIXED)}})
    intensity = {"MR": {"method": "zscore", "over": "brain"}}
    settings = {"registration": "none", "spacing_mm": 2.0, "intensity": intensity}
    alike, apart = (Align.model_validate({**settings, "tissues": t})(given) for t in ({"brain": "manifest"}, {}))
    np.testing.assert_array_equal(alike.volumes["MR"].array, apart.volumes["MR"].array)
    assert list(apart.regions) == ["brain"]
    assert not alike.regions
    lost = replace(given, regions={}, absent={"brain": "it is not drawn"})
    with pytest.raises(DataError, match="no region 'brain'"):
        Align.model_validate({**settings, "tissues": {"brain": "manifest"}})(lost)
