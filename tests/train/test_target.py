"""The average of the target network, in float64."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train.tiny import (
    TOTAL_STEPS,
    Built,
    assert_close,
    build,
    largest,
    random_batch,
    random_state,
)

TASKS = {
    "moco": {"hidden": 5, "embedding": 4, "queue": 9, "momentum": 0.9},
    "byol": {"hidden": 5, "embedding": 4, "momentum": 0.9},
}


@pytest.fixture(autouse=True, scope="module")
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", params=[1, 2], ids=["at once", "in two parts"])
def byol(request, tiny_config, float64) -> Built:
    return make(tiny_config, "byol", request.param)


def make(tiny_config, task: str, parts: int = 1) -> Built:
    overrides = {
        "dtype": "float64",
        "data.image_size": 8,
        "lens.kind": "none",
        "train.accumulate": parts,
        "optimizer.learning_rate": 10.0,
    }
    return build(tiny_config(overrides, {"name": task, **TASKS[task]}))


def check_average(built: Built, step: int, momentum: float) -> None:
    """One step moves the target's parameters once, towards those after the optimizer."""
    state = random_state(built).replace(step=jnp.int32(step))
    new, _ = built.step(state, random_batch(4, side=8))
    assert largest(difference(new.params, state.params)) > 1e-3

    expected = jax.tree.map(
        lambda old, params: momentum * old + (1 - momentum) * params,
        state.target_params,
        new.params,
    )
    assert_close(new.target_params, expected)


def difference(one: Any, other: Any) -> Any:
    return jax.tree.map(jnp.subtract, one, other)


@pytest.mark.parametrize("step", [0, 1, TOTAL_STEPS // 2, TOTAL_STEPS - 1])
def test_byols_target_follows_by_its_published_schedule(byol: Built, step: int):
    rise = (math.cos(math.pi * step / TOTAL_STEPS) + 1) / 2
    check_average(byol, step, momentum=1 - (1 - 0.9) * rise)


@pytest.mark.parametrize("parts", [1, 2])
def test_mocos_target_follows_by_a_constant_momentum(tiny_config, parts: int):
    built = make(tiny_config, "moco", parts)
    for step in (0, TOTAL_STEPS - 1):
        check_average(built, step, momentum=0.9)


def test_the_target_starts_as_the_network_and_is_empty_where_there_is_none(tiny_config):
    state = make(tiny_config, "moco").init()
    for target, own in (
        (state.target_params, state.params),
        (state.target_stats, state.batch_stats),
    ):
        jax.tree.map(np.testing.assert_array_equal, target, own)

    without = build(tiny_config({"lens.kind": "none"})).init()
    assert without.target_params == {}
    assert without.target_stats == {}
    assert without.memory == {"raw": ()}
