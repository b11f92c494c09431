import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.tasks import TASKS, make_task
from lens_jax.tasks.base import Augment, Views, classification_loss
from lens_jax.tasks.exemplar import Exemplar
from lens_jax.tasks.jigsaw import Jigsaw
from lens_jax.tasks.relative_patch_location import RelativePatchLocation
from lens_jax.tasks.rotation import Rotation
from lens_jax.tasks.supervised import Supervised

SMALL = {
    "rotation": Rotation(),
    "exemplar": Exemplar(copies=3, size=4, embedding=6),
    "relative_patch_location": RelativePatchLocation(2, 1, embedding=5, hidden=8),
    "jigsaw": Jigsaw(2, 1, embedding=5, hidden=8, permutations=7, drawn=2),
    "supervised": Supervised(3),
}


def random_batch(count: int) -> dict[str, jax.Array]:
    images = np.random.default_rng(0).uniform(-1, 1, (count, 6, 6, 3)).astype(np.float32)
    return {"image": jnp.asarray(images), "label": jnp.arange(count) % 3}


def same(images: jax.Array) -> jax.Array:
    return images


def mirrored(images: jax.Array) -> jax.Array:
    return images[:, :, ::-1]


def views_of(
    name: str, key: jax.Array, batch: dict[str, jax.Array], augment: Augment | None
) -> Views:
    return jax.device_get(jax.jit(lambda batch: SMALL[name].views(key, batch, augment))(batch))


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
    views = Rotation(all_rotations=True).views(jax.random.key(0), batch, same)
    assert views.targets.tolist() == [0, 1, 2, 3] * 3
    for i, (view, turns) in enumerate(zip(views.inputs, views.targets, strict=True)):
        np.testing.assert_array_equal(view, np.rot90(batch["image"][i // 4], turns))


def test_random_rotations_cover_all_four_and_carry_their_labels():
    batch, task = random_batch(400), Rotation(all_rotations=False)
    views = jax.device_get(task.views(jax.random.key(0), batch, same))
    for image, view, turns in zip(
        jax.device_get(batch["image"]), views.inputs, views.targets, strict=True
    ):
        np.testing.assert_array_equal(view, np.rot90(image, turns))
    assert all(60 <= count <= 140 for count in np.bincount(views.targets, minlength=4))
    again, other = (task.views(jax.random.key(k), batch, same).targets for k in (0, 1))
    np.testing.assert_array_equal(again, views.targets)
    assert (other != views.targets).any()


@pytest.mark.parametrize("all_rotations", [True, False])
def test_in_evaluation_all_rotations_are_asked(all_rotations: bool):
    batch = random_batch(2)
    views = Rotation(all_rotations).views(jax.random.key(0), batch, None)
    expected = Rotation().views(jax.random.key(1), batch, same)
    np.testing.assert_array_equal(views.inputs, expected.inputs)
    np.testing.assert_array_equal(views.targets, expected.targets)


@pytest.mark.parametrize("augment", [same, mirrored, None])
def test_supervised_asks_for_the_labels_of_the_augmented_images(augment: Augment | None):
    batch = random_batch(5)
    views = Supervised(3).views(jax.random.key(0), batch, augment)
    expected = batch["image"][:, :, ::-1] if augment is mirrored else batch["image"]
    np.testing.assert_array_equal(views.inputs, expected)
    np.testing.assert_array_equal(views.targets, batch["label"])


@pytest.mark.parametrize("all_rotations", [True, False])
def test_images_are_augmented_before_they_are_turned(all_rotations: bool):
    batch, task = random_batch(3), Rotation(all_rotations)
    found = task.views(jax.random.key(0), batch, mirrored)
    turned = task.views(jax.random.key(0), batch | {"image": mirrored(batch["image"])}, same)
    jax.tree.map(np.testing.assert_array_equal, found, turned)
    plain = task.views(jax.random.key(0), batch, same)
    assert (found.inputs != plain.inputs).any()


@pytest.mark.parametrize(
    "name", [name for name in TASKS if name != "exemplar"]
)  # which blends pixels
def test_the_views_of_an_image_lie_side_by_side_and_are_augmented_once(name: str):
    batch, asked = random_batch(5), []

    def watched(images: jax.Array) -> jax.Array:
        asked.append(images.shape)
        return mirrored(images)

    views = views_of(name, jax.random.key(0), batch, watched)
    assert len(asked) == 1
    assert all(len(leaf) % 5 == 0 for leaf in jax.tree.leaves(views))
    # The image of a view is told by its colors, as no two images share one.
    colors = [
        {tuple(pixel) for pixel in image.reshape(-1, 3)} for image in np.asarray(batch["image"])
    ]
    for i, view in enumerate(views.inputs):
        assert {tuple(pixel) for pixel in view.reshape(-1, 3)} <= colors[i * 5 // len(views.inputs)]


@pytest.mark.parametrize("name", TASKS)
def test_what_is_asked_about_an_image_in_evaluation_depends_on_it_alone(name: str):
    batch = random_batch(5)
    whole, again = (views_of(name, jax.random.key(k), batch, None) for k in (0, 1))
    first = views_of(name, jax.random.key(0), {key: x[:2] for key, x in batch.items()}, None)
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    jax.tree.map(
        lambda part, x: np.testing.assert_array_equal(part, x[: len(x) // 5 * 2]), first, whole
    )


@pytest.mark.parametrize("name", TASKS)
def test_the_crops_of_an_image_lie_side_by_side(name: str):
    images, cut = random_batch(5)["image"], jax.jit(SMALL[name].crops)
    crops, first = np.asarray(cut(images)), np.asarray(cut(images[:2]))
    assert len(crops) == (45 if name in ("jigsaw", "relative_patch_location") else 5)
    np.testing.assert_allclose(crops[: len(first)], first, rtol=0, atol=1e-6)
    if name in ("rotation", "supervised"):
        np.testing.assert_array_equal(crops, images)


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("rotation", 4),
        ("exemplar", 6),
        ("relative_patch_location", 8),
        ("jigsaw", 7),
        ("supervised", 3),
    ],
)
def test_every_task_has_a_head_that_answers_what_it_asks_and_a_loss_that_judges_it(
    name: str, outputs: int
):
    task, key = SMALL[name], jax.random.key(0)

    @jax.jit
    def judge(batch: dict[str, jax.Array]) -> tuple:
        views = task.views(key, batch, same)
        features = views.inputs.reshape(len(views.inputs), -1)
        found, _ = task.head(jnp.float32).init_with_output(
            key, features, views.arrangement, train=False
        )
        return (
            views.targets,
            found,
            task.loss(found, views.targets, {"kept": 1}),
            task.logits(found),
        )

    targets, found, loss, logits = judge(random_batch(4))
    assert found.shape == (len(targets), outputs)
    assert loss.value > 0
    assert 0 <= loss.metrics["accuracy"] <= 1
    assert loss.memory == {"kept": 1}
    assert task.has_classes == (logits is not None) == (name != "exemplar")
    if task.has_classes:
        np.testing.assert_array_equal(logits, found)
        np.testing.assert_allclose(
            loss.value, classification_loss(found, targets, None).value, rtol=1e-6
        )


def test_a_task_takes_its_options():
    options = {"cell": 4, "patch": 3, "jitter": False, "embedding": 5, "hidden": 6, "dropout": 0.1}
    assert make_task("rotation", {"all_rotations": False}, 0) == Rotation(all_rotations=False)
    assert make_task("exemplar", {"copies": 3, "size": 8}, 0) == Exemplar(copies=3, size=8)
    assert make_task("relative_patch_location", options, 0) == RelativePatchLocation(**options)
    more = options | {"permutations": 9, "drawn": 2}
    assert make_task("jigsaw", more, 0) == Jigsaw(**more)
    assert make_task("supervised", {}, 7) == Supervised(7)


def test_supervised_without_labels_is_refused():
    for classes in (0, 1):
        with pytest.raises(UserError, match="needs labels"):
            make_task("supervised", {}, classes)


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(
        UserError, match=r"'puzzle'.*rotation, exemplar, .*location, jigsaw, supervised"
    ):
        make_task("puzzle", {}, 4)
