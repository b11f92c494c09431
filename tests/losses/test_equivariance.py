"""The loss of EquiMod and its two metrics, against loops and by hand."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.losses.equivariance import (
    absolute_equivariance,
    equivariance_loss,
    relative_equivariance,
    sibling_rows,
)
from tests.losses import references


def reference(
    views: np.ndarray, predictions: np.ndarray, temperature: float, per_image: int, siblings: bool
) -> tuple[list[float], list[bool]]:
    """Losses and hits of all rows, those of views first; each row knows its image and its view."""
    names = [divmod(row, per_image) for row in range(len(views))]
    rows = [*zip(names, views, strict=True), *zip(names, predictions, strict=True)]
    losses, hits = [], []
    for i, ((image, view), row) in enumerate(rows):
        similarities, partner = {}, None
        for k, ((other_image, other_view), other) in enumerate(rows):
            if k == i:
                continue
            same_view = (image, view) == (other_image, other_view)
            if image == other_image and not same_view and not siblings:
                continue
            if same_view:
                partner = k
            similarities[k] = references.cosine(row, other)
        losses.append(references.softmax_loss(similarities, partner, temperature))
        hits.append(max(similarities, key=similarities.get) == partner)
    return losses, hits


def rows_of(count: int, length: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, length)), rng.normal(size=(count, length))


@pytest.mark.parametrize("siblings", [True, False])
@pytest.mark.parametrize(("images", "per_image", "temperature"), [(3, 2, 0.2), (4, 1, 0.5)])
def test_the_loss_is_its_formula_with_its_gradient(
    x64, images: int, per_image: int, temperature: float, siblings: bool
):
    views, predictions = rows_of(images * per_image)
    compute = partial(
        equivariance_loss, temperature=temperature, per_image=per_image, siblings=siblings
    )
    losses, hits = reference(views, predictions, temperature, per_image, siblings)
    found = jax.jit(compute)(views, predictions)
    np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-12)
    assert found.hits.tolist() == hits

    # Neither the embeddings of the views nor the predictions are held fixed.
    value = jax.jit(jax.grad(lambda *rows: compute(*rows).value, argnums=(0, 1)))
    to_views, to_predictions = value(views, predictions)

    def of_views(x: np.ndarray) -> float:
        return np.mean(reference(x, predictions, temperature, per_image, siblings)[0])

    def of_predictions(x: np.ndarray) -> float:
        return np.mean(reference(views, x, temperature, per_image, siblings)[0])

    for gradient, function, rows in [
        (to_views, of_views, views),
        (to_predictions, of_predictions, predictions),
    ]:
        expected = references.gradient(function, rows)
        np.testing.assert_allclose(gradient, expected, atol=1e-7)
        assert np.abs(expected).max() > 1e-3


def test_siblings_make_the_loss_larger_where_there_are_any(x64):
    views, predictions = rows_of(6)

    def loss(per_image: int, siblings: bool) -> float:
        options = {"per_image": per_image, "siblings": siblings}
        return float(equivariance_loss(views, predictions, 0.2, **options).value)

    assert loss(2, siblings=True) > loss(2, siblings=False) + 0.01
    assert loss(1, siblings=True) == loss(1, siblings=False) == loss(2, siblings=True)


def test_the_siblings_of_two_images_by_hand():
    """Rows: image 0 in two views, image 1 in two views, and the same again as predictions."""
    quarter = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    np.testing.assert_array_equal(sibling_rows(4, 2), np.tile(quarter, (2, 2)))
    assert not sibling_rows(4, 1).any()


WHOLE = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
VIEWS = np.array([[0.0, 5.0], [0.0, 1.0], [-1.0, 0.0]])
PREDICTIONS = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # The first prediction is right, where the image was at a right angle to its view; the
        # second one moves away from a view that was the image; the third one goes half the way.
        (absolute_equivariance, [1 - 0, 0 - 1, 0 - -1]),
        (relative_equivariance, [1 / 1e-6, 0 / 1, 2 / 1]),
    ],
)
def test_the_metrics_by_hand(metric: Callable, expected: list[float]):
    found = jax.jit(metric)(WHOLE, VIEWS, PREDICTIONS)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_prediction_that_is_the_image_itself_moves_nothing():
    rng = np.random.default_rng(0)
    whole, views = rng.normal(size=(2, 50, 4))
    np.testing.assert_allclose(absolute_equivariance(whole, views, 2 * whole), 0, atol=1e-6)
    np.testing.assert_allclose(relative_equivariance(whole, views, 2 * whole), 1, rtol=1e-4)


def test_the_metrics_of_rows_in_half_precision_are_computed_in_single():
    whole, views, predictions = (jnp.asarray(x, jnp.bfloat16) for x in (WHOLE, VIEWS, PREDICTIONS))
    assert absolute_equivariance(whole, views, predictions).dtype == jnp.float32
    assert relative_equivariance(whole, views, predictions).dtype == jnp.float32
