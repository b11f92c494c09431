import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax import tasks
from lens_jax.errors import UserError
from lens_jax.models.equivariance import Equivariant
from lens_jax.models.heads import ImageAndPatches
from lens_jax.ops.augment import Augmented
from lens_jax.ops.moments import Moments
from lens_jax.tasks import TASKS, make_task
from lens_jax.tasks.barlow_twins import BarlowTwins
from lens_jax.tasks.base import Augment, Batch, DataFacts, Loss, Outputs, Task, Views
from lens_jax.tasks.byol import BYOL
from lens_jax.tasks.equimod import EquiMod
from lens_jax.tasks.exemplar import Exemplar
from lens_jax.tasks.jigsaw import Jigsaw
from lens_jax.tasks.moco import MoCo
from lens_jax.tasks.pirl import PIRL
from lens_jax.tasks.relative_patch_location import RelativePatchLocation
from lens_jax.tasks.rotation import Rotation
from lens_jax.tasks.simclr import SimCLR
from lens_jax.tasks.supervised import Supervised
from tests.tasks.samples import mirrored, random_batch, take_views, unchanged

# Tasks that are small enough for images of 6 px.
PATCHES = {
    "relative_patch_location": RelativePatchLocation(2, 1, embedding=5, hidden=8),
    "jigsaw": Jigsaw(2, 1, embedding=5, hidden=8, permutations=7, drawn=2),
}
TWO_VIEWS = {
    "simclr": SimCLR(hidden=8, embedding=5),
    "moco": MoCo(hidden=8, embedding=5, queue=9),
    "byol": BYOL(hidden=8, embedding=5),
    "barlow_twins": BarlowTwins(hidden=8, embedding=5),
    "equimod": EquiMod(
        SimCLR(hidden=8, embedding=5),
        Moments((0, 1), (2.0, 0.5), (1.0, 0.5)),
        hidden=8,
        embedding=6,
    ),
}
OTHERS = {
    "rotation": Rotation(),
    "exemplar": Exemplar(copies=3, size=4, embedding=6),
    "supervised": Supervised(3),
    "pirl": PIRL(100, cell=2, patch=2, hidden=8, embedding=5, negatives=9),
}
SMALL = PATCHES | TWO_VIEWS | OTHERS
FACTS = DataFacts(num_classes=7, size=100)

every_task = pytest.mark.parametrize("name", TASKS)


