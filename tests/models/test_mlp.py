import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.models.heads import MLP, LinearHead, PredictorHead

FEATURES = np.random.default_rng(0).normal(size=(8, 5))


def random_variables(head) -> dict:
    """Variables in float64, none of them 0 or 1 as at the start, with positive variances."""
    variables = head.init(jax.random.key(0), FEATURES, None, train=False)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.uniform(0.1, 1, leaf.shape), variables)


def batch_norm(x: np.ndarray, mean, var, params: dict) -> np.ndarray:
    return (x - mean) / np.sqrt(var + 1e-5) * params["scale"] + params["bias"]


def projection(x: np.ndarray, params: dict) -> np.ndarray:
    """The training forward pass of an MLP with one hidden layer that is normalized."""
    hidden = x @ params["Dense_0"]["kernel"]
    hidden = batch_norm(hidden, hidden.mean(axis=0), hidden.var(axis=0), params["BatchNorm_0"])
    return np.maximum(hidden, 0) @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]


def test_with_norm_hidden_layers_are_dense_then_batch_norm_then_relu(x64):
    head = MLP((7, 6, 3), jnp.float64)
    variables = random_variables(head)
    params, stats = variables["params"], variables["batch_stats"]
    x = FEATURES
    for layer in (0, 1):
        norm = f"BatchNorm_{layer}"
        x = x @ params[f"Dense_{layer}"]["kernel"]
        x = batch_norm(x, stats[norm]["mean"], stats[norm]["var"], params[norm])
        x = np.maximum(x, 0)
    expected = x @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]
    np.testing.assert_allclose(head.apply(variables, FEATURES, None, False), expected, rtol=1e-10)
    # BatchNorm would take a bias before it away again.
    assert [*params["Dense_0"], *params["Dense_1"]] == ["kernel", "kernel"]


def test_with_a_last_norm_embeddings_are_normalized_and_scaled_but_not_shifted(x64):
    head = MLP((7, 3), jnp.float64, last_norm=True)
    variables = random_variables(head)
    params = variables["params"]
    assert params["Dense_1"].keys() == {"kernel"}
    assert params["BatchNorm_1"].keys() == {"scale"}
    unbiased = params | {"Dense_1": params["Dense_1"] | {"bias": 0.0}}
    x = projection(FEATURES, unbiased)
    expected = batch_norm(x, x.mean(axis=0), x.var(axis=0), params["BatchNorm_1"] | {"bias": 0.0})
    found, _ = head.apply(variables, FEATURES, None, True, mutable=["batch_stats"])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_in_training_the_batch_is_normalized_and_the_statistics_move_a_tenth_of_the_way(x64):
    head = MLP((7, 3), jnp.float64)
    variables = random_variables(head)
    found, updated = head.apply(variables, FEATURES, None, True, mutable=["batch_stats"])
    expected = projection(FEATURES, variables["params"])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    hidden = FEATURES @ variables["params"]["Dense_0"]["kernel"]
    old, new = variables["batch_stats"]["BatchNorm_0"], updated["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(new["mean"], 0.9 * old["mean"] + 0.1 * hidden.mean(axis=0))
    np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * hidden.var(axis=0), rtol=1e-6)


@pytest.mark.parametrize("train", [False, True])
def test_without_norm_it_is_dense_layers_with_biases_and_relu(train: bool, x64):
    head = MLP((7, 3), jnp.float64, norm=False)
    variables = random_variables(head)
    assert list(variables) == ["params"]
    first, last = variables["params"]["Dense_0"], variables["params"]["Dense_1"]
    hidden = np.maximum(FEATURES @ first["kernel"] + first["bias"], 0)
    expected = hidden @ last["kernel"] + last["bias"]
    np.testing.assert_allclose(head.apply(variables, FEATURES, None, train), expected, rtol=1e-10)


def test_without_hidden_layers_it_is_the_linear_head(x64):
    head = MLP((3,), jnp.float64)
    variables = random_variables(head)
    expected = LinearHead(3, jnp.float64).apply(variables, FEATURES, None, False)
    np.testing.assert_array_equal(head.apply(variables, FEATURES, None, False), expected)


def test_the_target_of_an_mlp_is_its_output(x64):
    head = MLP((7, 3), jnp.float64)
    variables = random_variables(head)
    expected = head.apply(variables, FEATURES, None, False)
    found = head.apply(variables, FEATURES, None, False, method="target")
    np.testing.assert_array_equal(found, expected)


def test_a_predictor_head_predicts_from_the_projection_which_is_its_target(x64):
    head = PredictorHead(projector=MLP((7, 4), jnp.float64), predictor=MLP((6, 4), jnp.float64))
    variables = random_variables(head)
    params = variables["params"]
    projections = projection(FEATURES, params["projector"])
    predictions = projection(projections, params["predictor"])

    def apply(method: str | None) -> np.ndarray:
        options = {"mutable": ["batch_stats"], "method": method}
        return head.apply(variables, FEATURES, None, True, **options)[0]

    np.testing.assert_allclose(apply(None), predictions, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(apply("target"), projections, rtol=1e-5, atol=1e-7)


def test_bfloat16_keeps_parameters_statistics_and_outputs_in_float32():
    head = MLP((7, 3), jnp.bfloat16)
    features = FEATURES.astype(np.float32)
    variables = head.init(jax.random.key(0), features, None, train=False)
    outputs, updated = head.apply(variables, features, None, True, mutable=["batch_stats"])
    assert outputs.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {jnp.dtype("float32")}
