import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.tasks import make_task
from lens_jax.tasks.base import classification_loss
from lens_jax.tasks.rotation import Rotation
from lens_jax.tasks.supervised import Supervised


def random_batch(count: int) -> dict[str, jax.Array]:
    images = np.random.default_rng(0).uniform(-1, 1, (count, 4, 4, 3)).astype(np.float32)
    return {"image": jnp.asarray(images), "label": jnp.arange(count) % 3}


def test_classification_is_judged_by_the_mean_cross_entropy_and_the_share_of_hits(x64):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(scale=3, size=(11, 4)), rng.integers(0, 4, 11)
    loss, hits = 0.0, 0
    for row, label in zip(logits, labels, strict=True):
        loss += (np.log(sum(np.exp(row))) - row[label]) / 11
        hits += max(range(4), key=lambda k: row[k]) == label
    found = classification_loss(jnp.asarray(logits), jnp.asarray(labels), {"kept": 1})
    np.testing.assert_allclose(found.value, loss, rtol=1e-12)
    np.testing.assert_allclose(found.metrics["accuracy"], hits / 11, rtol=1e-12)
    assert found.memory == {"kept": 1}


def test_cross_entropy_is_finite_for_very_sure_and_wrong_logits():
    found = classification_loss(jnp.array([[1e4, -1e4], [0.0, 0.0]]), jnp.array([1, 0]), None)
    np.testing.assert_allclose(found.value, (2e4 + np.log(2)) / 2, rtol=1e-6)


def test_all_rotations_come_image_by_image_with_their_labels():
    batch = random_batch(3)
    views = Rotation(all_rotations=True).views(jax.random.key(0), batch, train=True)
    assert views.targets.tolist() == [0, 1, 2, 3] * 3
    for i, (view, turns) in enumerate(zip(views.inputs, views.targets, strict=True)):
        np.testing.assert_array_equal(view, np.rot90(batch["image"][i // 4], turns))


def test_random_rotations_cover_all_four_and_carry_their_labels():
    batch, task = random_batch(400), Rotation(all_rotations=False)
    views = jax.device_get(task.views(jax.random.key(0), batch, train=True))
    for image, view, turns in zip(jax.device_get(batch["image"]), *views, strict=True):
        np.testing.assert_array_equal(view, np.rot90(image, turns))
    assert all(60 <= count <= 140 for count in np.bincount(views.targets, minlength=4))
    again, other = (task.views(jax.random.key(k), batch, train=True).targets for k in (0, 1))
    np.testing.assert_array_equal(again, views.targets)
    assert (other != views.targets).any()


@pytest.mark.parametrize("all_rotations", [True, False])
def test_in_evaluation_all_rotations_are_asked(all_rotations: bool):
    batch = random_batch(2)
    views = Rotation(all_rotations).views(jax.random.key(0), batch, train=False)
    expected = Rotation().views(jax.random.key(1), batch, train=True)
    np.testing.assert_array_equal(views.inputs, expected.inputs)
    np.testing.assert_array_equal(views.targets, expected.targets)


@pytest.mark.parametrize("train", [True, False])
def test_supervised_asks_for_the_labels_of_the_images_as_they_are(train: bool):
    batch = random_batch(5)
    views = Supervised(3).views(jax.random.key(0), batch, train=train)
    np.testing.assert_array_equal(views.inputs, batch["image"])
    np.testing.assert_array_equal(views.targets, batch["label"])


@pytest.mark.parametrize(
    ("name", "options", "outputs"), [("rotation", {"all_rotations": False}, 4), ("supervised", {}, 7)]
)
def test_a_task_by_name_has_a_head_with_one_logit_a_class(name: str, options: dict, outputs: int):
    task = make_task(name, options, num_classes=7)
    features = jnp.ones((3, 5))
    logits, _ = task.head(jnp.float32).init_with_output(jax.random.key(0), features, train=True)
    assert logits.shape == (3, outputs)
    assert task.has_classes
    np.testing.assert_array_equal(task.logits(logits), logits)


def test_rotation_takes_its_options():
    assert make_task("rotation", {"all_rotations": False}, 0) == Rotation(all_rotations=False)


def test_supervised_without_labels_is_refused():
    for classes in (0, 1):
        with pytest.raises(UserError, match="needs labels"):
            make_task("supervised", {}, classes)


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"'jigsaw'.*rotation, supervised"):
        make_task("jigsaw", {}, 4)
