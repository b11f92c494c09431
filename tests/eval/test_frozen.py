from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.data.decode import decode
from lens_jax.errors import UserError
from lens_jax.eval.frozen import (
    Frozen,
    apply_head,
    apply_lens,
    load,
    make_lens_effect,
    pretext_accuracy,
)
from lens_jax.ops.shortcuts import inject
from lens_jax.tasks.base import Views
from lens_jax.tasks.permutations import spread_permutations
from lens_jax.workdir import checkpoints


def unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(127.5) - 1


def head_of(frozen: Frozen, lensed: bool = False) -> Callable[..., np.ndarray]:
    """The jitted function (inputs, arrangement) -> outputs of the head."""
    return jax.jit(lambda x, order=None: apply_head(frozen, Views(x, None, order), lensed=lensed))


def undecided(frozen: Frozen, images: np.ndarray, arrangement: np.ndarray | None = None) -> Frozen:
    """Sets the bias of the head so that it predicts about every class equally often."""
    logits = head_of(frozen)(images, arrangement)
    params = frozen.state.params
    head = params["head"]
    last = max(name for name in head if name.startswith("Dense"))
    bias = head[last]["bias"] - logits.mean(axis=0)
    head = head | {last: head[last] | {"bias": bias}}
    state = frozen.state.replace(params=params | {"head": head})
    return frozen._replace(state=state)


@pytest.mark.parametrize("shortcut", ["none", "arrow"])
def test_pretext_accuracy_is_the_fraction_of_hits_over_all_views_of_the_images_that_decode(
    make_frozen, colorful, shortcut: str
):
    broken = (2, 10)
    source = colorful(11, broken=broken)
    pixels = [unit(decode(source[i]["image"])) for i in range(11) if i not in broken]
    views = [np.rot90(x, turns) for x in pixels for turns in range(4)]
    frozen = undecided(make_frozen(), np.stack(views))
    outputs = head_of(frozen)
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
    # A constant answer would be right a quarter of the times, whatever the view.
    assert len(answers) >= 4
    found = pretext_accuracy(frozen, source, shortcut)
    assert found == {kind: pytest.approx(count / 36, abs=1e-12) for kind, count in hits.items()}


@pytest.mark.parametrize("kind", ["none", "pgd"])
def test_without_a_lens_there_is_no_lensed_accuracy(make_frozen, colorful, kind: str):
    frozen = make_frozen({"lens.kind": kind})
    assert pretext_accuracy(frozen, colorful(4), "none").keys() == {"raw"}


def test_supervised_accuracy_is_that_of_the_labels(make_frozen, colorful):
    source = colorful(270)
    frozen = make_frozen({"lens.kind": "none"}, {"name": "supervised"})
    images = np.stack([unit(decode(source[i]["image"])) for i in range(270)])
    frozen = undecided(frozen, images)
    logits = np.asarray(head_of(frozen)(images))
    hits = sum(int(np.argmax(row) == i % 3) for i, row in enumerate(logits))
    assert pretext_accuracy(frozen, source, "none") == {"raw": pytest.approx(hits / 270, abs=1e-12)}


def test_too_many_broken_images_are_refused(make_frozen, colorful):
    frozen = make_frozen({"data.max_skipped": 0.1})
    with pytest.raises(UserError, match="1 of 4 images did not decode"):
        pretext_accuracy(frozen, colorful(4, broken=(1,)), "none")


def nine(image: np.ndarray) -> np.ndarray:
    """The central patches of 4 px in cells of 5 px, of 15 of an image's 16 px."""
    corners = [(y, x) for y in (0, 5, 10) for x in (0, 5, 10)]
    return np.stack([image[y : y + 4, x : x + 4] for y, x in corners])


