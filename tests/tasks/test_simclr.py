import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.tasks.base import Loss, Outputs
from lens_jax.tasks.simclr import SimCLR
from tests.losses import references


def loss_of(task: SimCLR, rows: np.ndarray) -> Loss:
    return jax.jit(task.loss)(Outputs(rows), None, {"kept": 1})


@pytest.mark.parametrize(("images", "length", "temperature"), [(2, 3, 1.0), (6, 4, 0.1)])
def test_the_loss_is_nt_xent_of_the_two_views(x64, images, length, temperature):
    rows = np.random.default_rng(0).normal(size=(2 * images, length))
    losses, hits = references.nt_xent(rows[0::2], rows[1::2], temperature)
    found = loss_of(SimCLR(temperature=temperature), rows)
    np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-12)
    np.testing.assert_allclose(found.metrics["accuracy"], np.mean(hits), rtol=1e-12)
    assert found.metrics["negatives"] == 2 * images - 2
    assert found.memory == {"kept": 1}


def test_views_that_find_each_other_cost_nothing():
    """Three images at right angles, and no other order of the views would do."""
    rows = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    found = loss_of(SimCLR(temperature=0.05), rows)
    assert found.value < 1e-6
    assert found.metrics["accuracy"] == 1
    assert loss_of(SimCLR(temperature=0.05), np.roll(rows, 1, axis=0)).value > 10


def test_the_network_sees_both_views_and_remembers_nothing():
    task = SimCLR()
    assert task.online_views is None
    assert task.target(100) is None
    assert task.memory(jax.random.key(0)) == ()


def test_the_head_is_a_projector_with_batch_norm():
    head = SimCLR(hidden=8, embedding=3).head(jnp.bfloat16)
    features = np.ones((4, 5), np.float32)
    outputs, variables = head.init_with_output(jax.random.key(0), features, None, train=False)
    assert (outputs.shape, outputs.dtype) == ((4, 3), jnp.float32)
    shapes = jax.tree.map(jnp.shape, variables)
    assert shapes["params"]["Dense_0"] == {"kernel": (5, 8)}
    assert shapes["params"]["Dense_1"] == {"kernel": (8, 3), "bias": (3,)}
    assert len(jax.tree.leaves(shapes["batch_stats"], is_leaf=lambda x: x == (8,))) == 2


def test_the_defaults_are_the_published_ones():
    assert SimCLR() == SimCLR(0, 2048, 128, 0.1)


@pytest.mark.parametrize("images", [0, 1])
def test_a_batch_without_another_image_is_refused(images: int):
    def value(rows: jax.Array) -> jax.Array:
        return SimCLR().loss(Outputs(rows), None, None).value

    with pytest.raises(UserError, match=f"'simclr' .* got {images}: use at least 2"):
        jax.eval_shape(value, jnp.zeros((2 * images, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "task.hidden is 0: it must be at least 1"),
        ({"embedding": 0}, "task.embedding is 0: it must be at least 1"),
        ({"temperature": 0.0}, "task.temperature is 0.0: it must be greater than 0"),
        ({"temperature": -0.1}, "task.temperature is -0.1: "),
        ({"temperature": float("nan")}, "task.temperature is nan: "),
        ({"temperature": float("inf")}, "task.temperature is inf: .* and finite"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        SimCLR(**options)
