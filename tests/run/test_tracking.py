"""MLflow's own store: whole, or not there."""

from pathlib import Path
from typing import Any

import pytest

from radfuse.run.tracking import _make_store

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own packages warn of each other


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    from mlflow.store.db import utils

    path = tmp_path / "mlflow.db"

    def killed(engine: Any) -> None:
        engine.dispose()  # as the end of a process does
        raise KeyboardInterrupt  # after the first tables, before the migrations are through

    with monkeypatch.context() as patch:
        patch.setattr(utils, "_upgrade_db", killed)
        with pytest.raises(KeyboardInterrupt):
            _make_store(path, tmp_path.as_uri())
    assert not path.exists()
    assert (tmp_path / "mlflow.db.part").stat().st_size > 0
    _make_store(path, tmp_path.as_uri())
    assert not (tmp_path / "mlflow.db.part").exists()
    assert mlflow.MlflowClient(f"sqlite:///{path}").create_experiment("study")


def test_a_store_that_is_there_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.tracking import sqlalchemy_store

    (tmp_path / "mlflow.db").write_bytes(b"mine")
    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", None)
    _make_store(tmp_path / "mlflow.db", tmp_path.as_uri())
    assert (tmp_path / "mlflow.db").read_bytes() == b"mine"
