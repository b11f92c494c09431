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
    numbers = jnp.ones((4, 5), dtype).at[2, 3].set(value)
    tree = {"step": jnp.int32(7), "a": [jnp.zeros((2, 3), dtype)], "empty": {}, "b": numbers}
    # What overflows bfloat16 is infinite.
    expected = np.isfinite(np.asarray(numbers, np.float64)).all()
    assert bool(jax.jit(finite.is_finite)(tree)) == expected


def descend(optimizer: optax.GradientTransformation):
    """A step on loss = 1 that is handed its gradient."""

    def step(state, gradient):
        updates, opt_state = optimizer.update(gradient, state["opt_state"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        return {"params": params, "opt_state": opt_state}, {"loss": jnp.float32(1)}

    return step


@pytest.mark.parametrize(
    "optimizer", [optax.sgd(0.1), optax.sgd(0.1, momentum=0.9), optax.adam(0.1)]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_gradient_is_found_at_its_own_step_though_the_loss_is_finite(optimizer, bad: float):
    params = jnp.ones(3)
    state = {"params": params, "opt_state": optimizer.init(params)}
    step = finite.watched(descend(optimizer))
    window = []
    for number in range(5, 10):
        second = bad if number == 7 else 1.0
        state, metrics = step(state, jnp.array([1.0, second, 1.0]))
        window.append(metrics)
    assert finite.mean(window[:2], 6, "runs/mine") == {"loss": 1.0}
    with pytest.raises(NotFiniteError, match=r"not finite at step 7: .* runs/mine"):
        finite.mean(window, 9, "runs/mine")


def test_an_optimizer_that_overflows_is_found_though_the_parameters_stay_finite():
    optimizer, params = optax.adam(0.1), jnp.ones(3)
    step = finite.watched(descend(optimizer))
    state = {"params": params, "opt_state": optimizer.init(params)}
    state, metrics = step(state, jnp.full(3, 1e30))
    assert np.isfinite(state["params"]).all()
    with pytest.raises(NotFiniteError):
        finite.mean([metrics], 1, "")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_metric_is_named_with_its_value_and_step(bad: float):
    rows = []
    for loss in (1, 3, bad):
        rows.append({"loss": np.float32(loss), "size": np.float32(2), finite.STATE: np.True_})
    assert finite.mean(rows[:2], 2, "") == {"loss": 2.0, "size": 2.0}
    with pytest.raises(NotFiniteError, match=f"loss is {bad} at step 12: training stopped"):
        finite.mean(rows, 12, "")


def test_each_rollback_has_its_own_seed_in_the_legal_range_and_none_keeps_the_runs():
    largest = 2**32 - 1
    found = set()
    for seed in (0, 1, largest):
        assert data_seed(seed, 0) == seed
        for rollbacks in range(4):
            found.add(data_seed(seed, rollbacks))
    assert len(found) == 12
    assert min(found) >= 0
    assert max(found) <= largest