def patch_logits(
    frozen: Frozen, stats: dict, features: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """The logits of the patch head for nine patches' features in one order, place by place."""
    head, norm = frozen.state.params["head"], stats["head"]["BatchNorm_0"]
    hidden = np.zeros(norm["mean"].shape)
    for place, patch in enumerate(order):
        embedding = features[patch] @ head["Dense_0"]["kernel"] + head["Dense_0"]["bias"]
        hidden += embedding @ np.asarray(head["ArrangedDense_0"]["kernel"][place], np.float64)
    scale, bias = head["BatchNorm_0"]["scale"], head["BatchNorm_0"]["bias"]
    hidden = (hidden - norm["mean"]) / np.sqrt(norm["var"] + 1e-5) * scale + bias
    return np.maximum(hidden, 0) @ head["Dense_1"]["kernel"] + head["Dense_1"]["bias"]


@pytest.mark.parametrize(("acts_on", "batch_norm"), [("views", "joint"), ("images", "split")])
def test_the_accuracy_of_jigsaw_counts_every_order_of_the_images_that_decode(
    make_jigsaw, colorful, acts_on: str, batch_norm: str
):
    frozen = make_jigsaw({"lens.acts_on": acts_on, "lens.batch_norm": batch_norm})
    source, orders = colorful(11, broken=(2, 10)), spread_permutations(10)
    images = np.stack([unit(decode(source[i]["image"])) for i in range(11) if i not in (2, 10)])
    patches = np.concatenate([nine(image) for image in images])
    frozen = undecided(frozen, patches, np.stack([orders] * 9))
    lens = jax.jit(lambda x: apply_lens(frozen, x))
    if acts_on == "views":
        lensed = lens(patches)
    else:
        lensed = np.concatenate([nine(image) for image in np.asarray(lens(images))])
    hits, answers = {}, set()
    for kind, shown in {"raw": patches, "lensed": lensed}.items():
        stats = frozen.state.batch_stats
        stats = stats[kind] if batch_norm == "split" else stats
        variables = {"params": frozen.state.params, "batch_stats": stats}
        taps = jax.jit(lambda v, x: frozen.system.network.apply(v, x, train=False, method="taps"))
        features = np.asarray(taps(variables, shown)["pre_logits"], np.float64)
        hits[kind] = 0
        for i in range(9):
            of_image = features[9 * i : 9 * i + 9]
            for label, order in enumerate(orders):
                logits = patch_logits(frozen, stats, of_image, order)
                answer = int(np.argmax(logits))
                hits[kind] += answer == label
                answers.add((answer, label))
    assert len(answers) > 30  # constant answers would be ten
    accuracy = pretext_accuracy(frozen, source, "none")
    assert accuracy == {kind: pytest.approx(count / 90, abs=1e-12) for kind, count in hits.items()}


def test_a_task_without_classes_has_no_accuracy(make_frozen, colorful):
    task = {"name": "exemplar", "copies": 2, "size": 8, "embedding": 5, "margin": 0.5}
    frozen = make_frozen({"lens.objective": "full"}, task)
    assert pretext_accuracy(frozen, colorful(4), "arrow") == {}


@pytest.mark.parametrize("acts_on", ["views", "images"])
def test_the_lens_effect_on_patches_is_that_of_the_lens_before_or_after_the_cutting(
    make_jigsaw, acts_on: str
):
    frozen = make_jigsaw({"shortcut": "arrow", "lens.acts_on": acts_on})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    effect = make_lens_effect(frozen)(pixels)
    drawn = inject("arrow", jnp.asarray(unit(pixels)))
    images, masks = np.asarray(drawn.images), np.asarray(drawn.mask)
    patches = np.concatenate([nine(image) for image in images])
    lens = jax.jit(lambda x: apply_lens(frozen, x))
    expected = {
        "views": lambda: lens(patches),
        "images": lambda: np.concatenate([nine(image) for image in np.asarray(lens(images))]),
    }
    np.testing.assert_allclose(effect.inputs, patches, rtol=0, atol=1e-6)
    np.testing.assert_allclose(effect.lensed, expected[acts_on](), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(effect.mask, np.concatenate([nine(mask) for mask in masks]))
    assert abs(expected["views"]() - expected["images"]()).max() > 0.01


def test_the_lens_acts_on_the_crops_of_exemplar_and_the_mask_shrinks_with_them(make_frozen):
    task = {"name": "exemplar", "copies": 2, "size": 8, "embedding": 5, "margin": 0.5}
    frozen = make_frozen({"shortcut": "arrow", "lens.objective": "full"}, task)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    effect = make_lens_effect(frozen)(pixels)
    assert effect.inputs.shape == effect.lensed.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(
        effect.lensed, jax.jit(lambda x: apply_lens(frozen, x))(effect.inputs), rtol=0, atol=1e-4
    )
    rows, columns = np.nonzero(effect.mask[0])
    # The arrow lies in rows 5 to 11 and columns 3 to 7 of an image twice as large.
    assert 2 <= rows.min() <= rows.max() <= 6
    assert 1 <= columns.min() <= columns.max() <= 4


@pytest.mark.parametrize("lens", [True, False])
def test_the_lens_effect_shows_each_view_and_a_mask_that_turns_with_it(make_frozen, lens: bool):
    frozen = make_frozen({"shortcut": "arrow", "lens.kind": "network" if lens else "none"})
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
    expected = jax.jit(frozen.system.lens_network.apply)(
        {"params": frozen.state.lens_params}, effect.inputs
    )
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
        {"lens.batch_norm": "split"},
        {"lens.kind": "none"},
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
    for option, step in ((None, 12), (5, 5)):
        found, expected = load(str(tmp_path), option), make_frozen(overrides, step=step, total=20)
        assert found.step == step
        assert found.config == expected.config
        assert found.run["total_steps"] == 20
        assert found.system == expected.system
        jax.tree.map(np.testing.assert_array_equal, found.state.params, expected.state.params)
        jax.tree.map(
            np.testing.assert_array_equal, found.state.batch_stats, expected.state.batch_stats
        )
        jax.tree.map(
            np.testing.assert_array_equal, found.state.lens_params, expected.state.lens_params
        )


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint in .*train first"):
        load(str(tmp_path))
