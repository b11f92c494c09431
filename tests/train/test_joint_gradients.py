"""The one pass of the joint update against separate passes, in float64."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lens_jax.lens.unet import UNet
from lens_jax.models.network import Network
from lens_jax.models.resnet import BasicBlock, ResNet
from lens_jax.ops.color import random_flip
from lens_jax.recipes import base_config
from lens_jax.tasks.base import Task, Views
from lens_jax.tasks.exemplar import Exemplar
from lens_jax.tasks.jigsaw import Jigsaw
from lens_jax.tasks.rotation import Rotation
from lens_jax.train.state import TrainState
from lens_jax.train.step import Gradients, Keys, joint_gradients, plain_gradients, see
from lens_jax.train.system import Purpose, System

PENALTY = 7.0
IMAGES = 4
TASKS: dict[str, Task] = {
    "rotation": Rotation(),
    "jigsaw": Jigsaw(cell=5, patch=4, embedding=4, hidden=16, dropout=0.5, permutations=6, drawn=3),
    "exemplar": Exemplar(copies=2, size=8, embedding=4),
}


class Exact(NamedTuple):
    """A system that computes in float64, and all that it is given for a step."""

    system: System
    lens: ConfigDict
    state: TrainState
    images: jax.Array
    ask: Callable[[jax.Array], Views]
    keys: Keys


@pytest.fixture
def exact(x64) -> Callable[..., Exact]:
    """Makes a system with a lens away from the identity; the options are of the config's `lens`."""

    def make(task: str = "rotation", **options: Any) -> Exact:
        lens, rng = base_config("digits").lens, np.random.default_rng(0)
        lens.update(options)
        system = make_exact(TASKS[task], lens)
        images, keys = jnp.asarray(rng.uniform(-1, 1, (IMAGES, 16, 16, 3))), partial(key_for, 0)

        def ask(images: jax.Array) -> Views:
            augment = partial(random_flip, keys(Purpose.FLIP))
            return system.task.views(keys(Purpose.VIEWS), {"image": images}, augment)

        views = ask(images)
        network = jax.eval_shape(
            lambda: system.network.init(
                keys(Purpose.NETWORK), views.inputs, views.arrangement, False
            )
        )
        shapes = (
            network,
            jax.eval_shape(lambda: UNet((8,), 1, 2).init(keys(Purpose.LENS), views.inputs)),
        )
        (network, unet) = jax.tree.map(
            lambda p: jnp.asarray(rng.normal(scale=0.4, size=p.shape)), shapes
        )
        stats = jax.tree.map(jnp.abs, network["batch_stats"])
        if system.split:
            stats = {"lensed": stats, "raw": jax.tree.map(lambda x: x + 1, stats)}
        lens_params = unet["params"] if system.lens else {}
        state = TrainState(
            0, network["params"], stats, None, lens_params, None, jnp.float64(PENALTY), {}
        )
        return Exact(system, lens, state, images, ask, keys)

    return make


def key_for(seed: int, purpose: Purpose) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), purpose)


def make_exact(task: Task, lens: ConfigDict) -> System:
    extractor = ResNet((1,), BasicBlock, width=4, stem="patch", dtype=jnp.float64)
    unet = UNet((8,), 1, 2, jnp.float64) if lens.kind == "network" else None
    return System(
        task, Network(extractor, task.head(jnp.float64)), unet, lens.batch_norm == "split"
    )


def joint(exact: Exact, **state: Any) -> Gradients:
    gradients = partial(
        joint_gradients, exact.system, lens=exact.lens, ask=exact.ask, keys=exact.keys
    )
    run = jax.jit(lambda state, images: gradients(state=state, images=images))
    return run(exact.state.replace(**state), exact.images)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[jnp.arange(len(logits)), labels])


def pretext_loss(task: Task, outputs: jax.Array, targets: jax.Array) -> jax.Array:
    return (
        cross_entropy(outputs, targets)
        if task.has_classes
        else task.loss(outputs, targets, {}).value
    )


