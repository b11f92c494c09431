"""The alarm is silent in trainings that go well, and sounds at a collapse."""

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from lens_jax.errors import UserError
from lens_jax.train.collapse import LEAST_DEVIATION, Alarm, CollapsedError
from lens_jax.train.system import System
from tests.train.tiny import TOTAL_STEPS, build, random_batch, with_tiny_networks

STEPS, LOG_EVERY = 180, 10
TASKS = {
    "byol": {"hidden": 16, "embedding": 8, "momentum": 0.0},
    "simclr": {"hidden": 16, "embedding": 8},
    "moco": {"hidden": 16, "embedding": 8, "queue": 64, "momentum": 0.9},
    "exemplar": {"copies": 2, "embedding": 8},
    "rotation": {"all_rotations": True},
    "supervised": {},
}
NEAR = {"embedding_std": 0.01, "embedding_rank": 1.04, "embedding_size": 128.0}
FAR = NEAR | {"embedding_std": 0.3}
LINE = (
    "the embeddings have collapsed since step 50 (rank 1.0 of 128, standard deviation 0.010 of 1)"
)


class Identity(nn.Module):
    """A predictor that is none."""

    def __call__(self, projections: jax.Array, context: Any, train: bool) -> jax.Array:
        return projections


def without_predictor(system: System, dtype: Any) -> System:
    system = with_tiny_networks(system, dtype)
    head = system.network.head.clone(predictor=Identity())
    return system._replace(network=system.network.clone(head=head))


def train(
    config: ConfigDict, steps: int, shrink: Callable[[System, Any], System] = with_tiny_networks
) -> list[tuple[int, dict[str, float]]]:
    """The mean metrics of every `LOG_EVERY` steps, on noise that is never the same."""
    built = build(config, shrink)
    state = built.init()
    window, rows = [], []
    for step in range(1, steps + 1):
        state, metrics = built.step(state, random_batch(16, seed=step, side=6))
        window.append(metrics)
        if step % LOG_EVERY == 0:
            means = jax.tree.map(lambda *values: float(np.mean(values)), *window)
            rows.append((step, means))
            window = []
    return rows


@pytest.fixture
def configure(tiny_config):
    def make(task: str, learning_rate: float) -> ConfigDict:
        overrides = {
            "lens.kind": "none",
            "train.monitors": True,
            "data.image_size": 6,
            "augment.flip": 0.5,
            "augment.jitter": 0.8,
            "optimizer.learning_rate": learning_rate,
        }
        return tiny_config(overrides, {"name": task, **TASKS[task]})

    return make


def lines(alarm: Alarm, rows: list[tuple[int, dict[str, float]]]) -> list[str]:
    found = [alarm.check(step, scalars) for step, scalars in rows]
    return [line for line in found if line is not None]


@pytest.mark.parametrize("task", TASKS)
def test_no_training_that_goes_well_comes_near_a_collapse(configure, task: str):
    rows = train(configure(task, learning_rate=2.0), steps=40)
    assert min(scalars["embedding_std"] for _, scalars in rows) > 2 * LEAST_DEVIATION


def test_it_sounds_once_for_byol_without_a_predictor_and_never_with_one(configure):
    config = configure("byol", learning_rate=20.0)
    assert lines(Alarm("stop", TOTAL_STEPS), train(config, STEPS)) == []

    rows = train(config, STEPS, without_predictor)
    assert rows[0][1]["embedding_std"] > 2 * LEAST_DEVIATION
    (line,) = lines(Alarm("warn", TOTAL_STEPS), rows)
    assert re.fullmatch(
        r"the embeddings have collapsed since step [3-7]0 "
        r"\(rank 1\.0 of 8, standard deviation 0\.0[0-4]\d of 1\)",
        line,
    )
    with pytest.raises(CollapsedError):
        lines(Alarm("stop", TOTAL_STEPS), rows)


def test_it_waits_and_then_sounds_once():
    rows = [(40, FAR), (50, NEAR), (100, NEAR), (149, NEAR)]
    alarm = Alarm("warn", total_steps=1000)
    assert lines(alarm, rows) == []
    assert alarm.check(150, NEAR) == LINE
    assert lines(alarm, [(200, NEAR), (300, FAR), (400, NEAR), (900, NEAR)]) == []


def test_a_hundredth_of_a_long_training_is_how_long_it_waits():
    alarm = Alarm("warn", total_steps=100_000)
    assert lines(alarm, [(50, NEAR), (1049, NEAR)]) == []
    assert alarm.check(1050, NEAR) == LINE


@pytest.mark.parametrize("interruption", [FAR, {"loss": 1.0}])
def test_what_recovers_has_not_collapsed(interruption: dict[str, float]):
    rows = [(50, NEAR), (140, NEAR), (150, interruption), (160, NEAR), (259, NEAR)]
    alarm = Alarm("stop", total_steps=1000)
    assert lines(alarm, rows) == []
    with pytest.raises(CollapsedError, match="since step 160 "):
        alarm.check(260, NEAR)


def test_steps_that_come_again_after_a_rollback_do_not_add_up():
    alarm = Alarm("warn", total_steps=1000)
    assert lines(alarm, [(140, NEAR), (200, NEAR), (50, NEAR), (149, NEAR)]) == []
    assert alarm.check(150, NEAR) == LINE


def test_where_it_stops_one_line_says_how_to_go_on():
    alarm = Alarm("stop", total_steps=1000)
    alarm.check(50, NEAR)
    with pytest.raises(UserError, match=r"train\.on_collapse=warn") as caught:
        alarm.check(150, NEAR)
    assert str(caught.value).startswith(f"{LINE}: training stopped; ")
    assert "\n" not in str(caught.value)
