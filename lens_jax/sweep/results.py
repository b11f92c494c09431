"""Trains and evaluates the runs of a sweep, and tells from their folders what came of them."""

import sys
from typing import Any, NamedTuple

import jax
from etils import epath

from lens_jax.errors import UserError
from lens_jax.eval import evaluate
from lens_jax.eval.frozen import load
from lens_jax.sweep.grid import Run
from lens_jax.sweep.jobs import Job
from lens_jax.train.loop import train
from lens_jax.workdir import files
from lens_jax.workdir.checkpoints import saved_steps
from lens_jax.workdir.metrics import read_metrics
from lens_jax.workdir.results import add_result, read_results


class Outcome(NamedTuple):
    """What came of a run: "finished" with numbers, "failed" with the error, or "missing" so far."""

    run: Run
    state: str
    numbers: dict[str, float]
    error: str = ""


def carry_out(job: Job) -> Outcome:
    """Trains and evaluates as far as that is not done yet.

    A `UserError` does not end the sweep: it is printed, and kept in the run's folder until the next
    try.
    """
    failure = epath.Path(job.folder) / files.FAILURE_FILE
    failure.unlink(missing_ok=True)
    try:
        if not _is_trained(job):
            train(job.run.config, job.folder)
        _evaluate(job)
    except UserError as error:
        print(f"failed: {job.folder}: {error}", file=sys.stderr, flush=True)
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(f"{error}\n")
    # No other run asks for the functions that this one compiled.
    jax.clear_caches()
    return look_up(job)


def look_up(job: Job) -> Outcome:
    """What the files in a run's folder say of it."""
    results, failure = read_results(job.folder), epath.Path(job.folder) / files.FAILURE_FILE
    answers = [_find_answer(job, question, results) for question in job.goal.questions]
    if _is_trained(job) and None not in answers:
        return Outcome(job.run, "finished", _numbers(job, answers))
    if failure.exists():
        return Outcome(job.run, "failed", {}, failure.read_text().strip())
    return Outcome(job.run, "missing", {})


def _is_trained(job: Job) -> bool:
    return saved_steps(job.folder)[-1:] == [job.goal.total_steps]


def _evaluate(job: Job) -> None:
    frozen, known = load(job.folder), read_results(job.folder)
    # Measured once, as it does not depend on the representation.
    pretext = evaluate.pretext_figures(frozen, job.goal.questions[0])
    for question in job.goal.questions:
        if _find_answer(job, question, known) is None:
            add_result(job.folder, evaluate.judge(frozen, question, pretext))


def _find_answer(
    job: Job, question: evaluate.Question, results: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The evaluation of the last checkpoint that answers `question`, None where there is none yet."""
    wanted = {
        "step": job.goal.total_steps,
        "dataset": question.dataset or job.run.config.data.name,
        "representation": question.representation,
        "solver": question.solver,
        "train_examples": job.goal.train_examples,
        "shortcut": question.shortcut,
    }
    fitting = (
        row
        for row in results
        if all(row[key] == value for key, value in wanted.items())
        and {*question.taps} <= row["taps"].keys()
    )
    return next(fitting, None)


def _numbers(job: Job, answers: list[dict[str, Any]]) -> dict[str, float]:
    numbers = {
        f"linear_accuracy_{question.representation}": answer["taps"][question.taps[-1]]
        for question, answer in zip(job.goal.questions, answers, strict=True)
    }
    pretext = {
        key: value for key, value in answers[0].items() if key.startswith("pretext_accuracy")
    }
    rows = read_metrics(job.folder)
    return numbers | pretext | ({"seconds": rows[-1]["seconds"]} if rows else {})