def adversarial_loss(name: str, task: Task, outputs: jax.Array, targets: jax.Array) -> jax.Array:
    if name == "full":
        return -pretext_loss(task, outputs, targets)
    if name == "least_likely":
        return cross_entropy(outputs, jnp.argmin(outputs, axis=-1))
    if name == "confusion":
        return jnp.mean(jax.nn.logsumexp(outputs, axis=-1) - jnp.mean(outputs, axis=-1))
    return jnp.zeros(())


def rows(tree: Any, start: int, stop: int) -> Any:
    """What belongs to the images from `start` to `stop`."""
    return jax.tree.map(lambda x: x[len(x) * start // IMAGES : len(x) * stop // IMAGES], tree)


def altered(exact: Exact) -> jax.Array:
    return exact.images if exact.lens.acts_on == "images" else exact.ask(exact.images).inputs


def shown(exact: Exact, changed: jax.Array) -> tuple[Views, Views]:
    """The lensed and the raw views where all that can be altered was changed to `changed`."""
    raw = exact.ask(exact.images)
    lensed = exact.ask(changed) if exact.lens.acts_on == "images" else raw._replace(inputs=changed)
    first, last = (round(exact.lens[name] * IMAGES) for name in ("lensed_fraction", "raw_fraction"))
    return rows(lensed, 0, first), rows(raw, IMAGES - last, IMAGES)


def apply(exact: Exact, params: Any, stats: Any, views: Views) -> tuple[jax.Array, Any]:
    rngs = {"dropout": exact.keys(Purpose.DROPOUT)}
    variables = {"params": params, "batch_stats": stats}
    found, updated = exact.system.network.apply(
        variables, views.inputs, views.arrangement, True, mutable=["batch_stats"], rngs=rngs
    )
    return found, updated["batch_stats"]


def outputs_of(
    exact: Exact, params: Any, lensed: Views, raw: Views
) -> tuple[jax.Array, jax.Array, Any]:
    stats = exact.state.batch_stats
    if exact.system.split:
        one, one_stats = apply(exact, params, stats["lensed"], lensed)
        other, other_stats = apply(exact, params, stats["raw"], raw)
        return one, other, {"lensed": one_stats, "raw": other_stats}
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), lensed, raw)
    found, stats = apply(exact, params, stats, both)
    return found[: len(lensed.targets)], found[len(lensed.targets) :], stats


def extractor_pass(exact: Exact, changed: jax.Array) -> tuple[Any, Any, dict]:
    """Gradient, statistics and metrics of the mean pretext loss, with what was changed held fixed."""
    task, (lensed, raw) = exact.system.task, shown(exact, changed)

    def loss(params: Any) -> tuple[jax.Array, Any]:
        on_lensed, on_raw, stats = outputs_of(exact, params, lensed, raw)
        value = pretext_loss(task, on_lensed, lensed.targets)
        metrics = named("lensed", task.loss(on_lensed, lensed.targets, {}).metrics)
        if len(raw.targets):
            value = (value + pretext_loss(task, on_raw, raw.targets)) / 2
            metrics |= named("raw", task.loss(on_raw, raw.targets, {}).metrics)
        return value, (stats, metrics | {"loss": value})

    grads, (stats, metrics) = jax.grad(loss, has_aux=True)(exact.state.params)
    return grads, stats, metrics


def named(kind: str, metrics: dict) -> dict:
    return {f"{name}_{kind}": value for name, value in metrics.items()}


def adversarial(exact: Exact, changed: jax.Array) -> jax.Array:
    lensed, raw = shown(exact, changed)
    found, _, _ = outputs_of(exact, exact.state.params, lensed, raw)
    return adversarial_loss(exact.lens.objective, exact.system.task, found, lensed.targets)


