"""Where the results of evaluations are kept: a JSON list in the run's folder, newest last."""

import json
from typing import Any

import jax
from etils import epath

from lens_jax.workdir import files

Result = dict[str, Any]

# The keys by which two results are of the same evaluation.
IDENTITY = ("step", "dataset", "representation", "solver", "train_examples")


def read_results(workdir: str) -> list[Result]:
    """The results of the run in `workdir`; raises `UserError` where the file is not JSON."""
    path = epath.Path(workdir) / files.RESULTS_FILE
    if not path.exists():
        return []
    return files.read_json(path)


def add_result(workdir: str, result: Result) -> None:
    """Adds a result in place of an older one of the same evaluation.

    The first process writes for all.
    """
    # Every process reads, so that all fail alike where the file is damaged.
    rows = [row for row in read_results(workdir) if _identity(row) != _identity(result)]
    rows.append(result)
    if jax.process_index() == 0:
        path = epath.Path(workdir) / files.RESULTS_FILE
        files.write_whole(path, json.dumps(rows, indent=2) + "\n")


def _identity(result: Result) -> list[Any]:
    return [result[key] for key in IDENTITY]
