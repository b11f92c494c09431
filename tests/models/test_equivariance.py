"""The head of EquiMod, against its layers one by one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.models.equivariance import EquivariantHead
from lens_jax.models.heads import MLP, PredictorHead

IMAGES, WIDTH = 3, 5


def make_head(views: int = 2, dtype: jnp.dtype = jnp.float32) -> EquivariantHead:
    predictor = PredictorHead(MLP((4, 2), dtype), MLP((4, 2), dtype))
    return EquivariantHead(predictor, views, hidden=7, embedding=4, parameters=3, dtype=dtype)


def inputs(views: int, parameters: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = IMAGES * (views + 1)
    return rng.normal(size=(rows, WIDTH)), rng.normal(size=(rows, parameters))


def random_variables(head: nn.Module, *args) -> dict:
    """Variables in float64, none of them 0 or 1 as at the start."""
    variables = head.init(jax.random.key(0), *args, train=False)
    rng = np.random.default_rng(3)
    drawn = jax.tree.map(lambda v: jnp.asarray(rng.normal(size=v.shape)), variables)
    return drawn | {"batch_stats": jax.tree.map(abs, drawn["batch_stats"])}


def dense_norm(x: np.ndarray, params: dict, index: int, relu: bool) -> np.ndarray:
    """A dense layer, and BatchNorm over the rows, with what it has of scale and shift."""
    x = x @ np.asarray(params[f"Dense_{index}"]["kernel"])
    x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    learned = params.get(f"BatchNorm_{index}", {})
    x = x * learned.get("scale", 1) + learned.get("bias", 0)
    return np.maximum(x, 0) if relu else x


@pytest.mark.parametrize("views", [1, 2])
def test_views_are_predicted_from_their_image_and_their_parameters(x64, views: int):
    head = make_head(views, jnp.float64)
    features, drawn = inputs(views)
    variables = random_variables(head, features, drawn)
    found, _ = head.apply(variables, features, drawn, train=True, mutable=["batch_stats"])
    params = variables["params"]

    # All rows are embedded together.
    x = features
    for layer in range(3):
        x = dense_norm(x, params["projector"], layer, relu=layer < 2)
    of_image = [x[image * (views + 1) + views] for image in range(IMAGES)]
    of_views, joint, kept = [], [], []
    for image in range(IMAGES):
        for view in range(views):
            row = image * (views + 1) + view
            of_views.append(x[row])
            kept.append(row)
    encoded = dense_norm(drawn[kept], params["parameters"], 0, relu=False)
    for place in range(len(kept)):
        joint.append(np.concatenate([of_image[place // views], encoded[place]]))
    predictions = dense_norm(np.array(joint), params["predictor"], 0, relu=False)

    np.testing.assert_allclose(found.whole, of_image, rtol=1e-9)
    np.testing.assert_allclose(found.views, of_views, rtol=1e-9)
    np.testing.assert_allclose(found.predictions, predictions, rtol=1e-9)

    # The base method's head sees the views alone.
    own = {name: tree["base"] for name, tree in variables.items()}
    base, _ = head.base.apply(own, features[kept], None, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(found.base, base, rtol=1e-9)


def test_only_hidden_layers_and_the_parameters_have_a_scale():
    features, drawn = inputs(2)
    shapes = jax.tree.map(jnp.shape, make_head().init(jax.random.key(0), features, drawn, False))
    params = shapes["params"]
    assert params["projector"] == {
        "Dense_0": {"kernel": (5, 7)},
        "BatchNorm_0": {"scale": (7,), "bias": (7,)},
        "Dense_1": {"kernel": (7, 7)},
        "BatchNorm_1": {"scale": (7,), "bias": (7,)},
        "Dense_2": {"kernel": (7, 4)},
    }
    assert params["parameters"] == {
        "Dense_0": {"kernel": (6, 3)},
        "BatchNorm_0": {"scale": (3,)},
    }
    assert params["predictor"] == {"Dense_0": {"kernel": (7, 4)}}
    assert shapes["batch_stats"]["predictor"] == {"BatchNorm_0": {"mean": (4,), "var": (4,)}}


def test_without_parameters_and_in_the_target_network_it_is_the_base_methods():
    head = make_head()
    features, drawn = inputs(2)
    variables = random_variables(head, features, drawn)
    own = {name: tree["base"] for name, tree in variables.items()}
    expected = head.base.apply(own, features, None, train=False)
    found = head.apply(variables, features, None, train=False)
    np.testing.assert_array_equal(found.base, expected)
    assert found[1:] == (None, None, None)

    target = head.apply(variables, features, drawn, train=False, method="target")
    expected = head.base.apply(own, features, None, train=False, method="target")
    np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize(("name", "reached"), [("views", [0, 1]), ("predictions", [2])])
def test_neither_embeddings_nor_predictions_are_cut_off_from_the_features(name: str, reached: list):
    """In evaluation, as BatchNorm lets every row feel all others in training."""
    head = make_head()
    features, drawn = (np.asarray(array, np.float32) for array in inputs(2))
    variables = random_variables(head, features, drawn)
    weights = np.random.default_rng(1).normal(size=(2 * IMAGES, 4))

    def value(features: jax.Array) -> jax.Array:
        found = head.apply(variables, features, drawn, train=False)
        return jnp.sum(weights * getattr(found, name))

    gradient = jax.jit(jax.grad(value))(features).reshape(IMAGES, 3, WIDTH)
    is_reached = np.abs(gradient).max(axis=2) > 0
    expected = np.isin(np.arange(3), reached)
    np.testing.assert_array_equal(is_reached, np.tile(expected, (IMAGES, 1)))


def test_outputs_are_in_single_precision_at_least():
    head = make_head(dtype=jnp.bfloat16)
    features, drawn = inputs(2)
    found, _ = head.init_with_output(jax.random.key(0), features, drawn, train=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
