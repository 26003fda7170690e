"""The settings that several harmonisers have: which facts are kept, and what happens to batches too small or new."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt

from radfuse.data.table import BATCH, GROUP, OUTCOME
from radfuse.harmonize.labels import text_of


def _only_covariates(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name in (OUTCOME, GROUP) or name.startswith(BATCH):
            raise ValueError(f"{name!r} cannot be protected: only covariates known before the outcome can")
    return names


def _as_text(labels: object) -> object:
    """YAML reads 120 as a number; as a label it is text."""
    if not isinstance(labels, Mapping):
        return labels
    return {text_of(name): text_of(label) for name, label in labels.items()}


def _one_step(merge: dict[str, str]) -> dict[str, str]:
    chained = sorted(set(merge) & set(merge.values()))
    if chained:
        raise ValueError(f"{', '.join(chained)}: merged into another label, and another label is merged into it")
    return merge


Protect = Annotated[
    tuple[str, ...],
    AfterValidator(_only_covariates),
    Field(description="Covariates whose effect is kept: known before the outcome (age, sex); never the outcome."),
]
EmpiricalBayes = Annotated[bool, Field(description="Shrink each batch's shift and scale towards its other features'.")]
ReferenceBatch = Annotated[
    dict[str, str] | None,
    BeforeValidator(_as_text),
    Field(description="By modality, the batch that stays as it is and that the others are brought to."),
]
Merge = Annotated[
    dict[str, str],
    BeforeValidator(_as_text),
    AfterValidator(_one_step),
    Field(description="Batch labels counted as another; the label `largest` means the largest training batch."),
]
Single = Annotated[
    Literal["pass", "largest", "refuse"],
    Field(description="A training batch of one row: leave it raw and flag it, merge it into the largest, or stop."),
]
Small = Annotated[
    Literal["mean_only", "pass", "largest", "refuse"],
    Field(description="A training batch of two or more rows, but fewer than small_below."),
]
SmallBelow = Annotated[
    PositiveInt, Field(description="Batches with fewer rows are small: their scale is not estimated.")
]
FlagBelow = Annotated[PositiveInt, Field(description="Batches with fewer rows are fitted, and named in the report.")]
Unseen = Annotated[
    Literal["pass", "largest", "refuse"],
    Field(description="A new row of a batch not fitted: leave it raw and flag it, count it as the largest, or stop."),
]
UnseenLevel = Annotated[
    Literal["mode", "refuse"],
    Field(description="A new row with a covariate level that training lacks: use the commonest level, or stop."),
]
Confounded = Annotated[
    Literal["pass", "refuse"],
    Field(
        description="Covariates that cannot be told from the batches, as small folds have them: leave the modality "
        "raw and flag it, or stop."
    ),
]
Tolerance = Annotated[PositiveFloat, Field(description="Largest relative change at which the iteration ends.")]
