"""The one schema of all configs, its defaults by data set, and how a config is checked and stored."""

import json
from typing import Any

import jax
from ml_collections import ConfigDict

from lens_jax.data.batches import CROPS, EVAL_CROPS
from lens_jax.errors import UserError, check_choice
from lens_jax.lens.adversary import OBJECTIVES
from lens_jax.lens.attacks import ATTACKS
from lens_jax.lens.budgets import BUDGETS
from lens_jax.models.resnet import ARCHITECTURES, STEMS
from lens_jax.ops.shortcuts import SHORTCUTS
from lens_jax.tasks import TASKS

CONFIG_FILE = "config.json"
DTYPES = ("float32", "bfloat16")
LENS_KINDS = ("network", "none", *ATTACKS)
LENS_PLACES = ("views", "images")
BATCH_NORMS = ("joint", "split")
SCHEDULES = ("cosine", "step")


def base_config(dataset: str) -> ConfigDict:
    """Every key there is, set for training on `dataset`; not locked yet, for a config file to fill.

    Raises `UserError` for a data set that is not in `DATASETS`. Durations are strings such as
    "35 epochs", "500 steps", "1e6 examples" or "10 percent" (of the training). The extractor's learning
    rate is for 256 images a step.
    """
    check_choice("config variant", dataset, tuple(DATASETS))
    config = ConfigDict(_DEFAULTS)
    config.update(DATASETS[dataset])
    return config


_DEFAULTS = {
    "seed": 0,
    "dtype": "float32",  # of the computation; parameters, statistics and losses stay float32
    "shortcut": "none",  # drawn into every image: none, arrow or chromatic
    "data": {
        "name": "",
        "dir": "",  # TFDS' directory ("" is its default), or the image folder
        "train_split": "train",
        "eval_split": "test",
        "image_size": 32,
        "crop": "none",  # of training images: random, central or none
        "eval_crop": "none",
        "linear_size": 0,  # side and crop of images in linear evaluation; 0 and "": as image_size, eval_crop
        "linear_crop": "",
        "batch_size": 128,  # images a step, over all devices
        "threads": 8,
        "max_skipped": 0.01,  # share of images that may fail to decode before the run stops
    },
    "augment": {"gray": 0.0, "flip": False, "colour": False},  # gray is a probability
    "task": {"name": ""},
    "model": {
        "name": "small",
        "width": 64,
        "stem": "patch",
        "last_stride": 2,  # of the last stage; 1 for tasks on small patches
        "standardize": False,  # every input to mean 0 and deviation 1
    },
    "lens": {
        "kind": "network",  # what alters inputs: network (the lens), none, random, fgsm or pgd
        "acts_on": "views",  # what the extractor is shown, such as patches; or the whole images
        "objective": "least_likely",  # full, least_likely, confusion, or reconstruction: no adversary
        "budget": "penalty",  # penalty: lambda_ is fixed; target: it is steered; bound: there is none
        "lambda_": 100.0,  # weighs the mean squared change of pixels in [-1, 1]
        "target": 0.01,  # the mean squared change that the budget "target" holds
        "epsilon": 0.05,  # of "bound", the mean absolute change; of random, fgsm and pgd, the largest
        "attack_steps": 5,  # of pgd
        "update_every": 1,  # steps of the extractor for each step of the lens
        "lensed_share": 1.0,  # of the images, how many the extractor sees through the lens (the first ones)
        "raw_share": 1.0,  # of the images, how many it sees as they are (the last ones)
        "batch_norm": "joint",  # statistics over lensed and raw inputs together, or split
        "widths": (64, 128),  # channels at each resolution, finest first
        "blocks": 1,
        "patch": 4,  # pixel blocks folded into channels first
        "learning_rate": 1e-3,  # of Adam, not scaled with the batch
    },
    "optimizer": {
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "head_weight_decay": 1e-4,
        "warmup": "0 steps",
        "schedule": "cosine",  # cosine, or step: times 0.1 at each of decay_at
        "decay_at": (),
    },
    "train": {
        "duration": "8 epochs",
        "log_every": "50 steps",
        "checkpoint_every": "1 epochs",
        "keep_checkpoints": 3,
    },
}


def _photos(name: str, eval_split: str) -> dict[str, Any]:
    crops = {"image_size": 224, "crop": "random", "eval_crop": "central", "batch_size": 256, "threads": 32}
    return {
        "augment": {"flip": True, "colour": True},
        "data": crops | {"name": name, "eval_split": eval_split},
        "model": {"name": "resnet50", "stem": "imagenet"},
        "lens": {"widths": (32, 64, 128, 256), "patch": 1, "learning_rate": 1e-4},
    }


DATASETS: dict[str, dict[str, Any]] = {
    "imagenet2012": _photos("imagenet2012", "validation"),
    "youtube8m": _photos("youtube8m_frames", "validation"),
    "places205": _photos("places205", "validation"),
    "image_folder": _photos("image_folder", "train"),
    "cifar10": {
        "data": {"name": "cifar10"},
        "model": {"name": "resnet18", "stem": "cifar"},
        "lens": {"widths": (32, 64, 128), "patch": 1},
    },
    "glyphs": {"data": {"name": "glyphs"}},
    "digits": {"data": {"name": "digits"}},
}
LARGE = ("imagenet2012", "youtube8m", "places205")


