"""The one pass of the joint update against separate passes, in float64."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.lens.lens import Lens
from lens_jax.lens.unet import UNet
from lens_jax.models.network import Network
from lens_jax.models.resnet import BasicBlock, ResNet
from lens_jax.tasks.base import Views
from lens_jax.train.division import divide
from lens_jax.train.system import System
from tests.train.reference import (
    Case,
    alterable,
    apply_lens,
    make_case,
    network_pass,
    separate_passes,
)
from tests.train.tiny import assert_close, largest


@pytest.fixture(autouse=True, scope="module")
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def check_passes(case: Case) -> None:
    # Compiled together, which takes less time than one after the other.
    both = jax.jit(lambda state: (case.compute(state), separate_passes(case._replace(state=state))))
    (gradients, carried), expected = both(case.state)
    assert largest(gradients.params) > 1e-3
    assert largest(gradients.lens_params) > 1e-3
    assert gradients.metrics["lens_reconstruction"] > 1e-3
    assert_close((gradients, carried), expected)


# Every pair of two options that go together occurs.
@pytest.mark.parametrize(
    ("task", "lensed_fraction", "raw_fraction", "batch_norm", "objective", "acts_on"),
    [
        ("rotation", 1.0, 1.0, "joint", "full", "images"),
        ("rotation", 0.5, 0.5, "split", "confusion", "images"),
        ("rotation", 1.0, 0.0, "joint", "least_likely", "views"),
        ("rotation", 0.5, 1.0, "split", "reconstruction", "views"),
        ("rotation", 1.0, 0.0, "joint", "confusion", "views"),
        ("jigsaw", 1.0, 0.0, "joint", "full", "views"),
        ("jigsaw", 0.5, 1.0, "split", "least_likely", "images"),
        ("jigsaw", 0.5, 0.5, "split", "reconstruction", "images"),
        ("jigsaw", 1.0, 1.0, "joint", "confusion", "views"),
        ("jigsaw", 1.0, 0.5, "joint", "least_likely", "images"),
        ("exemplar", 1.0, 1.0, "split", "reconstruction", "views"),
        ("exemplar", 0.5, 0.5, "joint", "full", "images"),
        ("exemplar", 1.0, 0.0, "joint", "full", "views"),
        ("simclr", 0.5, 1.0, "joint", "full", "views"),
        ("simclr", 1.0, 0.5, "split", "full", "images"),
        ("simclr", 1.0, 0.0, "joint", "reconstruction", "images"),
        ("simclr", 1.0, 0.5, "joint", "confusion", "views"),
        ("simclr", 1.0, 0.0, "joint", "least_likely", "images"),
        ("moco", 0.5, 1.0, "split", "confusion", "views"),
        ("moco", 1.0, 0.0, "joint", "least_likely", "images"),
        ("moco", 1.0, 1.0, "split", "full", "images"),
        ("moco", 0.5, 0.5, "joint", "full", "views"),
        ("moco", 0.5, 0.0, "joint", "reconstruction", "images"),
        ("byol", 0.5, 1.0, "joint", "full", "images"),
        ("byol", 1.0, 0.5, "split", "full", "views"),
        ("byol", 1.0, 0.0, "joint", "reconstruction", "views"),
        ("barlow_twins", 0.5, 1.0, "split", "full", "views"),
        ("barlow_twins", 1.0, 0.5, "joint", "full", "images"),
        ("pirl", 0.5, 1.0, "split", "full", "images"),
        ("pirl", 1.0, 0.5, "joint", "full", "views"),
        ("equimod", 0.5, 1.0, "split", "full", "images"),
        ("equimod", 1.0, 0.5, "joint", "full", "views"),
    ],
)
def test_one_pass_gives_the_gradients_of_two_separate_passes(
    exact, task, lensed_fraction, raw_fraction, batch_norm, objective, acts_on
):
    case = exact(
        task,
        lensed_fraction=lensed_fraction,
        raw_fraction=raw_fraction,
        batch_norm=batch_norm,
        objective=objective,
        acts_on=acts_on,
    )
    check_passes(case)


def test_one_pass_through_residual_networks_gives_them_too(tiny_config):
    def convolutional(system: System, dtype: Any) -> System:
        extractor = ResNet((1,), BasicBlock, width=4, stem="patch", dtype=dtype)
        network = Network(extractor, system.network.head)
        return system._replace(network=network, lens_network=UNet((8,), 1, 2, dtype))

    overrides = {"dtype": "float64", "data.image_size": 10}
    check_passes(make_case(tiny_config(overrides), convolutional))


def test_dropout_is_drawn_from_its_key(exact):
    case = exact("jigsaw", objective="full")
    found = []
    for seed in (0, 0, 1):
        gradients, _ = case.compute(case.state, seed)
        found.append(gradients)
    one, again, other = found
    assert_close(one, again, rtol=0)
    assert one.metrics["loss"] != other.metrics["loss"]


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
    tiny_config,
    acts_on: str,
    lensed_fraction: float,
    raw_fraction: float,
    lensed: set[int],
    raw: set[int],
):
    settings = {
        "acts_on": acts_on,
        "lensed_fraction": lensed_fraction,
        "raw_fraction": raw_fraction,
    }
    lens = Lens(**tiny_config().lens.to_dict() | settings)

    def twice(images: jax.Array) -> Views:
        return Views(jnp.repeat(images, 2, axis=0), jnp.arange(8))

    numbered = jnp.arange(4.0).reshape(4, 1, 1, 1)
    division = divide(lens, numbered, twice)
    assert division.per_image == 2
    assert division.views.keys() == ({"lensed", "raw"} if raw else {"lensed"})

    inputs = np.asarray(division.to_inputs(division.original + 10)).ravel() - 10
    assert set(inputs) == set(np.asarray(division.original).ravel()) == lensed
    assert len(inputs) == len(division.views["lensed"].labels) == 2 * len(lensed)
    if raw:
        views = division.views["raw"]
        assert set(np.asarray(views.inputs).ravel()) == raw
        assert len(views.labels) == 2 * len(raw)


@pytest.mark.parametrize("raw_fraction", [0.0, 1.0])
def test_neither_penalty_nor_objective_reaches_the_network(exact, raw_fraction: float):
    full = exact(objective="full", raw_fraction=raw_fraction)
    confusion = exact(objective="confusion", raw_fraction=raw_fraction)
    one, one_carried = full.compute(penalized(full, 0.0))
    other, other_carried = confusion.compute(penalized(confusion, 1e3))
    assert_close(one.params, other.params, rtol=1e-12)
    assert_close(one_carried, other_carried, rtol=1e-12)
    difference = jax.tree.map(jnp.subtract, one.lens_params, other.lens_params)
    assert largest(difference) > 1


def penalized(case: Case, penalty: float) -> Any:
    """The state with another penalty."""
    return case.state.replace(lens_penalty=jnp.float64(penalty))


def test_the_penalty_adds_that_many_times_the_gradient_of_the_mean_squared_change(exact):
    case = exact(objective="confusion", raw_fraction=1.0)

    @jax.jit
    @jax.grad
    def change_gradient(lens_params: Any) -> jax.Array:
        return jnp.mean((apply_lens(case, lens_params) - alterable(case)) ** 2)

    def lens_gradient(penalty: float) -> Any:
        gradients, _ = case.compute(penalized(case, penalty))
        return gradients.lens_params

    without = lens_gradient(0.0)
    change = change_gradient(case.state.lens_params)
    assert largest(change) > 1e-3
    for penalty in (1.0, 100.0):
        expected = jax.tree.map(lambda a, b, penalty=penalty: a + penalty * b, without, change)
        assert_close(lens_gradient(penalty), expected)


def test_a_network_that_says_nothing_gives_the_lens_no_confusion_to_descend(exact):
    case = exact(objective="confusion", raw_fraction=1.0)
    params = case.state.params
    silent = params | {"head": jax.tree.map(jnp.zeros_like, params["head"])}
    gradients, _ = case.compute(penalized(case, 0.0).replace(params=silent))
    assert largest(gradients.lens_params) < 1e-12  # though the pretext loss itself has a gradient
    assert largest(gradients.params) > 1e-3


def test_the_lens_has_a_gradient_at_every_third_step_only_and_then_the_usual_one(exact):
    always = exact(objective="full", raw_fraction=1.0)
    seldom = exact(objective="full", raw_fraction=1.0, update_every=3)
    usual, _ = always.compute(always.state)
    zeros = jax.tree.map(jnp.zeros_like, usual.lens_params)
    for step in range(5):
        found, _ = seldom.compute(seldom.state.replace(step=jnp.int32(step)))
        expected = usual.lens_params if step % 3 == 0 else zeros
        assert_close(found.lens_params, expected, rtol=1e-12)
        assert_close(found.params, usual.params, rtol=1e-12)


@pytest.mark.parametrize("task", ["rotation", "moco"])
def test_without_a_lens_the_gradient_is_that_of_the_loss_on_the_images(exact, task: str):
    case = exact(task, kind="none", objective="full")
    found, carried = case.compute(case.state)
    expected, expected_carried = jax.jit(partial(network_pass, case))(alterable(case))
    assert_close(found, expected)
    assert_close(carried, expected_carried)
    assert found.metrics.keys() == {"loss", "accuracy_raw"}
