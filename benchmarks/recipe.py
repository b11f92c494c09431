"""What the benchmarks train: the configs of configs/rotation.py, and a batch for them.

Made from `lens_jax.defaults` alone, so that a machine that is only measured needs none of the
packages that training reads data, configs and checkpoints with.
"""

import argparse
import ast
import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lens_jax.defaults import DATASETS, DEFAULTS
from lens_jax.errors import UserError, check_choice
from lens_jax.train.durations import Clock


class Recipe(NamedTuple):
    """A variant of configs/rotation.py: its data set, how many images that has, and what the variant sets."""

    dataset: str
    size: int
    changes: dict[str, Any]


RECIPES = {
    "imagenet": Recipe(
        "imagenet2012",
        1_281_167,
        {
            "dtype": "bfloat16",
            "data.batch_size": 1024,
            "train.duration": "35 epochs",
            "optimizer.warmup": "5 epochs",
            "optimizer.schedule": "step",
            "optimizer.decay_at": ("15 epochs", "25 epochs"),
        },
    ),
    "glyphs": Recipe(
        "glyphs",
        10_000,
        {
            "task.all_rotations": False,
            "train.duration": "12 epochs",
            "lens.objective": "confusion",
            "lens.raw_fraction": 0.0,
            "lens.learning_rate": 2e-3,
        },
    ),
}
CLASSES = 1000  # of the labels, which rotation does not look at
BASELINE = {"lens.kind": "none"}
LENS = {"lens.kind": "network", "lens.lensed_fraction": 1.0, "lens.raw_fraction": 1.0}
CHEAP_LENS = {"lens.kind": "network", "lens.lensed_fraction": 0.5, "lens.raw_fraction": 0.5}


class Config(dict[str, Any]):
    """A config's values, read by attribute as those of an `ml_collections.ConfigDict`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def make_config(recipe: str, changes: Mapping[str, Any]) -> Config:
    """The config of a recipe with some keys changed, such as {"lens.widths": (8, 8)}.

    Raises `UserError` for an unknown recipe or key, for a value of another type than the key's
    default, and for a batch that the devices cannot share.
    """
    check_choice("recipe", recipe, tuple(RECIPES))
    dataset, _, own = RECIPES[recipe]
    values = DEFAULTS | {"task": {"name": "rotation", "all_rotations": True}}
    for section, theirs in DATASETS[dataset].items():
        values = values | {section: values[section] | theirs}
    sections = {name: Config(v) if isinstance(v, dict) else v for name, v in values.items()}
    return changed(Config(sections), own | changes)


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A copy of the config with some keys changed; raises as `make_config`."""
    config = copy.deepcopy(config)
    for name, value in changes.items():
        _change(config, name, value)
    _check_shares(config)
    return config


def _change(config: Config, name: str, value: Any) -> None:
    names = key_names(config)
    if name not in names:
        raise UserError(f"unknown config key {name!r}: the keys are {', '.join(names)}")
    section, _, key = name.rpartition(".")
    place = config[section] if section else config
    kind = type(place[key])
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UserError(f"{name} is {value!r}: give a {kind.__name__}, such as {place[key]!r}")
    place[key] = value


def key_names(config: Config) -> tuple[str, ...]:
    """Every key of the config, such as "lens.widths"."""
    return tuple(
        name if section is None else f"{name}.{key}"
        for name, value in config.items()
        for section in [value if isinstance(value, dict) else None]
        for key in section or [name]
    )


def _check_shares(config: Config) -> None:
    devices, fsdp, parts = jax.device_count(), config.mesh.fsdp, config.train.accumulate
    if fsdp < 1 or devices % fsdp:
        raise UserError(f"mesh.fsdp is {fsdp}: give a number that divides the {devices} devices")
    if parts < 1 or config.data.batch_size < 1 or config.data.batch_size % (devices * parts):
        raise UserError(
            f"{config.data.batch_size} images a step cannot be shared by {devices} devices in {parts} parts: "
            f"give a multiple of {devices * max(1, parts)}"
        )


def parse_change(words: str) -> tuple[str, Any]:
    """KEY=VALUE -> the key, and the value as Python reads it, or the word that it is; lists become
    tuples.

    Raises `UserError` where there is no key.
    """
    name, equals, text = words.partition("=")
    if not name or not equals:
        raise UserError(f"--set needs KEY=VALUE, such as lens.update_every=2, not {words!r}")
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        value = text
    return name, tuple(value) if isinstance(value, list) else value


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `read_flags` makes a config of."""
    parser.add_argument(
        "--recipe", default="glyphs", help=f"one of {', '.join(RECIPES)}; glyphs by default"
    )
    parser.add_argument(
        "--images", type=int, help="images a step, over all devices; the recipe's by default"
    )
    parser.add_argument(
        "--image_size", type=int, help="side of an image in px; the recipe's by default"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the computation")
    parser.add_argument(
        "--all_rotations",
        action=argparse.BooleanOptionalAction,
        help="all four rotations of every image, or one at random",
    )


def read_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The changes that the flags of `add_flags` make to the recipe's config, for `make_config`."""
    flags = {
        "data.batch_size": options.images,
        "data.image_size": options.image_size,
        "dtype": options.dtype,
        "task.all_rotations": options.all_rotations,
    }
    return {name: value for name, value in flags.items() if value is not None}


def make_clock(config: Config, recipe: str) -> Clock:
    """The durations of a config that was made from `recipe`."""
    clock = Clock(config.data.batch_size, RECIPES[recipe].size)
    return clock._replace(total_steps=clock.steps(config.train.duration))


def make_batch(config: Config) -> dict[str, np.ndarray]:
    """Random pixels, uint8 [N, h, h, 3], and labels, int32 [N]: what is in them does not change the time."""
    rng = np.random.default_rng(config.seed)
    images, side = config.data.batch_size, config.data.image_size
    return {
        "image": rng.integers(0, 256, (images, side, side, 3), np.uint8),
        "label": rng.integers(0, CLASSES, images).astype(np.int32),
    }
