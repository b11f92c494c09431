"""How fast a training is, and the line of progress that it prints."""

import dataclasses
import math
import sys
import time

from lens_jax.train.durations import Clock
from lens_jax.train.gradients import Metrics
from lens_jax.workdir.metrics import Scalars

SHOWN = ("loss", "accuracy_lensed", "accuracy_raw", "lens_reconstruction")
# Of what is watched, the first of these that there is.
WATCHED = ("probe_accuracy", "embedding_std")
BAR_LENGTH = 20
# The fraction of the time spent in waiting for images from which on it is worth a look.
NOTABLE_WAIT = 0.02


@dataclasses.dataclass
class Window:
    """The steps since metrics were last written."""

    metrics: list[Metrics] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.monotonic)
    waited: float = 0.0


def timing(clock: Clock, step: int, steps: int, seconds: float, waited: float) -> Scalars:
    """How fast the last `steps` up to `step` were, which took `seconds`.

    For `waited` of these seconds the next images were not there yet.
    """
    images = steps * clock.batch_size
    return {
        "epoch": step * clock.batch_size / clock.epoch_size,
        "seconds_per_step": seconds / steps,
        "images_per_second": images / seconds,
        "input_wait": waited / seconds,
    }


def report_progress(step: int, total: int, scalars: Scalars) -> None:
    """Prints one line; on a terminal it stays in its place and starts with a bar."""
    line = describe_progress(step, total, scalars)
    if not sys.stdout.isatty():
        print(line, flush=True)
        return
    filled = math.floor(BAR_LENGTH * step / total)
    bar = "#" * filled + "." * (BAR_LENGTH - filled)
    end = "\n" if step == total else ""
    print(f"\r\x1b[K[{bar}] {line}", end=end, flush=True)


def describe_progress(step: int, total: int, scalars: Scalars) -> str:
    """Where a training is, how fast, how long it will take, and what it reached."""
    seconds_left = int((total - step) * scalars["seconds_per_step"])
    minutes, seconds = divmod(seconds_left, 60)
    speed = scalars["images_per_second"]
    decimals = 0 if speed >= 10 else 1
    fields = [
        f"step {step}/{total}",
        f"epoch {scalars['epoch']:.1f}",
        f"{speed:.{decimals}f} images/s",
        f"eta {minutes}:{seconds:02d}",
    ]
    for name in SHOWN:
        if name in scalars:
            fields.append(f"{name} {scalars[name]:.4g}")
    for name in WATCHED:
        if name in scalars:
            fields.append(f"{name} {scalars[name]:.4g}")
            break
    if scalars["input_wait"] >= NOTABLE_WAIT:
        fields.append(f"{scalars['input_wait']:.0%} waiting for images")
    return "  ".join(fields)
