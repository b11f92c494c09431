"""Configs: checked, compared and stored."""

import json
from typing import Any

import jax
from ml_collections import ConfigDict

from lens_jax.data.batches import CROPS, EVAL_CROPS
from lens_jax.defaults import DEFAULTS
from lens_jax.errors import UserError, check_choice, check_range
from lens_jax.lens.lens import Lens
from lens_jax.models.resnet import ARCHITECTURES, STEMS
from lens_jax.ops.augment import make_augmentations
from lens_jax.ops.shortcuts import SHORTCUTS
from lens_jax.tasks import TASKS

DTYPES = ("float32", "bfloat16")
SCHEDULES = ("cosine", "step")

# Keys that may change while a run goes on: they say where and how the same numbers are computed, or
# how a failure is met.
FREE = ("data.dir", "data.threads", "mesh.fsdp", "remat", "train.rollbacks")


def key_names() -> tuple[str, ...]:
    """Every key that a config can have, such as "lens.widths", but for a task's own options."""
    names = []
    for name, value in DEFAULTS.items():
        if isinstance(value, dict):
            names += [f"{name}.{key}" for key in value]
        else:
            names.append(name)
    return tuple(names)


def check(config: ConfigDict) -> None:
    """Raises `UserError` for the first value that cannot be meant, before anything is built."""
    check_choice("task", config.task.name, TASKS)
    check_choice("model", config.model.name, ARCHITECTURES)
    check_choice("stem", config.model.stem, STEMS)
    check_choice("shortcut", config.shortcut, SHORTCUTS)
    check_choice("dtype", config.dtype, DTYPES)
    check_choice("schedule", config.optimizer.schedule, SCHEDULES)
    check_choice("crop", config.data.crop, CROPS)
    check_choice("evaluation crop", config.data.eval_crop, EVAL_CROPS)
    if config.data.linear_crop:
        check_choice("linear crop", config.data.linear_crop, EVAL_CROPS)

    # These two check themselves.
    Lens(**config.lens)
    make_augmentations(config.augment)

    check_range("seed", config.seed, 0, 2**32 - 1)
    check_range("data.threads", config.data.threads, 0)
    check_range("data.max_skipped", config.data.max_skipped, 0, 1)
    check_range("train.keep_checkpoints", config.train.keep_checkpoints, 1)
    check_range("train.rollbacks", config.train.rollbacks, 0)
    check_range("train.accumulate", config.train.accumulate, 1)
    _check_batch(config)


def _check_batch(config: ConfigDict) -> None:
    """Raises `UserError` for a batch that devices and parts cannot divide evenly."""
    devices = jax.device_count()
    fsdp = config.mesh.fsdp
    if fsdp < 1 or devices % fsdp:
        raise UserError(f"mesh.fsdp is {fsdp}: give a number that divides the {devices} devices")

    parts = config.train.accumulate
    batch_size = config.data.batch_size
    if batch_size < 1 or batch_size % (devices * parts):
        in_parts = f" in {parts} parts" if parts > 1 else ""
        raise UserError(
            f"data.batch_size {batch_size} cannot be shared by {devices} devices{in_parts}: use a "
            f"multiple of {devices * parts}"
        )


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The config as plain JSON values."""
    return json.loads(json.dumps(config.to_dict()))


def from_json(values: dict[str, Any]) -> ConfigDict:
    """The locked config that `to_json` gave; lists become tuples again."""
    return ConfigDict(_tuples(values)).lock()


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str | None:
    """The first key at which two JSON configs differ, with both values; None where there is none.

    Keys in `FREE` are left out.
    """
    for key in sorted(old.keys() | new.keys()):
        name = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if name in FREE or before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found = difference(before, after, f"{name}.")
            if found:
                return found
            continue
        return f"{name} was {before!r} and is now {after!r}"
    return None
