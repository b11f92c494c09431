"""Trains and evaluates the runs of a sweep, or of one piece of it."""

import contextlib
import sys

import jax

from lens_jax.errors import UserError
from lens_jax.eval.evaluate import evaluate, pretext_results
from lens_jax.eval.frozen import load
from lens_jax.sweep.jobs import Job
from lens_jax.sweep.status import (
    Status,
    failure_path,
    is_trained,
    missing_evaluations,
    read_status,
)
from lens_jax.sweep.table import write_table
from lens_jax.train.loop import train
from lens_jax.workdir.files import write_whole, writing_to
from lens_jax.workdir.results import add_result


def sweep(jobs: list[Job], workdir: str, piece: slice) -> None:
    """Trains and evaluates `jobs[piece]` one after another, and keeps the table of all up to date.

    What is finished is not done again. Raises `UserError` at the end where runs failed.
    """
    own = jobs[piece]

    def read_all() -> list[Status]:
        return [read_status(job) for job in jobs]

    # Written at once, so that a folder that takes no files is found out before hours of training.
    table = write_table(workdir, read_all)
    failed = 0
    for number, job in enumerate(own, 1):
        title = f"[{number}/{len(own)}] {job.workdir}"
        if read_status(job).state == "finished":
            print(f"{title} is finished", flush=True)
            continue
        print(title, flush=True)
        if not execute(job):
            failed += 1
        table = write_table(workdir, read_all)

    print(f"\n{table}")
    if failed:
        raise UserError(f"{failed} of {len(own)} runs failed: see the lines above that say why")


def execute(job: Job) -> bool:
    """Trains and evaluates what is missing of a run; returns whether that succeeded.

    A `UserError` does not end the sweep: it is printed, and kept in the run's folder until the next
    try.
    """
    try:
        # The reason of an earlier failure does not hold for this try.
        with writing_to(job.workdir):
            failure_path(job).unlink(missing_ok=True)
        if not is_trained(job):
            train(job.run.config, job.workdir)
        _evaluate(job)
        return True
    except UserError as error:
        print(f"failed: {job.workdir}: {error}", file=sys.stderr, flush=True)
        _keep_reason(job, error)
        return False
    finally:
        # No other run uses the functions that this one compiled.
        jax.clear_caches()


def _keep_reason(job: Job, error: UserError) -> None:
    """Writes why a run failed, unless its folder takes no files: the reason was printed."""
    path = failure_path(job)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{error}\n")


def _evaluate(job: Job) -> None:
    frozen = load(job.workdir)
    # Measured once, as it does not depend on the representation.
    pretext = pretext_results(frozen, job.required.evaluations[0])
    for options in missing_evaluations(job):
        result = evaluate(frozen, options, pretext)
        add_result(job.workdir, result)
