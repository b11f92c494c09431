"""Whether networks and lens learn what they are trained for, in their own architectures."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.ops import color
from lens_jax.tasks.base import DataFacts
from tests.train.tiny import Built, build, random_batch, with_own_networks


@pytest.fixture(scope="module")
def steered(tiny_config) -> Built:
    overrides = {
        "lens.budget": "target",
        "lens.target": 0.02,
        "lens.objective": "full",
        "lens.learning_rate": 1e-2,
        "lens.raw_fraction": 0.0,
        "lens.widths": (8,),
        "optimizer.learning_rate": 0.05,
    }
    return build(tiny_config(overrides, {"name": "supervised"}), with_own_networks)


@pytest.mark.parametrize(("start", "above"), [(0.1, True), (300.0, False)])
def test_a_steered_lens_comes_to_change_as_much_as_the_target(
    steered: Built, start: float, above: bool
):
    state = steered.init().replace(lens_penalty=jnp.float32(start))
    fractions = []
    for number in range(500):
        state, metrics = steered.step(state, random_batch(4, seed=number % 4))
        fractions.append(float(metrics["lens_reconstruction"]) / 0.02)
    assert np.mean(fractions[:50]) > 3 if above else np.mean(fractions[:50]) < 1 / 3
    assert 0.6 < np.mean(fractions[-50:]) < 1.6


@pytest.mark.parametrize(("kind", "most"), [("none", 0.3), ("network", 1.0), ("fgsm", 1.0)])
def test_a_network_overfits_a_few_images(tiny_config, kind: str, most: float):
    overrides = {
        "data.batch_size": 16,
        "model.width": 8,
        "optimizer.learning_rate": 1.0,
        "lens.kind": kind,
    }
    built = build(tiny_config(overrides), with_own_networks)
    state, batch = built.init(), random_batch(16)
    for _ in range(60):
        state, metrics = built.step(state, batch)
    assert metrics["accuracy_raw"] > 0.95
    assert metrics["loss"] < most


SMALL_PIRL = {
    "name": "pirl",
    **{"cell": 5, "patch": 4, "hidden": 32, "embedding": 16, "negatives": 64, "temperature": 0.2},
}


@pytest.mark.parametrize(("form", "learning_rate"), [("nce", 0.1), ("info_nce", 0.4)])
def test_pirl_learns_to_tell_a_few_images_apart_by_their_shuffled_patches(
    tiny_config, form: str, learning_rate: float
):
    """Sixteen images, of which other patches are drawn at each step."""
    overrides = {
        "data.batch_size": 16,
        "model.width": 8,
        "optimizer.learning_rate": learning_rate,
        "optimizer.warmup": "20 steps",
        "lens.kind": "none",
    }
    config = tiny_config(overrides, SMALL_PIRL | {"form": form})
    built = build(config, with_own_networks, DataFacts(3, 16))
    state, batch = built.init(), blocks(16)
    _, first = built.step(state, batch)
    for _ in range(200):
        state, metrics = built.step(state, batch)
    assert metrics["loss"] < 0.6 * first["loss"]
    assert first["accuracy_jigsaw_raw"] < 0.3
    assert metrics["accuracy_jigsaw_raw"] > 0.4
    assert metrics["accuracy_raw"] > 0.9


def test_barlow_twins_learns_embeddings_that_mirroring_does_not_change_and_that_are_not_alike(
    tiny_config,
):
    task = {"name": "barlow_twins", "hidden": 32, "embedding": 8, "off_diagonal": 0.1, "scale": 1.0}
    overrides = {
        "data.batch_size": 16,
        "model.width": 8,
        "optimizer.learning_rate": 0.1,
        "lens.kind": "none",
        "augment.flip": 0.5,
    }
    built = build(tiny_config(overrides, task), with_own_networks)
    state, batch = built.init(), blocks(16)
    _, first = built.step(state, batch)
    for _ in range(200):
        state, metrics = built.step(state, batch)
    assert first["invariance_raw"] < 0.9
    assert metrics["invariance_raw"] > 0.95
    assert metrics["redundancy_raw"] < 0.5 * first["redundancy_raw"]


def blocks(count: int) -> dict[str, np.ndarray]:
    """Images of 4x4 blocks, each of a random color."""
    batch = random_batch(count, side=4)
    enlarged = batch["image"].repeat(4, axis=1).repeat(4, axis=2)
    return batch | {"image": enlarged}


@pytest.fixture(scope="module")
def supervised(tiny_config) -> Built:
    config = tiny_config({"data.batch_size": 48, "lens.kind": "none"}, {"name": "supervised"})
    return build(config, with_own_networks)


@pytest.mark.parametrize("shuffled", [True, False])
def test_labels_are_learned_only_where_they_belong_to_their_images(
    supervised: Built, shuffled: bool
):
    state = supervised.init()
    rng = np.random.default_rng(0)
    for number in range(60):
        batch = colored_batch(48, seed=number % 4)
        labels = rng.permutation(batch["label"]) if shuffled else batch["label"]
        state, _ = supervised.step(state, batch | {"label": labels})

    held_out = colored_batch(90, seed=99)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    images = color.to_unit(jnp.asarray(held_out["image"]))
    evaluate = jax.jit(partial(supervised.system.network.apply, train=False))
    logits = evaluate(variables, images, None)
    probabilities = jax.nn.softmax(logits)[np.arange(90), held_out["label"]]
    if shuffled:
        assert probabilities.mean() == pytest.approx(1 / 3, abs=0.05)
    else:
        assert (jnp.argmax(logits, -1) == held_out["label"]).mean() > 0.95
        assert probabilities.mean() > 0.9


def colored_batch(count: int, seed: int) -> dict[str, np.ndarray]:
    """Images of one color each, which is their label."""
    batch = random_batch(count, seed)
    batch["image"] //= 8
    batch["image"][np.arange(count), :, :, batch["label"]] += 200
    return batch
