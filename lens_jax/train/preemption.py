"""Notice that this machine is about to be taken away, or that the user wants an end."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

from lens_jax.errors import INTERRUPTED

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_STATUS = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, start again


@contextmanager
def watch() -> Iterator[Callable[[int], bool]]:
    """Yields `preempted(step)`: whether to save after `step` and end, on SIGTERM or Ctrl-C.

    The signals are handled only as long as it watches. Before `preempted` is called for the first
    time there is nothing to save, and the process ends at once; or after its first step, where
    Python cannot raise, as amid the collection of garbage. So it does at a second Ctrl-C, which
    leaves a save that is under way unfinished, and the checkpoints before it intact.

    Several processes must save the same step, though the signal reaches them at different ones.
    There, the service that `jax.distributed.initialize` starts takes SIGTERM, and agrees on a step
    that none of them has passed; Ctrl-C is passed on to it.
    """
    watch_all = _watch_together if jax.process_count() > 1 else _watch_alone
    with watch_all() as preempted:
        yield preempted


@contextmanager
def _watch_alone() -> Iterator[Callable[[int], bool]]:
    started = threading.Event()
    received = threading.Event()

    def handle(number: int, _: Any) -> None:
        if number == signal.SIGINT and received.is_set():
            _end_at_once()
        received.set()
        if not started.is_set():
            raise SystemExit(EXIT_STATUS)
        if number == signal.SIGINT:
            _announce_save()

    def preempted(step: int) -> bool:
        del step  # only several processes have to agree on one
        started.set()
        return received.is_set()

    with _handling(SIGNALS, handle):
        yield preempted


@contextmanager
def _watch_together() -> Iterator[Callable[[int], bool]]:
    received = threading.Event()

    def handle(number: int, _: Any) -> None:
        if received.is_set():
            _end_at_once()
        received.set()
        _announce_save()
        os.kill(os.getpid(), signal.SIGTERM)

    with _handling((signal.SIGINT,), handle):
        yield multihost_utils.reached_preemption_sync_point


@contextmanager
def _handling(numbers: tuple[int, ...], handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Lets `handle` take these signals, and puts the handlers before it back."""
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_early(step: int) -> NoReturn:
    """Ends a training that was told to, once its state is being saved."""
    print(f"preempted: saving at step {step} and ending; start again to go on", flush=True)
    raise SystemExit(EXIT_STATUS)


def _announce_save() -> None:
    print("interrupted: saving; once more ends at once", flush=True)


def _end_at_once() -> NoReturn:
    """Ends the process without waiting for a save; an exception would be held up by it."""
    print("interrupted again: ending without a save", flush=True)
    os._exit(INTERRUPTED)
