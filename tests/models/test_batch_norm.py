import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.models.batch_norm import BatchNorm, gather, spread


def layer(group: int, train: bool = True, dtype: type = jnp.float32) -> BatchNorm:
    return BatchNorm(use_running_average=not train, group=group, dtype=dtype)


def random_variables(width: int) -> dict:
    rng = np.random.default_rng(1)
    return {
        "params": {"scale": rng.normal(size=width), "bias": rng.normal(size=width)},
        "batch_stats": {"mean": rng.normal(size=width), "var": rng.uniform(1, 2, width)},
    }


def apply(module: nn.Module, variables: dict, x: np.ndarray) -> tuple[jax.Array, dict]:
    outputs, updated = jax.jit(
        lambda variables, x: module.apply(variables, x, mutable=["batch_stats"])
    )(variables, x)
    return outputs, updated["batch_stats"]


@pytest.mark.parametrize("group", [2, 3, 6])
@pytest.mark.parametrize("places", [(), (4, 5)])
def test_every_group_is_normalized_by_its_own_statistics(x64, group: int, places: tuple):
    x = np.random.default_rng(0).normal(3, 2, (12, *places, 4))
    variables = random_variables(4)
    expected, means, deviations = np.zeros_like(x), [], []
    for start in range(0, 12, group):
        rows = x[start : start + group]
        for channel in range(4):
            numbers = rows[..., channel]
            mean, variance = np.mean(numbers), np.var(numbers)
            scale, bias = (variables["params"][name][channel] for name in ("scale", "bias"))
            unit = (numbers - mean) / np.sqrt(variance + 1e-5)
            expected[start : start + group, ..., channel] = scale * unit + bias
            means.append(mean)
            deviations.append(variance)

    outputs, stats = apply(layer(group, dtype=jnp.float64), variables, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-10, atol=1e-12)
    averages = (np.reshape(each, (-1, 4)).mean(axis=0) for each in (means, deviations))
    for name, average in zip(("mean", "var"), averages, strict=True):
        old = variables["batch_stats"][name]
        np.testing.assert_allclose(stats[name], 0.9 * old + 0.1 * average, rtol=1e-10)


def test_one_group_of_all_rows_is_the_layer_without_groups(x64):
    x = np.random.default_rng(0).normal(3, 2, (6, 3, 3, 4))
    variables = random_variables(4)
    expected, expected_stats = apply(layer(0, dtype=jnp.float64), variables, x)
    outputs, stats = apply(layer(6, dtype=jnp.float64), variables, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-14)
    for name, expected_stat in expected_stats.items():
        np.testing.assert_allclose(stats[name], expected_stat, rtol=1e-12)


def test_variables_are_the_same_with_and_without_groups():
    x = np.ones((4, 3), np.float32)
    trees = []
    for group in (0, 2):
        variables = layer(group).init(jax.random.key(0), x)
        trees.append(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables))
    assert trees[0] == trees[1]


def test_evaluation_has_no_groups():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)  # 2 does not divide 5
    variables = jax.tree.map(jnp.float32, random_variables(4))
    expected, _ = apply(layer(0, train=False), variables, x)
    outputs, stats = apply(layer(2, train=False), variables, x)
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(stats["mean"], variables["batch_stats"]["mean"])


def test_statistics_of_bfloat16_are_float32():
    # A mean of 256.5: bfloat16 knows 256 and 258 there.
    x = jnp.tile(jnp.array([256.0, 258.0, 256.0, 256.0], jnp.bfloat16)[:, None], (4, 3))
    variables = layer(4).init(jax.random.key(0), x)
    outputs, stats = apply(layer(4, dtype=jnp.bfloat16), variables, x)
    assert outputs.dtype == jnp.bfloat16
    assert stats["mean"].dtype == jnp.float32
    np.testing.assert_allclose(stats["mean"], 25.65, rtol=1e-6)
    assert float(outputs[0, 0]) < -0.5
    assert float(outputs[1, 0]) > 1.5


def test_groups_that_do_not_divide_the_rows_are_refused():
    x = jnp.ones((10, 3))
    variables = layer(0).init(jax.random.key(0), x)
    with pytest.raises(UserError, match="batch_norm_group is 4: it must divide the 10"):
        layer(4).apply(variables, x, mutable=["batch_stats"])


@pytest.mark.parametrize(("rows", "group"), [(16, 4), (32, 16), (64, 4), (12, 4), (6, 6), (6, 1)])
def test_spreading_rows_composes_the_groups_anew_and_gathering_undoes_it(rows: int, group: int):
    x = np.stack([np.arange(rows), np.arange(rows) // group], axis=-1)
    spread_rows = spread(jnp.asarray(x), group)
    np.testing.assert_array_equal(gather(spread_rows, group), x)
    assert sorted(np.asarray(spread_rows[:, 0])) == list(range(rows))

    groups = rows // group
    for members in np.asarray(spread_rows[:, 1]).reshape(groups, group):
        most = np.bincount(members).max()
        assert most == -(-group // groups), members