def adversarial_alone(exact: Exact, changed: jax.Array) -> jax.Array:
    """L_adv where the extractor is shown nothing raw."""
    stats = exact.state.batch_stats
    lensed, _ = shown(exact, changed)
    found, _ = apply(
        exact, exact.state.params, stats["lensed"] if exact.system.split else stats, lensed
    )
    return adversarial_loss(exact.lens.objective, exact.system.task, found, lensed.targets)


def squared_change(exact: Exact, changed: jax.Array) -> jax.Array:
    first = round(exact.lens.lensed_fraction * IMAGES)
    return jnp.mean(rows(changed - altered(exact), 0, first) ** 2)


def two_passes(exact: Exact) -> Gradients:
    """The gradients from a pass for the extractor and another for the lens, with all else held fixed."""

    def lens(lens_params: Any) -> jax.Array:
        return exact.system.lens.apply({"params": lens_params}, altered(exact))

    def lens_loss(lens_params: Any) -> tuple[jax.Array, Any]:
        changed = lens(lens_params)
        names = "lens_adversarial", "lens_reconstruction", "lens_penalty"
        values = adversarial(exact, changed), squared_change(exact, changed), jnp.float64(PENALTY)
        return values[0] + PENALTY * values[1], dict(zip(names, values, strict=True))

    @jax.jit
    def gradients() -> Gradients:
        grads, stats, metrics = extractor_pass(exact, lens(exact.state.lens_params))
        lens_grads, lens_metrics = jax.grad(lens_loss, has_aux=True)(exact.state.lens_params)
        return Gradients(grads, lens_grads, stats, {}, metrics | lens_metrics)

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


def random_signs_by_hand(exact: Exact, x: jax.Array) -> np.ndarray:
    signs = jax.random.rademacher(exact.keys(Purpose.ATTACK), x.shape, x.dtype)
    return np.clip(x + exact.lens.epsilon * signs, -1, 1)


def descent_by_hand(exact: Exact, start: jax.Array, size: float, steps: int) -> np.ndarray:
    """Steps of that size by the signs of the slope of L_adv, within epsilon and [-1, 1]."""
    slope, original = jax.jit(jax.grad(partial(adversarial_alone, exact))), altered(exact)
    first = len(start)
    x = np.concatenate([start, original[first:]])
    for _ in range(steps):
        x = x - size * np.sign(slope(jnp.asarray(x)))
        x = np.clip(x, original - exact.lens.epsilon, original + exact.lens.epsilon).clip(-1, 1)
    return x[:first]


def attacked_by_hand(exact: Exact) -> jax.Array:
    """All that can be altered, the first images perturbed."""
    lens, original = exact.lens, altered(exact)
    x = rows(original, 0, round(lens.lensed_fraction * IMAGES))
    if lens.kind == "random":
        changed = random_signs_by_hand(exact, x)
    elif lens.kind == "fgsm":
        changed = descent_by_hand(exact, x, lens.epsilon, 1)
    else:
        noise = jax.random.uniform(exact.keys(Purpose.ATTACK), x.shape, x.dtype, -1, 1)
        start = np.clip(x + lens.epsilon * noise, -1, 1)
        changed = descent_by_hand(
            exact, start, 2.5 * lens.epsilon / lens.attack_steps, lens.attack_steps
        )
    return jnp.concatenate([changed, original[len(x) :]])


