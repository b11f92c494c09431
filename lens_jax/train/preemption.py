"""Notice that this machine is about to be taken away, or that the user wants an end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_STATUS = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, start again


@contextmanager
def watch() -> Iterator[Callable[[int], bool]]:
    """Yields `preempted(step)`: whether to save after `step` and end, on SIGTERM or Ctrl-C.

    A single process handles the signals itself, only as long as it watches. Before `preempted` is
    called for the first time there is nothing to save, and the process ends at once. So it does at
    a second Ctrl-C.

    Several processes must save the same step, though the signal reaches them at different ones.
    There, the service that `jax.distributed.initialize` starts takes the signal, and agrees on a
    step that none of them has passed.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return

    started = threading.Event()
    received = threading.Event()

    def handle(number: int, _: Any) -> None:
        if number == signal.SIGINT and received.is_set():
            raise KeyboardInterrupt
        received.set()
        if not started.is_set():
            raise SystemExit(EXIT_STATUS)
        if number == signal.SIGINT:
            print("interrupted: saving; once more ends at once", flush=True)

    def preempted(step: int) -> bool:
        del step  # only several processes have to agree on one
        started.set()
        return received.is_set()

    previous = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield preempted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_early(step: int) -> NoReturn:
    """Ends a training that was told to, once its state is being saved."""
    print(f"preempted: saving at step {step} and ending; start again to go on", flush=True)
    raise SystemExit(EXIT_STATUS)
