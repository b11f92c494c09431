"""The grid of a sweep: how it is written, and the runs that it comes to.

    lens.lambda_=10,100,1000 seed=0,1,2
    lens.kind=none seed=0,1; lens.objective=full,confusion lens.widths=(64,128),(32,) seed=0,1

Words multiply, and products are joined by ";". Values are Python literals where they can be read as
such, and otherwise text; those with spaces, commas or semicolons stand in quotes: train.duration='8
epochs'.
"""

import ast
import hashlib
import itertools
import string
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from ml_collections import ConfigDict

from lens_jax.config import check, key_names
from lens_jax.errors import UserError

Settings = dict[str, Any]

SEED = "seed"
ALIASES = {
    "lens.lambda": "lens.lambda_"
}  # lambda is a word of Python's, which no config key can be
EXAMPLE = "lens.lambda_=10,100 seed=0,1; lens.kind=none seed=0,1"
LONGEST_NAME = 120  # file systems allow 255 bytes


class Run(NamedTuple):
    """One run of a sweep: what the grid sets, the name of its folder, and its whole config, locked."""

    settings: Settings
    name: str
    config: ConfigDict


def make_runs(base: ConfigDict, grid: str) -> list[Run]:
    """The runs of `grid` on top of `base`, in the grid's order, each once.

    Raises `UserError` for a grid that cannot be read, an unknown key, a value of the wrong type,
    and one that `lens_jax.config.check` refuses.
    """
    runs = [_make_run(base, settings) for settings in parse(grid)]
    return list({run.name: run for run in runs}.values())


def parse(grid: str) -> list[Settings]:
    """What `grid` assigns in each run; of a product, the last key varies fastest."""
    return [settings for product in _split(grid, ";") for settings in _multiply(product)]


def row_settings(run: Run) -> Settings:
    """What `run` shares with the runs that it is averaged with: all settings but the seed."""
    return {key: value for key, value in run.settings.items() if key != SEED}


def row_name(run: Run) -> str:
    """A name for the row of the table that `run` is averaged in."""
    return folder_name(row_settings(run))


def folder_name(settings: Settings) -> str:
    """A folder's name for `settings`, whatever their order: "lens.lambda_=10.0,seed=0".

    Other characters than letters, digits and "_.-~," are written as in a URL's query, so that two
    settings whose values have the same types never share a name; of a name beyond `LONGEST_NAME`
    the end is replaced by a hash of the whole.
    """
    keys = sorted(settings, key=lambda key: (key == SEED, key))
    # "=" stands only after keys, so that a comma in a value cannot be taken for the next key's.
    name = ",".join(f"{key}={quote_plus(spelled(settings[key]), safe=',')}" for key in keys)
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def spelled(value: Any) -> str:
    """The value as text, as plain as it can be without two values of a type looking the same."""
    if isinstance(value, tuple):
        return ",".join(map(repr, value))
    return value if isinstance(value, str) else repr(value)


def _make_run(base: ConfigDict, settings: Settings) -> Run:
    config = base.copy_and_resolve_references()
    # Read back from the config, which makes 10 and 10.0 the same where a key holds floats.
    settings = {key: _assign(config, key, value) for key, value in settings.items()}
    check(config)
    return Run(settings, folder_name(settings), config)


def _assign(config: ConfigDict, key: str, value: Any) -> Any:
    legal = (*key_names(), *(f"task.{option}" for option in config.task if option != "name"))
    if key not in legal:
        raise UserError(f"unknown config key {key!r} in --grid: the keys are {', '.join(legal)}")
    section, _, name = key.rpartition(".")
    holder = config[section] if section else config
    old = holder[name]
    try:
        holder[name] = value
        # ConfigDict itself takes None for anything, and True for a number.
        fits = type(holder[name]) is type(old)
    except TypeError:
        fits = False
    if not fits:
        kind = type(old).__name__
        raise UserError(f"{key} in --grid is {value!r}: it must be of type {kind}, such as {old!r}")
    return holder[name]


def _multiply(product: str) -> list[Settings]:
    axes = [_read_axis(word) for word in _split(product, string.whitespace) if word]
    keys = [key for key, _ in axes]
    twice = [key for key in keys if keys.count(key) > 1]
    if not axes or twice:
        reason = f"{twice[0]} stands twice" if twice else "no key"
        raise UserError(f"{reason} in {product.strip()!r} of --grid: write it as in {EXAMPLE!r}")
    combinations = itertools.product(*(values for _, values in axes))
    return [dict(zip(keys, values, strict=True)) for values in combinations]


def _read_axis(word: str) -> tuple[str, list[Any]]:
    key, _, text = word.partition("=")
    values = _split(text, ",")
    if not key or "" in values:
        raise UserError(f"cannot read {word!r} in --grid: write it as in {EXAMPLE!r}")
    return ALIASES.get(key, key), [_read_value(value) for value in values]


def _read_value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _split(text: str, separators: str) -> list[str]:
    """The pieces of `text` between the separators that stand outside of quotes and brackets."""
    pieces, quote, depth = [""], "", 0
    for character in text:
        if quote:
            quote = quote if character != quote else ""
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "([{") - (character in ")]}")
        if character in separators and not quote and not depth:
            pieces.append("")
        else:
            pieces[-1] += character
    if quote or depth:
        raise UserError(f"a quote or bracket in {text!r} of --grid is not closed: close it")
    return pieces
