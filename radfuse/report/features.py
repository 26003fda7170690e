"""What was measured: how many features, what is missing, what repeats itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.names import FeatureName, modality_of
from radfuse.data.study import Study
from radfuse.data.table import OUTCOME, FeatureTable
from radfuse.report.drawing import INK, png
from radfuse.report.section import DASH, Block, Picture, Section, Table, absent, number, percent, split_long

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

NEAR_COPY = 0.95
COLUMNS_SHOWN = 360
GOOD = "No or few missing values; blocks of colour that do not follow one scanner; subjects that differ gradually."
BAD = (
    "One subject in strong colour from end to end (a wrong unit or mask), features that are constant, or stripes that "
    "follow a batch."
)


def features(study: Study) -> Section:
    """Count the features and draw all of them at once."""
    if study.table is None or study.table.values.empty:
        blocks: list[Block] = [absent("No feature has been extracted.", "Run `radfuse extract`.")]
        return Section("features", "Features", blocks, GOOD, BAD)
    table = study.table
    blocks = [_counts(table), *_classes(table), *_missing(table)]
    picture = _heat(table)
    blocks += [picture] if picture is not None else []
    return Section("features", "Features", blocks, GOOD, BAD)


def _counts(table: FeatureTable) -> Table:
    rows = []
    for modality in table.modalities:
        values = table.values[table.columns_of(modality)]
        scores = standardised(values)
        names = [FeatureName.parse(column) for column in values.columns]
        rows.append(
            (
                modality,
                str(values.shape[1]),
                str(len({name.image_type for name in names})),
                str(int(values.isna().to_numpy().sum())),
                str(values.shape[1] - scores.shape[1]),
                percent(near_copies(scores.to_numpy()) / max(scores.shape[1], 1)),
                str(components(scores.to_numpy())),
            )
        )
    columns = (
        "modality", "features", "image types", "missing values", "constant", f"near copies (|rho| > {NEAR_COPY})",
        "components for 90 %",
    )  # fmt: skip
    caption = (
        "Features by modality. A near copy has a rank correlation above the bound with an earlier feature of its "
        "modality; components are the principal ones that hold 90 % of the variance."
    )
    return Table(caption, columns, rows, columns[1:])


def _classes(table: FeatureTable) -> list[Block]:
    names = [FeatureName.parse(column) for column in table.values.columns]
    frame = pd.DataFrame([(n.place, n.image_type or DASH, n.feature_class or DASH) for n in names])
    counts = frame.groupby([0, 1, 2], sort=False).size().unstack(2, fill_value=0)
    columns = ("modality", "image type", *map(str, counts.columns))
    rows = [(*map(str, key), *map(str, row)) for key, row in zip(counts.index, counts.to_numpy(), strict=True)]
    return split_long(Table("Features by image type and class", columns, rows, columns[2:]), 8)


def _missing(table: FeatureTable) -> list[Block]:
    per_subject = table.values.isna().sum(axis=1)
    per_subject = per_subject[per_subject > 0].sort_values(ascending=False, kind="stable")
    rows = [(str(subject), str(int(count))) for subject, count in per_subject.items()]
    if not rows:
        return []
    caption = "Missing values by subject, the most first"
    return split_long(Table(caption, ("subject", "missing values"), rows, ("missing values",)), 8)


def standardised(values: pd.DataFrame) -> pd.DataFrame:
    """Mean 0 and standard deviation 1 by column, missing values at the median; constant columns are left out."""
    array = values.to_numpy(float, copy=True)
    known = ~np.isnan(array)
    some = known.any(axis=0)
    middle = np.zeros(array.shape[1])
    middle[some] = np.nanmedian(array[:, some], axis=0)
    array = np.where(known, array, middle)
    spread = array.std(axis=0)
    kept = spread > 1e-12 * (1.0 + np.abs(array).max(axis=0, initial=0.0))
    scores = (array[:, kept] - array[:, kept].mean(axis=0)) / spread[kept]
    return pd.DataFrame(scores, index=values.index, columns=values.columns[kept])


def near_copies(scores: Array) -> int:
    """How many columns follow an earlier column almost exactly, by rank."""
    from scipy.stats import rankdata

    n, count = scores.shape
    if n < 3 or not count:
        return 0
    ranks = rankdata(scores, axis=0)
    ranks = (ranks - ranks.mean(axis=0)) / (ranks.std(axis=0) * n**0.5)
    found = 0
    for start in range(0, count, 500):  # in blocks: thousands of columns would make a matrix of gigabytes
        block = np.abs(ranks[:, start : start + 500].T @ ranks[:, : start + 500])
        earlier = np.arange(block.shape[1])[None, :] < (start + np.arange(len(block)))[:, None]
        found += int(((block > NEAR_COPY) & earlier).any(axis=1).sum())
    return found


def components(scores: Array) -> int:
    """How many principal components hold 90 % of the variance."""
    if not scores.size:
        return 0
    variance = np.linalg.svd(scores, compute_uv=False) ** 2
    # A share of 0.9 met exactly must not depend on the last bit.
    return int(np.searchsorted(np.cumsum(variance) / variance.sum(), 0.9 - 1e-9) + 1)


def _heat(table: FeatureTable) -> Picture | None:
    scores = standardised(table.values)
    if scores.shape[0] < 3 or scores.shape[1] < 3:
        return None
    modality_at = np.array([modality_of(column) for column in scores.columns])
    rows = _similar_first(scores.to_numpy())
    blocks, edges, labels = [], [0], []
    for modality in table.modalities:
        own = scores.to_numpy()[:, modality_at == modality]
        if not own.shape[1]:
            continue
        share = max(2, round(COLUMNS_SHOWN * own.shape[1] / scores.shape[1]))
        own = own[:, np.unique(np.linspace(0, own.shape[1] - 1, share).round().astype(int))]
        blocks.append(own[:, _similar_first(own.T)])
        edges.append(edges[-1] + blocks[-1].shape[1])
        labels.append(modality)
    image = np.hstack(blocks)[rows]
    outcome = table.subjects[OUTCOME].to_numpy(float)[rows] if OUTCOME in table.subjects else None

    def draw(figure: Figure) -> None:
        strip, axes = figure.subplots(1, 2, width_ratios=[1, 60], sharey=True)
        if outcome is None:
            strip.set_axis_off()
        else:
            strip.imshow(outcome[:, None], cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            strip.set(xticks=[], yticks=[])
            strip.set_xlabel("event", rotation=90)
        shown = axes.imshow(image, cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto", interpolation="nearest")
        for edge in edges[1:-1]:
            axes.axvline(edge - 0.5, color=INK, linewidth=1.2)
        middles = (np.array(edges[1:]) + np.array(edges[:-1]) - 1) / 2
        axes.set_xticks(middles, [label.replace("-", "-\n", 2) for label in labels], fontsize=7)
        axes.set(yticks=[], title=f"{image.shape[0]} subjects, {image.shape[1]} of {table.values.shape[1]} features")
        axes.tick_params(length=0)
        figure.colorbar(shown, ax=axes, label="standard deviations from the mean", fraction=0.03, pad=0.01)

    return Picture(
        "features.png",
        png(draw, 9.6, 4.6),
        f"Heat map of standardised features: {len(rows)} subjects by modality {', '.join(labels)}.",
        f"Every row is a subject, every column a feature (evenly picked, about {number(COLUMNS_SHOWN, 0)} at most), "
        "both ordered so that alike ones are neighbours; black in the strip on the left is an event.",
    )


def _similar_first(values: Array) -> npt.NDArray[np.intp]:
    """Order rows so that alike ones are neighbours [average linkage, optimal leaves; Bar-Joseph 2001]."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(values) < 3:
        return np.arange(len(values))
    return np.asarray(leaves_list(linkage(values, "average", optimal_ordering=len(values) <= 400)), dtype=np.intp)
