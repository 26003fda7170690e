"""The errors a user can act on. Each says what is wrong, where, found against expected, and what to do."""


class RadfuseError(Exception):
    """Base of every error that radfuse raises on purpose.

    Parameters
    ----------
    message : what is wrong and where, found against expected.
    hint : what to do about it; shown on a line of its own.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders; the default pickling would lose the keyword.
        return (_rebuild, (type(self), self.message, self.hint, list(getattr(self, "__notes__", []))))


def _rebuild(kind: type[RadfuseError], message: str, hint: str, notes: list[str]) -> RadfuseError:
    error = kind(message, hint=hint)
    for note in notes:
        error.add_note(note)
    return error


class ConfigError(RadfuseError):
    """The configuration or the command line asks for something that cannot be done (exit code 2)."""


class CohortError(ConfigError):
    """The manifest or a table makes the cohort ambiguous; nothing starts (exit code 2)."""


class DataError(RadfuseError):
    """One subject's data cannot be used; the others go on (exit code 1)."""


class GeometryError(DataError):
    """Images or masks that should share a grid do not."""


class StageError(RadfuseError):
    """A stage cannot run because of the state of the run folder, for example a missing earlier stage."""
