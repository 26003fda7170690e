"""Whether scores may be read as probabilities, and what deciding by them is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from radfuse.data.study import Study
from radfuse.report.drawing import FUSION, GREY, INK, svg
from radfuse.report.section import DASH, Block, Fold, Picture, Section, Table, Words, absent, interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("arm", "Brier", "interval", "by prevalence", "scaled", "intercept", "slope", "slope's interval")
POINTS = ("arm", "rule", "threshold", "sensitivity", "specificity", "PPV", "NPV", "balanced accuracy")
RULES = {"youden": "Youden", "sensitive": "sensitive"}
GOOD = (
    "A slope near 1 and an intercept near 0, points near the diagonal, a Brier score well below that of always saying "
    "the prevalence, and a decision curve above both lines over the thresholds that you would act on."
)
BAD = (
    "A slope far below 1 (probabilities too extreme: overfitted), a scaled Brier score of 0 or less (worse than saying "
    "the prevalence), a decision curve below treating everyone or nobody."
)


def calibration(study: Study) -> Section:
    """Show the probabilities of the best arm of each level and of the declared arms, and decisions made by them."""
    title = "Probabilities and decisions"
    table, curve, decision = (study.tables.get(n) for n in ("calibration", "calibration_curve", "decision"))
    if table is None or not len(table):
        return Section("probabilities", title, [absent("No arm has been trained.", "Run `radfuse train`.")])
    level = {} if study.auc is None else dict(zip(study.auc["arm"], study.auc["fusion"], strict=True))
    shown = [] if curve is None else list(dict.fromkeys(curve["arm"]))
    first = table[table["arm"].isin(shown)]
    blocks: list[Block] = [
        Words(
            "Brier: mean squared distance of the probability from the outcome; by prevalence: that of saying the "
            "cohort's share of events to everyone; scaled: what is saved of it. Intercept 0 and slope 1 are right; a "
            "negative intercept promises too many events, a slope below 1 is too sure of itself."
        )
    ]
    if len(first):
        blocks.append(_table("Best arm of each level, and the declared arms", first))
    blocks += [Words(f"{row['arm']}: {row['note']}.", "caution") for row in first.to_dict("records") if _noted(row)]
    if curve is not None and len(curve):
        blocks.append(_curves(curve, level))
    if decision is not None and len(decision):
        blocks.append(_decisions(decision, level))
    blocks += _operating(study)
    blocks.append(Fold("Every arm's probabilities", blocks=[_table("All arms", table), *_other_notes(table, shown)]))
    return Section("probabilities", title, blocks, GOOD, BAD)


def _table(caption: str, rows: pd.DataFrame) -> Table:
    cells = [
        (str(row["arm"]), number(row["brier"], 3), interval(row["brier_low"], row["brier_high"], 3),
         number(row["brier_prevalence"], 3), number(row["brier_scaled"]), number(row["intercept"]),
         number(row["slope"]), interval(row["slope_low"], row["slope_high"]))
        for row in rows.to_dict("records")
    ]  # fmt: skip
    return Table(caption, COLUMNS, cells, COLUMNS[1:])


def _noted(row: Mapping[Any, Any]) -> bool:
    return isinstance(row["note"], str) and bool(row["note"])  # an empty cell of a table read back is a NaN


def _other_notes(table: pd.DataFrame, shown: list[str]) -> list[Words]:
    rows = [row for row in table.to_dict("records") if row["arm"] not in shown and _noted(row)]
    return [Words("; ".join(f"{row['arm']}: {row['note']}" for row in rows) + ".")] if rows else []


def _curves(curve: pd.DataFrame, level: Mapping[str, str]) -> Picture:
    arms = list(dict.fromkeys(curve["arm"]))
    columns = min(4, len(arms))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(-(-len(arms) // columns), columns, squeeze=False).ravel()
        for axes in panels[len(arms) :]:
            axes.set_axis_off()
        for axes, arm in zip(panels, arms, strict=False):
            _panel(axes, curve[curve["arm"] == arm], FUSION.get(level.get(arm, ""), INK))
            axes.set_title(arm)

    return Picture(
        "calibration.svg",
        svg(draw, 2.45 * columns, 2.75 * -(-len(arms) // columns)),
        f"Calibration curves of {', '.join(arms)}.",
        "Share of events against the probability promised, by fifths of the scores of all repeats, with intervals of "
        "resampled patients; the number under a point is how many patients stand behind it in each repeat. On the "
        "diagonal a probability means what it says; in a small cohort five points are all there is.",
    )


def _panel(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.vlines(rows["predicted"], rows["ci_low"], rows["ci_high"], color=colour, linewidth=1.2, alpha=0.6)
    axes.plot(rows["predicted"], rows["observed"], "o-", color=colour, markersize=4, linewidth=1.2)
    for row in rows.to_dict("records"):
        axes.annotate(f"{row['n']:.0f}", (row["predicted"], -0.09), ha="center", fontsize=6, color=GREY)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.13, 1.03), xlabel="probability promised", ylabel="share of events")
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])


def _decisions(decision: pd.DataFrame, level: Mapping[str, str]) -> Picture:
    arms = list(dict.fromkeys(decision["arm"]))
    low, high = float(decision["threshold"].min()), float(decision["threshold"].max())

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        everyone = decision[decision["arm"] == arms[0]]
        axes.plot(everyone["threshold"], everyone["treat_all"], color=INK, linewidth=1, linestyle=":")
        axes.axhline(0, color=GREY, linewidth=0.9)
        seen: list[str] = []
        for arm in arms:
            rows = decision[decision["arm"] == arm]
            again = seen.count(level.get(arm, ""))
            seen.append(level.get(arm, ""))
            axes.plot(rows["threshold"], rows["net_benefit"], color=FUSION.get(level.get(arm, ""), INK),
                      linewidth=1.6, linestyle="-" if not again else (0, (3, 1.5)), label=arm)  # fmt: skip
        axes.plot([], [], color=INK, linewidth=1, linestyle=":", label="treat everyone")
        axes.plot([], [], color=GREY, linewidth=0.9, label="treat nobody")
        top = float(decision[["net_benefit", "treat_all"]].to_numpy().max())
        axes.set(xlim=(low, high), ylim=(-0.1 * max(top, 0.1) - 0.02, top * 1.05 + 0.01))
        axes.set(xlabel="threshold: the probability from which you would treat", ylabel="net benefit")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    return Picture(
        "decision.svg",
        svg(draw, 8.6, 3.4),
        f"Decision curves of {', '.join(arms)}, beside treating everyone and nobody.",
        "Net benefit: events found, less false alarms weighed by the odds of the threshold, per patient, for "
        f"thresholds from {low:g} to {high:g} [Vickers & Elkin 2006]. A model helps where it is above both lines; "
        "intervals are in tables/decision.csv. It holds for this cohort's share of events only.",
    )


def _operating(study: Study) -> list[Block]:
    table = study.tables.get("operating_points")
    if table is None or not len(table):
        return []
    wanted = ((study.config.get("train") or {}).get("operating") or {}).get("sensitivity")
    names = RULES if wanted is None else RULES | {"sensitive": f"sensitivity {wanted:g}"}
    rows = [
        (str(row["arm"]), names.get(row["rule"], str(row["rule"])),
         *(_measure(row, name) for name in ("threshold", "sensitivity", "specificity", "ppv", "npv")),
         number(row["balanced_accuracy"]))
        for row in table.to_dict("records")
    ]  # fmt: skip
    words = Words(
        "Thresholds are chosen on inner out-of-fold probabilities of each fold's training patients and applied to its "
        "validation patients, who had no say in them. Two rules: the largest Youden index, and the highest threshold "
        "that keeps a sensitivity in training. In brackets, of the threshold the least and largest over the folds, of "
        "the measures the interval of resampled patients. PPV and NPV hold for this cohort's share of events."
    )
    without = [row for row in table.to_dict("records") if row["folds_without"]]
    notes = [
        Words(
            f"{row['arm']}, {row['rule']}: no threshold in {row['folds_without']} of {row['folds']} folds.", "caution"
        )
        for row in without
    ]
    return [words, Table("Operating points", POINTS, rows, POINTS[2:]), *notes]


def _measure(row: Mapping[Any, Any], name: str) -> str:
    return f"{number(row[name])} ({number(row[f'{name}_low'])}{DASH}{number(row[f'{name}_high'])})"