@pytest.mark.parametrize(
    ("task", "lensed_fraction", "raw_fraction", "batch_norm", "objective", "acts_on"),
    [
        ("rotation", 1.0, 1.0, "joint", "full", "views"),
        ("rotation", 1.0, 1.0, "joint", "confusion", "images"),
        ("rotation", 1.0, 1.0, "split", "least_likely", "views"),
        ("rotation", 1.0, 0.0, "joint", "least_likely", "images"),
        ("rotation", 1.0, 0.0, "joint", "confusion", "views"),
        ("rotation", 0.5, 0.5, "joint", "confusion", "views"),
        ("rotation", 0.5, 0.5, "split", "full", "images"),
        ("rotation", 1.0, 0.5, "joint", "reconstruction", "views"),
        ("rotation", 1.0, 0.5, "split", "reconstruction", "images"),
        ("jigsaw", 1.0, 1.0, "joint", "confusion", "views"),
        ("jigsaw", 0.5, 0.5, "split", "least_likely", "images"),
        ("exemplar", 1.0, 0.5, "joint", "full", "images"),
        ("exemplar", 1.0, 1.0, "split", "full", "views"),
    ],
)
def test_one_pass_gives_the_gradients_of_two_separate_passes(
    exact, task, lensed_fraction, raw_fraction, batch_norm, objective, acts_on
):
    setting = exact(
        task,
        lensed_fraction=lensed_fraction,
        raw_fraction=raw_fraction,
        batch_norm=batch_norm,
        objective=objective,
        acts_on=acts_on,
    )
    found, expected = joint(setting), two_passes(setting)
    assert min(largest(found.params), largest(found.lens_params)) > 1e-3
    assert_close(found, expected)
    assert found.metrics["lens_reconstruction"] > 1e-3


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("random", {"raw_fraction": 0.5, "batch_norm": "split"}),
        ("random", {"acts_on": "images", "objective": "reconstruction"}),
        ("fgsm", {"objective": "least_likely"}),
        (
            "fgsm",
            {"objective": "full", "acts_on": "images", "lensed_fraction": 0.5, "raw_fraction": 0.5},
        ),
        ("pgd", {"objective": "full", "attack_steps": 3, "raw_fraction": 0.0}),
        ("pgd", {"objective": "confusion", "acts_on": "images", "batch_norm": "split"}),
    ],
)
def test_an_attack_gives_the_gradient_on_the_perturbed_inputs_held_fixed(
    exact, kind: str, options: dict
):
    setting = exact(kind=kind, epsilon=0.1, **options)
    found, changed = joint(setting), attacked_by_hand(setting)
    expected = jax.jit(partial(extractor_pass, setting))(changed)
    assert squared_change(setting, changed) > 1e-3
    assert_close(found.params, expected[0])
    assert_close(found.batch_stats, expected[1])
    reconstruction = {"lens_reconstruction": squared_change(setting, changed)}
    assert_close(found.metrics, expected[2] | reconstruction)
    assert found.lens_params == {}


def test_dropout_is_drawn_from_its_key(exact):
    setting = exact("jigsaw", objective="full")
    one, again, other = (joint(setting._replace(keys=partial(key_for, seed))) for seed in (0, 0, 1))
    assert_close(one, again, rtol=0)
    assert one.metrics["loss"] != other.metrics["loss"]


def twice(images: jax.Array) -> Views:
    return Views(jnp.repeat(images, 2, axis=0), jnp.arange(2 * len(images)))


@pytest.mark.parametrize(
    ("lensed_fraction", "raw_fraction", "lensed", "raw"),
    [
        (1.0, 1.0, {0, 1, 2, 3}, {0, 1, 2, 3}),
        (1.0, 0.0, {0, 1, 2, 3}, set()),
        (0.5, 0.5, {0, 1}, {2, 3}),
        (1.0, 0.5, {0, 1, 2, 3}, {2, 3}),
        (0.25, 0.75, {0}, {1, 2, 3}),
        (0.01, 1.0, {0}, {0, 1, 2, 3}),
    ],
)
@pytest.mark.parametrize("acts_on", ["views", "images"])
def test_the_first_images_are_altered_and_the_last_seen_as_they_are(
    acts_on: str, lensed_fraction: float, raw_fraction: float, lensed: set, raw: set
):
    lens = base_config("digits").lens
    lens.update(
        {"acts_on": acts_on, "lensed_fraction": lensed_fraction, "raw_fraction": raw_fraction}
    )
    numbered = np.arange(4.0).reshape(4, 1, 1, 1)
    seen = see(
        lens,
        jnp.asarray(numbered),
        lambda images: Views(jnp.repeat(images, 2, axis=0), jnp.arange(8)),
    )
    inputs = np.asarray(seen.show(seen.original + 10)).ravel() - 10
    assert set(inputs) == set(np.asarray(seen.original).ravel()) == lensed
    assert len(inputs) == len(seen.altered.targets) == 2 * len(lensed)
    assert set(np.asarray(seen.raw.inputs).ravel()) == raw
    assert (seen.images, len(seen.raw.targets)) == ((len(lensed), len(raw)), 2 * len(raw))


