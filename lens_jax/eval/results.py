"""Where evaluations are kept: a JSON list in the run's folder, newest last."""

import json
from typing import Any

import jax
from etils import epath

from lens_jax.errors import UserError

RESULTS_FILE = "linear_eval.json"
SAME = ("step", "dataset", "representation", "solver", "train_examples")


def read_results(workdir: str) -> list[dict[str, Any]]:
    """The evaluations of the run in `workdir`; raises `UserError` where the file is not JSON."""
    path = epath.Path(workdir) / RESULTS_FILE
    try:
        return json.loads(path.read_text()) if path.exists() else []
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}; restore or remove it") from error


def add_result(workdir: str, result: dict[str, Any]) -> None:
    """Adds a result, in place of an older one of the same evaluation; the first process writes for all."""
    kept = [row for row in read_results(workdir) if any(row[key] != result[key] for key in SAME)]
    if jax.process_index():
        return
    # Renamed into place, so that a reader never sees half a file.
    new = epath.Path(workdir) / (RESULTS_FILE + ".new")
    new.write_text(json.dumps([*kept, result], indent=2) + "\n")
    new.replace(epath.Path(workdir) / RESULTS_FILE)
