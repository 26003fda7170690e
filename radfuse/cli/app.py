"""`radfuse`: the verbs. Nothing heavy is imported until a command runs, so that --help answers at once."""

import signal
import sys
import traceback
from types import FrameType

import typer

from radfuse.cli import (
    align,
    bins,
    demo,
    doctor,
    export,
    extract,
    fuse,
    fusion,
    harmonize,
    ibsi,
    init,
    landmarks,
    list_,
    predict,
    report,
    run,
    stability,
    train,
    validate,
    view,
)
from radfuse.errors import ConfigError, RadfuseError, StageError

app = typer.Typer(
    name="radfuse",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Multi-modal radiomics: does combining CT, PET, SPECT and MR predict better than each alone?",
)
app.command()(demo.demo)
app.command()(init.init)
app.command()(doctor.doctor)
app.command()(validate.validate)
app.command("list")(list_.list_)
app.command()(run.run)
app.command()(align.align)
app.command()(fuse.fuse)
app.command()(extract.extract)
app.command()(stability.stability)
app.command()(bins.bins)
app.command()(landmarks.landmarks)
app.command()(ibsi.ibsi)
app.command()(harmonize.harmonize)
app.command()(train.train)
app.command()(report.report)
app.command()(predict.predict)
app.command()(export.export)
app.command()(view.view)
app.add_typer(fusion.app, name="fusion", help="Train the fusion networks, and judge fused images.")

WELL, SOME_FAILED, USAGE, OURS, INTERRUPTED = 0, 1, 2, 3, 130


def main() -> None:
    """Run the command line and turn every error into one clear message and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except (ConfigError, StageError) as error:
        sys.exit(_tell(error, USAGE))
    except RadfuseError as error:
        sys.exit(_tell(error, SOME_FAILED))
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        print(f"error: the system refused{place}: {error.strerror or error}", file=sys.stderr)
        sys.exit(USAGE)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; the same command takes up where it stopped", file=sys.stderr)
        raise
    except Exception:
        traceback.print_exc()
        print("error: this is a fault of radfuse, not of your data; please report the lines above", file=sys.stderr)
        sys.exit(OURS)


def _tell(error: RadfuseError, code: int) -> int:
    print(f"error: {error.message}", file=sys.stderr)
    for note in getattr(error, "__notes__", []):
        print(f"  {note}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return code


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
