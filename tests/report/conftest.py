import copy
import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from lens_jax.report.change import compute_statistics
from lens_jax.report.measure import MeasuredLens
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
    """Adds a run's files, without a checkpoint, to a folder of runs, and returns that folder."""

    def add(
        name: str,
        shortcut: str = "none",
        kind: str = "none",
        rows=(),
        evaluations=None,
        seed: int = 0,
        **lens: str,
    ) -> pathlib.Path:
        folder = tmp_path / name
        folder.mkdir()
        config = copy.deepcopy(CONFIG) | {"shortcut": shortcut, "seed": seed}
        config["lens"] |= {"kind": kind} | lens
        write_config(str(folder), config)
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / "metrics.jsonl").write_text("".join(lines))
        if evaluations is not None:
            (folder / "linear_eval.json").write_text(json.dumps(evaluations))
        return tmp_path

    return add


@pytest.fixture
def accuracy() -> Callable[..., dict]:
    """Makes an evaluation with a linear accuracy."""

    def make(value: float, **more) -> dict:
        evaluation = {"dataset": "glyphs", "representation": "raw", "solver": "lbfgs"}
        return evaluation | {"test_examples": 2000, "linear_accuracy": value} | more

    return make


@pytest.fixture
def metrics_rows() -> list[dict[str, float]]:
    """The metrics of a training that was logged once."""
    return [{"step": 5, "epoch": 0.5, "seconds": 2.0, "loss": 1.2, "accuracy_raw": 0.4}]


@pytest.fixture
def measured_lens() -> MeasuredLens:
    """Six images in four views, whose upper left corner the lens brightens."""
    inputs = np.random.default_rng(0).uniform(-1, 0, (24, 16, 16, 3))
    lensed = inputs.copy()
    lensed[:, :4, :4] += 0.5
    mask = np.zeros((24, 16, 16), bool)
    mask[:, :4, :2] = True
    statistics = compute_statistics(inputs, lensed, mask, views_per_image=4)
    return MeasuredLens(inputs, lensed, 4, statistics)
