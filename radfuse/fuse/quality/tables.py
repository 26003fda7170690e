"""Judgements of many images as tables: a row per image, and a row of means per set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radfuse.fuse.quality import METRICS, Quality

if TYPE_CHECKING:
    import pandas as pd

SET, NAME = "set", "name"


@dataclass(frozen=True)
class Judged:
    """One fused image and what was found.

    Parameters
    ----------
    set : what it belongs to: a method, or a group of pairs.
    name : which one of the set: a subject or a picture.
    quality : the judgement.
    """

    set: str
    name: str
    quality: Quality


def per_image(judged: Sequence[Judged]) -> pd.DataFrame:
    """Give a row per image: set, name, convention, sources, region, clipped, the metrics, coarser, reasons, outside."""
    import pandas as pd

    rows = [
        {
            SET: each.set,
            NAME: each.name,
            "convention": each.quality.convention,
            "sources": "+".join(each.quality.sources),
            "region": each.quality.region,
            "clipped": each.quality.clipped,
            **each.quality.values,
            "coarser": each.quality.coarser,
            "reasons": "; ".join(f"{metric}: {why}" for metric, why in each.quality.reasons.items()),
            "outside": "; ".join(each.quality.outside),
        }
        for each in judged
    ]
    return pd.DataFrame(rows).astype({"coarser": "Int64"})


def per_set(table: pd.DataFrame) -> pd.DataFrame:
    """Give a row per set: set, n, convention, and the mean of each metric over the images that have it.

    ``missing`` counts the images that lack a metric, ``outside`` those outside the sanity box of `standard`.

    Parameters
    ----------
    table : from `per_image`.
    """
    metrics = [name for name in METRICS if name in table]
    groups = table.groupby(SET, sort=False)
    means = groups[metrics].mean()
    lacking = table[metrics].isna().groupby(table[SET], sort=False).sum()
    means.insert(0, "n", groups.size())
    means.insert(1, "convention", groups["convention"].first())
    means["missing"] = [
        "; ".join(f"{name} {count}" for name, count in row.items() if count) for _, row in lacking.iterrows()
    ]
    if (table["convention"] == "standard").all():
        means["outside"] = (table["outside"] != "").groupby(table[SET], sort=False).sum()
    return means.reset_index()
