"""Options that the study commands share."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from radfuse.config import Config
    from radfuse.run.progress import Listener
    from radfuse.run.session import Session

STUDY_FILE = Path("radfuse.yaml")

Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes; default: one per core.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda: where networks run.", metavar="DEVICE")]


@dataclass(frozen=True)
class StudyOptions:
    """What every command on a study folder understands."""

    config: Annotated[Path, typer.Argument(help="The study's YAML.", show_default=True)] = STUDY_FILE
    study: Annotated[
        Path | None,
        typer.Option("--study", "-o", help="Study folder; default: the config's folder, or ./NAME for NAME.yaml."),
    ] = None
    run: Annotated[str, typer.Option("--run", help="Name of the run inside the study folder.")] = "main"
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting: --set align.spacing_mm=2.", metavar="KEY=VALUE"),
    ] = None
    subject: Annotated[list[str] | None, typer.Option("--subject", help="Only this subject; may be repeated.")] = None
    jobs: Jobs = None
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda: where networks run.", metavar="DEVICE")] = None
    redo: Annotated[bool, typer.Option("--redo", help="Compute again even what still stands.")] = False
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed subjects again.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be reused and redone; do nothing.")] = False
    as_json: AsJson = False
    quiet: Quiet = False

    def read_config(self) -> "Config":
        """Read the YAML with every override."""
        from radfuse.config import read_config

        return read_config(self.config, self.overrides)

    @property
    def overrides(self) -> list[str]:
        """Every override, those of --jobs and --device included."""
        given = list(self.set_ or [])
        if self.jobs is not None:
            given.append(f"execution.jobs={self.jobs}")
        if self.device is not None:
            given.append(f"execution.device={self.device}")
        return given

    def on_a_table(self, given: str) -> None:
        """Refuse what only a study folder can do, when a command works on a table of one's own."""
        from radfuse.errors import ConfigError

        asked = [("--dry-run", self.dry_run), ("--redo", self.redo), ("--retry-failed", self.retry_failed)]
        asked += [("--run", self.run != "main"), ("--subject", bool(self.subject) and given != "--manifest")]
        meant = [name for name, wanted in asked if wanted]
        if meant:
            raise ConfigError(
                f"{' and '.join(meant)} cannot be given with {given}, which needs no study folder",
                hint="Leave it out; what failed is tried again each time, and a new --study folder is a fresh start.",
            )

    @property
    def folder(self) -> Path:
        """The study folder: beside a radfuse.yaml, or a fresh ./NAME for any other NAME.yaml."""
        if self.study is not None:
            return self.study
        return self.config.resolve().parent if self.config.name == STUDY_FILE.name else Path(self.config.stem)

    @contextmanager
    def open(self) -> Iterator["Session"]:
        """Open the study folder for work, with progress bars on standard error."""
        from radfuse.run.session import Session
        from radfuse.run.store import Redo, write_text

        config = self.read_config()
        home = self.folder / STUDY_FILE.name
        redo = Redo(everything=self.redo, failed=self.retry_failed)
        session = Session(
            config,
            self.folder,
            self.run,
            only=self.subject or (),
            redo=redo,
            listener=listener_for(self),
            looking=self.dry_run,
        )
        with session:
            if not home.is_file() and not self.dry_run:
                # A study started from a config elsewhere gets its own copy, so that bare commands work inside it.
                write_text(home, config.to_yaml())
            yield session


def listener_for(options: StudyOptions) -> "Listener":
    """Bars on standard error, or nothing when the output is for a program."""
    from radfuse.cli.progress import Bars
    from radfuse.run.progress import Silent

    return Silent() if options.quiet or options.as_json else Bars()


COMPUTING = ("jobs", "device", "redo", "retry_failed")


def study_command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options as one ``options: StudyOptions`` argument."""
    return _with_options(function, [f.name for f in fields(StudyOptions)])


def looking_command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command that computes no result the shared options, but for those that say how to compute."""
    return _with_options(function, [f.name for f in fields(StudyOptions) if f.name not in COMPUTING])


def _with_options(function: Callable[..., None], names: Sequence[str]) -> Callable[..., None]:
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "options"]
    hints = get_type_hints(function, include_extras=True)
    shared = get_type_hints(StudyOptions, include_extras=True)
    parameters = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=shared[f.name])
        for f in fields(StudyOptions)
        if f.name in names
    ]
    parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name]) for p in own]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        options = StudyOptions(**{name: given.pop(name) for name in names})
        function(options=options, **given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command
