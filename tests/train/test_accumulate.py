"""A batch in two parts against two steps by hand, in float64."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax.train.accumulate import interleave
from lens_jax.train.state import TrainState
from lens_jax.train.step import make_step
from tests.train.tiny import assert_close, build, random_batch, random_state

TASKS = {
    "rotation": {"all_rotations": False},
    "simclr": {"hidden": 5, "embedding": 4},
    "moco": {"hidden": 5, "embedding": 4, "queue": 9, "momentum": 0.9},
    "byol": {"hidden": 5, "embedding": 4, "momentum": 0.9},
}


@pytest.fixture(autouse=True, scope="module")
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(
    ("task", "lens"),
    [
        ("rotation", {"kind": "none"}),
        ("rotation", {"update_every": 2}),
        ("simclr", {"raw_fraction": 0.5}),
        ("moco", {"batch_norm": "split"}),
        ("byol", {"kind": "none"}),
        ("byol", {"batch_norm": "split", "raw_fraction": 0.5}),
    ],
)
def test_an_accumulated_step_takes_the_mean_gradient_of_its_parts(tiny_config, task: str, lens):
    def config_of(parts: int) -> Any:
        overrides = {"dtype": "float64", "data.image_size": 8, "train.accumulate": parts}
        overrides |= {"lens.objective": "full"} | {f"lens.{key}": lens[key] for key in lens}
        if parts == 1:
            # By hand, the numbers of the steps are those of the parts.
            overrides["lens.update_every"] = 1
        return tiny_config(overrides, {"name": task, **TASKS[task]})

    # The update of SGD at rate 1 is minus the gradient.
    sgd = optax.sgd(1.0)
    built, alone = build(config_of(2)), build(config_of(1))
    system = built.system
    accumulated = jax.jit(make_step(config_of(2), system, sgd, sgd))
    single = jax.jit(make_step(config_of(1), alone.system, sgd, sgd))

    state = random_state(built).replace(
        step=jnp.int32(4), opt_state=sgd.init(()), lens_opt_state=sgd.init(())
    )
    batch = random_batch(8, side=8)
    new, metrics = accumulated(state, batch)

    current, after, metrics_of_parts = state, [], []
    for part in range(2):
        # A part has the draws of another step, and starts from what the one before has left.
        rows = {name: rows[part::2] for name, rows in batch.items()}
        taken, found = single(current.replace(step=jnp.int32(4 * 2 + part)), rows)
        current = handed_on(state, taken)
        after.append(taken)
        metrics_of_parts.append(found)

    assert int(new.step) == 5
    assert_close(new.params, mean(after[0].params, after[1].params))
    assert_close(new.lens_params, mean(after[0].lens_params, after[1].lens_params))
    assert_close(metrics, mean(*metrics_of_parts))
    assert_close(new.batch_stats, current.batch_stats)
    assert_close(new.target_stats, current.target_stats)
    assert_close(new.memory, current.memory)
    if system.target is not None:
        # Once, however many parts there are, and with the parameters after all of them.
        momentum = system.target.momentum(4)
        expected = averaged(momentum, state.target_params, new.params)
        assert_close(new.target_params, expected)


def handed_on(state: TrainState, taken: TrainState) -> TrainState:
    """The state before the step, with the statistics and the memory after a part."""
    return state.replace(
        batch_stats=taken.batch_stats, target_stats=taken.target_stats, memory=taken.memory
    )


def mean(one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: (a + b) / 2, one, other)


def averaged(momentum: Any, old: Any, new: Any) -> Any:
    return jax.tree.map(lambda a, b: momentum * a + (1 - momentum) * b, old, new)


def test_the_second_part_finds_the_keys_of_the_first_in_the_queue(tiny_config):
    overrides = {"dtype": "float64", "data.image_size": 8, "lens.kind": "none"}
    task = {"name": "moco", **TASKS["moco"]}
    built = build(tiny_config(overrides | {"train.accumulate": 2}, task))
    single = build(tiny_config(overrides, task))
    state, batch = random_state(built), random_batch(8, side=8)

    new, metrics = built.step(state, batch)
    queue, old = np.asarray(new.memory["raw"]), np.asarray(state.memory["raw"])
    np.testing.assert_allclose(np.linalg.norm(queue[:8], axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(queue[8:], old[:1])

    # The newest keys come first: those of the second part, then those of the first.
    parts = []
    for part in range(2):
        rows = {name: rows[part::2] for name, rows in batch.items()}
        taken, found = single.step(state.replace(step=jnp.int32(part)), rows)
        parts.append((np.asarray(taken.memory["raw"])[:4], found["loss"]))
    np.testing.assert_allclose(queue[:8], np.concatenate([parts[1][0], parts[0][0]]), rtol=1e-9)
    # Without them, the second part would have another loss.
    assert abs(metrics["loss"] - (parts[0][1] + parts[1][1]) / 2) > 1e-3


def test_part_i_holds_every_so_manieth_row_from_the_ith_on():
    rows = np.arange(12).reshape(6, 2)
    found = interleave({"rows": jnp.asarray(rows)}, 3)["rows"]
    assert found.shape == (3, 2, 2)
    for part in range(3):
        np.testing.assert_array_equal(found[part], rows[part::3])
