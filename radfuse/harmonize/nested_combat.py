"""Nested ComBat: one batch variable after another, such as scanner, then kernel, then contrast agent."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from radfuse.data.names import FUSED, fused_modalities, is_fused
from radfuse.data.table import BATCH, GROUP, OUTCOME
from radfuse.errors import ConfigError
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

    def resolved(self, modalities: Sequence[str]) -> Self:
        """Name the variables of each fused volume, which are those of its parts."""
        measured = [modality for modality in modalities if not is_fused(modality)]
        fused = [modality for modality in modalities if is_fused(modality) and fused_modalities(modality, measured)]
        found = {modality: further_variables(modality, self.then, measured) for modality in fused}
        return self.model_copy(update={"then": found | self.then})

    def build(self) -> Any:
        """Make the transformer."""
        from radfuse.harmonize.nesting import NestedTransformer

        return NestedTransformer(**self.model_dump(exclude={"method"}))


def further_variables(
    modality: str, then: Mapping[str, tuple[str, ...]], measured: Sequence[str], hinted: Sequence[str] = ()
) -> tuple[str, ...]:
    """Give the further variables of a modality; a fused volume that ``then`` does not name has those of its parts.

    Parameters
    ----------
    measured : the measured modalities of the table.
    hinted : others that are known to exist.

    Raises a ConfigError for a fused volume whose parts are not known, where ``then`` may name one of them.
    """
    everywhere = then.get(EVERYWHERE, ())
    if modality in then or not is_fused(modality):
        return then.get(modality, everywhere)
    named = [name for name in then if name != EVERYWHERE and not is_fused(name)]
    for known in (measured, [*measured, *hinted], [*measured, *hinted, *named]):
        parts = fused_modalities(modality, known)
        if parts:
            return tuple(dict.fromkeys(name for part in parts for name in then.get(part, everywhere)))
    inside = f"_{modality.removeprefix(FUSED).partition('-')[2]}_"
    meant = [name for name in named if f"_{name}_" in inside]
    if meant:
        raise ConfigError(
            f"{modality}: harmonizer.then names {', '.join(meant)}, but the volume's parts cannot be told from its "
            f"name and the modalities known here, {', '.join(dict.fromkeys([*measured, *hinted])) or 'none'}",
            hint=f"Name the fused volume too, harmonizer.then: {{{modality}: [...]}}, or `{EVERYWHERE}` alone.",
        )
    return everywhere