@pytest.mark.parametrize("raw_fraction", [0.0, 1.0])
def test_neither_penalty_nor_objective_reaches_the_extractor(exact, raw_fraction: float):
    one = joint(exact(objective="full", raw_fraction=raw_fraction), lens_penalty=0.0)
    other = joint(exact(objective="confusion", raw_fraction=raw_fraction), lens_penalty=1e3)
    assert_close(one.params, other.params, rtol=1e-12)
    assert_close(one.batch_stats, other.batch_stats, rtol=1e-12)
    assert largest(jax.tree.map(jnp.subtract, one.lens_params, other.lens_params)) > 1


def test_the_penalty_adds_that_many_times_the_gradient_of_the_mean_squared_change(exact):
    setting = exact(objective="confusion")
    original = altered(setting)

    @jax.jit
    @jax.grad
    def of_the_change(lens_params: Any) -> jax.Array:
        return jnp.mean(
            (setting.system.lens.apply({"params": lens_params}, original) - original) ** 2
        )

    without = joint(setting, lens_penalty=0.0).lens_params
    change = of_the_change(setting.state.lens_params)
    assert largest(change) > 1e-3
    for penalty in (1.0, 100.0):
        expected = jax.tree.map(lambda a, b, penalty=penalty: a + penalty * b, without, change)
        assert_close(joint(setting, lens_penalty=penalty).lens_params, expected)


def test_an_extractor_that_says_nothing_gives_the_lens_no_confusion_to_descend(exact):
    setting = exact(objective="confusion")
    params = setting.state.params
    params = params | {"head": jax.tree.map(jnp.zeros_like, params["head"])}
    found = joint(setting, params=params, lens_penalty=0.0)
    assert largest(found.lens_params) < 1e-12  # though the pretext loss itself has a slope
    assert largest(found.params) > 1e-3


def test_the_lens_has_a_gradient_at_every_third_step_only_and_then_the_usual_one(exact):
    always, seldom = exact(objective="full"), exact(objective="full", update_every=3)
    usual = joint(always)
    for step in range(5):
        found = joint(seldom, step=step)
        expected = (
            usual.lens_params if step % 3 == 0 else jax.tree.map(jnp.zeros_like, usual.lens_params)
        )
        assert_close(found.lens_params, expected, rtol=1e-12)
        assert_close(found.params, usual.params, rtol=1e-12)


def test_without_a_lens_the_gradient_is_that_of_the_loss_on_the_images(exact):
    setting = exact(kind="none", batch_norm="joint", lensed_fraction=1.0, raw_fraction=0.0)
    system, _, state, images, ask, keys = setting
    found = jax.jit(lambda s, x: plain_gradients(system, state=s, images=x, ask=ask, keys=keys))(
        state, images
    )
    grads, stats, metrics = jax.jit(partial(extractor_pass, setting))(altered(setting))
    assert_close(found.params, grads)
    assert_close(found.batch_stats, stats)
    assert_close(found.metrics["loss"], metrics["loss"])
    assert_close(found.metrics["accuracy_raw"], metrics["accuracy_lensed"])
    assert found.lens_params == {}
    assert found.metrics.keys() == {"loss", "accuracy_raw"}
