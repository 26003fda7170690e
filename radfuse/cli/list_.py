"""`radfuse list`."""

from typing import Annotated

import typer


def list_(
    family: Annotated[str | None, typer.Argument(help="fusion, harmonizer, ...; default: all families.")] = None,
    settings: Annotated[bool, typer.Option("--settings", help="Show each method's settings and defaults.")] = False,
) -> None:
    """List the methods that a config can name, family by family."""
    from radfuse.config import families
    from radfuse.errors import ConfigError

    known = families()
    if family is not None and family not in known:
        raise ConfigError(f"unknown family {family!r}", hint=f"Known: {', '.join(known)}.")
    for name in [family] if family else known:
        typer.echo(f"{name}")
        members = known[name].members()
        width = max(map(len, members))
        for method, member in members.items():
            summary = (member.__doc__ or "").strip().splitlines()
            typer.echo(f"  {method:<{width}}  {summary[0] if summary else ''}")
            for key, field in member.model_fields.items() if settings else ():
                if key != "method":
                    typer.echo(f"    {key} = {field.get_default(call_default_factory=True)!r}: {field.description}")
