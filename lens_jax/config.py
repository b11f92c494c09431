"""Configs: checked, compared and stored."""

import ast
import dataclasses
import json
from typing import Any

import jax
from ml_collections import ConfigDict

from lens_jax.command_line import ALIASES
from lens_jax.defaults import DEFAULTS, EARLIER, RANGES
from lens_jax.errors import UserError, check_choice, check_range
from lens_jax.lens.lens import Lens
from lens_jax.models.resnet import ARCHITECTURES, STEMS
from lens_jax.ops.augment import make_augmentations
from lens_jax.ops.shortcuts import SHORTCUTS
from lens_jax.tasks import TASKS

DTYPES = ("float32", "bfloat16")
ON_COLLAPSE = ("warn", "stop")
OPTIMIZERS = ("sgd", "lars")
SCHEDULES = ("cosine", "step", "constant")

# Keys that may change while a run goes on: they say where and how the same numbers are computed,
# what is written and kept of them, or how a failure is met.
FREE = (
    "data.dir",
    "data.max_skipped",
    "data.textures",
    "data.threads",
    "mesh.fsdp",
    "remat",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.log_every",
    "train.on_collapse",
    "train.rollbacks",
)


def key_names(config: Any = DEFAULTS, prefix: str = "") -> tuple[str, ...]:
    """Every key of a config, such as "lens.widths"; by default those that all configs have.

    A task's own options are only known from a config that has them.
    """
    names = []
    for name, value in config.items():
        full_name = f"{prefix}{name}"
        if hasattr(value, "items"):
            names += key_names(value, f"{full_name}.")
        else:
            names.append(full_name)
    return tuple(names)


def read_value(text: str) -> Any:
    """The value that a text stands for: "1e-3" a float, "(8, 8)" a tuple, "arrow" the text itself.

    What can be read as a Python literal is one; quotes keep a number a text, as in "'7'".
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def assign(config: Any, key: str, value: Any) -> Any:
    """Sets a key of a config, such as "lens.widths", and returns the value that it now has.

    An int becomes a float, and a list a tuple, where the key holds one; otherwise the value must
    have the same type as the one that it replaces. `read_value` makes values of text.

    Args:
      config: a `ConfigDict`, locked or not, or nested dictionaries.
      key: one of `key_names(config)` or of `command_line.ALIASES`.
      value: what to set it to.

    Raises:
      UserError: an unknown key, with all that are known; or a value of another type.

    """
    key = ALIASES.get(key, key)
    names = key_names(config)
    if key not in names:
        legal = ", ".join(names)
        raise UserError(f"unknown config key {key!r}: the keys are {legal}")

    *parents, name = key.split(".")
    section = config
    for parent in parents:
        section = section[parent]

    # Checked here, as a ConfigDict takes None for any value, and True for a number.
    old = section[name]
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if isinstance(old, tuple) and isinstance(value, list):
        value = tuple(value)
    kind = type(old)
    if type(value) is not kind:
        raise UserError(f"{key} is {value!r}: it must be of type {kind.__name__}, such as {old!r}")
    section[name] = value
    return value


def get(config: Any, key: str) -> Any:
    """The value of a key of a config, such as "lens.widths"."""
    value = config
    for name in key.split("."):
        value = value[name]
    return value


def check(config: ConfigDict) -> None:
    """Raises `UserError` for the first value that cannot be meant, before anything is built."""
    # Imported only now: all else here serves machines without the packages that data is read with.
    from lens_jax.data.crops import CROPS, EVAL_CROPS
    from lens_jax.data.decode import read_decoding
    from lens_jax.data.folder import CLASSES
    from lens_jax.data.source import read_selection

    model = config.model
    data = config.data

    check_choice("task", config.task.name, TASKS)
    check_choice("model", model.name, ARCHITECTURES)
    check_choice("stem", model.stem, STEMS)
    check_choice("shortcut", config.shortcut, SHORTCUTS)
    check_choice("dtype", config.dtype, DTYPES)
    check_choice("optimizer", config.optimizer.name, OPTIMIZERS)
    check_choice("schedule", config.optimizer.schedule, SCHEDULES)
    check_choice("train.on_collapse", config.train.on_collapse, ON_COLLAPSE)
    check_choice("classes", data.classes, CLASSES)
    check_choice("crop", data.crop, CROPS)
    check_choice("evaluation crop", data.eval_crop, EVAL_CROPS)
    if data.linear_crop:
        check_choice("linear crop", data.linear_crop, EVAL_CROPS)

    # These four check themselves.
    read_decoding(data)
    selection = read_selection(data)
    Lens(**config.lens)
    make_augmentations(config.augment)

    for key, (low, high) in RANGES.items():
        check_range(key, get(config, key), low, high)
    if config.train.on_collapse == "stop" and not config.train.monitors:
        raise UserError(
            "train.on_collapse is 'stop' and train.monitors is False: nothing would see a "
            "collapse; switch the monitors on, or choose train.on_collapse=warn"
        )
    if data.dir == "None":
        raise UserError("data.dir is 'None': give a folder, or leave it away for the default")
    _check_pairs(config, selection)
    _check_batch(config)


def _check_pairs(config: ConfigDict, selection: Any) -> None:
    """Raises `UserError` for pairs that the rest of the config cannot be used with."""
    if selection.pairs == "none":
        return
    if not TASKS[config.task.name].takes_pairs:
        legal = ", ".join(name for name, task in TASKS.items() if task.takes_pairs)
        raise UserError(
            f"task {config.task.name!r} makes its views of one image, not of data.pairs="
            f"{selection.pairs}: use one of {legal}"
        )
    if config.lens.kind != "none" and config.lens.acts_on == "images":
        raise UserError(
            "lens.acts_on=images alters the first image of a pair alone: set lens.acts_on=views"
        )


def _check_batch(config: ConfigDict) -> None:
    """Raises `UserError` for a batch that devices and parts cannot divide evenly."""
    devices = jax.device_count()
    fsdp = config.mesh.fsdp
    if devices % fsdp:
        raise UserError(f"mesh.fsdp is {fsdp}: give a number that divides the {devices} devices")

    parts = config.train.accumulate
    divisor = devices * parts
    batch_size = config.data.batch_size
    if batch_size % divisor:
        in_parts = f" in {parts} parts" if parts > 1 else ""
        raise UserError(
            f"data.batch_size {batch_size} cannot be shared by {devices} devices{in_parts}: use a "
            f"multiple of {divisor}"
        )


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The config as plain JSON values."""
    text = json.dumps(config.to_dict())
    return json.loads(text)


