import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.tasks.base import Loss, Outputs, join_views
from lens_jax.tasks.byol import BYOL
from tests.losses import references

loss = jax.jit(BYOL().loss)


def loss_of(predictions: np.ndarray, projections: np.ndarray) -> Loss:
    return loss(Outputs(predictions, projections), None, {"kept": 1})


def random_rows(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and projections, two views of each image."""
    return tuple(np.random.default_rng(0).normal(size=(2, 2 * images, 3)))


def other_view(rows: np.ndarray) -> np.ndarray:
    """The two views of each image change places."""
    return np.asarray(join_views(rows[1::2], rows[0::2]))


def test_each_view_predicts_the_projection_of_the_other(x64):
    predictions, projections = random_rows(5)
    forward = references.negative_cosine(predictions[0::2], projections[1::2])
    backward = references.negative_cosine(predictions[1::2], projections[0::2])
    cosines = []
    for prediction, projection in zip(predictions, other_view(projections), strict=True):
        cosines.append(references.cosine(prediction, projection))

    found = loss_of(predictions, projections)
    np.testing.assert_allclose(found.value, np.mean(forward) + np.mean(backward), rtol=1e-12)
    np.testing.assert_allclose(found.metrics["cosine"], np.mean(cosines), rtol=1e-12)
    assert found.memory == {"kept": 1}


def test_perfect_predictions_lose_0_and_opposite_ones_8(x64):
    _, projections = random_rows(5)
    perfect = loss_of(2 * other_view(projections), projections)
    np.testing.assert_allclose(perfect.value, 0, atol=1e-12)
    np.testing.assert_allclose(perfect.metrics["cosine"], 1, rtol=1e-12)
    opposite = loss_of(-3 * other_view(projections), projections)
    np.testing.assert_allclose(opposite.value, 8, rtol=1e-12)
    np.testing.assert_allclose(opposite.metrics["cosine"], -1, rtol=1e-12)
    # To predict the projection of the view itself is not enough.
    assert loss_of(projections, projections).value > 1


def test_neither_the_order_of_the_views_nor_of_the_images_nor_lengths_matter(x64):
    predictions, projections = random_rows(5)
    expected = loss_of(predictions, projections).value
    lengths = np.random.default_rng(1).uniform(0.1, 10, (10, 1))
    for found in (
        loss_of(other_view(predictions), other_view(projections)),
        loss_of(predictions[::-1], projections[::-1]),
        loss_of(lengths * predictions, lengths[::-1] * projections),
    ):
        np.testing.assert_allclose(found.value, expected, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.9, 0.996, 1.0])
def test_the_momentum_rises_to_one_along_half_a_cosine(momentum: float):
    target = BYOL(momentum=momentum).target(200)
    for step in (0, 1, 50, 100, 199, 200):
        expected = 1 - (1 - momentum) * (1 + math.cos(math.pi * step / 200)) / 2
        np.testing.assert_allclose(target.momentum(step), expected, rtol=1e-6)
    np.testing.assert_allclose(target.momentum(300), 1, rtol=1e-6)


def test_both_networks_see_both_views():
    task = BYOL()
    assert task.online_views == (0, 1)
    assert task.target(100).views == (0, 1)
    assert task.memory(jax.random.key(0)) == ()


def test_the_target_network_stops_at_the_projector():
    head = BYOL(hidden=8, embedding=3).head(jnp.bfloat16)
    features = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    start = jax.jit(partial(head.init_with_output, train=False))
    outputs, variables = start(jax.random.key(0), features, None)
    assert (outputs.shape, outputs.dtype) == ((4, 3), jnp.float32)
    params = variables["params"]
    assert params["projector"]["Dense_0"]["kernel"].shape == (5, 8)
    assert params["predictor"]["Dense_0"]["kernel"].shape == (3, 8)
    assert params["predictor"]["Dense_1"]["kernel"].shape == (8, 3)

    # The projections do not depend on the predictor.
    zeros = jax.tree.map(jnp.zeros_like, params["predictor"])
    without = variables | {"params": params | {"predictor": zeros}}
    project = jax.jit(partial(head.apply, train=False, method="target"))
    target = project(variables, features, None)
    np.testing.assert_array_equal(project(without, features, None), target)
    assert np.abs(target).max() > 0.01
    assert not head.apply(without, features, None, train=False).any()


@pytest.mark.parametrize("images", [0, 1])
def test_a_batch_of_one_image_is_refused(images: int):
    def value(rows: jax.Array) -> jax.Array:
        return BYOL().loss(Outputs(rows, rows), None, None).value

    with pytest.raises(UserError, match=f"'byol' .* got {images}: use at least 2"):
        jax.eval_shape(value, jnp.zeros((2 * images, 3)))


def test_the_defaults_are_the_published_ones():
    assert BYOL() == BYOL(0, 4096, 256, 0.996)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "task.hidden is 0: it must be at least 1"),
        ({"embedding": 0}, "task.embedding is 0: it must be at least 1"),
        ({"momentum": -0.1}, "task.momentum is -0.1: it must be between 0 and 1"),
        ({"momentum": 1.5}, "task.momentum is 1.5: "),
        ({"momentum": float("nan")}, "task.momentum is nan: "),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        BYOL(**options)
