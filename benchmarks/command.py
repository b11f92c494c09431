"""What command lines of benchmarks share: a default config, and results in a JSON file."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.variants import LENS
from lens_jax import cli
from lens_jax.errors import UserError

DEFAULT_CONFIG = "configs/rotation.py:glyphs"


def run(main: Callable[[], None], default_config: str = DEFAULT_CONFIG) -> None:
    """Runs `main` as `cli.run` does, with a `--config` where none is given.

    A flag's default would not do: it is loaded before `cli.run` can explain a mistyped key.
    """
    named = [word for word in sys.argv if re.match("--?config(=|$)", word)]
    if not named:
        sys.argv.insert(1, f"--config={default_config}")
    cli.run(main)


def check_overrides(keys: Iterable[str]) -> None:
    """Raises `UserError` for a key of the command line in which the compared steps differ."""
    for key in keys:
        if key in LENS:
            raise UserError(f"--config.{key} is what the steps differ in: set another key")


def check_json(path: str | None) -> None:
    """Raises `UserError` for a file in a folder that does not exist: before the work, not after."""
    if path and not Path(path).parent.is_dir():
        folder = str(Path(path).parent)
        raise UserError(f"--json {path!r} lies in no folder: create {folder!r} first")


def write_json(path: str, values: Mapping[str, Any]) -> None:
    """Writes plain values, floats unrounded."""
    Path(path).write_text(json.dumps(values, indent=2) + "\n")
