"""Attacks in place of the lens: the network's gradient on inputs perturbed by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.train.system import Purpose
from tests.train.reference import (
    Case,
    alterable,
    apply_by_kind,
    first_images,
    images_of,
    keys_of,
    network_pass,
    objective,
    squared_change,
    views_by_kind,
)
from tests.train.tiny import assert_close


@pytest.mark.parametrize(
    ("task", "kind", "options"),
    [
        ("rotation", "random", {"raw_fraction": 0.5, "batch_norm": "split"}),
        ("rotation", "random", {"acts_on": "images", "objective": "reconstruction"}),
        ("rotation", "fgsm", {"objective": "least_likely"}),
        ("rotation", "fgsm", {"acts_on": "images", "lensed_fraction": 0.5, "raw_fraction": 0.5}),
        ("rotation", "pgd", {"attack_steps": 3, "raw_fraction": 0.0}),
        ("rotation", "pgd", {"objective": "confusion", "acts_on": "images", "batch_norm": "split"}),
        ("moco", "pgd", {"attack_steps": 2, "raw_fraction": 0.5, "batch_norm": "split"}),
        ("byol", "fgsm", {"raw_fraction": 0.5}),
    ],
)
def test_an_attack_gives_the_gradient_on_the_perturbed_inputs_held_fixed(
    x64, exact, task: str, kind: str, options: dict
):
    case = exact(task, kind=kind, epsilon=0.1, **({"objective": "full"} | options))
    gradients, carried = case.compute(case.state)
    changed = attacked_by_hand(case)
    expected, expected_carried = jax.jit(partial(network_pass, case))(changed)

    assert squared_change(case, changed) > 1e-3
    assert_close(gradients.params, expected.params)
    assert_close(carried, expected_carried)
    reconstruction = {"lens_reconstruction": squared_change(case, changed)}
    assert_close(gradients.metrics, expected.metrics | reconstruction)
    assert gradients.lens_params == {}


def attacked_by_hand(case: Case) -> jax.Array:
    """All that can be altered, with what belongs to the first images perturbed."""
    lens, original = case.system.lens, alterable(case)
    x = images_of(original, 0, first_images(case))
    key = keys_of(0)(Purpose.ATTACK)
    if lens.kind == "random":
        signs = jax.random.rademacher(key, x.shape, x.dtype)
        changed = np.clip(x + lens.epsilon * signs, -1, 1)
    elif lens.kind == "fgsm":
        changed = descend(case, x, lens.epsilon, 1)
    else:
        noise = jax.random.uniform(key, x.shape, x.dtype, -1, 1)
        start = np.clip(x + lens.epsilon * noise, -1, 1)
        size = 2.5 * lens.epsilon / lens.attack_steps
        changed = descend(case, start, size, lens.attack_steps)
    return jnp.concatenate([changed, original[len(x) :]])


def descend(case: Case, start: jax.Array, size: float, steps: int) -> np.ndarray:
    """Steps of that size by the signs of the gradient of L_adv, within epsilon and [-1, 1]."""
    gradient = jax.jit(jax.grad(partial(lensed_alone, case)))
    original = alterable(case)
    low, high = original - case.system.lens.epsilon, original + case.system.lens.epsilon
    x = np.concatenate([start, original[len(start) :]])
    for _ in range(steps):
        x = x - size * np.sign(gradient(jnp.asarray(x)))
        x = np.clip(x, low, high).clip(-1, 1)
    return x[: len(start)]


def lensed_alone(case: Case, changed: jax.Array) -> jax.Array:
    """L_adv where the network sees nothing raw, and the target network's outputs are constants."""
    views = {"lensed": views_by_kind(case, changed)["lensed"]}
    state, system = case.state, case.system
    targets = {}
    if system.target is not None:
        variables = {"params": state.target_params, "batch_stats": state.target_stats}
        targets, _ = apply_by_kind(case, variables, views, system.target.views, "target")
        targets = jax.lax.stop_gradient(targets)

    variables = {"params": state.params, "batch_stats": state.batch_stats}
    outputs, _ = apply_by_kind(case, variables, views, system.task.online_views, "__call__")
    return objective(case, targets, outputs, views["lensed"])
