import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax import tasks
from lens_jax.errors import UserError
from lens_jax.models.heads import LinearHead
from lens_jax.ops import color
from lens_jax.tasks.base import Augment, Batch, Loss, Outputs, Target, Task, Views
from lens_jax.train.system import (
    Purpose,
    System,
    make_augment,
    make_key,
    make_system,
    make_views,
    prepare,
)
from tests.train.tiny import FACTS, TOTAL_STEPS, random_batch

WITHOUT_LOGITS = [
    {"name": "exemplar", "copies": 2, "embedding": 4},
    {"name": "barlow_twins", "hidden": 5, "embedding": 4},
    {"name": "byol", "hidden": 5, "embedding": 4},
]


@dataclasses.dataclass(frozen=True)
class Follower(Task):
    """Has a target network, and a head that gives it nothing to do."""

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        return Views(batch["image"])

    def head(self, dtype: Any) -> nn.Module:
        return LinearHead(2, dtype)

    def loss(self, outputs: Outputs, labels: Any, memory: Any) -> Loss:
        return Loss(jnp.mean((outputs.online - outputs.target) ** 2), {}, memory)

    def target(self, total_steps: int) -> Target:
        return Target((0,), optax.constant_schedule(0.9))


def test_a_target_network_needs_a_head_that_says_where_it_ends(tiny_config, monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "follower", Follower)
    config = tiny_config({"lens.kind": "none"}, {"name": "follower"})
    with pytest.raises(UserError, match=r"task 'follower' .* no method 'target'.*MLP") as caught:
        make_system(config, FACTS, TOTAL_STEPS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", WITHOUT_LOGITS, ids=lambda task: task["name"])
@pytest.mark.parametrize("objective", ["least_likely", "confusion"])
def test_objectives_that_need_logits_are_refused_for_tasks_without(
    tiny_config, task: dict[str, Any], objective: str
):
    with pytest.raises(UserError, match=f"'{objective}' needs a task that chooses.*: choose full"):
        make_system(tiny_config({"lens.objective": objective}, task), FACTS, TOTAL_STEPS)
    # Where nothing is minimized, no objective is in the way.
    make_system(
        tiny_config({"lens.objective": objective, "lens.kind": "random"}, task), FACTS, TOTAL_STEPS
    )


@pytest.mark.parametrize(
    ("task", "name", "value", "legal"),
    [
        ("simclr", "size", -1, "a number of pixels, or 0"),
        ("simclr", "hidden", 0, "at least 1"),
        ("simclr", "embedding", 0, "at least 1"),
        ("simclr", "temperature", 0.0, "greater than 0"),
        ("simclr", "temperature", float("nan"), "greater than 0"),
        ("moco", "size", -8, "a number of pixels, or 0"),
        ("moco", "hidden", -1, "at least 1"),
        ("moco", "embedding", 0, "at least 1"),
        ("moco", "temperature", -0.1, "greater than 0"),
        ("moco", "queue", 0, "at least 1"),
        ("moco", "momentum", 1.01, "between 0 and 1"),
        ("moco", "momentum", float("nan"), "between 0 and 1"),
        ("byol", "hidden", 0, "at least 1"),
        ("byol", "embedding", 0, "at least 1"),
        ("byol", "momentum", -0.1, "between 0 and 1"),
        ("exemplar", "copies", 1, "at least 2"),
        ("exemplar", "margin", 0.0, "greater than 0"),
    ],
)
def test_an_option_that_a_task_cannot_have_is_refused_before_anything_is_built(
    tiny_config, task: str, name: str, value: float, legal: str
):
    config = tiny_config({"lens.objective": "full"}, {"name": task, name: value})
    with pytest.raises(UserError) as caught:
        make_system(config, FACTS, TOTAL_STEPS)
    assert str(caught.value).startswith(f"task.{name} is {value!r}: it must be {legal}")
    assert "\n" not in str(caught.value)


def test_the_system_has_what_the_config_asks_for_and_nothing_else(tiny_config):
    plain = make_system(tiny_config({"lens.kind": "none"}), FACTS, TOTAL_STEPS)
    assert plain.lens_network is None
    assert plain.target is None
    byol = make_system(tiny_config({"lens.objective": "full"}, WITHOUT_LOGITS[-1]), FACTS, 10)
    assert byol.lens_network is not None
    assert byol.target.views == (0, 1)
    assert float(byol.target.momentum(10)) == pytest.approx(1)


def test_every_seed_step_and_purpose_has_a_key_of_its_own():
    keys = set()
    for seed in range(3):
        for step in range(3):
            for purpose in Purpose:
                key = make_key(seed, step, purpose)
                keys.add(tuple(np.asarray(jax.random.key_data(key)).tolist()))
    assert len(keys) == 9 * len(Purpose)


@pytest.fixture(scope="module")
def mirroring(tiny_config) -> System:
    """Mirrors each image or not; later views are always gray and never mirrored."""
    later = {"gray": 1.0, "flip": 0.0}
    return make_system(tiny_config({"augment.flip": 0.5, "augment.later": later}), FACTS, 10)


def test_the_same_view_draws_alike_and_another_view_step_or_seed_anew(mirroring):
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (32, 8, 8, 3)))
    # Every view is drawn from the first settings here, so that only the draws can differ.
    system = mirroring._replace(augmentations=mirroring.augmentations[:1])

    def drawn(seed: int, step: int, view: int) -> np.ndarray:
        augment = make_augment(system, seed, step)
        return np.asarray(augment(images, view=view).images)

    first = drawn(0, 0, 0)
    np.testing.assert_array_equal(drawn(0, 0, 0), first)
    for other in (drawn(0, 0, 1), drawn(0, 1, 0), drawn(1, 0, 0)):
        assert (other != first).any()
        # Each image is mirrored or not, whichever of the draws it was.
        same = (other == first).all(axis=(1, 2, 3))
        mirrored = (other == first[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (same | mirrored).all()


def test_all_views_but_the_first_have_the_later_settings(mirroring):
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (32, 8, 8, 3)), jnp.float32)
    augment = make_augment(mirroring, 0, 0)
    first = np.asarray(augment(images, view=0).images)
    assert np.ptp(first, axis=-1).min() > 0
    mirrored = (first == np.asarray(images)[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 0 < mirrored.sum() < 32

    for view in (1, 2, 5):
        later = np.asarray(augment(images, view=view).images)
        assert np.ptp(later, axis=-1).max() < 1e-6
        assert abs(later[..., 0] - np.asarray(images).mean(axis=-1)).mean() < 0.3
        assert np.corrcoef(later[..., 0].ravel(), np.asarray(images).mean(-1).ravel())[0, 1] > 0.8


def test_views_are_a_function_of_seed_and_step(tiny_config):
    config = tiny_config({"augment.flip": 0.5}, {"name": "rotation", "all_rotations": False})
    system = make_system(config, FACTS, TOTAL_STEPS)
    batch = prepare(config, random_batch(16, side=8))
    first = make_views(system, batch, 0, 3)
    jax.tree.map(np.testing.assert_array_equal, make_views(system, batch, 0, 3), first)
    for seed, step in ((0, 4), (1, 3)):
        other = make_views(system, batch, seed, step)
        assert (other.labels != first.labels).any()


@pytest.mark.parametrize("shortcut", ["none", "arrow"])
def test_a_batch_is_prepared_by_scaling_and_by_the_shortcut_alone(tiny_config, shortcut: str):
    batch = random_batch(4)
    prepared = prepare(tiny_config({"shortcut": shortcut}), batch)
    changed = np.asarray(prepared["image"]) != np.asarray(color.to_unit(batch["image"]))
    assert changed.any() == (shortcut != "none")
    assert changed.mean() < 0.5
    np.testing.assert_array_equal(prepared["label"], batch["label"])
    np.testing.assert_array_equal(prepared["index"], batch["index"])


@pytest.mark.parametrize(
    ("base", "settings", "line"),
    [
        ("simclr", {}, "all of them are off"),
        ("simclr", {"augment.gray": 1.0}, "all of them are off"),
        ("rotation", {"augment.flip": 0.5}, "has the base 'Rotation'"),
    ],
)
def test_equimod_without_augmentations_or_two_views_is_refused_before_anything_is_built(
    tiny_config, base: str, settings: dict, line: str
):
    task = {"name": "equimod", "base": {"name": base}}
    config = tiny_config({"lens.objective": "full"} | settings, task)
    with pytest.raises(UserError, match=line) as refused:
        make_system(config, FACTS, TOTAL_STEPS)
    assert "\n" not in str(refused.value)


def test_the_moments_of_equimod_are_those_of_the_images_that_are_read(tiny_config):
    task = {"name": "equimod", "base": {"name": "simclr"}}
    settings = {"lens.objective": "full", "augment.area": (0.25, 0.25), "data.image_size": 16}
    system = make_system(tiny_config(settings, task), FACTS, TOTAL_STEPS)
    moments = system.task.moments
    # Top, left, height and width; a crop of a quarter of 16 px is 8 px high on average, or nearly.
    assert moments.columns == (0, 1, 2, 3)
    assert moments.mean[2] == pytest.approx(8, abs=0.1)
    assert moments.mean[0] == pytest.approx(4, abs=0.1)


TEXTURES = {
    "name": "moco",
    "hidden": 5,
    "embedding": 4,
    "queue": 9,
    "symmetric": False,
    "non_semantic": "texture",
}


def test_a_lens_on_images_would_not_see_their_textures(tiny_config):
    lens = {"lens.acts_on": "images", "lens.objective": "full"}
    with pytest.raises(UserError, match=r"lens.acts_on 'images': .*; set lens.acts_on=views"):
        make_system(tiny_config(lens, TEXTURES), FACTS, TOTAL_STEPS)
    make_system(tiny_config(lens | {"lens.acts_on": "views"}, TEXTURES), FACTS, TOTAL_STEPS)
    make_system(tiny_config(lens | {"lens.kind": "none"}, TEXTURES), FACTS, TOTAL_STEPS)


def test_textures_become_pixels_as_images_do_and_get_no_shortcut(tiny_config):
    config = tiny_config({"shortcut": "arrow", "lens.objective": "full"}, TEXTURES)
    batch = random_batch(3)
    batch["texture"] = batch["image"]
    prepared = prepare(config, batch)
    np.testing.assert_array_equal(prepared["texture"], color.to_unit(batch["image"]))
    assert (prepared["texture"] != prepared["image"]).any()
