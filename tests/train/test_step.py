from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax.errors import UserError
from lens_jax.ops import color
from lens_jax.tasks.base import Views
from lens_jax.train.gradients import compute_gradients
from lens_jax.train.state import TrainState
from lens_jax.train.system import make_key, make_system, make_views
from tests.train.tiny import (
    FACTS,
    TOTAL_STEPS,
    Built,
    assert_close,
    build,
    largest,
    random_batch,
    random_state,
    with_own_networks,
    with_tiny_networks,
)

TWO_VIEWS = {"hidden": 8, "embedding": 4}
PIRL = TWO_VIEWS | {"cell": 5, "patch": 4, "negatives": 16}
OF_EQUIMOD = {
    "invariance_loss",
    "equivariance_loss",
    "accuracy_equivariance",
    "absolute_equivariance",
    "relative_equivariance",
}
EVERY_METRIC = {"loss", "lens_adversarial", "lens_reconstruction", "lens_penalty"}


@pytest.mark.parametrize(
    ("task", "metrics", "parts"),
    [
        ({"name": "rotation", "all_rotations": False}, {"accuracy"}, ()),
        ({"name": "moco", "queue": 9, **TWO_VIEWS}, {"accuracy"}, ("target_params", "memory")),
        ({"name": "byol", **TWO_VIEWS}, {"cosine"}, ("target_params", "target_stats")),
        ({"name": "barlow_twins", **TWO_VIEWS}, {"invariance", "redundancy"}, ()),
        ({"name": "pirl", **PIRL}, {"accuracy", "accuracy_jigsaw"}, ("memory",)),
        (
            {"name": "equimod", "base": {"name": "byol", **TWO_VIEWS}, **TWO_VIEWS},
            {"cosine", *OF_EQUIMOD},
            ("target_params", "target_stats"),
        ),
    ],
)
def test_a_step_is_a_pure_function_of_state_and_batch_and_moves_all_of_the_state(
    tiny_config, task: dict, metrics: set[str], parts: tuple[str, ...]
):
    settings = {"augment.flip": 0.5, "augment.jitter": 0.8, "shortcut": "arrow"}
    lens = {"lens.raw_fraction": 0.5, "lens.objective": "full"}
    built, batch = build(tiny_config(settings | lens, task)), random_batch(4)
    first = built.init()
    one, again = built.step(first, batch), built.step(first, batch)
    jax.tree.map(np.testing.assert_array_equal, one, again)

    state, found = one
    later, _ = built.step(state, batch)
    assert (int(first.step), int(state.step), int(later.step)) == (0, 1, 2)
    assert shapes_of(state) == shapes_of(first)
    for part in ("params", "batch_stats", "opt_state", "lens_params", "lens_opt_state", *parts):
        assert differ(getattr(first, part), getattr(state, part)), part

    by_kind = {f"{name}_{kind}" for name in metrics for kind in ("lensed", "raw")}
    assert found.keys() == EVERY_METRIC | by_kind
    # The next step draws anew, from the same batch.
    _, redrawn = built.step(first.replace(step=jnp.int32(1)), batch)
    assert redrawn["loss"] != found["loss"]


def shapes_of(tree: Any) -> Any:
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def differ(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any((a != b).any() for a, b in pairs)


def test_the_optimizers_get_the_gradients_and_the_states_that_belong_to_them(tiny_config, x64):
    settings = {"optimizer.weight_decay": 0.1, "lens.learning_rate": 0.01, "dtype": "float64"}
    built, batch = build(tiny_config(settings)), random_batch(4)
    first = random_state(built)
    state = first
    for _ in range(2):
        state, _ = built.step(state, batch)

    by_hand = jax.jit(partial(step_by_hand, built, batch))
    assert_close(state, by_hand(by_hand(first)))


def step_by_hand(built: Built, batch: dict[str, np.ndarray], state: TrainState) -> TrainState:
    images = color.to_unit(jnp.asarray(batch["image"]))

    def views_of(images: jax.Array) -> Views:
        return make_views(built.system, {"image": images}, 0, state.step)

    keys = partial(make_key, 0, state.step)
    found, carried = compute_gradients(built.system, state, images, views_of, keys)

    optimizer, lens_optimizer = built.optimizers
    updates, opt_state = optimizer.update(found.params, state.opt_state, state.params)
    lens_updates, lens_opt_state = lens_optimizer.update(
        found.lens_params, state.lens_opt_state, state.lens_params
    )
    return state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        opt_state=opt_state,
        lens_params=optax.apply_updates(state.lens_params, lens_updates),
        lens_opt_state=lens_opt_state,
        batch_stats=carried.batch_stats,
    )


