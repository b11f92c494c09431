from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax.lens.adversary import OBJECTIVES, make_objective
from lens_jax.lens.unet import UNet
from lens_jax.models.network import Network
from lens_jax.models.resnet import BasicBlock, ResNet
from lens_jax.tasks.base import Views
from lens_jax.tasks.rotation import Rotation
from lens_jax.tasks.supervised import Supervised
from lens_jax.train.durations import Clock
from lens_jax.train.optimizers import extractor_optimizer, lens_optimizer
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.step import Gradients, joint_gradients, make_step, plain_gradients
from lens_jax.train.system import System, make_system

PENALTY = 7.0


@pytest.fixture(scope="module")
def exact() -> tuple[System, TrainState, Views]:
    """A system that computes in float64, with a lens away from the identity, and views for it."""
    with jax.enable_x64(True):
        task, rng = Rotation(), np.random.default_rng(0)
        extractor = ResNet((1,), BasicBlock, width=4, stem="patch", dtype=jnp.float64)
        system = System(task, Network(extractor, task.head(jnp.float64)), UNet((8,), 1, 2, jnp.float64))
        views = task.views(jax.random.key(0), {"image": jnp.asarray(rng.uniform(-1, 1, (4, 8, 8, 3)))}, True)
        variables = jax.eval_shape(partial(system.network.init, train=False), jax.random.key(0), views.inputs)
        lens = jax.eval_shape(system.lens.init, jax.random.key(0), views.inputs)
        drawn = jax.tree.map(lambda p: jnp.asarray(rng.normal(scale=0.4, size=p.shape)), (variables, lens))
        stats = jax.tree.map(jnp.abs, drawn[0]["batch_stats"])
        state = TrainState(0, drawn[0]["params"], stats, None, drawn[1]["params"], None, {})
        yield system, state, views


@partial(jax.jit, static_argnames=("system", "name", "raw_share"))
def joint_of(system: System, name: str, raw_share: float, penalty: float, state: TrainState, views: Views):
    objective = make_objective(name, has_classes=True)
    return joint_gradients(
        system, state=state, views=views, objective=objective, penalty=penalty, raw_share=raw_share
    )


def joint(exact: tuple, name: str, raw_share: float, penalty: float = PENALTY) -> Gradients:
    system, state, views = exact
    return joint_of(system, name, raw_share, penalty, state, views)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[jnp.arange(len(logits)), labels])


def adversarial_loss(name: str, logits: jax.Array, labels: jax.Array) -> jax.Array:
    if name == "full":
        return -cross_entropy(logits, labels)
    if name == "least_likely":
        return cross_entropy(logits, jnp.argmin(logits, axis=-1))
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - jnp.mean(logits, axis=-1))


def two_passes(exact: tuple, name: str, raw_share: float, penalty: float = PENALTY) -> Gradients:
    """The same gradients from a pass for the extractor and another for the lens, with all else held fixed."""
    system, state, (inputs, targets) = exact
    n = len(inputs)
    raw = round(raw_share * n)

    def lens(lens_params: Any) -> jax.Array:
        return system.lens.apply({"params": lens_params}, inputs)

    def outputs(params: Any, lensed: jax.Array) -> tuple[jax.Array, Any]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        seen = jnp.concatenate([lensed, inputs[:raw]])
        return system.network.apply(variables, seen, train=True, mutable=["batch_stats"])

    def extractor_loss(params: Any) -> tuple[jax.Array, Any]:
        found, updated = outputs(params, jax.lax.stop_gradient(lens(state.lens_params)))
        value = on_lensed = cross_entropy(found[:n], targets)
        metrics = {"accuracy_lensed": jnp.mean(jnp.argmax(found[:n], -1) == targets, dtype=float)}
        if raw:
            value = (on_lensed + cross_entropy(found[n:], targets[:raw])) / 2
            metrics["accuracy_raw"] = jnp.mean(jnp.argmax(found[n:], -1) == targets[:raw], dtype=float)
        return value, (updated["batch_stats"], metrics | {"loss": value})

    def lens_loss(lens_params: Any) -> tuple[jax.Array, Any]:
        lensed = lens(lens_params)
        found, _ = outputs(state.params, lensed)
        adversarial = adversarial_loss(name, found[:n], targets)
        reconstruction = jnp.sum((inputs - lensed) ** 2) / inputs.size
        metrics = {"lens_adversarial": adversarial, "lens_reconstruction": reconstruction}
        return adversarial + penalty * reconstruction, metrics

    @jax.jit
    def gradients() -> Gradients:
        grads, (batch_stats, metrics) = jax.grad(extractor_loss, has_aux=True)(state.params)
        lens_grads, lens_metrics = jax.grad(lens_loss, has_aux=True)(state.lens_params)
        return Gradients(grads, lens_grads, batch_stats, {}, metrics | lens_metrics)

    return gradients()


