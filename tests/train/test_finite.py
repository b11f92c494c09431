import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax.train import finite
from lens_jax.train.finite import NotFiniteError
from lens_jax.train.loop import data_seed


@pytest.mark.parametrize("value", [1.0, -3e38, 1e-45, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_tree_is_finite_where_every_one_of_its_numbers_is(value: float, dtype):
    tree = {"step": jnp.int32(7), "a": [jnp.zeros((2, 3), dtype)], "empty": {}}
    tree["b"] = jnp.ones((4, 5), dtype).at[2, 3].set(value)
    expected = all(np.isfinite(np.asarray(x, np.float64)).all() for x in jax.tree.leaves(tree))
    assert bool(jax.jit(finite.is_finite)(tree)) == expected


def descend(optimizer: optax.GradientTransformation):
    """A step on loss = 1 that is handed its gradient."""

    def step(state, gradient):
        updates, opt_state = optimizer.update(gradient, state["opt_state"], state["params"])
        return {"params": optax.apply_updates(state["params"], updates), "opt_state": opt_state}, {
            "loss": jnp.float32(1)
        }

    return step


@pytest.mark.parametrize(
    "optimizer", [optax.sgd(0.1), optax.sgd(0.1, momentum=0.9), optax.adam(0.1)]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_gradient_is_found_at_its_own_step_though_the_loss_is_finite(optimizer, bad: float):
    params = jnp.ones(3)
    state, step = (
        {"params": params, "opt_state": optimizer.init(params)},
        finite.watched(descend(optimizer)),
    )
    window = []
    for number in range(5, 10):
        state, metrics = step(state, jnp.array([1.0, bad if number == 7 else 1.0, 1.0]))
        window.append(metrics)
    assert finite.mean(window[:2], 6, "runs/mine") == {"loss": 1.0}
    with pytest.raises(NotFiniteError, match=r"not finite at step 7: .* runs/mine"):
        finite.mean(window, 9, "runs/mine")


def test_an_optimizer_that_overflows_is_found_though_the_parameters_stay_finite():
    optimizer, params = optax.adam(0.1), jnp.ones(3)
    state, metrics = finite.watched(descend(optimizer))(
        {"params": params, "opt_state": optimizer.init(params)}, jnp.full(3, 1e30)
    )
    assert np.isfinite(state["params"]).all()
    with pytest.raises(NotFiniteError):
        finite.mean([metrics], 1, "")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_metric_is_named_with_its_value_and_step(bad: float):
    rows = [
        {"loss": np.float32(x), "size": np.float32(2), finite.STATE: np.True_} for x in (1, 3, bad)
    ]
    assert finite.mean(rows[:2], 2, "") == {"loss": 2.0, "size": 2.0}
    with pytest.raises(NotFiniteError, match=f"loss is {bad} at step 12: training stopped"):
        finite.mean(rows, 12, "")


def test_each_rollback_has_its_own_seed_in_the_legal_range_and_none_keeps_the_runs():
    seeds = [data_seed(seed, rollbacks) for seed in (0, 1, 2**32 - 1) for rollbacks in range(4)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert [data_seed(seed, 0) for seed in (0, 1, 2**32 - 1)] == [0, 1, 2**32 - 1]
