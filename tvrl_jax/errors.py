"""What the user can mend."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One sentence naming the place and what would be right; the scripts print it and exit 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint like ` Did you mean "lr"?`, or the list of what is known when nothing is near."""
    known = sorted(known)
    close = closest(name, known)
    if close:
        return f' Did you mean "{close}"?'
    return f" Known: {', '.join(known)}." if known else ""


def shorten(text: str, length: int = 120) -> str:
    """What someone typed, cut where it would bury the sentence around it."""
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def closest(name: str, known: Iterable[str]) -> str:
    """The one that is nearest to `name`, or an empty string."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.5)), "")
