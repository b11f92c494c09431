import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.tasks.barlow_twins import BarlowTwins
from lens_jax.tasks.base import Loss, Outputs
from tests.losses import references


def loss_of(task: BarlowTwins, rows: np.ndarray) -> Loss:
    return jax.jit(task.loss)(Outputs(rows), None, {"kept": 1})


@pytest.mark.parametrize(("images", "length"), [(2, 3), (6, 4)])
def test_the_loss_is_that_of_the_two_views(x64, images: int, length: int):
    rows = np.random.default_rng(0).normal(size=(2 * images, length))
    task = BarlowTwins(off_diagonal=0.3, scale=0.5)
    found = loss_of(task, rows)
    expected = references.barlow_twins(rows[0::2], rows[1::2], 0.3, 0.5)
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)

    correlations = references.cross_correlation(rows[0::2], rows[1::2])
    itself = np.eye(length, dtype=bool)
    invariance, redundancy = correlations[itself], correlations[~itself]
    np.testing.assert_allclose(found.metrics["invariance"], np.mean(invariance), atol=1e-12)
    root = np.sqrt(np.mean(redundancy**2))
    np.testing.assert_allclose(found.metrics["redundancy"], root, rtol=1e-12)
    assert found.memory == {"kept": 1}


def test_embeddings_that_collapse_to_a_line_lose_by_their_redundancy(x64):
    """All numbers are alike: the diagonal is perfect, and so is what should be zero."""
    column = np.random.default_rng(0).normal(size=(6, 1))
    rows = np.repeat(np.repeat(column, 2, axis=0), 4, axis=1)
    found = loss_of(BarlowTwins(off_diagonal=0.1, scale=1.0), rows)
    np.testing.assert_allclose(found.value, 0.1 * 12, rtol=1e-3)
    np.testing.assert_allclose(found.metrics["invariance"], 1, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["redundancy"], 1, rtol=1e-4)


def test_the_network_sees_both_views_and_remembers_nothing():
    task = BarlowTwins()
    assert task.online_views is None
    assert task.target(100) is None
    assert task.memory(jax.random.key(0)) == ()


def test_the_head_is_a_projector_of_three_layers_with_two_batch_norms():
    head = BarlowTwins(hidden=8, embedding=3).head(jnp.bfloat16)
    features = np.ones((4, 5), np.float32)
    outputs, variables = head.init_with_output(jax.random.key(0), features, None, train=False)
    assert (outputs.shape, outputs.dtype) == ((4, 3), jnp.float32)
    shapes = jax.tree.map(jnp.shape, variables)
    assert shapes["params"]["Dense_0"] == {"kernel": (5, 8)}
    assert shapes["params"]["Dense_1"] == {"kernel": (8, 8)}
    assert shapes["params"]["Dense_2"] == {"kernel": (8, 3), "bias": (3,)}
    assert shapes["batch_stats"].keys() == {"BatchNorm_0", "BatchNorm_1"}


def test_the_defaults_are_the_published_ones():
    assert BarlowTwins() == BarlowTwins(0, 8192, 8192, 0.0051, 0.024)


@pytest.mark.parametrize("images", [0, 1])
def test_a_batch_without_another_image_is_refused(images: int):
    def value(rows: jax.Array) -> jax.Array:
        return BarlowTwins().loss(Outputs(rows), None, None).value

    with pytest.raises(UserError, match=f"'barlow_twins' .* got {images}: use at least 2"):
        jax.eval_shape(value, jnp.zeros((2 * images, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "task.hidden is 0: it must be at least 1"),
        ({"embedding": 1}, "task.embedding is 1: it must be at least 2"),
        ({"off_diagonal": -0.1}, "task.off_diagonal is -0.1: it must be at least 0"),
        ({"off_diagonal": float("nan")}, "task.off_diagonal is nan: "),
        ({"off_diagonal": float("inf")}, "task.off_diagonal is inf: .* and finite"),
        ({"scale": 0.0}, "task.scale is 0.0: it must be greater than 0"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        BarlowTwins(**options)
