"""What every entry point shares: flag parsing, and one clear line for a user's mistake."""

import ctypes
import sys
from collections.abc import Callable
from logging import LogRecord
from typing import Any

from absl import app, flags, logging

from lens_jax.command_line import rewrite
from lens_jax.errors import INTERRUPTED, UserError, one_line

M_ARENA_MAX = -8  # of malloc.h


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`.

    Exit status 0 is success, 1 a `UserError`, shown as one line, and 75 (EX_TEMPFAIL) a training
    that SIGTERM or Ctrl-C ended: it has saved and goes on when started again. At Ctrl-C all else
    ends with 130, as shells have it. Stray words are refused: `config.seed=3` without its dashes
    would otherwise be ignored.
    """
    _limit_heaps()
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().addFilter(_is_only_logged)
    sys.unraisablehook = _print_unraisable
    try:
        # In place, as ml_collections reads them from there.
        sys.argv[1:] = rewrite(sys.argv[1:])
        app.run(lambda _: main(), flags_parser=_parse_flags)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _limit_heaps() -> None:
    """Lets the threads of a process share few heaps; the C library (glibc) gives each its own.

    The threads that save leave gaps in theirs: a training's memory grew by 7 % in a hundred saves,
    and giving free memory back to the system changed nothing (`python -m benchmarks.memory`).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)


def _is_only_logged(record: LogRecord) -> bool:
    """False for the tracebacks of Orbax and its event loop: these errors are raised as well."""
    from_orbax = "orbax" in record.pathname or record.name == "asyncio"
    return not (from_orbax and record.exc_info)


def _print_unraisable(unraisable: Any) -> None:
    """Prints an error that cannot be raised, unless it says nothing new.

    One follows from a save that failed: TensorStore's threads run into it once the save's error has
    been raised. The other is the end that a SIGTERM asks for amid a callback of Python's, where it
    is lost; the training ends after its next step then.
    """
    error = unraisable.exc_value
    if isinstance(error, SystemExit) or str(error) == "Event loop is closed":
        return
    sys.__unraisablehook__(unraisable)


def _parse_flags(argv: list[str]) -> list[str]:
    if "--help" in argv or "-h" in argv:
        print(sys.modules["__main__"].__doc__)
        print(flags.FLAGS.main_module_help())
        sys.exit(0)
    try:
        stray_words = flags.FLAGS(argv)[1:]
        # A config file that failed to load raises its error only when the config is first used.
        for name in flags.FLAGS:
            getattr(flags.FLAGS[name].value, "is_locked", None)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(_describe(error)) from error
    if stray_words:
        raise UserError(
            f"unexpected word {stray_words[0]!r}: every option starts with '--'; see --help"
        )
    return argv[:1]


def _describe(error: Exception) -> str:
    """One line for an error of the flag libraries, which raise many."""
    text = one_line(error)
    if isinstance(error, AttributeError | KeyError):
        from lens_jax.config import key_names

        key = text.strip("\"'")
        return f"unknown config key {key!r}: the keys are {', '.join(key_names())}"
    if isinstance(error, OSError):
        # The system's words and the path follow the number of the error, in brackets.
        return f"cannot read the config file: {text.rpartition('] ')[2]}"
    # An error of the config file's own ends a traceback.
    return text.rpartition("UserError: ")[2]
