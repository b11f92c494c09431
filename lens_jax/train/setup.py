"""What a config comes to before anything is trained: data, durations, and the traced step."""

from typing import NamedTuple

from jax.sharding import Mesh
from ml_collections import ConfigDict

from lens_jax.data import textures
from lens_jax.data.records import Source
from lens_jax.data.source import open_train
from lens_jax.errors import UserError
from lens_jax.tasks.base import DataFacts
from lens_jax.tasks.non_semantic import reads_textures
from lens_jax.train import compiling
from lens_jax.train.durations import Clock


class Setup(NamedTuple):
    """What a config comes to: its data, its durations in steps, and its traced step."""

    source: Source
    clock: Clock
    log_every: int
    save_every: int
    traced: compiling.Traced


def make_setup(config: ConfigDict, devices: Mesh) -> Setup:
    """Opens the data and traces the step, which refuses what cannot be; nothing is written."""
    source = open_training(config)
    clock = Clock(config.data.batch_size, len(source))
    total_steps = clock.steps(config.train.duration)

    # Only now may durations be parts of the training.
    clock = clock._replace(total_steps=total_steps)
    log_steps = clock.steps(config.train.log_every)
    save_steps = clock.steps(config.train.checkpoint_every)
    log_every = max(1, log_steps)
    save_every = max(1, save_steps)
    traced = compiling.trace(config, facts_of(source), clock, devices)
    return Setup(source, clock, log_every, save_every, traced)


def open_training(config: ConfigDict) -> Source:
    """The examples to train on, with the texture of each where the task needs them.

    Raises `UserError` for data that is not there, for textures that are missing, and for those of
    anything but whole images.
    """
    data = config.data
    source = open_train(data)
    if not reads_textures(config.task):
        return source
    if data.boxes != "none" or data.pairs != "none":
        raise UserError(
            f"task.non_semantic=texture has a texture of each whole image, and data.boxes is "
            f"{data.boxes!r}, data.pairs {data.pairs!r}: set both to none, or "
            "task.non_semantic=patch"
        )
    return textures.pair(source, data)


def facts_of(source: Source) -> DataFacts:
    """What a task may know of a source."""
    return DataFacts(source.num_classes, len(source))
