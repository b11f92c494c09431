"""The one exception that stands for a user's mistake, and short words for those of libraries."""

import math
import re
import signal
from collections.abc import Collection

INTERRUPTED = 128 + signal.SIGINT  # the exit status after Ctrl-C, as shells have it

# What TensorStore and TensorFlow write behind a reason; a path may have brackets of its own.
_BRACKETS = re.compile(r" \[(?:os_error_code|tensorstore_spec|source locations|Op:)")


class UserError(ValueError):
    """A mistake of the user's. Its text is one line: the wrong value, the legal ones, the fix."""


def check_choice(what: str, value: str, legal: Collection[str]) -> None:
    """Raises `UserError` naming `value` and the legal ones unless `value` is one of `legal`."""
    if value not in legal:
        raise UserError(f"unknown {what} {value!r}: choose one of {', '.join(legal)}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raises `UserError` naming `value` and its range unless it is finite and in [low, high]."""
    # Comparing with NaN is always False.
    in_range = low <= value <= high
    if not in_range or math.isinf(value):
        raise UserError(f"{name} is {value}: it must lie between {low} and {high}")


def one_line(error: BaseException) -> str:
    """The whole text of an error, without its line breaks."""
    return " ".join(str(error).split())


def reason(error: BaseException) -> str:
    """Why something failed, cut out of what a library says around it.

    The operating system's words where there are any. TensorStore and TensorFlow put paths and codes
    before the reason, parted by ": " or "; ", and TensorStore source locations in brackets behind.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    before_brackets = _BRACKETS.split(one_line(error), maxsplit=1)[0]
    return re.split("; |: ", before_brackets)[-1]