@partial(jax.jit, static_argnames=("name", "augment"))
def make_views(name: str, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
    return SMALL[name].views(key, batch, augment)


def views_of(name: str, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
    return jax.device_get(make_views(name, key, batch, augment))


def outputs_of(task: Task, views: Views) -> Outputs:
    """What untrained heads make of the pixels; the target network's is the same head."""
    key = jax.random.key(0)
    features = views.inputs.reshape(len(views.inputs), -1)
    if isinstance(task, PIRL):
        # The same features for an image and for nine patches of it.
        features = ImageAndPatches(features[0::2], jnp.repeat(features[1::2], 9, axis=0))
    head, target = task.head(jnp.float32), task.target(total_steps=10)
    online, variables = head.init_with_output(key, features, views.context, train=False)
    if target is None:
        return Outputs(online)
    projections = head.apply(variables, features, views.context, train=False, method="target")
    return Outputs(
        take_views(online, task.online_views, count=2),
        take_views(projections, target.views, count=2),
    )


def test_classification_loses_the_mean_cross_entropy_and_counts_hits(x64):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(scale=3, size=(11, 4)), rng.integers(0, 4, 11)
    losses, hits = [], []
    for row, label in zip(logits, labels, strict=True):
        losses.append(np.log(sum(np.exp(row))) - row[label])
        hits.append(max(range(4), key=row.__getitem__) == label)

    task, outputs = Supervised(4), Outputs(logits)
    found = jax.jit(task.loss)(outputs, labels, {"kept": 1})
    np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-12)
    np.testing.assert_allclose(found.metrics["accuracy"], np.mean(hits), rtol=1e-12)
    assert task.hits(outputs, labels).tolist() == hits
    assert found.memory == {"kept": 1}


def test_cross_entropy_is_finite_for_very_sure_and_wrong_logits():
    outputs = Outputs(jnp.array([[1e4, -1e4], [0.0, 0.0]]))
    found = jax.jit(Supervised(2).loss)(outputs, jnp.array([1, 0]), None)
    np.testing.assert_allclose(found.value, (2e4 + np.log(2)) / 2, rtol=1e-6)


def test_all_rotations_come_image_by_image_with_their_labels():
    batch = random_batch(3)
    views = views_of("rotation", jax.random.key(0), batch, unchanged)
    assert views.labels.tolist() == [0, 1, 2, 3] * 3
    for i, (view, turns) in enumerate(zip(views.inputs, views.labels, strict=True)):
        np.testing.assert_array_equal(view, np.rot90(batch["image"][i // 4], turns))


def test_random_rotations_cover_all_four_and_carry_their_labels():
    batch, task = random_batch(400), Rotation(all_rotations=False)
    images = jax.device_get(batch["image"])
    make = jax.jit(lambda key: task.views(key, batch, unchanged))
    views = jax.device_get(make(jax.random.key(0)))
    for image, view, turns in zip(images, views.inputs, views.labels, strict=True):
        np.testing.assert_array_equal(view, np.rot90(image, turns))
    for count in np.bincount(views.labels, minlength=4):
        assert 60 <= count <= 140

    np.testing.assert_array_equal(make(jax.random.key(0)).labels, views.labels)
    assert (make(jax.random.key(1)).labels != views.labels).any()


@pytest.mark.parametrize("all_rotations", [True, False])
def test_in_evaluation_all_rotations_are_seen(all_rotations: bool):
    batch = random_batch(2)
    views = Rotation(all_rotations).views(jax.random.key(0), batch, None)
    expected = Rotation().views(jax.random.key(1), batch, unchanged)
    np.testing.assert_array_equal(views.inputs, expected.inputs)
    np.testing.assert_array_equal(views.labels, expected.labels)


@pytest.mark.parametrize("augment", [unchanged, mirrored, None])
def test_supervised_labels_are_those_of_the_augmented_images(augment: Augment | None):
    batch = random_batch(5)
    views = Supervised(3).views(jax.random.key(0), batch, augment)
    expected = batch["image"][:, :, ::-1] if augment is mirrored else batch["image"]
    np.testing.assert_array_equal(views.inputs, expected)
    np.testing.assert_array_equal(views.labels, batch["label"])


@pytest.mark.parametrize("all_rotations", [True, False])
def test_images_are_augmented_before_they_are_turned(all_rotations: bool):
    batch, task = random_batch(3), Rotation(all_rotations)
    mirrored_batch = batch | {"image": batch["image"][:, :, ::-1]}
    found = task.views(jax.random.key(0), batch, mirrored)
    turned = task.views(jax.random.key(0), mirrored_batch, unchanged)
    plain = task.views(jax.random.key(0), batch, unchanged)
    np.testing.assert_array_equal(found.inputs, turned.inputs)
    np.testing.assert_array_equal(found.labels, turned.labels)
    assert (found.inputs != plain.inputs).any()


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("exemplar", "pirl")])
def test_the_views_of_an_image_lie_side_by_side_and_are_augmented_once(name: str):
    batch, calls = random_batch(5), []

    def record(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
        calls.append(view)
        return mirrored(images, view, size)

    views = views_of(name, jax.random.key(0), batch, record)
    assert calls == ([0, 1] if name in TWO_VIEWS else [0])
    for array in jax.tree.leaves(views):
        assert len(array) % 5 == 0

    # No two images share a color, so that those of a view tell whose it is; crops of the exemplar
    # task and of PIRL would blend them.
    per_image = len(views.inputs) // 5
    for i, view in enumerate(views.inputs):
        image = np.asarray(batch["image"][i // per_image])
        assert colors(view) <= colors(image)


def colors(image: np.ndarray) -> set[tuple[float, ...]]:
    return {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}


@every_task
def test_the_views_of_an_image_in_evaluation_depend_on_it_alone(name: str):
    batch = random_batch(5)
    few = {key: array[:2] for key, array in batch.items()}
    every = views_of(name, jax.random.key(0), batch, None)
    again = views_of(name, jax.random.key(1), batch, None)
    first = views_of(name, jax.random.key(0), few, None)
    for array, other, some in zip(*map(jax.tree.leaves, (every, again, first)), strict=True):
        np.testing.assert_allclose(other, array, atol=1e-6)
        np.testing.assert_allclose(some, array[: len(array) // 5 * 2], atol=1e-6)


@every_task
def test_the_crops_of_an_image_lie_side_by_side(name: str):
    images, cut = random_batch(5)["image"], jax.jit(SMALL[name].crops)
    crops, first = np.asarray(cut(images)), np.asarray(cut(images[:2]))
    assert len(crops) == (45 if name in PATCHES else 5)
    np.testing.assert_allclose(crops[: len(first)], first, rtol=0, atol=1e-6)
    if name not in ("exemplar", *PATCHES):
        np.testing.assert_array_equal(crops, images)


@every_task
def test_views_other_than_patches_are_pictures_as_they_are(name: str):
    views = np.zeros((9, 2, 2, 3))
    tiled = SMALL[name].tile(views)
    assert tiled.shape == ((1, 6, 6, 3) if name in PATCHES else views.shape)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("rotation", (16, 4)),
        ("exemplar", (12, 6)),
        ("relative_patch_location", (32, 8)),
        ("jigsaw", (8, 7)),
        ("supervised", (4, 3)),
        ("simclr", (8, 5)),
        ("moco", (4, 5)),
        ("byol", (8, 5)),
        ("barlow_twins", (8, 5)),
        ("pirl", (8, 5)),
        ("equimod", Equivariant((8, 5), whole=(4, 6), views=(8, 6), predictions=(8, 6))),
    ],
)
def test_every_task_has_a_loss_of_what_its_head_puts_out(name: str, shape: tuple):
    task, key = SMALL[name], jax.random.key(0)

    @jax.jit
    def step(batch: Batch) -> tuple[Views, Outputs, Loss]:
        views = task.views(key, batch, unchanged)
        outputs = outputs_of(task, views)
        return views, outputs, task.loss(outputs, views.labels, task.memory(key))

    views, outputs, loss = step(random_batch(4))
    assert jax.tree.map(jnp.shape, outputs.online) == shape
    assert loss.value > 0
    for metric in loss.metrics.values():
        assert np.isfinite(metric)
    assert 0 <= loss.metrics.get("accuracy", 0) <= 1
    assert jax.tree.map(jnp.shape, loss.memory) == jax.tree.map(jnp.shape, task.memory(key))

    assert task.has_logits == (loss.logits is not None)
    hits = task.hits(outputs, views.labels)
    has_classes = name not in ("exemplar", "pirl", *TWO_VIEWS)
    assert (hits is not None) == has_classes
    if has_classes:
        np.testing.assert_array_equal(loss.logits, outputs.online)
        assert hits.shape == views.labels.shape == shape[:1]
        np.testing.assert_allclose(loss.metrics["accuracy"], np.mean(hits), rtol=1e-6)
        logits = np.asarray(outputs.online)
        normalizers = np.log(np.sum(np.exp(logits), axis=1))
        losses = normalizers - logits[np.arange(len(hits)), views.labels]
        np.testing.assert_allclose(loss.value, np.mean(losses), rtol=1e-5)


PATCH_OPTIONS = {"cell": 4, "patch": 3, "jitter": False, "embedding": 5, "hidden": 6}


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ({"name": "rotation", "all_rotations": False}, Rotation(all_rotations=False)),
        ({"name": "exemplar", "copies": 3, "size": 8}, Exemplar(copies=3, size=8)),
        (
            {"name": "relative_patch_location", "dropout": 0.1, **PATCH_OPTIONS},
            RelativePatchLocation(dropout=0.1, **PATCH_OPTIONS),
        ),
        (
            {"name": "jigsaw", "permutations": 9, "drawn": 2, **PATCH_OPTIONS},
            Jigsaw(permutations=9, drawn=2, **PATCH_OPTIONS),
        ),
        ({"name": "supervised"}, Supervised(7)),
        ({"name": "simclr", "size": 8, "temperature": 0.5}, SimCLR(size=8, temperature=0.5)),
        ({"name": "moco", "queue": 64}, MoCo(queue=64)),
        ({"name": "byol", "momentum": 0.99}, BYOL(momentum=0.99)),
        ({"name": "barlow_twins", "hidden": 8}, BarlowTwins(hidden=8)),
        ({"name": "pirl", "negatives": 9}, PIRL(100, negatives=9)),
    ],
)
def test_a_task_takes_its_options(options: dict, task: Task):
    copy = dict(options)
    assert make_task(options, FACTS) == task
    assert options == copy


def test_a_task_that_attaches_to_another_gets_it_made(monkeypatch: pytest.MonkeyPatch):
    @dataclasses.dataclass(frozen=True)
    class Attached(Task):
        base: Task
        weight: float = 1.0

    monkeypatch.setitem(tasks.TASKS, "attached", Attached)
    inner = {"name": "supervised"}
    outer = {"name": "attached", "base": {"name": "attached", "base": inner, "weight": 0.5}}
    expected = Attached(Attached(Supervised(7), weight=0.5))
    assert make_task(outer, FACTS) == expected


@pytest.mark.parametrize("classes", [0, 1])
def test_supervised_without_labels_is_refused(classes: int):
    with pytest.raises(UserError, match="needs labels"):
        make_task({"name": "supervised"}, DataFacts(classes, 100))


def test_an_unknown_task_is_refused_with_the_known_ones():
    known = r"'puzzle'.*rotation, exemplar, .*location, jigsaw, supervised, simclr, moco, byol"
    with pytest.raises(UserError, match=known):
        make_task({"name": "puzzle"}, FACTS)
