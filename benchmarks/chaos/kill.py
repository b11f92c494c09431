"""Starts a training and ends it at a point."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.chaos.faults import find_unreadable, leftovers
from benchmarks.chaos.kinds import SAVE_EVERY, make_command
from benchmarks.chaos.points import END, ENDS, SAVE, START, TERM, Point

REPOSITORY = Path(__file__).parents[2]
AFTER = 0.1  # seconds that a kill comes after its step or save, at most
NOTICE = 30.0  # seconds that a run has to end after SIGTERM
LIMIT = 300.0  # seconds after which a run hangs
_STEP_LINE = re.compile(r"^step (\d+)/", re.MULTILINE)


class Kill(NamedTuple):
    """What came of a point.

    Attributes:
      kind: a key of `KINDS`.
      point: where the run was to end.
      step: the last step that it printed.
      status: its exit status.
      torn: whether it left an unfinished checkpoint behind.
      problem: what is wrong; "" where nothing is.

    """

    kind: str
    point: Point
    step: int
    status: int
    torn: bool
    problem: str

    @property
    def landed(self) -> bool:
        """Whether the process ended as was meant."""
        return self.status == ENDS[self.point.moment][1]

    @property
    def late(self) -> bool:
        """Whether the run was at its end before."""
        return self.status == 0 and self.point.moment != END


def run_until(root: Path, starting: float, kind: str, point: Point, workdir: Path) -> Kill:
    """Starts a training, ends it at a point, and examines what it left.

    `starting` is the seconds that a start takes. A run that hangs is aborted.
    """
    words = make_command(root, kind, workdir, point.threads)
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(root / "compiled")}
    errors = workdir.with_suffix(".stderr")
    before = leftovers(workdir)
    with (
        errors.open("a") as file,
        subprocess.Popen(
            words, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=file, text=True
        ) as process,
        _signaled_after(process, *_latest(point, starting)),
    ):
        printed = _follow(process, point, workdir)
        sign, _ = ENDS[point.moment]
        if sign:
            process.send_signal(sign)
        sent = time.monotonic()
        printed += process.stdout.read()
        status = process.wait()
    seconds = time.monotonic() - sent
    # What it left behind.
    steps = _STEP_LINE.findall(printed)
    problem = _explain_status(point, status, seconds, errors) or find_unreadable(workdir)
    return Kill(
        kind=kind,
        point=point,
        step=int(steps[-1]) if steps else 0,
        status=status,
        torn=leftovers(workdir) not in (before, []),
        problem=problem,
    )


@contextlib.contextmanager
def _signaled_after(
    process: subprocess.Popen, seconds: float, sign: signal.Signals
) -> Iterator[None]:
    timer = threading.Timer(seconds, process.send_signal, (sign,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _latest(point: Point, starting: float) -> tuple[float, signal.Signals]:
    """The seconds after which a process is ended whatever it has reached, and the signal."""
    if point.moment == START:
        return point.fraction * starting, signal.SIGKILL
    return LIMIT, signal.SIGABRT


def _follow(process: subprocess.Popen, point: Point, workdir: Path) -> str:
    """Waits until the point is reached or the process has ended; returns what it printed."""
    printed = ""
    for line in process.stdout:
        printed += line
        if is_due(point, line):
            if point.moment == SAVE:
                _await_save(process, workdir)
            time.sleep(point.fraction * AFTER)
            break
    return printed


def _await_save(process: subprocess.Popen, workdir: Path) -> None:
    """Waits until there is an unfinished checkpoint, or the process has ended."""
    while process.poll() is None and not leftovers(workdir):
        time.sleep(0.001)


def is_due(point: Point, line: str) -> bool:
    """Whether a line shows that the point's step was taken, or at `SAVE`, that a save follows it.

    For a start it is any step.
    """
    match = _STEP_LINE.match(line)
    step = int(match[1]) if match else 0
    if point.moment == START:
        return step >= 1
    return step >= point.step and (point.moment != SAVE or step % SAVE_EVERY == 0)


def _explain_status(point: Point, status: int, seconds: float, errors: Path) -> str:
    if status not in (0, ENDS[point.moment][1]):
        lines = errors.read_text().splitlines()
        last = lines[-1] if lines else "no message"
        return f"it ended by itself with {name_status(status)}: {last}"
    if point.moment == TERM and seconds > NOTICE:
        return f"it took {seconds:.0f} s to end, more than {NOTICE:.0f}"
    return ""


def name_status(status: int) -> str:
    """The signal that ended a process, or its exit status, in words."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
