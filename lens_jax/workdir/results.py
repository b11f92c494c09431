"""Where evaluations are kept: a JSON list in the run's folder, newest last."""

import json
from typing import Any

import jax
from etils import epath

from lens_jax.workdir import files

IDENTITY = ("step", "dataset", "representation", "solver", "train_examples")


def read_results(workdir: str) -> list[dict[str, Any]]:
    """The evaluations of the run in `workdir`; raises `UserError` where the file is not JSON."""
    path = epath.Path(workdir) / files.RESULTS_FILE
    return files.read_json(path) if path.exists() else []


def add_result(workdir: str, result: dict[str, Any]) -> None:
    """Adds a result in place of an older one of the same evaluation.

    The first process writes for all.
    """
    kept = [row for row in read_results(workdir) if not _same(row, result)]
    if jax.process_index() == 0:
        path = epath.Path(workdir) / files.RESULTS_FILE
        files.write_whole(path, json.dumps([*kept, result], indent=2) + "\n")


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other[key] for key in IDENTITY)
