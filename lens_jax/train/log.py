"""Where metrics go: TensorBoard, `metrics.jsonl` and the terminal."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from etils import epath

from lens_jax.train.lock import explained

Scalars = dict[str, float]
METRICS_FILE = "metrics.jsonl"
NOTABLE_WAIT = 0.02


@contextmanager
def open_log(workdir: str, first_step: int, active: bool) -> Iterator[Callable[[int, Scalars], None]]:
    """Gives `write(step, scalars)`; what an interrupted run wrote after `first_step` is dropped.

    Only one process should be `active`; the others write nothing. Raises `UserError`, as does `write`, where
    a file cannot be written.
    """
    if not active:
        yield lambda step, scalars: None
        return
    # TensorFlow comes with this import, and only the process that writes pays for it.
    from clu import metric_writers

    path = epath.Path(workdir) / METRICS_FILE
    rows = [row for row in read_metrics(workdir) if row["step"] <= first_step]
    with _explained(workdir):
        # Renamed when it is complete: what a killed run had written must not be lost to the next kill.
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows))
        unfinished.replace(path)
        summaries = metric_writers.SummaryWriter(str(workdir))

    def write(step: int, scalars: Scalars) -> None:
        with _explained(workdir):
            summaries.write_scalars(step, scalars)
            with path.open("a") as file:
                file.write(json.dumps({"step": step} | scalars) + "\n")

    try:
        yield write
    finally:
        with _explained(workdir):
            summaries.close()


@contextmanager
def _explained(workdir: str) -> Iterator[None]:
    """As `lock.explained`, for what TensorFlow writes as well."""
    from tensorflow import errors

    with explained(workdir):
        try:
            yield
        except errors.OpError as error:
            raise OSError(error.message.partition("\n")[0].rpartition("; ")[2]) from error


def read_metrics(workdir: str) -> list[dict[str, float]]:
    """The rows of `metrics.jsonl`, oldest first; a last line that was cut off is left out."""
    path = epath.Path(workdir) / METRICS_FILE
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def report_progress(step: int, total: int, scalars: Scalars) -> None:
    """One line of progress; on a terminal it stays in its place and starts with a bar.

    The share of the time that went by in waiting for images is told where it is worth a look.
    """
    eta = (total - step) * scalars["seconds_per_step"]
    shown = ("loss", "accuracy_lensed", "accuracy_raw", "lens_reconstruction")
    fields = [
        f"step {step}/{total}",
        f"epoch {scalars['epoch']:.1f}",
        f"{scalars['images_per_second']:.0f} images/s",
        f"eta {int(eta // 60)}:{int(eta % 60):02d}",
        *(f"{name} {scalars[name]:.4g}" for name in shown if name in scalars),
    ]
    if scalars["input_wait"] >= NOTABLE_WAIT:
        fields.append(f"{scalars['input_wait']:.0%} waiting for images")
    line = "  ".join(fields)
    if not sys.stdout.isatty():
        print(line, flush=True)
        return
    filled = math.floor(20 * step / total)
    print(
        f"\r\x1b[K[{'#' * filled}{'.' * (20 - filled)}] {line}", end="\n" if step == total else "", flush=True
    )
