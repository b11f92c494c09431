import copy
import json
import pathlib
from collections.abc import Callable

import pytest

from lens_jax.workdir.files import write_config

CONFIG = {
    "seed": 0,
    "shortcut": "none",
    "data": {"name": "glyphs"},
    "task": {"name": "rotation"},
    "lens": {"kind": "none", "objective": "confusion", "budget": "penalty", "widths": [64, 128]},
}


@pytest.fixture
def add_run(tmp_path) -> Callable[..., pathlib.Path]:
    """Writes a run's files into a folder of runs, and gives that folder; no checkpoint is among them."""

    def add(
        name: str,
        shortcut: str = "none",
        kind: str = "none",
        rows=(),
        evaluations=None,
        seed: int = 0,
        **lens: str,
    ):
        folder = tmp_path / name
        folder.mkdir()
        config = copy.deepcopy(CONFIG) | {"shortcut": shortcut, "seed": seed}
        config["lens"] |= {"kind": kind} | lens
        write_config(str(folder), config)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if evaluations is not None:
            (folder / "linear_eval.json").write_text(json.dumps(evaluations))
        return tmp_path

    return add


@pytest.fixture
def accuracy() -> Callable[..., dict]:
    """Makes an evaluation with a linear accuracy."""

    def make(value: float, **more) -> dict:
        return {"dataset": "glyphs", "solver": "lbfgs", "linear_accuracy": value} | more

    return make
