"""Write the phantom cohort and its study config into a folder."""

import json
import shutil
from pathlib import Path

import pandas as pd

from radfuse.data.phantom import Phantom, PhantomCohort
from radfuse.data.reading.images import write_mask, write_volume
from radfuse.errors import ConfigError
from radfuse.run.shipped import shipped
from radfuse.run.store import write, write_text

MARK = "phantom.json"


def write_demo(folder: Path, seed: int, subjects: int | None = None) -> Path:
    """Make the phantom cohort (images, manifest, clinical table, truth) and its radfuse.yaml; give its path.

    A folder that holds anything but an earlier demo is refused.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise ConfigError(f"{folder} is not empty and not a demo", hint="Name another folder: radfuse demo DIR.")
    phantom = Phantom(seed=seed) if subjects is None else Phantom(seed=seed, subjects=subjects)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / MARK, json.dumps({"seed": seed, "subjects": phantom.subjects}) + "\n")
    write_cohort(folder, phantom.cohort())
    config = folder / "radfuse.yaml"
    shutil.copyfile(shipped("demo.yaml"), config)
    for path in sorted(shipped("pyradiomics").glob("demo-*.yaml")):
        (folder / "pyradiomics").mkdir(exist_ok=True)
        shutil.copyfile(path, folder / "pyradiomics" / path.name)
    return config


def write_cohort(folder: Path, cohort: PhantomCohort) -> None:
    """Write images, masks, manifest.csv, clinical.csv and truth.csv."""
    rows = []
    for subject in cohort.subjects:
        for modality, volume in subject.volumes.items():
            image, mask = f"images/{subject.id}/{modality}.nii.gz", f"images/{subject.id}/{modality}_mask.nii.gz"
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            write_volume(folder / image, volume)
            write_mask(folder / mask, subject.masks[modality])
            rows.append({"subject": subject.id, "modality": modality, "image": image, "mask": mask})
    manifest = pd.DataFrame(rows)
    write(folder / "manifest.csv", lambda path: manifest.to_csv(path, index=False))
    write(folder / "clinical.csv", lambda path: cohort.clinical.to_csv(path))
    write(folder / "truth.csv", lambda path: cohort.truth.to_csv(path))


def oracle_auc(folder: Path) -> float:
    """The AUC of whoever knows what was planted: no model can be expected to do better on this cohort."""
    from sklearn.metrics import roc_auc_score

    truth = pd.read_csv(folder / "truth.csv", index_col="subject")["linear_predictor"]
    outcome = pd.read_csv(folder / "clinical.csv", index_col="subject")["outcome"]
    return float(roc_auc_score(outcome, truth.loc[outcome.index]))
