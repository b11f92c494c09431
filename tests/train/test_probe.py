"""The online probe learns, and nothing of it reaches the network; in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.train import probe
from lens_jax.train.state import TrainState
from tests.train.tiny import Built, assert_close, build, largest, random_batch, random_state

TWO_VIEWS = {"hidden": 5, "embedding": 4}
TASKS = {
    "rotation": {"all_rotations": False},
    "jigsaw": {"cell": 3, "patch": 2, "embedding": 4, "hidden": 8, "permutations": 6, "drawn": 3},
    "exemplar": {"copies": 3, "size": 8, "embedding": 4},
    "simclr": TWO_VIEWS,
    "moco": {"queue": 9, **TWO_VIEWS},
    "byol": TWO_VIEWS,
}
SETTINGS = [
    {"lens.kind": "none"},
    {"lens.raw_fraction": 0.5, "lens.batch_norm": "split"},
    {"lens.raw_fraction": 0.0, "train.accumulate": 2},
    {"lens.lensed_fraction": 0.5, "lens.raw_fraction": 0.5, "train.accumulate": 2},
]


@pytest.fixture(autouse=True)
def float64(x64) -> None:
    """All is computed in float64."""


@pytest.fixture
def make(tiny_config):
    def make(task: str, overrides: dict, monitors: bool = True) -> Built:
        common = {"dtype": "float64", "data.image_size": 9, "lens.objective": "full"}
        settings = common | overrides | {"train.monitors": monitors}
        return build(tiny_config(settings, {"name": task, **TASKS[task]}))

    return make


def begin(built: Built) -> TrainState:
    """A state of random numbers, and a probe that has not learned yet."""
    state = random_state(built)
    return state.replace(probe=jax.tree.map(jnp.zeros_like, state.probe))


def without_probe(state: TrainState) -> TrainState:
    return state.replace(probe={})


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_nothing_but_the_probe_depends_on_the_probe_or_the_labels(make, task: str, settings: dict):
    """In one program, so that not a bit may differ."""
    built = make(task, settings)
    state, batch = begin(built), random_batch(8, side=9)
    other = state.replace(probe=jax.tree.map(lambda leaf: leaf + 1, state.probe))
    other_batch = batch | {"label": (batch["label"] + 1) % 3}

    new, metrics = built.step(state, batch)
    changed, changed_metrics = built.step(other, other_batch)
    jax.tree.map(np.testing.assert_array_equal, without_probe(new), without_probe(changed))
    assert largest(jax.tree.map(jnp.subtract, new.probe["params"], changed.probe["params"])) > 0.5
    for name, value in metrics.items():
        if name != "probe_accuracy":
            assert value == changed_metrics[name], name


@pytest.mark.parametrize("settings", SETTINGS[:3], ids=str)
@pytest.mark.parametrize("task", ["rotation", "byol"])
def test_a_step_is_the_same_with_and_without_monitors(make, task: str, settings: dict):
    watched, alone = (make(task, settings, monitors=monitors) for monitors in (True, False))
    batch = random_batch(8, side=9)
    state = begin(watched)
    new, metrics = watched.step(state, batch)
    expected, expected_metrics = alone.step(without_probe(state), batch)
    assert_close(without_probe(new), expected, rtol=1e-12)
    assert_close({name: metrics[name] for name in expected_metrics}, expected_metrics, rtol=1e-12)
    assert largest(new.probe["params"]) > 0


def test_the_gradient_in_the_features_is_zero():
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)))
    params = {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}

    def total(rows: jax.Array) -> jax.Array:
        gradient, accuracy = probe.Probe(3).gradient(params, rows, jnp.arange(6) % 3)
        return jnp.sum(gradient["kernel"]) + jnp.sum(gradient["bias"] ** 2) + accuracy

    assert largest(jax.grad(total)(rows)) == 0


def test_the_gradient_is_that_of_the_labeled_rows_by_differences():
    rng = np.random.default_rng(0)
    rows, kernel, bias = rng.normal(size=(7, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    labels = np.array([2, -1, 0, 1, -1, 1, 0])
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    found, accuracy = probe.Probe(3).gradient(params, jnp.asarray(rows), jnp.asarray(labels))

    for index in np.ndindex(kernel.shape):
        nudge = np.zeros_like(kernel)
        nudge[index] = 1e-6
        upper, _ = cross_entropy(rows, kernel + nudge, bias, labels)
        lower, _ = cross_entropy(rows, kernel - nudge, bias, labels)
        np.testing.assert_allclose(found["kernel"][index], (upper - lower) / 2e-6, atol=1e-8)
    assert accuracy == cross_entropy(rows, kernel, bias, labels)[1]


def cross_entropy(
    rows: np.ndarray, kernel: np.ndarray, bias: np.ndarray, labels: np.ndarray
) -> tuple[float, float]:
    """Its mean and the accuracy, over the rows that have a label."""
    scaled = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5)
    losses, hits = [], []
    for row, label in zip(scaled, labels, strict=True):
        if label >= 0:
            logits = row @ kernel + bias
            losses.append(np.log(np.sum(np.exp(logits))) - logits[label])
            hits.append(np.argmax(logits) == label)
    return np.mean(losses), np.mean(hits)


def test_a_batch_without_labels_changes_nothing_and_gives_numbers():
    params = {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}
    gradient, accuracy = probe.Probe(3).gradient(params, jnp.ones((5, 4)), jnp.full(5, -1))
    assert largest(gradient) == 0
    assert accuracy == 0


@pytest.mark.parametrize("width", [4, 512])
@pytest.mark.parametrize("scale", [1e-2, 1e4])
def test_it_learns_what_can_be_told_whatever_the_scale_and_the_width(width: int, scale: float):
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, width))
    labels = rng.integers(0, 3, 240)
    rows = jnp.asarray(scale * (centers[labels] + 0.3 * rng.normal(size=(240, width)) + 5))
    labels = jnp.asarray(labels)
    linear = probe.Probe(3)
    state = linear.init(width)
    accuracies = []
    for _ in range(40):
        gradient, accuracy = linear.gradient(state["params"], rows, labels)
        state = linear.update(state, gradient)
        accuracies.append(accuracy)
    assert accuracies[0] < 0.6
    assert accuracies[-1] > 0.95


def test_there_is_none_without_classes_to_tell_apart():
    assert probe.make_probe(0) is None
    assert probe.make_probe(1) is None
    assert probe.make_probe(2) == probe.Probe(2)
