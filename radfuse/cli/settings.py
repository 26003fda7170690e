"""What the commands say of settings that do nothing."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from radfuse.config import Config


def warn_of_settings(config: "Config") -> None:
    """Before hours are spent, say on standard error which settings are for no image of the study."""
    from radfuse.run.idle_settings import idle_settings

    for problem in idle_settings(config):
        typer.echo(" ".join(part for part in (f"warning: {problem.what}.", problem.hint) if part), err=True)