def assert_close(found: Any, expected: Any, rtol: float = 1e-9) -> None:
    """Relative to the largest number of each array."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype == np.float64, jax.tree_util.keystr(path)
        assert abs(a - b).max() <= rtol * abs(b).max() + 1e-13, jax.tree_util.keystr(path)


def largest(tree: Any) -> float:
    return max(float(abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("raw_share", [0, 0.5, 1])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_pass_gives_the_gradients_of_two_separate_passes(x64, exact, name: str, raw_share: float):
    found, expected = joint(exact, name, raw_share), two_passes(exact, name, raw_share)
    assert min(largest(found.params), largest(found.lens_params)) > 1e-3
    assert_close(found, expected)
    assert found.metrics["lens_reconstruction"] > 1e-3


@pytest.mark.parametrize("raw_share", [0, 1])
def test_neither_penalty_nor_objective_reaches_the_extractor(x64, exact, raw_share: float):
    one, other = joint(exact, "full", raw_share, 0.0), joint(exact, "confusion", raw_share, 1e3)
    assert_close(one.params, other.params, rtol=1e-12)
    assert_close(one.batch_stats, other.batch_stats, rtol=1e-12)
    assert largest(jax.tree.map(jnp.subtract, one.lens_params, other.lens_params)) > 1


def test_the_penalty_adds_that_many_times_the_gradient_of_the_mean_squared_change(x64, exact):
    system, state, views = exact

    @jax.jit
    @jax.grad
    def of_the_change(lens_params: Any) -> jax.Array:
        return jnp.mean((system.lens.apply({"params": lens_params}, views.inputs) - views.inputs) ** 2)

    without = joint(exact, "confusion", 1, 0.0).lens_params
    change = of_the_change(state.lens_params)
    assert largest(change) > 1e-3
    for penalty in (1.0, 100.0):
        expected = jax.tree.map(lambda a, b, penalty=penalty: a + penalty * b, without, change)
        assert_close(joint(exact, "confusion", 1, penalty).lens_params, expected)


def test_full_sends_the_lens_up_the_slope_that_the_extractor_descends_on_lensed_images(x64, exact):
    system, state, views = exact

    @jax.jit
    @jax.grad
    def on_lensed(lens_params: Any) -> jax.Array:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        lensed = system.lens.apply({"params": lens_params}, views.inputs)
        found, _ = system.network.apply(variables, lensed, train=True, mutable=["batch_stats"])
        return cross_entropy(found, views.targets)

    uphill = jax.tree.map(jnp.negative, on_lensed(state.lens_params))
    assert_close(joint(exact, "full", 0, 0.0).lens_params, uphill)


def test_an_extractor_that_says_nothing_gives_the_lens_no_confusion_to_descend(x64, exact):
    system, state, views = exact
    flat = state.replace(params=state.params | {"head": jax.tree.map(jnp.zeros_like, state.params["head"])})
    found = joint((system, flat, views), "confusion", 1, 0.0)
    assert largest(found.lens_params) < 1e-12  # though the pretext loss itself has a slope
    assert largest(found.params) > 1e-3


def test_without_a_lens_the_gradient_is_that_of_the_loss_on_the_images(x64, exact):
    system, state, views = exact

    def loss(params: Any) -> jax.Array:
        variables = {"params": params, "batch_stats": state.batch_stats}
        found, _ = system.network.apply(variables, views.inputs, train=True, mutable=["batch_stats"])
        return cross_entropy(found, views.targets)

    plain = state.replace(lens_params={})
    found = jax.jit(lambda s, v: plain_gradients(system._replace(lens=None), state=s, views=v))(plain, views)
    value, expected = jax.jit(jax.value_and_grad(loss))(state.params)
    assert_close(found.params, expected)
    assert_close(found.metrics["loss"], value)
    assert found.lens_params == {}
    assert found.metrics.keys() == {"loss", "accuracy_raw"}


def make(config, classes: int = 3) -> tuple[Callable, TrainState]:
    """The jitted step of a config, and its first state."""
    system, clock = make_system(config, classes), Clock(config.data.batch_size, 1000, 1000)
    both = extractor_optimizer(config, clock), lens_optimizer(config)
    state = jax.jit(lambda: init_state(config, system, *both))()
    return jax.jit(make_step(config, system, *both)), state


def random_batch(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return {"image": images, "label": rng.integers(0, 3, count).astype(np.int32)}


def coloured_batch(count: int, seed: int) -> dict[str, np.ndarray]:
    """Labels that the colour tells."""
    batch = random_batch(count, seed)
    batch["image"] //= 8
    batch["image"][np.arange(count), :, :, batch["label"]] += 200
    return batch


@pytest.fixture
def augmented(tiny_config) -> tuple[Callable, TrainState]:
    overrides = {"augment.flip": True, "augment.colour": True, "shortcut": "arrow", "lens.raw_share": 0.5}
    return make(tiny_config(overrides, {"name": "rotation", "all_rotations": False}))


def test_a_step_is_a_pure_function_of_state_and_batch_and_moves_all_of_the_state(augmented):
    step, first = augmented
    batch = random_batch(4)
    one, again = step(first, batch), step(first, batch)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    state, metrics = one
    assert [int(s.step) for s in (first, state, step(state, batch)[0])] == [0, 1, 2]
    assert jax.tree.structure(state) == jax.tree.structure(first)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), first
    )
    for part in ("params", "batch_stats", "opt_state", "lens_params", "lens_opt_state"):
        changed = [
            (a != b).any()
            for a, b in zip(*(jax.tree.leaves(getattr(s, part)) for s in (first, state)), strict=True)
        ]
        assert any(changed), part
    assert metrics.keys() == {
        "loss",
        "accuracy_lensed",
        "accuracy_raw",
        "lens_adversarial",
        "lens_reconstruction",
    }
    # The next step draws anew, from the same batch.
    assert step(first.replace(step=jnp.int32(1)), batch)[1]["loss"] != metrics["loss"]


def test_the_optimizers_get_the_gradients_and_the_states_that_belong_to_them(tiny_config):
    config = tiny_config({"optimizer.weight_decay": 0.1, "lens.learning_rate": 0.01})
    system, clock = make_system(config, 3), Clock(4, 1000, 1000)
    both = extractor_optimizer(config, clock), lens_optimizer(config)
    step, first = make(config)
    state, batch = first, random_batch(4)
    for _ in range(2):
        state, _ = step(state, batch)

    def by_hand(state: TrainState) -> TrainState:
        images = jnp.asarray(batch["image"], jnp.float32) / 127.5 - 1
        views = system.task.views(jax.random.key(0), {"image": images}, True)
        objective = make_objective(config.lens.objective, True)
        found = joint_gradients(
            system, state=state, views=views, objective=objective, penalty=100.0, raw_share=1.0
        )
        updates, opt_state = both[0].update(found.params, state.opt_state, state.params)
        moves, lens_opt_state = both[1].update(found.lens_params, state.lens_opt_state, state.lens_params)
        return state.replace(
            params=optax.apply_updates(state.params, updates),
            lens_params=optax.apply_updates(state.lens_params, moves),
            opt_state=opt_state,
            lens_opt_state=lens_opt_state,
            batch_stats=found.batch_stats,
            step=state.step + 1,
        )

    by_hand = jax.jit(by_hand)
    expected = by_hand(by_hand(first))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_another_seed_gives_other_networks(tiny_config):
    first, other = (make(tiny_config({"seed": seed, "lens.widths": (8,)}))[1] for seed in (0, 1))
    assert largest(jax.tree.map(jnp.subtract, first.params, other.params)) > 0.1
    assert largest(jax.tree.map(jnp.subtract, first.lens_params, other.lens_params)) > 0.1


@pytest.mark.parametrize("lens", [False, True])
def test_a_few_images_are_learnt_by_heart(tiny_config, lens: bool):
    overrides = {
        "data.batch_size": 16,
        "model.width": 8,
        "optimizer.learning_rate": 1.0,
        "lens.enabled": lens,
    }
    step, state = make(tiny_config(overrides))
    batch = random_batch(16)
    for _ in range(60):
        state, metrics = step(state, batch)
    assert metrics["accuracy_raw"] > 0.95
    assert metrics["loss"] < (1.0 if lens else 0.3)


@pytest.mark.parametrize("shuffled", [True, False])
def test_labels_are_learnt_only_where_they_belong_to_their_images(tiny_config, shuffled: bool):
    config = tiny_config({"data.batch_size": 48, "lens.enabled": False}, {"name": "supervised"})
    step, state = make(config)
    rng = np.random.default_rng(0)
    for number in range(60):
        batch = coloured_batch(48, seed=number % 4)
        labels = rng.permutation(batch["label"]) if shuffled else batch["label"]
        state, _ = step(state, batch | {"label": labels})
    held_out = coloured_batch(90, seed=99)
    network = Network(make_system(config, 3).network.extractor, Supervised(3).head(jnp.float32))
    logits = jax.jit(
        lambda s, x: network.apply({"params": s.params, "batch_stats": s.batch_stats}, x, False)
    )(state, jnp.asarray(held_out["image"], jnp.float32) / 127.5 - 1)
    sure = jax.nn.softmax(logits)[np.arange(90), held_out["label"]]
    if shuffled:
        assert sure.mean() == pytest.approx(1 / 3, abs=0.05)
    else:
        assert (jnp.argmax(logits, -1) == held_out["label"]).mean() > 0.95
        assert sure.mean() > 0.9
