"""What the user can mend."""

import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # 128 + SIGINT, as shells expect
LONGEST = 1000  # characters of a sentence


class UserError(Exception):
    """One sentence naming the place and what would be right; the scripts print it and exit 2.

    What it quotes may come from anywhere: it is kept to one line of bounded length, and what a
    terminal would obey is written out."""

    def __init__(self, sentence: str):
        super().__init__(_one_line(sentence))


def _one_line(text: str) -> str:
    """Line breaks and control characters as Python writes them; a long middle is left out."""
    return _cut("".join(c if c.isprintable() else repr(c)[1:-1] for c in _cut(text)))


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 3 :]}"


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Says nothing about a file: whose it is, how many are open, whether its server answers.
NO_ACCESS = (
    *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN),
)
NO_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory")  # XLA's words, the second on CPU


def no_room(error: BaseException) -> str:
    """What the system says when an error is one of a full disk, a quota or a limit; else ""."""
    return _said(error, NO_ROOM)


def no_access(error: BaseException) -> str:
    """What the system says when it does not let a good file be read now; else ""."""
    return _said(error, NO_ACCESS)


def _said(error: BaseException, codes: Iterable[int]) -> str:
    # TensorStore and Orbax wrap what the system said into errors of their own.
    for code in codes:
        if getattr(error, "errno", None) == code or os.strerror(code) in str(error):
            return os.strerror(code)
    cause = error.__cause__ or error.__context__
    return _said(cause, codes) if cause else ""


def no_memory(error: BaseException) -> bool:
    """Whether the machine or a device had too little memory, and its disk enough room."""
    short = isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)
    return short and not no_room(error)  # which XLA words as an exhausted resource, too


@contextmanager
def reading(path: str, *errors: type[Exception]) -> Iterator[None]:
    """Around a library's call: its errors, and files that vanish, do not fit into memory, nest too
    deep or hold numbers that cannot be reckoned with, become one sentence."""
    try:
        yield
    except (OSError, EOFError, MemoryError, ArithmeticError, RecursionError, *errors) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path} cannot be read ({reason[:200]}): the file is damaged, cut short or not what "
            "its name says."
        ) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint like ` Did you mean "lr"?`, or the list of what is known when nothing is near."""
    known = sorted(known)
    listed = f" Known: {', '.join(known)}." if known else ""
    return guess(name, known) or listed


def guess(name: str, known: Iterable[str]) -> str:
    """A hint like ` Did you mean "lr"?`, or an empty string when nothing is near."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f' Did you mean "{close[0]}"?' if close else ""


def shorten(text: str, length: int = 120) -> str:
    """What someone typed, cut where it would bury the sentence around it."""
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def verdict(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence of what ends a command: 2 the user can mend it, 1 it is a bug."""
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted; the same command starts it again."
    if no_room(error):
        place = getattr(error, "filename", None) or shorten(first_line(error))
        return 2, f"there is no room on the disk ({place}): make room and start again."
    if no_memory(error):
        return 2, (
            f"there is not enough memory ({shorten(first_line(error))}); pretraining needs less "
            "with more train.micro_batches or a smaller batch_size, image_size or clips.frames, a "
            "probe with fewer fits at once or fewer resamples."
        )
    return 1, f"{type(error).__name__}: {shorten(first_line(error))}"


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
