"""How far the runs of a sweep are, read from their folders; what "finished" means is said here."""

from typing import Any, NamedTuple

from etils import epath

from lens_jax.eval.evaluate import Options
from lens_jax.sweep.grid import Run
from lens_jax.sweep.jobs import Job
from lens_jax.workdir import files
from lens_jax.workdir.checkpoints import saved_steps
from lens_jax.workdir.metrics import read_metrics
from lens_jax.workdir.results import read_results


class Status(NamedTuple):
    """How far a run is.

    Attributes:
      run: the run.
      state: "finished", "failed", or "missing" where it is neither.
      results: of a finished run, the numbers of the table by their columns.
      error: of a failed run, one line that says why.

    """

    run: Run
    state: str
    results: dict[str, float]
    error: str = ""


def read_status(job: Job) -> Status:
    """How far a run is: finished with its last checkpoint and all evaluations of it."""
    evaluations = _read_evaluations(job)
    if is_trained(job) and None not in evaluations.values():
        return Status(job.run, "finished", _table_results(job, evaluations))
    failure = failure_path(job)
    if failure.exists():
        return Status(job.run, "failed", {}, failure.read_text().strip())
    return Status(job.run, "missing", {})


def is_trained(job: Job) -> bool:
    """Whether the newest checkpoint is the last one of the training."""
    steps = saved_steps(job.workdir)
    return bool(steps) and steps[-1] == job.required.total_steps


def missing_evaluations(job: Job) -> list[Options]:
    """The evaluations of the last checkpoint that are still to be done."""
    evaluations = _read_evaluations(job)
    return [options for options, result in evaluations.items() if result is None]


def failure_path(job: Job) -> epath.Path:
    """The file that says why the last try of a run failed; there is none where it did not."""
    return epath.Path(job.workdir) / files.FAILURE_FILE


def _read_evaluations(job: Job) -> dict[Options, dict[str, Any] | None]:
    """The result of each required evaluation, None where there is none yet."""
    results = read_results(job.workdir)
    return {options: _find_result(job, options, results) for options in job.required.evaluations}


def _find_result(
    job: Job, options: Options, results: list[dict[str, Any]]
) -> dict[str, Any] | None:
    wanted = {
        "step": job.required.total_steps,
        "dataset": options.dataset or job.run.config.data.name,
        "representation": options.representation,
        "solver": options.solver,
        "train_examples": job.required.train_examples,
        "shortcut": options.shortcut,
    }
    for result in results:
        same = all(result[key] == value for key, value in wanted.items())
        if same and result["taps"].keys() >= set(options.taps):
            return result
    return None


def _table_results(job: Job, evaluations: dict[Options, dict[str, Any]]) -> dict[str, float]:
    results = {}
    for options, evaluation in evaluations.items():
        # An older evaluation may have had other taps after the last one of these.
        last_tap = options.taps[-1]
        results[f"linear_accuracy_{options.representation}"] = evaluation["taps"][last_tap]

    # The pretext accuracy does not depend on the representation: any evaluation has it.
    evaluation = next(iter(evaluations.values()))
    for key, value in evaluation.items():
        if key.startswith("pretext_accuracy"):
            results[key] = value

    metrics = read_metrics(job.workdir)
    if metrics:
        results["seconds"] = metrics[-1]["seconds"]
    return results
