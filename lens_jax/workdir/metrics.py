"""Where metrics are kept: TensorBoard's files, and one JSON object a line in `metrics.jsonl`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from etils import epath

from lens_jax.workdir import files

Scalars = dict[str, float]


@contextmanager
def open_metrics(
    workdir: str, first_step: int, active: bool
) -> Iterator[Callable[[int, Scalars], None]]:
    """Yields `write(step, scalars)`; what an interrupted run wrote after `first_step` is dropped.

    Only one process should be `active`; the others write nothing. Raises `UserError`, as does
    `write`, where a file cannot be written.
    """
    if not active:
        yield lambda step, scalars: None
        return

    # TensorFlow comes with this import, and only the process that writes pays for it.
    from clu import metric_writers

    path = epath.Path(workdir) / files.METRICS_FILE
    kept = [row for row in read_metrics(workdir) if row["step"] <= first_step]
    with _explained(workdir):
        files.write_whole(path, "".join(_line(row) for row in kept))
        summaries = metric_writers.SummaryWriter(str(workdir))

    def write(step: int, scalars: Scalars) -> None:
        with _explained(workdir):
            summaries.write_scalars(step, scalars)
            with path.open("a") as file:
                file.write(_line({"step": step} | scalars))

    try:
        yield write
    finally:
        with _explained(workdir):
            summaries.close()


def read_metrics(workdir: str) -> list[Scalars]:
    """The rows of `metrics.jsonl`, oldest first; a last line that was cut off is left out."""
    path = epath.Path(workdir) / files.METRICS_FILE
    if not path.exists():
        return []
    whole_lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in whole_lines]


def _line(row: Scalars) -> str:
    return json.dumps(row) + "\n"


@contextmanager
def _explained(workdir: str) -> Iterator[None]:
    """As `files.explained`, for what TensorFlow writes as well."""
    from tensorflow import errors

    with files.explained(workdir):
        try:
            yield
        except errors.OpError as error:
            raise OSError(error.message.partition("\n")[0]) from error
