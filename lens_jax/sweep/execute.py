"""Trains and evaluates the runs of a sweep, or of one piece of it."""

import sys

import jax

from lens_jax.errors import UserError
from lens_jax.eval.evaluate import Options, evaluate, pretext_results
from lens_jax.eval.frozen import load
from lens_jax.sweep.grid import Run
from lens_jax.sweep.jobs import Job, make_jobs
from lens_jax.sweep.status import (
    Status,
    failure_path,
    is_trained,
    missing_evaluations,
    read_status,
)
from lens_jax.sweep.table import write_table
from lens_jax.train.loop import train
from lens_jax.workdir.results import add_result


def sweep(
    runs: list[Run],
    workdir: str,
    piece: slice,
    options: Options,
    representations: tuple[str, ...],
) -> None:
    """Trains and evaluates `runs[piece]` one after another, and keeps the table of all up to date.

    What is finished is not done again. Raises `UserError` for what `make_jobs` refuses, before
    anything is written, and at the end where runs failed.
    """
    jobs = make_jobs(runs, workdir, options, representations)
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
    # The reason of an earlier failure does not hold for this try.
    failure = failure_path(job)
    failure.unlink(missing_ok=True)
    try:
        if not is_trained(job):
            train(job.run.config, job.workdir)
        _evaluate(job)
        return True
    except UserError as error:
        print(f"failed: {job.workdir}: {error}", file=sys.stderr, flush=True)
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(f"{error}\n")
        return False
    finally:
        # No other run uses the functions that this one compiled.
        jax.clear_caches()


def _evaluate(job: Job) -> None:
    frozen = load(job.workdir)
    # Measured once, as it does not depend on the representation.
    pretext = pretext_results(frozen, job.required.evaluations[0])
    for options in missing_evaluations(job):
        result = evaluate(frozen, options, pretext)
        add_result(job.workdir, result)
