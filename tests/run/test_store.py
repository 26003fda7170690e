import ast
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import radfuse
from radfuse.align.stage import Align
from radfuse.align.template import Template
from radfuse.component import BY_CONTENT, Frozen
from radfuse.config import families
from radfuse.errors import ConfigError, DataError, StageError
from radfuse.fuse.stage import Fuse
from radfuse.run.ledger import DECIDING
from radfuse.run.store import Record, Redo, Store, digest, digests, write_text
from radfuse.run.tasks import recorded


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


def finished(store: Store, key: str = "k") -> Record:
    folder = store.open("align", "p1")
    (folder / "a.txt").write_text("whole")
    return store.close(Record("align", "p1", key, "done", 0.1, digests(folder, ["a.txt"]), {"shift_mm": 2.0}))


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    record = finished(store)
    assert store.current("align", "p1", "k") == record


def test_another_key_is_another_result(store: Store) -> None:
    finished(store)
    assert store.current("align", "p1", "other") is None


def test_a_damaged_file_is_no_result(store: Store) -> None:
    finished(store)
    (store.folder("align", "p1") / "a.txt").write_text("wh0le")
    assert store.current("align", "p1", "k") is None
    (store.folder("align", "p1") / "a.txt").unlink()
    assert store.current("align", "p1", "k") is None


def test_a_result_without_a_record_does_not_exist(store: Store) -> None:
    folder = store.open("align", "p1")
    (folder / "a.txt").write_text("whole")
    assert store.current("align", "p1", "k") is None


def test_opening_for_writing_withdraws_the_old_result(store: Store) -> None:
    finished(store)
    (store.folder("align", "p1") / ".tmp-4194305-a.txt").write_text("torn")
    folder = store.open("align", "p1")
    assert store.current("align", "p1", "k") is None
    assert list(folder.glob(".tmp-*")) == []


def test_a_torn_record_is_no_record(store: Store) -> None:
    finished(store)
    (store.folder("align", "p1") / "record.json").write_text('{"stage": "align", "it')
    assert store.read("align", "p1") is None


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["t.txt"]


def test_keys_follow_values_and_not_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_stage_that_has_not_run_is_named(store: Store) -> None:
    with pytest.raises(StageError, match="no results of align"):
        store.require("align")


def test_bad_data_is_a_record_without_a_trace_and_a_fault_of_ours_has_one(store: Store) -> None:
    def empty(folder: Path) -> tuple[list[str], dict[str, object]]:
        raise DataError("the mask is empty", hint="Draw one.")

    def broken(folder: Path) -> tuple[list[str], dict[str, object]]:
        raise ZeroDivisionError("oh")

    record = recorded(store, "align", "p1", "k", empty)
    assert (record.status, record.what, record.hint, record.trace) == ("failed", "the mask is empty", "Draw one.", "")
    assert "ZeroDivisionError" in recorded(store, "align", "p2", "k", broken).trace


def test_bad_data_is_not_tried_again_and_a_failing_machine_is(store: Store) -> None:
    def full(folder: Path) -> tuple[list[str], dict[str, object]]:
        raise OSError(28, "No space left on device")

    def empty(folder: Path) -> tuple[list[str], dict[str, object]]:
        raise DataError("the mask is empty")

    def absent(folder: Path) -> tuple[list[str], dict[str, object]]:
        raise ConfigError("weights not found: w.safetensors")  # which lie elsewhere, and keys do not know where

    assert Redo().wants(recorded(store, "fuse", "p1", "k", absent))
    assert Redo().wants(recorded(store, "align", "p1", "k", full))
    assert not Redo().wants(recorded(store, "align", "p2", "k", empty))
    assert Redo(failed=True).wants(store.read("align", "p2"))
    assert Redo().wants(None)
    assert not Redo().wants(finished(store))
    assert Redo(everything=True).wants(finished(store))


def test_work_of_which_parts_stand_leaves_a_record_at_every_moment(store: Store) -> None:
    meanwhile = Record("voxelwise", "p1", "k", "failed", 0.0, what="interrupted", transient=True)

    def work(folder: Path) -> tuple[list[str], dict[str, object]]:
        assert store.read("voxelwise", "p1") == meanwhile
        (folder / "map").write_text("x")
        store.close(replace(meanwhile, files=digests(folder, ["map"])))
        raise DataError("too many grey levels")

    found = recorded(store, "voxelwise", "p1", "k", work, meanwhile)
    assert (found.status, found.what, found.transient) == ("failed", "too many grey levels", False)
    assert list(found.files) == ["map"]
    assert store.current("voxelwise", "p1", "k") == found


def test_every_library_that_extract_computes_with_is_in_its_key() -> None:
    folder, found = Path(radfuse.__file__).parent / "extract", set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    distributions = {"sklearn": "scikit-learn", "pywt": "PyWavelets", "radiomics": "pyradiomics-cuda"}
    # These decide no number: settings, tables, how many threads there are, and a GPU that counts as numba does.
    deciding_nothing = {"radfuse", "pydantic", "pandas", "threadpoolctl", "yaml", "pykwalify", "torch"}
    computing = found - set(sys.stdlib_module_names) - deciding_nothing
    assert {"scipy", "sklearn", "numba"} <= computing
    assert {distributions.get(name, name) for name in computing} <= set(DECIDING["extract"])


def known_files() -> list[tuple[type[Frozen], str, str]]:
    """Every setting that names a file and the one that gives its SHA-256, of all methods and of the template."""
    members = [member for family in families().values() for member in family.members().values()]
    found: list[tuple[type[Frozen], str, str]] = [
        (member, next(name for name in ("weights", "landmarks", "template") if name in member.model_fields), "sha256")
        for member in members
        if "sha256" in member.model_fields
    ]
    return [*found, (Template, "image", "sha256"), (Template, "mask", "mask_sha256")]


@pytest.mark.parametrize(("model", "file", "sha256"), known_files())
def test_a_file_counts_in_keys_by_its_content_and_not_by_its_place(model: type[Frozen], file: str, sha256: str) -> None:
    def dumped(path: str, digest: str) -> dict[str, object]:
        given = {"image": "i.nii", "sha256": "c" * 64} if model is Template else {}
        return model.model_validate({**given, file: path, sha256: digest}).model_dump(mode="json", context=BY_CONTENT)

    assert dumped("here.file", "a" * 64) == dumped("/else/where.file", "a" * 64)
    assert dumped("here.file", "a" * 64) != dumped("here.file", "b" * 64)


def test_keys_look_inside_stages_and_shipped_weights_stay_what_they_were() -> None:
    weights, scale = {"method": "mdafuse", "sha256": "a" * 64}, {"method": "nyul", "sha256": "a" * 64}
    one, other = (
        (
            Fuse.model_validate({"methods": [weights | {"weights": f"{place}/w.safetensors"}]}).deciding,
            Align.model_validate({"intensity": {"MR": ["n4", scale | {"landmarks": f"{place}/l.json"}]}}).deciding,
            Align.model_validate({"intensity": {"MR": scale | {"landmarks": f"{place}/l.json"}}}).deciding,
        )
        for place in ("a", "/b")
    )
    assert one == other
    assert Fuse().deciding == Fuse().model_dump(mode="json")
    assert Align().deciding == Align().model_dump(mode="json")
