import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.tasks.base import Loss, Outputs
from lens_jax.tasks.moco import MoCo
from tests.losses import references

compute_loss = jax.jit(MoCo.loss, static_argnames="self")


def loss_of(task: MoCo, queries: np.ndarray, keys: np.ndarray, queue: np.ndarray) -> Loss:
    return compute_loss(task, Outputs(queries, keys), None, queue)


def rows_at(*degrees: float) -> np.ndarray:
    """Rows of length 1 in the plane."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


@pytest.mark.parametrize(("images", "queue", "temperature"), [(2, 2, 1.0), (3, 7, 0.2)])
def test_the_loss_is_info_nce_against_the_queue_of_before(x64, images, queue, temperature):
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(2, images, 4))
    memory = references.unit_rows(rng.normal(size=(queue, 4)))
    units = references.unit_rows(queries), references.unit_rows(keys)
    losses, hits = references.info_nce(*units, memory, temperature)

    found = loss_of(MoCo(queue=queue, temperature=temperature), queries, keys, memory)
    np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-12)
    np.testing.assert_allclose(found.metrics["accuracy"], np.mean(hits), rtol=1e-12)

    entered = np.concatenate([units[1], memory])[:queue]
    np.testing.assert_allclose(found.memory, entered, rtol=1e-12)


def test_keys_repel_from_the_next_step_on_and_not_their_own_queries(x64):
    """Keys equal their queries and are at right angles to the queue, as long as they are not in it.

    Each query then meets K zeros beside its key. One step later it also meets its key in the queue,
    and K - 1 rows at right angles.
    """
    rows, others = np.eye(5)[:2], np.eye(5)[2:]
    task = MoCo(queue=3, temperature=0.5)
    first = loss_of(task, rows, rows, others)
    np.testing.assert_allclose(first.value, np.log(1 + 3 * np.exp(-2)), rtol=1e-10)
    assert first.metrics["accuracy"] == 1
    second = loss_of(task, rows, rows, first.memory)
    np.testing.assert_allclose(second.value, np.log(2 + 2 * np.exp(-2)), rtol=1e-10)


def test_the_newest_keys_come_first_and_the_oldest_leave():
    task = MoCo(queue=5)
    queue = rows_at(200, 210, 220, 230, 240)
    expected = [
        (0, 10, 200, 210, 220),
        (20, 30, 0, 10, 200),
        (40, 50, 20, 30, 0),
        (60, 70, 40, 50, 20),
    ]
    for newest in ((0, 10), (20, 30), (40, 50), (60, 70)):
        queue = loss_of(task, rows_at(1, 2), 3 * rows_at(*newest), queue).memory
        np.testing.assert_allclose(queue, rows_at(*expected.pop(0)), atol=1e-6)
    assert not expected


def test_the_queue_starts_as_different_rows_of_length_one():
    task = MoCo(embedding=8, queue=20)
    queue, again, other = (task.memory(jax.random.key(seed)) for seed in (0, 0, 1))
    assert queue.shape == (20, 8)
    np.testing.assert_allclose(jnp.linalg.norm(queue, axis=1), np.ones(20), rtol=1e-5)
    cosines = np.asarray(queue @ queue.T)
    assert np.abs(cosines[~np.eye(20, dtype=bool)]).max() < 0.99
    np.testing.assert_array_equal(queue, again)
    assert np.abs(queue - other).max() > 0.1


@pytest.mark.parametrize("queue", [1, 3, 5, 9])
def test_a_queue_of_any_size_keeps_the_newest_keys(queue: int):
    """Four keys enter it at each of two steps."""
    task, memory = MoCo(queue=queue), rows_at(*range(100, 100 + queue))
    entered = list(range(100, 100 + queue))
    for newest in ((0, 10, 20, 30), (40, 50, 60, 70)):
        memory = loss_of(task, rows_at(1, 2, 3, 4), rows_at(*newest), memory).memory
        entered = [*newest, *entered][:queue]
        np.testing.assert_allclose(memory, rows_at(*entered), atol=1e-6)


@pytest.mark.parametrize(("images", "queue", "temperature"), [(2, 3, 1.0), (3, 7, 0.2)])
def test_symmetric_is_the_mean_of_both_directions(x64, images, queue, temperature):
    rng = np.random.default_rng(0)
    queries, keys = references.unit_rows(rng.normal(size=(4 * images, 4))).reshape(2, -1, 4)
    memory = references.unit_rows(rng.normal(size=(queue, 4)))
    forward = references.info_nce(queries[0::2], keys[1::2], memory, temperature)
    backward = references.info_nce(queries[1::2], keys[0::2], memory, temperature)

    task = MoCo(queue=queue, temperature=temperature, symmetric=True)
    found = loss_of(task, queries, keys, memory)
    expected = (np.mean(forward[0]) + np.mean(backward[0])) / 2
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    hits = np.mean([*forward[1], *backward[1]])
    np.testing.assert_allclose(found.metrics["accuracy"], hits, rtol=1e-12)
    entered = np.concatenate([keys, memory])[:queue]
    np.testing.assert_allclose(found.memory, entered, rtol=1e-12)


def test_symmetric_both_networks_see_both_views():
    task = MoCo(symmetric=True)
    assert task.online_views == (0, 1)
    assert task.target(1000).views == (0, 1)


@pytest.mark.parametrize("images", [0, 1])
def test_a_batch_without_another_image_is_refused(images: int):
    def value(rows: jax.Array) -> jax.Array:
        return MoCo(queue=4).loss(Outputs(rows, rows), None, jnp.zeros((4, 3))).value

    with pytest.raises(UserError, match=f"'moco' .* got {images}: use at least 2"):
        jax.eval_shape(value, jnp.zeros((images, 3)))


@pytest.mark.parametrize("images", [0, 1])
def test_two_views_of_one_image_are_still_one_image(images: int):
    def value(rows: jax.Array) -> jax.Array:
        task = MoCo(queue=4, symmetric=True)
        return task.loss(Outputs(rows, rows), None, jnp.zeros((4, 3))).value

    with pytest.raises(UserError, match=f"'moco' .* got {images}: use at least 2"):
        jax.eval_shape(value, jnp.zeros((2 * images, 3)))


def test_the_network_sees_view_0_and_the_target_network_view_1():
    task = MoCo(momentum=0.75)
    target = task.target(1000)
    assert task.online_views == (0,)
    assert target.views == (1,)
    assert [target.momentum(step) for step in (0, 1, 999, 1000)] == [0.75] * 4


def test_the_head_is_a_projector_without_batch_norm():
    head = MoCo(hidden=8, embedding=3).head(jnp.bfloat16)
    features = np.ones((4, 5), np.float32)
    outputs, variables = head.init_with_output(jax.random.key(0), features, None, train=True)
    assert (outputs.shape, outputs.dtype) == ((4, 3), jnp.float32)
    assert jax.tree.map(jnp.shape, variables) == {
        "params": {
            "Dense_0": {"kernel": (5, 8), "bias": (8,)},
            "Dense_1": {"kernel": (8, 3), "bias": (3,)},
        }
    }
    target = head.apply(variables, features, None, train=True, method="target")
    np.testing.assert_allclose(target, outputs, atol=1e-5)


def test_the_defaults_are_the_published_ones():
    assert MoCo() == MoCo(0, 2048, 128, 0.2, 65536, 0.999, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "task.hidden is 0: it must be at least 1"),
        ({"embedding": 0}, "task.embedding is 0: it must be at least 1"),
        ({"temperature": 0.0}, "task.temperature is 0.0: it must be greater than 0"),
        ({"temperature": float("nan")}, "task.temperature is nan: "),
        ({"queue": 0}, "task.queue is 0: it must be at least 1"),
        ({"momentum": -0.1}, "task.momentum is -0.1: it must be between 0 and 1"),
        ({"momentum": 1.5}, "task.momentum is 1.5: "),
        ({"momentum": float("nan")}, "task.momentum is nan: "),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        MoCo(**options)
