"""Nested ComBat: one batch variable after another, such as scanner, then kernel, then contrast agent."""

from typing import Any, Literal

from pydantic import Field, field_validator

from radfuse.data.table import BATCH, GROUP, OUTCOME
from radfuse.harmonize import Harmonizer, settings

EVERYWHERE = "*"  # stands for every modality, as in cohort.batches
MOST = 3  # further variables of one modality: the orders of four are 24 fits


class NestedCombat(Harmonizer):
    """ComBat for several batch variables in turn [Horng 2022, Scientific Reports 12:4493].

    The first variable is the modality's own batch column; ``then`` names further columns of the subjects' table. A
    step that has not seen a row's label leaves that row as the earlier steps made it, and flags it.
    """

    method: Literal["nested_combat"] = "nested_combat"
    then: dict[str, tuple[str, ...]] = Field(
        {}, description="By modality (`*`: all), further columns of batches (kernel, protocol), after the first."
    )
    order: Literal["given", "searched"] = Field(
        "given",
        description="One variable after another as given; or try every order on the training rows and take the one "
        "after which the fewest features differ between the labels of any variable.",
    )
    protect: settings.Protect = ()
    empirical_bayes: settings.EmpiricalBayes = True
    merge: settings.Merge = Field({})
    single: settings.Single = "pass"
    small: settings.Small = "mean_only"
    small_below: settings.SmallBelow = 5
    flag_below: settings.FlagBelow = 10
    unseen: settings.Unseen = "pass"
    unseen_level: settings.UnseenLevel = "mode"
    confounded: settings.Confounded = "pass"
    tolerance: settings.Tolerance = 1e-4

    @field_validator("then")
    @classmethod
    def _columns_of_facts(cls, then: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for modality, names in then.items():
            for name in names:
                if name in (OUTCOME, GROUP) or name.startswith(BATCH):
                    raise ValueError(f"{modality}: {name!r} is not a column of batches")
            if len(names) > MOST:
                raise ValueError(f"{modality}: {len(names)} further variables; more than {MOST} cannot be told apart")
        return then

    @property
    def facts(self) -> tuple[str, ...]:
        """The further columns, for the table to carry them."""
        return tuple(dict.fromkeys(name for names in self.then.values() for name in names))

    def build(self) -> Any:
        """Make the transformer."""
        from radfuse.harmonize.nesting import NestedTransformer

        return NestedTransformer(**self.model_dump(exclude={"method"}))
