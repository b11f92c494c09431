"""How far the runs of a sweep are, read from their folders; what "finished" means is said here."""

from typing import NamedTuple

from etils import epath

from lens_jax.eval.evaluate import Results
from lens_jax.eval.options import Options
from lens_jax.sweep.grid import Run
from lens_jax.sweep.jobs import Job
from lens_jax.workdir import files
from lens_jax.workdir.checkpoints import saved_steps
from lens_jax.workdir.metrics import read_metrics
from lens_jax.workdir.results import DATA_KEYS, describe_data, read_results


class Status(NamedTuple):
    """How far a run is.

    Attributes:
      run: the run.
      state: "finished", "failed", or "missing" where it is neither.
      results: of a finished run, the numbers of the table by their columns.
      error: of a failed run, one line that says why.
      measured_on: of a finished run, the data that the results were measured on.

    """

    run: Run
    state: str
    results: dict[str, float]
    error: str = ""
    measured_on: str = ""


def read_status(job: Job) -> Status:
    """How far a run is: finished with its last checkpoint and all evaluations of it."""
    evaluations = _read_evaluations(job)
    if is_trained(job) and None not in evaluations.values():
        results = _table_results(job, evaluations)
        # All evaluations of a run are of the same data.
        first = job.required.evaluations[0]
        measured_on = describe_data(evaluations[first])
        return Status(job.run, "finished", results, measured_on=measured_on)
    # It counts only where no later try has finished the run.
    failure = failure_path(job)
    if failure.exists():
        return Status(job.run, "failed", {}, failure.read_text().strip())
    return Status(job.run, "missing", {})


def is_trained(job: Job) -> bool:
    """Whether the newest checkpoint is the last one of the training."""
    steps = saved_steps(job.workdir)
    last_step = job.required.total_steps
    return steps[-1:] == [last_step]


def missing_evaluations(job: Job) -> list[Options]:
    """The evaluations of the last checkpoint that are still to be done."""
    missing = []
    for options, result in _read_evaluations(job).items():
        if result is None:
            missing.append(options)
    return missing


def failure_path(job: Job) -> epath.Path:
    """The file that says why the last try of a run failed; there is none where it did not."""
    return epath.Path(job.workdir) / files.FAILURE_FILE


def _read_evaluations(job: Job) -> dict[Options, Results | None]:
    """The results of each required evaluation, None where there are none yet."""
    found = read_results(job.workdir)
    evaluations = {}
    for options in job.required.evaluations:
        evaluations[options] = _find_results(job, options, found)
    return evaluations


def _find_results(job: Job, options: Options, found: list[Results]) -> Results | None:
    # What makes two evaluations the same; one of more taps than required will do too.
    wanted = {
        "step": job.required.total_steps,
        "dataset": options.dataset or job.run.config.data.name,
        "network": options.network,
        "representation": options.representation,
        "solver": options.solver,
        "shortcut": options.shortcut,
    }
    # Data that was moved is still the same.
    for key in DATA_KEYS:
        if key in job.required.data:
            wanted[key] = job.required.data[key]
    taps = set(options.taps)
    for results in found:
        same = all(results.get(key) == value for key, value in wanted.items())
        if same and taps <= results["taps"].keys():
            return results
    return None


def _table_results(job: Job, evaluations: dict[Options, Results]) -> dict[str, float]:
    results = {}
    for options, evaluation in evaluations.items():
        # An older evaluation may have had other taps after the last one of these.
        last_tap = options.taps[-1]
        column = f"linear_accuracy_{options.representation}"
        results[column] = evaluation["taps"][last_tap]
        # An older evaluation, and one by SGD, has not these.
        for name in ("knn_accuracy", "rankme", "color_r2"):
            if name in evaluation:
                results[f"{name}_{options.representation}"] = evaluation[name]

    # The pretext accuracy does not depend on the representation: any evaluation has it.
    first = job.required.evaluations[0]
    for key, value in evaluations[first].items():
        if key.startswith("pretext_accuracy"):
            results[key] = value

    # Of all its tries together, as training counts them.
    metrics = read_metrics(job.workdir)
    if metrics:
        results["seconds"] = metrics[-1]["seconds"]
    return results
