"""Memory and statistics of the target network, kept apart by kind."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train.reference import Case, apply_lens, target_outputs, views_by_kind


@pytest.fixture(autouse=True, scope="module")
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def moco(exact, float64) -> Case:
    """MoCo with a lens that shifts its embeddings."""
    return exact("moco", objective="full", raw_fraction=1.0)


def test_the_queue_of_a_kind_receives_the_keys_of_that_kind_alone(moco):
    changed = apply_lens(moco, moco.state.lens_params)
    keys, _ = jax.jit(partial(target_outputs, moco))(changed)
    assert abs(keys["lensed"] - keys["raw"]).max() > 0.1

    _, carried = moco.compute(moco.state)
    for kind in ("lensed", "raw"):
        rows = np.asarray(keys[kind])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        queue = np.concatenate([rows / lengths, moco.state.memory[kind]])
        np.testing.assert_allclose(carried.memory[kind], queue[:9], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "other"), [("lensed", "raw"), ("raw", "lensed")])
def test_the_loss_of_a_kind_reads_its_own_queue_alone(moco, kind: str, other: str):
    def losses(memory: dict[str, Any]) -> dict[str, float]:
        gradients, _ = moco.compute(moco.state.replace(memory=memory))
        metrics = gradients.metrics
        # The lens's objective `full` is minus the lensed loss; the loss is the mean over kinds.
        lensed = -float(metrics["lens_adversarial"])
        return {"lensed": lensed, "raw": 2 * float(metrics["loss"]) - lensed}

    memory = moco.state.memory
    garbage = jnp.full_like(memory[other], 3.0)
    before, after = losses(memory), losses(memory | {other: garbage})
    assert after[kind] == pytest.approx(before[kind], rel=1e-12)
    assert abs(after[other] - before[other]) > 0.1


def test_a_queue_that_no_inputs_of_its_kind_reach_stays_as_it_was(exact):
    # A tenth of six images is none at all.
    case = exact("moco", objective="full", raw_fraction=0.05)
    _, carried = case.compute(case.state)
    np.testing.assert_array_equal(carried.memory["raw"], case.state.memory["raw"])
    assert (carried.memory["lensed"] != case.state.memory["lensed"]).any()


@pytest.mark.parametrize("batch_norm", ["joint", "split"])
def test_the_target_networks_statistics_follow_its_own_pass_with_its_own_parameters(
    exact, batch_norm: str
):
    case = exact("byol", objective="full", raw_fraction=0.5, batch_norm=batch_norm)
    _, carried = case.compute(case.state)
    views = views_by_kind(case, apply_lens(case, case.state.lens_params))
    inputs = {kind: np.asarray(each.inputs) for kind, each in views.items()}

    old, new = case.state.target_stats, carried.target_stats
    if batch_norm == "joint":
        everything = np.concatenate([inputs["lensed"], inputs["raw"]])
        inputs, old, new = {"all": everything}, {"all": old}, {"all": new}

    extractor = case.state.target_params["extractor"]
    for kind, images in inputs.items():
        before = old[kind]["extractor"]["BatchNorm_0"]
        found = new[kind]["extractor"]["BatchNorm_0"]
        x = dense_by_hand(extractor["Dense_0"], images)
        for name, of_batch in (("mean", x.mean(axis=0)), ("var", x.var(axis=0))):
            expected = 0.9 * before[name] + 0.1 * of_batch
            np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-12)

        # The target network stops at the projector: the predictor's statistics stay.
        old_head, new_head = old[kind]["head"], new[kind]["head"]
        jax.tree.map(np.testing.assert_array_equal, new_head["predictor"], old_head["predictor"])
        mean = new_head["projector"]["BatchNorm_0"]["mean"]
        assert (mean != old_head["projector"]["BatchNorm_0"]["mean"]).any()


def dense_by_hand(layer: dict[str, jax.Array], images: np.ndarray) -> np.ndarray:
    """A dense layer on all numbers of each image."""
    flat = images.reshape(len(images), -1)
    return flat @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