def from_json(values: dict[str, Any]) -> ConfigDict:
    """The locked config that `to_json` gave, see `complete`; lists become tuples again."""
    config = ConfigDict(_tuples(complete(values)))
    return config.lock()


def complete(values: dict[str, Any]) -> dict[str, Any]:
    """A stored config with the values that the keys which came later had before.

    Those are their defaults, or what `EARLIER` has. A key whose default would change what an older
    run computed raises the format's number instead, see `workdir.files.FORMAT`.
    """
    defaults = to_json(ConfigDict(DEFAULTS))
    return _with_defaults(_with_defaults(defaults, EARLIER), values)


def _with_defaults(defaults: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    full = defaults | values
    for key, default in defaults.items():
        # `augment.later` holds what its user likes, and is empty by default.
        if isinstance(default, dict):
            full[key] = _with_defaults(default, values.get(key, {}))
    return full


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(value)
    return value


def difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first key at which two JSON configs differ, with both values; None where there is none.

    Keys in `FREE` are left out, and so is the duration of a training whose steps do not depend on
    it. A key that only one has stands for its default in the other.
    """
    old, new = _spelled_out(old), _spelled_out(new)
    free = FREE
    if not _depends_on_duration(old) and not _depends_on_duration(new):
        free = (*FREE, "train.duration")
    return _difference(old, new, free)


def _depends_on_duration(values: dict[str, Any]) -> bool:
    """Whether a longer training would have been another one from the start."""
    options = values["task"]
    while options is not None:
        task_class = TASKS.get(options["name"])
        if task_class is None or task_class.depends_on_duration:
            return True
        # One that attaches to another depends on what that does.
        options = options.get("base")
    return values["optimizer"]["schedule"] != "constant"


def _spelled_out(values: dict[str, Any]) -> dict[str, Any]:
    """A complete config, which also has the options that a task has by default."""
    full = complete(values)
    return full | {"task": _spelled_out_task(full["task"])}


def _spelled_out_task(given: dict[str, Any]) -> dict[str, Any]:
    """The options of a task, and of the one that it attaches to, with those it has by default."""
    task_class = TASKS.get(given["name"])
    if task_class is None:
        return given
    options = {}
    for field in dataclasses.fields(task_class):
        if field.default is not dataclasses.MISSING:
            options[field.name] = field.default
    full = to_json(ConfigDict(options)) | given
    if "base" in full:
        full["base"] = _spelled_out_task(full["base"])
    return full


def _difference(
    old: dict[str, Any], new: dict[str, Any], free: tuple[str, ...], prefix: str = ""
) -> str | None:
    for key in sorted(old.keys() | new.keys()):
        name = f"{prefix}{key}"
        before = old.get(key)
        after = new.get(key)
        if name in free or before == after:
            continue

        are_sections = isinstance(before, dict) and isinstance(after, dict)
        if not are_sections:
            return f"{name} was {before!r} and is now {after!r}"
        found = _difference(before, after, free, f"{name}.")
        if found:
            return found
    return None
