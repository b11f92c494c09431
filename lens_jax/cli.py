"""What every entry point shares: flag parsing, and one clear line for a user's mistake."""

import ctypes
import sys
from collections.abc import Callable
from logging import LogRecord
from typing import Any

from absl import app, flags, logging

from lens_jax.errors import UserError

QUOTES = "\"'"
M_ARENA_MAX = -8  # of malloc.h


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`.

    Exit status 0 is success, 1 a `UserError`, shown as one line, and 75 (EX_TEMPFAIL) a training
    that was told to end by SIGTERM: it has saved and goes on when started again. Stray words are
    refused: `config.seed=3` without its dashes would otherwise be ignored.
    """
    _limit_heaps()
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().addFilter(_is_news)
    sys.unraisablehook = _tell_unraisable
    try:
        app.run(lambda _: main(), flags_parser=_parse)
    except UserError as error:
        sys.exit(f"error: {error}")


def _limit_heaps() -> None:
    """Lets the threads of a process share few heaps, where the C library (glibc) gives each its
    own.

    The threads that save leave gaps in theirs: a training's memory grew by 7 % in a hundred saves,
    and giving free memory back to the system changed nothing (`python -m benchmarks.memory`).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)


def _is_news(record: LogRecord) -> bool:
    """False for what Orbax or its event loop logs with a traceback: Orbax raises that as well."""
    return not (record.exc_info and ("orbax" in record.pathname or record.name == "asyncio"))


def _tell_unraisable(unraisable: Any) -> None:
    """Passes over what TensorStore's threads run into once a failed save has been raised."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _parse(argv: list[str]) -> list[str]:
    if {"--help", "-h"} & set(argv):
        print(sys.modules["__main__"].__doc__)
        print(flags.FLAGS.main_module_help())
        sys.exit(0)
    try:
        stray = flags.FLAGS(argv)[1:]
        for name in flags.FLAGS:
            # A config file that failed to load says so only when the config is first used.
            getattr(flags.FLAGS[name].value, "is_locked", None)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(_explain(error)) from error
    if stray:
        raise UserError(f"unexpected word {stray[0]!r}: every option starts with '--'; see --help")
    return argv[:1]


def _explain(error: Exception) -> str:
    """One line for what the flag libraries say in many."""
    text = " ".join(str(error).split())
    if isinstance(error, AttributeError | KeyError):
        from lens_jax.config import key_names

        return f"unknown config key {text.strip(QUOTES)!r}: the keys are {', '.join(key_names())}"
    if isinstance(error, OSError):
        return f"cannot read the config file: {text.rpartition('] ')[2]}"
    return text.rpartition("UserError: ")[2]
