"""One thing of a source that was left out, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """One thing that was left out, and why.

    Parameters
    ----------
    subject : the code; empty for the whole source.
    what, why, hint : which series or region, the reason, and what to do.
    fault : whether something is wrong (exit code 1), or it was simply not asked for.
    """

    subject: str
    what: str
    why: str
    hint: str = ""
    fault: bool = True

    def __str__(self) -> str:
        return ": ".join(part for part in (self.subject, self.what, self.why) if part)
