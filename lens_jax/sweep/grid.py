"""The grid of a sweep: how it is written, and the runs that it stands for.

    lens.lambda_=10,100,1000 seed=0,1,2
    lens.kind=none seed=0,1; lens.objective=full,confusion lens.widths=(64,128),(32,) seed=0,1
    config=simclr:glyphs,moco:glyphs seed=0,1,2

Words multiply, and products are joined by ";". Values are Python literals where they can be read as
such, and otherwise text; those with spaces, commas or semicolons stand in quotes: train.duration='8
epochs'. The word config names the file that the other keys change, in place of the sweep's.
"""

import hashlib
import itertools
import string
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from ml_collections import ConfigDict

from lens_jax.command_line import ALIASES, load_config
from lens_jax.config import assign, check, read_value
from lens_jax.errors import UserError

Settings = dict[str, Any]

SEED = "seed"
CONFIG = "config"
EXAMPLE = "lens.lambda_=10,100 seed=0,1; lens.kind=none seed=0,1"
LONGEST_NAME = 120  # file systems allow 255 bytes


class Run(NamedTuple):
    """One run of a sweep.

    Attributes:
      settings: what the grid sets, by the keys of the config.
      name: the name of its folder.
      config: the whole config, locked.

    """

    settings: Settings
    name: str
    config: ConfigDict


def make_runs(base: ConfigDict | None, grid: str) -> list[Run]:
    """The runs of `grid` on top of `base`, in the grid's order, each once.

    Raises `UserError` for a grid that cannot be read, an unknown key or config, a value of the
    wrong type, one that `lens_jax.config.check` refuses, and where nothing names a config.
    """
    # By their folders, as only one run can be in each.
    runs = {}
    for settings in parse(grid):
        run = _make_run(base, settings)
        runs[run.name] = run
    return list(runs.values())


def _make_run(base: ConfigDict | None, settings: Settings) -> Run:
    named = settings.get(CONFIG)
    if named is not None:
        base = load_config(str(named))
    if base is None:
        raise UserError("nothing says what to train: give --config, or config=NAME in --grid")
    config = base.copy_and_resolve_references()

    # As the config holds them: 10 and 10.0 are the same where a key holds floats.
    held = {} if named is None else {CONFIG: str(named)}
    for key, value in settings.items():
        if key != CONFIG:
            held[key] = assign(config, key, value)
    check(config)
    return Run(held, folder_name(held), config)


def row_settings(run: Run) -> Settings:
    """All settings of `run` but the seed: runs that have the same ones are averaged."""
    return {key: value for key, value in run.settings.items() if key != SEED}


def row_name(run: Run) -> str:
    """A name for the row of the table that `run` is averaged in."""
    return folder_name(row_settings(run))


def folder_name(settings: Settings) -> str:
    """A folder's name for `settings`, whatever their order: "lens.lambda_=10.0,seed=0".

    Other characters than letters, digits and "_.-~," are written as in a URL's query, so that two
    settings whose values have the same types never have the same name. The end of a name beyond
    `LONGEST_NAME` is replaced by a hash of the whole.
    """
    keys = sorted(settings)
    if SEED in keys:
        keys.remove(SEED)
        keys.append(SEED)

    # "=" stands only after keys, so that a comma in a value cannot be taken for the next key's.
    words = []
    for key in keys:
        value = quote_plus(to_text(settings[key]), safe=",")
        words.append(f"{key}={value}")
    name = ",".join(words)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[:LONGEST_NAME]}~{digest[:32]}"


def to_text(value: Any) -> str:
    """The value as text, as plain as it can be without two values of a type looking the same."""
    if isinstance(value, tuple):
        return ",".join(map(repr, value))
    return value if isinstance(value, str) else repr(value)


def parse(grid: str) -> list[Settings]:
    """The settings of each run of `grid`; in a product, the last key varies fastest."""
    settings = []
    for product in _split(grid, ";"):
        settings += _parse_product(product)
    return settings


def _parse_product(product: str) -> list[Settings]:
    """Reads words that multiply: "lens.lambda_=10,100 seed=0,1" are four settings."""
    axes = {}
    for word in _split(product, string.whitespace):
        if not word:
            continue
        key, values = _parse_axis(word)
        if key in axes:
            raise _unreadable(f"{key} stands twice", product)
        axes[key] = values
    if not axes:
        raise _unreadable("no key", product)

    # One setting for each combination of the keys' values.
    combinations = itertools.product(*axes.values())
    return [dict(zip(axes, values, strict=True)) for values in combinations]


def _unreadable(reason: str, product: str) -> UserError:
    return UserError(f"{reason} in {product.strip()!r} of --grid: write it as in {EXAMPLE!r}")


def _parse_axis(word: str) -> tuple[str, list[Any]]:
    """Reads a word: "lens.lambda_=10,100" -> "lens.lambda_", [10, 100]."""
    key, _, text = word.partition("=")
    texts = _split(text, ",")
    if not key or "" in texts:
        raise UserError(f"cannot read {word!r} in --grid: write it as in {EXAMPLE!r}")
    values = [read_value(each) for each in texts]
    return ALIASES.get(key, key), values


def _split(text: str, separators: str) -> list[str]:
    """The pieces of `text` between the separators that stand outside of quotes and brackets."""
    pieces = [""]
    quote = ""  # the quotation mark that is open
    depth = 0  # how many brackets are open
    for character in text:
        # Within quotes, only their end has a meaning.
        if quote:
            if character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1

        if character in separators and not quote and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    if quote or depth:
        raise UserError(f"a quote or bracket in {text!r} of --grid is not closed: close it")
    return pieces
