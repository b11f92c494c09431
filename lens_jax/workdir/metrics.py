"""Where metrics are kept: TensorBoard's files, and one JSON object a line in `metrics.jsonl`."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from etils import epath

from lens_jax.workdir import files

Scalars = dict[str, float]


@contextmanager
def open_metrics(
    workdir: str, first_step: int, active: bool
) -> Iterator[Callable[[int, Scalars], None]]:
    """Opens the metrics in `workdir`, and yields the function `write(step, scalars)`.

    Args:
      workdir: the folder of the run.
      first_step: the step from which training goes on. Later rows, which an interrupted run wrote
        after its last checkpoint, are dropped.
      active: whether this process writes. Only one should; in the others `write` does nothing.

    Raises:
      UserError: a file cannot be written; `write` raises it too.

    """
    if not active:
        yield lambda step, scalars: None
        return

    # TensorFlow comes with this import, and only the process that writes pays for it.
    from clu import metric_writers

    path = epath.Path(workdir) / files.METRICS_FILE
    kept = [_line(row) for row in read_metrics(workdir) if row["step"] <= first_step]
    with _writing_to(workdir):
        files.write_whole(path, "".join(kept))
        _purge_summaries(workdir, first_step + 1)
        summaries = metric_writers.SummaryWriter(workdir)

    def write(step: int, scalars: Scalars) -> None:
        with _writing_to(workdir):
            summaries.write_scalars(step, scalars)
            with path.open("a") as file:
                file.write(_line({"step": step} | scalars))

    try:
        yield write
    finally:
        with _writing_to(workdir):
            summaries.close()


def _purge_summaries(workdir: str, step: int) -> None:
    """Tells TensorBoard to forget what earlier processes wrote from `step` on.

    The mark lies in a file of its own, as clu's writer has no way to write it. TensorBoard reads
    files in the order of their names, which begin with the time: this one comes after those of
    earlier processes and must be opened before the one that follows.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    starts = SessionLog(status=SessionLog.START)
    writer = EventFileWriter(workdir)
    writer.add_event(Event(step=step, wall_time=time.time(), session_log=starts))
    writer.close()


def read_metrics(workdir: str) -> list[Scalars]:
    """The rows of `metrics.jsonl`, oldest first; a last line that was cut off is left out."""
    path = epath.Path(workdir) / files.METRICS_FILE
    if not path.exists():
        return []
    *complete_lines, _ = path.read_text().split("\n")
    return [json.loads(line) for line in complete_lines]


def _line(row: Scalars) -> str:
    return json.dumps(row) + "\n"


@contextmanager
def _writing_to(workdir: str) -> Iterator[None]:
    """As `files.writing_to`, for what TensorFlow raises as well."""
    from tensorflow import errors

    with files.writing_to(workdir):
        try:
            yield
        except errors.OpError as error:
            first_line = error.message.partition("\n")[0]
            raise OSError(first_line) from error
