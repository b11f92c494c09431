"""The words of a command, made what their writer meant before the flag libraries read them."""

import importlib.util
import os
import pathlib
from typing import TYPE_CHECKING

from lens_jax.errors import UserError

if TYPE_CHECKING:  # which most words of a command line have no need of
    from ml_collections import ConfigDict

# A config key cannot be the word "lambda", which is Python's own.
ALIASES = {"lens.lambda": "lens.lambda_"}


def rewrite(words: list[str]) -> list[str]:
    """The words of a command, without the name of the program, in the forms that absl reads.

    - `--workdir=~/runs` is a path in the home directory, as it is for shells after a space.
    - `--config=rotation:glyphs` is the config of that name that comes with the package.
    - `--config.lens.lambda=10` sets lens.lambda_, as it does in the grid of a sweep.
    - Of two flags for the same key of the config the last one counts. ml_collections would join
      two tuples.

    Raises `UserError` for the name of a config that there is none of.
    """
    rewritten = []
    for word in words:
        name, equals, value = word.partition("=")
        is_flag = name.startswith("--")
        if is_flag and equals:
            value = _rewrite_value(name, value)
        elif not is_flag and rewritten[-1:] == ["--config"]:
            name = find_config(name)
        rewritten.append(_rewrite_name(name) + equals + value)
    return _last_of_each_key(rewritten)


def find_config(text: str) -> str:
    """The config file that "rotation" or "rotation:glyphs" stands for; a path stays as it is.

    Raises `UserError` for a name that no config file has, with those that there are.
    """
    name, colon, variant = text.partition(":")
    is_path = "/" in name or name.endswith(".py") or not name
    if is_path:
        return text
    folder = configs_folder()
    path = folder / f"{name}.py"
    if not path.exists():
        names = sorted(path.stem for path in folder.glob("*.py"))
        raise UserError(
            f"unknown config {name!r}: give the path of a file, or one of {', '.join(names)}"
        )
    return f"{path}{colon}{variant}"


def load_config(text: str) -> "ConfigDict":
    """The locked config that "rotation:glyphs" or "PATH.py:glyphs" stands for, as in --config.

    Raises `UserError` where there is no such file, or no such variant.
    """
    path, colon, variant = find_config(text).partition(":")
    if not os.path.isfile(path):
        raise UserError(f"no config file at {path!r}: give the name or the path of one")
    # A config file is a program by design, here as for the flag.
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant) if colon else module.get_config()


def configs_folder() -> pathlib.Path:
    """Where the config files are: beside the package in a clone, and in it when installed."""
    package = pathlib.Path(__file__).parent
    installed = package / "configs"
    return installed if installed.exists() else package.parent / "configs"


def _rewrite_name(name: str) -> str:
    prefix = "--config."
    if not name.startswith(prefix):
        return name
    key = name.removeprefix(prefix)
    return prefix + ALIASES.get(key, key)


def _rewrite_value(name: str, value: str) -> str:
    if name == "--config":
        value = find_config(value)
    # Shells leave "~" alone behind "=".
    return os.path.expanduser(value) if value.startswith("~/") else value


def _last_of_each_key(words: list[str]) -> list[str]:
    last = {}
    for position, word in enumerate(words):
        name, equals, _ = word.partition("=")
        if name.startswith("--config.") and equals:
            last[name] = position
    kept = []
    for position, word in enumerate(words):
        name, _, _ = word.partition("=")
        if last.get(name, position) == position:
            kept.append(word)
    return kept
