import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.data.decode import decode
from lens_jax.errors import UserError
from lens_jax.eval.frozen import Frozen, apply_lens, apply_network, load, make_lens_effect, pretext_accuracy
from lens_jax.ops.shortcuts import inject
from lens_jax.train import checkpoints


def unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(127.5) - 1


def undecided(frozen: Frozen, images: np.ndarray) -> Frozen:
    """Gives the head the bias at which it calls about every class equally often."""
    logits = jax.jit(lambda x: apply_network(frozen, x))(images)
    head = frozen.state.params["head"]["Dense_0"]
    head = {"head": {"Dense_0": head | {"bias": head["bias"] - logits.mean(axis=0)}}}
    return frozen._replace(state=frozen.state.replace(params=frozen.state.params | head))


@pytest.mark.parametrize("shortcut", ["none", "arrow"])
def test_pretext_accuracy_is_the_share_of_hits_over_all_views_of_the_images_that_decode(
    make_frozen, colourful, shortcut: str
):
    source, broken = colourful(11, broken=(2, 10)), (2, 10)
    pixels = [unit(decode(source[i]["image"])) for i in range(11) if i not in broken]
    frozen = make_frozen()
    views = [np.rot90(x, turns) for x in pixels for turns in range(4)]
    frozen = undecided(frozen, np.stack(views))
    outputs = jax.jit(lambda x: apply_network(frozen, x))
    lens = jax.jit(lambda x: apply_lens(frozen, x))
    hits, answers = {"raw": 0, "lensed": 0}, set()
    for image in pixels:
        drawn = np.asarray(inject(shortcut, jnp.asarray(image[None])).images[0])
        for turns in range(4):
            view = np.rot90(drawn, turns)[None]
            for kind, shown in (("raw", view), ("lensed", lens(view))):
                answer = int(np.argmax(outputs(shown)[0]))
                hits[kind] += answer == turns
                answers.add((kind, answer))
    assert len(answers) >= 4  # a constant answer would be right a quarter of the times, whatever was asked
    found = pretext_accuracy(frozen, source, shortcut)
    assert found == {kind: pytest.approx(count / 36, abs=1e-12) for kind, count in hits.items()}


def test_without_a_lens_there_is_no_lensed_accuracy(make_frozen, colourful):
    frozen = make_frozen({"lens.enabled": False})
    assert pretext_accuracy(frozen, colourful(4), "none").keys() == {"raw"}


def test_supervised_accuracy_is_that_of_the_labels(make_frozen, colourful):
    source = colourful(270)
    frozen = make_frozen({"lens.enabled": False}, {"name": "supervised"})
    images = np.stack([unit(decode(source[i]["image"])) for i in range(270)])
    frozen = undecided(frozen, images)
    logits = np.asarray(jax.jit(lambda x: apply_network(frozen, x))(images))
    hits = sum(int(np.argmax(row) == i % 3) for i, row in enumerate(logits))
    assert pretext_accuracy(frozen, source, "none") == {"raw": pytest.approx(hits / 270, abs=1e-12)}


def test_too_many_broken_images_are_refused(make_frozen, colourful):
    frozen = make_frozen({"data.max_skipped": 0.1})
    with pytest.raises(UserError, match="1 of 4 images did not decode"):
        pretext_accuracy(frozen, colourful(4, broken=(1,)), "none")


@pytest.mark.parametrize("lens", [True, False])
def test_the_lens_effect_shows_each_view_and_a_mask_that_turns_with_it(make_frozen, lens: bool):
    frozen = make_frozen({"shortcut": "arrow", "lens.enabled": lens})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    effect = make_lens_effect(frozen)(pixels)
    drawn = inject("arrow", jnp.asarray(unit(pixels)))
    assert drawn.mask.sum(axis=(1, 2)).tolist() == [13, 13]
    assert effect.inputs.shape == effect.lensed.shape == (8, 16, 16, 3)
    for i in range(2):
        for turns in range(4):
            place = 4 * i + turns
            np.testing.assert_allclose(
                effect.inputs[place], np.rot90(drawn.images[i], turns), rtol=0, atol=1e-6
            )
            np.testing.assert_array_equal(effect.mask[place], np.rot90(drawn.mask[i], turns))
    if not lens:
        np.testing.assert_array_equal(effect.lensed, effect.inputs)
        return
    expected = jax.jit(frozen.system.lens.apply)({"params": frozen.state.lens_params}, effect.inputs)
    np.testing.assert_allclose(effect.lensed, expected, rtol=0, atol=1e-4)
    assert abs(effect.lensed - effect.inputs).mean() > 0.01


def test_a_supervised_view_keeps_its_mask_upright(make_frozen):
    frozen = make_frozen({"shortcut": "arrow"}, {"name": "supervised"})
    pixels = np.full((1, 16, 16, 3), 250, np.uint8)
    effect = make_lens_effect(frozen)(pixels)
    np.testing.assert_array_equal(effect.mask, inject("arrow", jnp.asarray(unit(pixels))).mask)


def keep(frozen: Frozen, workdir) -> None:
    manager = checkpoints.open_checkpoints(str(workdir))
    checkpoints.save(manager, frozen.step, frozen.state, frozen.run)
    manager.close()


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"lens.enabled": False},
        {
            "optimizer.warmup": "10 percent",
            "optimizer.schedule": "step",
            "optimizer.decay_at": ("50 percent",),
        },
    ],
)
def test_a_checkpoint_is_read_back_with_its_config_whatever_its_durations(
    make_frozen, tmp_path, overrides: dict
):
    for step in (5, 12):
        keep(make_frozen(overrides, step=step, total=20), tmp_path)
    for asked, step in ((None, 12), (5, 5)):
        found, expected = load(str(tmp_path), asked), make_frozen(overrides, step=step, total=20)
        assert found.step == step
        assert found.config == expected.config
        assert found.run["total_steps"] == 20
        assert found.system == expected.system
        jax.tree.map(np.testing.assert_array_equal, found.state.params, expected.state.params)
        jax.tree.map(np.testing.assert_array_equal, found.state.batch_stats, expected.state.batch_stats)
        jax.tree.map(np.testing.assert_array_equal, found.state.lens_params, expected.state.lens_params)


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint in .*train first"):
        load(str(tmp_path))