def test_updated_at_every_third_step_the_lens_moves_then_as_it_would_at_every_step(
    tiny_config, x64
):
    always, seldom = (
        build(tiny_config({"lens.update_every": every, "dtype": "float64"})) for every in (1, 3)
    )
    state = random_state(seldom)
    for number in range(7):
        batch = random_batch(4, seed=number)
        new, _ = seldom.step(state, batch)
        moments = state.lens_opt_state.inner_state
        usual, _ = always.step(state.replace(lens_opt_state=moments), batch)
        if number % 3 == 0:
            assert differ(new.lens_params, state.lens_params)
            assert_close(new.lens_opt_state.inner_state, usual.lens_opt_state)
            assert_close(new.lens_params, usual.lens_params)
        else:
            assert not differ(new.lens_params, state.lens_params)
            assert not differ(new.lens_opt_state.inner_state, moments)
        assert_close((new.params, new.batch_stats), (usual.params, usual.batch_stats))
        state = new
    assert int(state.lens_opt_state.inner_state[0].count) == 3


@pytest.mark.parametrize(
    ("budget", "first", "second"),
    [("penalty", 50.0, 50.0), ("bound", 0.0, 0.0), ("target", 50.0, 50 * np.exp(-0.02))],
)
def test_the_penalty_is_fixed_or_none_or_steered(
    tiny_config, budget: str, first: float, second: float
):
    settings = {"lens.budget": budget, "lens.lambda_": 50.0, "lens.update_every": 2}
    # The bound is the U-Net's own.
    networks = with_own_networks if budget == "bound" else with_tiny_networks
    built = build(tiny_config(settings | {"lens.widths": (8,)}), networks)
    state = built.init()
    for expected in (first, second):
        state, metrics = built.step(state, random_batch(4))
        np.testing.assert_allclose(metrics["lens_penalty"], expected, rtol=1e-6)
    if budget == "bound":
        # A mean square is at least a squared mean.
        assert metrics["lens_reconstruction"] > 0.9 * 0.05**2


@pytest.mark.parametrize("kind", ["network", "fgsm", "pgd"])
@pytest.mark.parametrize(
    "task",
    [
        {"name": "exemplar", "copies": 2, "embedding": 8},
        {"name": "barlow_twins", **TWO_VIEWS},
        {"name": "pirl", **PIRL},
    ],
    ids=lambda task: task["name"],
)
def test_an_objective_that_the_task_cannot_have_is_refused_before_a_step_is_made(
    tiny_config, kind: str, task: dict
):
    config = tiny_config({"lens.kind": kind, "lens.objective": "least_likely"}, task)
    with pytest.raises(UserError, match="'least_likely' needs a task that chooses") as caught:
        make_system(config, FACTS, TOTAL_STEPS)
    assert "choose full" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "task",
    [
        {"name": "exemplar", "copies": 2, "embedding": 8},
        {"name": "simclr", **TWO_VIEWS},
        {"name": "moco", "queue": 9, **TWO_VIEWS},
        {"name": "byol", **TWO_VIEWS},
        {"name": "barlow_twins", **TWO_VIEWS},
        {"name": "pirl", **PIRL},
    ],
    ids=lambda task: task["name"],
)
@pytest.mark.parametrize(
    "options",
    [{"lens.raw_fraction": 0.25}, {"lens.lensed_fraction": 0.25}, {"train.accumulate": 4}],
    ids=lambda options: next(iter(options)),
)
def test_images_without_others_to_compare_with_are_refused_before_a_step_is_taken(
    tiny_config, task: dict, options: dict
):
    built = build(tiny_config({"lens.objective": "full"} | options, task))
    name = task["name"]
    with pytest.raises(UserError, match=f"task '{name}' .*got 1: use at least 2 ") as caught:
        jax.eval_shape(built.step, jax.eval_shape(built.init), random_batch(4))
    for key in ("data.batch_size", *options):
        assert key in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_seed_gives_other_networks(tiny_config):
    first, other = (
        build(tiny_config({"seed": seed, "lens.widths": (8,)}), with_own_networks).init()
        for seed in (0, 1)
    )
    for name in ("params", "lens_params"):
        pair = (getattr(first, name), getattr(other, name))
        assert largest(jax.tree.map(jnp.subtract, *pair)) > 0.1


@pytest.mark.parametrize("kind", ["network", "pgd"])
def test_a_step_that_computes_units_again_is_the_same_step(kind: str, tiny_config, x64):
    overrides = {
        "dtype": "float64",
        "data.image_size": 8,
        "lens.kind": kind,
        "lens.attack_steps": 1,
        "lens.widths": (8,),
        "lens.blocks": 2,
    }
    once, again = (
        build(tiny_config(overrides | {"remat": remat}), with_own_networks)
        for remat in (False, True)
    )
    state = random_state(once)
    assert shapes_of(jax.eval_shape(again.init)) == shapes_of(jax.eval_shape(once.init))
    batch = random_batch(4, side=8)
    new, metrics = once.step(state, batch)
    new_again, metrics_again = again.step(state, batch)
    assert_close(new_again, new)
    assert_close(metrics_again["loss"], metrics["loss"])
    assert convolutions(again.step, state, batch) > convolutions(once.step, state, batch)


def convolutions(step: Callable, state: TrainState, batch: dict[str, np.ndarray]) -> int:
    return step.lower(state, batch).as_text().count("convolution")
