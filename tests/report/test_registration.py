"""Before and after a registration: where a scan lay, what is drawn of it, and who comes first."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radfuse.data.deformation import Deformation, led_back
from radfuse.data.geometry import Geometry
from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.report.alignment import alignment
from radfuse.report.checkerboard import checkerboard
from radfuse.report.edges import edges
from radfuse.report.flicker import animated_png
from radfuse.report.misregistration import movement, moves, shifts
from radfuse.report.mosaic import Panel
from radfuse.report.registered import frames, numbers, sheet
from radfuse.report.registration import doubts, pairs, worst_first
from radfuse.report.section import Flicker, Fold, Picture, Table, Words

GRID = Geometry((20, 16, 12), (1.0, 2.0, 3.0), (-4.0, 7.0, 1.0))
SHIFT_MM = (3.0, -4.0, 0.0)  # whole voxels


def patient(motion: Transform | Deformation | None = None) -> Subject:
    """A cross in CT, and the same seen by PET, which was moved onto it."""
    array = np.zeros(GRID.shape, np.float32)
    array[3:9, 5:11, 6:15] = 8.0
    mask = Mask((array > 0).astype(np.uint8), GRID)
    volumes = {"CT": Volume(20 * array, GRID, "CT", "HU"), "PET": Volume(array + 1, GRID, "PET", "SUV")}
    transforms = {"CT": Transform.identity(), "PET": motion or Transform.identity()}
    subject = Subject("s1", volumes, {"CT": mask, "PET": mask}, transforms=transforms)
    return subject.with_findings("align", {"reference": "CT"})


def test_before_is_where_the_headers_had_it_and_nothing_where_the_grid_ends() -> None:
    (pair,) = pairs(patient(Transform.about((0, 0, 0), np.eye(3), SHIFT_MM)))
    assert pair.moved
    after, before = pair.after("axial"), pair.before("axial")
    # after(x) = scan(x + shift), so before lies three columns right of it and two rows up.
    np.testing.assert_allclose(before[:-2, 3:], after[2:, :-3], atol=1e-5)
    assert np.isnan(before[-2:]).all()
    assert np.isnan(before[:, :3]).all()


def test_a_scan_that_was_not_moved_is_the_same_before_and_after() -> None:
    (pair,) = pairs(patient())
    assert not pair.moved
    np.testing.assert_allclose(pair.before("coronal"), pair.after("coronal"), atol=1e-5)


def test_the_way_to_a_template_is_no_step_between_two_scans() -> None:
    led = Transform.about((0, 0, 0), np.eye(3), (31.0, -7.0, 4.5))
    shift = Transform.about((0, 0, 0), np.eye(3), SHIFT_MM)
    beside = Transform.from_array(shift.array @ led.array)
    (still,) = pairs(replace(patient(), transforms={"CT": led, "PET": led}))
    assert not still.moved
    (pair,) = pairs(replace(patient(), transforms={"CT": led, "PET": beside}))
    assert pair.moved
    after, before = pair.after("axial"), pair.before("axial")
    np.testing.assert_allclose(before[:-2, 3:], after[2:, :-3], atol=1e-5)  # as without a template


@pytest.mark.parametrize(
    ("factor", "space", "said"),
    [(1.2, "template", "1.20 to 1.20 times the patients' own"), (1.0, "template", "are the patients' own."),
     (1.2, "subject", "")],
)  # fmt: skip
def test_the_way_to_a_template_is_listed_and_its_volumes_are_warned_of(factor: float, space: str, said: str) -> None:
    found = {"scan": "CT", "accepted": True, "displacement_mm": 90.0, "space": space, "volume_factor": factor}
    study = Study("s", {}, pd.DataFrame(), pd.DataFrame(), {"align": {"s1": {"template": found}}}, [])
    blocks = alignment(study, 0).blocks
    rows = next(block.rows for block in blocks if isinstance(block, Table) and "Registrations" in block.caption)
    assert rows[0][1:3] == ("CT to the template", "moved")
    words = [block for block in blocks if isinstance(block, Words) and "template's space" in block.text]
    assert [said in block.text for block in words] == [True] * bool(said)
    assert [block.tone for block in words] == ["caution" if factor != 1.0 else ""] * bool(said)


def test_a_bend_is_led_back_to_where_it_came_from() -> None:
    turn = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    points = np.random.default_rng(5).uniform((-2, 9, 4), (12, 30, 30), (50, 3))
    z, y, x = np.indices(GRID.shape)
    field = np.stack([2 * np.sin(y / 4), np.cos(z / 3), 0.5 * np.sin(x / 5)], -1).astype(np.float32)
    bend = Deformation(Transform.about((1, 2, 3), turn, (4.0, 0.0, -2.0)), field, GRID)
    np.testing.assert_allclose(led_back(bend, bend.apply(points)), points, atol=1e-3)
    straight = bend.linear
    np.testing.assert_allclose(led_back(straight, straight.apply(points)), points, atol=1e-9)


def test_tiles_are_square_in_millimetres_and_begin_with_the_first() -> None:
    first, second = np.zeros((60, 120, 3), np.uint8), np.full((60, 120, 3), 255, np.uint8)
    mixed = checkerboard(first, second, (2.0, 1.0))[..., 0]  # 120 mm both ways: tiles of 20 mm
    assert (mixed[:10, :20] == 0).all()
    assert (mixed[:10, 20:40] == 255).all()
    assert (mixed[10:20, :20] == 255).all()
    assert (mixed == 0).mean() == 0.5


def test_the_edge_of_a_disc_is_a_circle_of_its_radius_and_noise_has_none() -> None:
    rows, columns = np.indices((80, 100))
    shown = np.clip(15.5 - np.hypot(rows - 40, columns - 50), 0, 1) * 100.0
    (line,) = edges(shown, (1.0, 1.0), (-160.0, 240.0))
    radius = np.hypot(line[:, 1] - 40, line[:, 0] - 50)
    # A smoothed disc's zero crossing lies outwards by sigma^2 / (2 r), here 0.2 pixels.
    assert radius == pytest.approx(15.0, abs=0.5)
    shown[:, 60:] = np.nan
    assert all((line[:, 0] <= 60).all() for line in edges(shown, (1.0, 1.0), (-160.0, 240.0)))
    assert edges(np.full((30, 30), 7.0), (1.0, 1.0), (0.0, 10.0)) == []
    assert edges(1000.0 + shown[:, :50], (1.0, 1.0), (-160.0, 240.0)) == []  # beyond the window


def test_frames_are_of_one_size_and_take_turns_in_one_file() -> None:
    for motion in (None, Transform.about((0, 0, 0), np.eye(3), SHIFT_MM)):
        (pair,) = pairs(patient(motion))
        two = frames(pair)
        sizes = {Image.open(io.BytesIO(frame)).size for frame in two}
        assert len(sizes) == 1
        assert two[0] != two[1]
        with Image.open(io.BytesIO(animated_png(two))) as turning:
            assert turning.n_frames == 2
            assert turning.info["loop"] == 0
        assert sheet(pair) == sheet(pair)
    with Image.open(io.BytesIO(sheet(pair))) as picture:
        assert picture.size[0] > 600


@pytest.mark.parametrize(
    ("motion", "said"),
    [(None, ["PET (2 of 2)"]),
     (Transform.about((0, 0, 0), np.eye(3), SHIFT_MM), ["PET (2 of 2)\nby the headers", "PET (2 of 2)\nregistered"])],
)  # fmt: skip
def test_each_frame_is_titled_by_what_it_shows(
    motion: Transform | None, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[list[str]] = []

    def drawn(rows: object, names: list[str]) -> bytes:
        titles.append(names)
        return b""

    monkeypatch.setattr("radfuse.report.registered.mosaic", drawn)
    (pair,) = pairs(patient(motion))
    frames(pair)
    resting, turning = titles
    assert [title.strip() for title in resting] == ["CT (1 of 2)"] * 2 * len(said)
    assert turning == [title for title in said for _ in ("axial", "coronal")]
    assert [title.count("\n") for title in resting] == [title.count("\n") for title in turning]


def test_a_label_reads_the_same_on_white_as_on_black() -> None:
    shades = {}
    for shade in (0, 255):
        panel = Panel(np.full((40, 90, 3), shade, np.uint8), (180, 80), "coronal")
        shades[shade] = np.asarray(panel.draw(), dtype=int)
    told = (shades[0] == shades[255]).all(axis=-1)
    rows, columns = np.flatnonzero(told.any(axis=1)), np.flatnonzero(told.any(axis=0))
    box = told[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert box.all()  # nothing of the picture within
    assert 15 < len(rows) < 40
    assert 40 < len(columns) < 120
    grey = shades[255][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean(axis=-1)
    assert (grey > 220).mean() > 0.03  # the letters
    assert (grey < 60).mean() > 0.5
    plain = Panel(np.full((40, 90, 3), 255, np.uint8), (180, 80)).draw()
    assert np.asarray(plain).min() == 255


def registered(similarity: float, accepted: bool = False) -> dict[str, object]:
    kept = {"accepted": accepted, "similarity_before": similarity, "similarity_after": 2 * similarity}
    return {"registration": {"PET": kept}}


def sensitive(subject: str, share: float) -> dict[str, object]:
    return {
        "subject": subject, "scan": "PET", "unit": "SUV", "mean": 4.0, "sd": 1.0, "per_mm": 0.5, "error_mm": 2.0,
        "error_from": "assumed", "first_order": 1.0, "worst": 4 * share, "of": "mean", "share": share,
        "five_percent_mm": 0.4,
    }  # fmt: skip


def test_who_shares_least_and_would_change_most_comes_first() -> None:
    found = {"a": registered(1.0), "b": registered(0.5), "c": registered(2.0), "d": registered(0.5, accepted=True)}
    assert worst_first(found, None) == ["b", "a", "d", "c"]  # by hand: 1 / 0.5, 1 / 1 twice, 1 / 2
    table = pd.DataFrame([sensitive(*each) for each in (("a", 0.1), ("b", 0.1), ("c", 0.8), ("d", 0.1))])
    doubt = doubts(found, table)
    assert doubt["b", "PET"] == pytest.approx(2.0)
    assert doubt["c", "PET"] == pytest.approx(0.5 * 8)
    assert worst_first(found, table) == ["c", "b", "a", "d"]
    assert worst_first({"x": {}, "y": {"registration": {"PET": {"accepted": False}}}}, None) == ["y", "x"]


def test_the_page_shows_numbers_pictures_and_the_turning_ones_worst_first() -> None:
    moved = patient(Transform.about((0, 0, 0), np.eye(3), SHIFT_MM))
    found = {"s1": registered(0.4, accepted=True), **{f"s{i}": registered(1.0) for i in (2, 3)}}
    found["s1"]["registration"]["PET"] |= {"displacement_mm": 5.0, "inverse_consistency_mm": 1.5, "overlap": 0.9}  # type: ignore[index]
    table = pd.DataFrame([sensitive("s1", 0.2), sensitive("s2", 0.01), sensitive("s3", 0.01)])
    study = Study(
        "s", {}, pd.DataFrame(), pd.DataFrame(), {"align": found},
        [moved, *(replace(patient(), id=name) for name in ("s2", "s3"))], tables={"sensitivity": table},
    )  # fmt: skip
    blocks = alignment(study, 3).blocks
    words = [block.text for block in blocks if isinstance(block, Words)]
    told = next(text for text in words if text.startswith("s1, PET on CT, by the headers and registered."))
    for part in ("Similarity 0.40 by the headers, 0.80 registered", "moved by 5.0 mm", "overlap 90 %", "1.5 mm off",
                 "by 25 % to first order (0.500 SUV per mm), by 20 % at worst; 5 % takes 0.4 mm"):  # fmt: skip
        assert part in told
    assert "an assumed 2 mm for the 3 whose headers were kept" in " ".join(words)
    turning = [block for block in blocks if isinstance(block, Flicker)]
    assert len(turning) == 2
    assert all(len(block.pictures) == 2 and all(p.alt for p in block.pictures) for block in turning)
    (fold,) = [block for block in blocks if isinstance(block, Fold)]
    assert fold.title == "1 more patients"
    assert len([b for b in fold.blocks if isinstance(b, Picture)]) == 1
    rows = next(block.rows for block in blocks if isinstance(block, Table) and "misregistration" in block.caption)
    assert [row[0] for row in rows] == ["s1", "s2", "s3"]
    assert rows[0][2:] == ("25.0", "2.0", "0.500 SUV", "25 %", "20 %", "0.4")  # (1 / 0.8) (0.2 / 0.01)


def test_what_is_not_known_is_said_or_left_out() -> None:
    assert numbers({"reason": "not asked for"}) == "not asked for"
    assert numbers({}) == "Nothing was measured."
    assert moves(None, "a", "PET") == ""
    assert shifts({}, None) == movement(None) == []
    never = pd.DataFrame([sensitive("a", 0.01) | {"five_percent_mm": None, "error_from": "stated", "of": "sd"}])
    assert "5 % takes over 16 mm" in moves(never, "a", "PET")
    assert "1.00 SD" in moves(never, "a", "PET")
    (words, _) = shifts({"a": registered(1.0)}, never)
    assert isinstance(words, Words)
    assert "is stated in `report.registration_error_mm`" in words.text


def test_features_are_listed_by_how_far_they_move() -> None:
    row = {"modality": "PET", "subjects": 9, "error_mm": 1.0, "moved_sd": 0.4, "icc": 0.9, "low": 0.8}
    table = pd.DataFrame([{"feature": f"PET.f{i}", "moved_sd_per_mm": 1 / (i + 1), **row} for i in range(30)])
    words, first, fold = movement(table)
    assert isinstance(words, Words)
    assert isinstance(first, Table)
    assert isinstance(fold, Fold)
    assert first.rows[0] == ("PET.f0", "1.00", "0.40", "0.90", "0.80", "9")
    assert first.caption.endswith("of 30")
