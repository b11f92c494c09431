"""Trains a lens within a number of seconds, by the ordinary loop and in an ordinary run folder.

The first steps are timed, and the training is made as long as the time allows. So it is known when
it will end, and one that was killed goes on from its checkpoint, with the time that is left to it.
"""

import contextlib
import math
import pathlib
import time
from typing import NamedTuple

from ml_collections import ConfigDict

from lens_jax.train.loop import train
from lens_jax.workdir.files import writing_to
from lens_jax.workdir.metrics import read_metrics

_FIRST_STEPS = 20
_LOG_EVERY = 10
# The least that is worth its compilation, whatever the time.
LEAST_STEPS = 40
# Far fewer images than steps: what a network has to learn of them, it has learned by then.
MOST_EPOCHS = 200
_CHECKPOINT_SECONDS = 60


class Length(NamedTuple):
    """How long a lens was trained: steps, epochs, and seconds over all processes."""

    steps: int
    epochs: float
    seconds: float


def train_for(config: ConfigDict, workdir: str, seconds: float) -> Length:
    """Trains for about `seconds`, those before a kill included; what it prints goes to a log.

    Raises `UserError` as `train` does.
    """
    timed = _last_row(workdir)
    if timed is None:
        _train(config, workdir, _FIRST_STEPS, _FIRST_STEPS)
        timed = _last_row(workdir)

    step_seconds = timed["seconds_per_step"]
    left = seconds - timed["seconds"]
    most = math.ceil(MOST_EPOCHS * timed["step"] / timed["epoch"])
    affordable = int(timed["step"] + max(left, 0) / step_seconds)
    steps = min(most, max(LEAST_STEPS, affordable, int(timed["step"])))
    end = time.strftime("%H:%M", time.localtime(time.time() + step_seconds * steps))
    print(f" {steps} steps, until about {end} ...", end="", flush=True)
    save_every = max(_LOG_EVERY, round(_CHECKPOINT_SECONDS / step_seconds))
    _train(config, workdir, steps, save_every)
    last = _last_row(workdir)
    return Length(int(last["step"]), last["epoch"], last["seconds"])


def _last_row(workdir: str) -> dict[str, float] | None:
    """The newest metrics of a run that took its first steps; None where there are none."""
    rows = read_metrics(workdir)
    return rows[-1] if rows and rows[-1]["step"] >= _FIRST_STEPS else None


def _train(config: ConfigDict, workdir: str, steps: int, save_every: int) -> None:
    timed = ConfigDict(config.to_dict())
    timed.train.duration = f"{steps} steps"
    timed.train.log_every = f"{_LOG_EVERY} steps"
    timed.train.checkpoint_every = f"{save_every} steps"
    timed.train.keep_checkpoints = 1
    path = pathlib.Path(f"{workdir}.log")
    with writing_to(workdir):
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as log, contextlib.redirect_stdout(log):
        train(timed.lock(), workdir)