def train_long(config: ConfigDict, batch_size: int) -> None:
    """The schedule of revisiting-self-supervised, whose settings the lens paper says it follows.

    35 epochs, learning rate 0.1 x batch / 256 with 5 epochs of warm-up, times 0.1 at epochs 15 and 25.
    """
    config.dtype = "bfloat16"
    config.data.batch_size = batch_size
    config.train.duration = "35 epochs"
    config.optimizer.warmup = "5 epochs"
    config.optimizer.schedule = "step"
    config.optimizer.decay_at = ("15 epochs", "25 epochs")


def cut_patches(config: ConfigDict) -> dict[str, int]:
    """Sets data, network and augmentation up for tasks on nine patches; gives their cell and patch in px.

    For photographs as in revisiting-self-supervised: resized to 292 px, gray with probability 0.66, cells
    of 85 px, patches of 64 px that are standardised each, a root and a last stage of stride 1, head weight
    decay 5e-4; in linear evaluation the central 192 px of a shorter side of 224. Small images keep these
    proportions, and glyphs are rendered at 64 px for it.
    """
    config.augment = {"gray": 0.66, "flip": False, "colour": False}
    config.model.last_stride = 1
    config.model.standardize = True
    config.optimizer.head_weight_decay = 5e-4
    config.data.crop = "none"
    config.data.eval_crop = "none"
    if config.data.image_size == 224:
        config.data.image_size = 292
        config.data.linear_size, config.data.linear_crop = 196, "central"  # 7/8 of 224, then 192 of it
        config.model.stem = "imagenet_dense"
        config.lens.widths = (32, 64, 128)
        return {"cell": 85, "patch": 64}
    if config.data.name == "glyphs":
        config.data.name, config.data.image_size, config.data.linear_size = "glyphs/64", 64, 48
        return {"cell": 21, "patch": 16}
    config.data.linear_size = 24
    return {"cell": 10, "patch": 8}


def key_names() -> tuple[str, ...]:
    """Every key that a config can have, such as "lens.widths"; a task's own options are not among them."""
    sections = ((name, value if isinstance(value, dict) else None) for name, value in _DEFAULTS.items())
    return tuple(
        name if section is None else f"{name}.{key}"
        for name, section in sections
        for key in section or [name]
    )


def check(config: ConfigDict) -> None:
    """Raises `UserError` for the first value that cannot be meant, before anything is built or written."""
    check_choice("task", config.task.name, TASKS)
    check_choice("model", config.model.name, tuple(ARCHITECTURES))
    check_choice("stem", config.model.stem, tuple(STEMS))
    check_choice("shortcut", config.shortcut, tuple(SHORTCUTS))
    check_choice("dtype", config.dtype, DTYPES)
    check_choice("schedule", config.optimizer.schedule, SCHEDULES)
    check_choice("crop", config.data.crop, tuple(CROPS))
    check_choice("evaluation crop", config.data.eval_crop, EVAL_CROPS)
    if config.data.linear_crop:
        check_choice("linear crop", config.data.linear_crop, EVAL_CROPS)
    _check_lens(config.lens)
    _check_range("augment.gray", config.augment.gray, 0, 1)
    _check_range("seed", config.seed, 0, 2**32 - 1)
    _check_range("data.threads", config.data.threads, 0, float("inf"))
    _check_range("data.max_skipped", config.data.max_skipped, 0, 1)
    _check_range("train.keep_checkpoints", config.train.keep_checkpoints, 1, float("inf"))
    if config.data.batch_size < 1 or config.data.batch_size % jax.device_count():
        raise UserError(
            f"data.batch_size {config.data.batch_size} cannot be shared by {jax.device_count()} devices: "
            f"use a multiple of {jax.device_count()}"
        )


def _check_lens(lens: ConfigDict) -> None:
    check_choice("lens", lens.kind, LENS_KINDS)
    check_choice("place of the lens", lens.acts_on, LENS_PLACES)
    check_choice("objective", lens.objective, OBJECTIVES)
    check_choice("budget", lens.budget, BUDGETS)
    check_choice("batch norm", lens.batch_norm, BATCH_NORMS)
    _check_range("lens.lambda_", lens.lambda_, 0, float("inf"))
    for name in ("target", "epsilon"):
        _check_range(f"lens.{name}", lens[name], 1e-9, float("inf"))
    for name in ("attack_steps", "update_every"):
        _check_range(f"lens.{name}", lens[name], 1, float("inf"))
    for name in ("lensed_share", "raw_share"):
        _check_range(f"lens.{name}", lens[name], 0, 1)
    if lens.lensed_share == 0:
        raise UserError("lens.lensed_share is 0, so that nothing is lensed: set lens.kind=none for that")
    if lens.batch_norm == "split" and lens.raw_share == 0:
        raise UserError("lens.batch_norm 'split' needs raw inputs: set lens.raw_share above 0, or joint")
    if lens.kind in ("fgsm", "pgd") and lens.objective == "reconstruction":
        raise UserError(
            f"lens.kind {lens.kind!r} needs an objective to attack with, not 'reconstruction': choose one of "
            f"{', '.join(OBJECTIVES[:-1])}"
        )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{name} is {value}: it must lie between {low} and {high}")


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

    `data.dir` and `data.threads` say where and how the same data is read, and may differ.
    """
    for key in sorted(old.keys() | new.keys()):
        name, a, b = f"{prefix}{key}", old.get(key), new.get(key)
        if name in ("data.dir", "data.threads") or a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            if found := difference(a, b, f"{name}."):
                return found
            continue
        return f"{name} was {a!r} and is now {b!r}"
    return None
