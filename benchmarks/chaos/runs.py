"""Runs that are killed and resumed until they end, and compared with an unbroken one."""

import concurrent.futures
import contextlib
import functools
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.chaos import evaluator
from benchmarks.chaos.faults import find_faults
from benchmarks.chaos.kill import Kill, name_status, run_until
from benchmarks.chaos.kinds import KINDS, STEPS
from benchmarks.chaos.points import END, STEP, Point, draw
from benchmarks.chaos.poison import choose_record, poison
from lens_jax.data.source import open_source
from lens_jax.errors import UserError
from lens_jax.eval.frozen import load

TO_THE_END = Point(END, STEPS, fraction=0.0, threads=1)


class Run(NamedTuple):
    """A run's kills, the last of which is its end, and what is wrong ("" where nothing is)."""

    kills: tuple[Kill, ...]
    problem: str


def run_all(root: Path, points: int, seed: int, jobs: int, evaluate: bool) -> list[Run]:
    """Trains every kind without a break, then with the kills of `draw`, `jobs` runs at a time.

    With `evaluate`, an evaluation job follows each of them.
    """
    make_data(root)
    # What the killed runs are compared with, and all steps compiled once.
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(functools.partial(train_unbroken, root, evaluate), KINDS))
        starting = time_start(root)
        drawn = draw(points, seed)
        print(f"{len(drawn)} runs; a start takes {starting:.1f} s", flush=True)
        futures = []
        for index, (kind, own) in enumerate(drawn):
            words = root, evaluate, starting, kind, own, root / f"run{index}"
            futures.append(pool.submit(run_with_kills, *words))
        return [future.result() for future in futures]


def make_data(root: Path) -> None:
    """Makes the data sets of all kinds."""
    size = len(open_source("digits", "train", str(root / "data")))
    shutil.copytree(root / "data", root / "poisoned")
    poison(root / "poisoned", choose_record(size))


def train_unbroken(root: Path, evaluate: bool, kind: str) -> None:
    """Trains a kind without a break; raises `UserError` where it fails, or lacks the roll-back."""
    workdir = root / "unbroken" / kind
    workdir.parent.mkdir(exist_ok=True)
    with followed(root, workdir, evaluate) as evaluation:
        problem = run_until(root, 0.0, kind, TO_THE_END, workdir).problem
        if not problem and load(str(workdir)).run["rollbacks"] != KINDS[kind].poisoned:
            problem = "its count of roll-backs is not as it was planned"
        if not problem and evaluation:
            problem = evaluator.find_problem(evaluation, workdir, workdir)
    if problem:
        raise UserError(f"{kind!r} fails without any kill: {problem}; make that work first")


def followed(
    root: Path, workdir: Path, evaluate: bool
) -> contextlib.AbstractContextManager[subprocess.Popen | None]:
    """The evaluation job beside a run, or with `evaluate=False` none."""
    return evaluator.follow(root, workdir) if evaluate else contextlib.nullcontext()


def time_start(root: Path) -> float:
    """Seconds from the start of a process to its first step, with the step compiled before."""
    first_step = Point(STEP, step=1, fraction=0.0, threads=1)
    began = time.monotonic()
    run_until(root, 0.0, "rotation", first_step, root / "timed")
    return time.monotonic() - began


def run_with_kills(
    root: Path, evaluate: bool, starting: float, kind: str, points: Sequence[Point], workdir: Path
) -> Run:
    """Ends a run at each of its points, lets it end, and compares it; prints each kill."""
    unbroken = root / "unbroken" / kind
    kills = []
    with followed(root, workdir, evaluate) as evaluation:
        for point in (*points, TO_THE_END):
            kill = run_until(root, starting, kind, point, workdir)
            kills.append(kill)
            print(describe_kill(kill), flush=True)
            if kill.problem:
                return Run(tuple(kills), kill.problem)
        faults = find_faults(workdir, unbroken)
        if not faults and evaluation:
            faults = evaluator.find_problem(evaluation, workdir, unbroken)
    print(f"{kind:12}{faults or 'bit-equal to the unbroken run'}", flush=True)
    return Run(tuple(kills), faults)


def describe_kill(kill: Kill) -> str:
    """One line on a kill."""
    notes = [name_status(kill.status)]
    if kill.torn:
        notes.append("amid a save")
    if kill.problem:
        notes.append(kill.problem)
    return f"{kill.kind:12}{kill.point.moment:8} step {kill.step:2}  {'  '.join(notes)}"
