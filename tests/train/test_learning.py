"""Whether networks and lens learn what they are trained for, in their own architectures."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.ops import color
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
