import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.losses.equivariance import absolute_equivariance, relative_equivariance
from lens_jax.models.equivariance import Equivariant, EquivariantHead
from lens_jax.ops.augment import Augmentation, Augmented
from lens_jax.ops.moments import Moments, measure_moments
from lens_jax.tasks import make_task
from lens_jax.tasks.barlow_twins import BarlowTwins
from lens_jax.tasks.base import DataFacts, Outputs, Target
from lens_jax.tasks.byol import BYOL
from lens_jax.tasks.equimod import EquiMod
from lens_jax.tasks.moco import MoCo
from lens_jax.tasks.simclr import SimCLR
from lens_jax.tasks.two_views import TwoViews
from tests.losses import references
from tests.losses.test_equivariance import reference
from tests.tasks.samples import located_batch, random_batch, unchanged

MOMENTS = Moments(columns=(0, 1), mean=(1.0, 0.5), deviation=(0.5, 2.0))
BASES = {
    "simclr": SimCLR(temperature=0.3),
    "byol": BYOL(),
    "barlow_twins": BarlowTwins(scale=0.5, off_diagonal=0.3),
    "moco": MoCo(queue=5),
    "moco, symmetric": MoCo(queue=5, symmetric=True),
}
FLIPS = DataFacts(7, 100, image_size=8, augmentations=(Augmentation(flip=0.5),))

every_base = pytest.mark.parametrize("base", BASES.values(), ids=BASES)


def brighter(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
    """Adds 100 times the number of the view, from 1 on, to all pixels."""
    augmented = unchanged(images, view, size)
    return augmented._replace(images=augmented.images + 100 * (1 + view))


def random_outputs(task: EquiMod, images: int = 4, length: int = 3) -> Outputs:
    """Of as many views as the networks see."""
    rng = np.random.default_rng(0)
    views = images * (len(task.online_views) - 1)
    base, of_views, predictions = rng.normal(size=(3, views, length))
    whole = rng.normal(size=(images, length))
    target = task.target(10)
    if target is not None:
        target = rng.normal(size=(images * len(target.views), length))
    return Outputs(Equivariant(base, whole, of_views, predictions), target)


def test_the_image_as_it_is_lies_beside_its_two_views():
    batch = located_batch(3)
    views = EquiMod(TwoViews(), MOMENTS).views(jax.random.key(0), batch, brighter)
    assert views.inputs.shape == (9, 12, 12, 3)
    np.testing.assert_array_equal(views.inputs[0::3], batch["image"] + 100)
    np.testing.assert_array_equal(views.inputs[1::3], batch["image"] + 200)
    np.testing.assert_array_equal(views.inputs[2::3], batch["image"])


def test_the_parameters_of_both_views_are_standardized():
    """What is drawn is (image, view), with means (1, 0.5) and standard deviations (0.5, 2)."""
    views = EquiMod(TwoViews(), MOMENTS).views(jax.random.key(0), located_batch(3), unchanged)
    assert views.context[0::3].tolist() == [[-2, -0.25], [0, -0.25], [2, -0.25]]
    assert views.context[1::3].tolist() == [[-2, 0.25], [0, 0.25], [2, 0.25]]


def test_the_image_comes_in_the_size_of_the_views():
    task = EquiMod(TwoViews(size=5), MOMENTS)
    batch = random_batch(2)
    views = task.views(jax.random.key(0), batch, unchanged)
    assert views.inputs.shape == (6, 5, 5, 3)
    np.testing.assert_array_equal(views.inputs[2::3], task.crops(batch["image"]))


def test_in_evaluation_there_are_the_views_of_the_base_method():
    task, batch = EquiMod(TwoViews(size=5), MOMENTS), random_batch(3)
    found = task.views(jax.random.key(0), batch, None)
    expected = task.base.views(jax.random.key(0), batch, None)
    np.testing.assert_array_equal(found.inputs, expected.inputs)
    assert found.context is found.labels is None


@pytest.mark.parametrize(
    ("base", "online", "target"),
    [
        ("simclr", (0, 1, 2), None),
        ("byol", (0, 1, 2), (0, 1)),
        ("barlow_twins", (0, 1, 2), None),
        ("moco", (0, 2), (1,)),
        ("moco, symmetric", (0, 1, 2), (0, 1)),
    ],
)
def test_the_network_sees_the_image_and_the_target_network_does_not(base, online, target):
    task = EquiMod(BASES[base], MOMENTS)
    assert task.online_views == online
    found = task.target(10)
    assert (found and found.views) == target
    head = task.head(jnp.float32)
    assert isinstance(head, EquivariantHead)
    assert head.views == len(online) - 1
    assert (found is None) == (BASES[base].target(10) is None)


def test_the_target_network_and_the_memory_are_those_of_the_base_method():
    moco = EquiMod(BASES["moco"], MOMENTS)
    found, expected = moco.target(10), moco.base.target(10)
    assert isinstance(found, Target)
    assert found.momentum(3) == expected.momentum(3) == 0.999
    key = jax.random.key(0)
    np.testing.assert_array_equal(moco.memory(key), moco.base.memory(key))


@every_base
@pytest.mark.parametrize("siblings", [True, False])
def test_the_loss_is_that_of_the_base_method_and_that_of_the_predictions(
    x64, base: TwoViews, siblings: bool
):
    task = EquiMod(base, MOMENTS, weight=0.7, temperature=0.4, siblings=siblings)
    outputs = random_outputs(task)
    memory = references.unit_rows(np.random.default_rng(1).normal(size=(5, 3)))
    found = jax.jit(task.loss)(outputs, None, memory)
    own = jax.jit(base.loss)(Outputs(outputs.online.base, outputs.target), None, memory)

    per_image = len(task.online_views) - 1
    _, whole, views, predictions = outputs.online
    losses, hits = reference(views, predictions, 0.4, per_image, siblings)
    np.testing.assert_allclose(found.value, own.value + 0.7 * np.mean(losses), rtol=1e-10)
    np.testing.assert_allclose(found.metrics["invariance_loss"], own.value, rtol=1e-12)
    np.testing.assert_allclose(found.metrics["equivariance_loss"], np.mean(losses), rtol=1e-10)
    assert found.metrics["accuracy_equivariance"] == np.mean(hits)
    np.testing.assert_array_equal(found.memory, own.memory)
    for name, value in own.metrics.items():
        np.testing.assert_allclose(found.metrics[name], value, rtol=1e-12)

    # The two metrics, one view after the other.
    absolute, relative = [], []
    for place, (view, prediction) in enumerate(zip(views, predictions, strict=True)):
        image = whole[place // per_image]
        near, far = references.cosine(view, prediction), references.cosine(view, image)
        absolute.append(near - far)
        relative.append((1 - far) / (1 - near))
    np.testing.assert_allclose(found.metrics["absolute_equivariance"], np.mean(absolute))
    np.testing.assert_allclose(found.metrics["relative_equivariance"], np.mean(relative))


@every_base
def test_numbers_of_validation_are_means_over_the_views_of_each_image(x64, base: TwoViews):
    task = EquiMod(base, MOMENTS)
    assert task.validates
    outputs = random_outputs(task)
    _, whole, views, predictions = outputs.online
    found = task.validate(Outputs(outputs.online))
    assert found.keys() == {"absolute_equivariance", "relative_equivariance"}
    per_image = len(views) // 4
    for image in range(4):
        rows = slice(per_image * image, per_image * (image + 1))
        several = np.repeat(whole[image : image + 1], per_image, axis=0)
        expected = absolute_equivariance(several, views[rows], predictions[rows]).mean()
        np.testing.assert_allclose(found["absolute_equivariance"][image], expected)
        expected = relative_equivariance(several, views[rows], predictions[rows]).mean()
        np.testing.assert_allclose(found["relative_equivariance"][image], expected)


@every_base
def test_the_embeddings_that_are_watched_are_those_of_the_base_method(base: TwoViews):
    outputs = random_outputs(EquiMod(base, MOMENTS))
    found = EquiMod(base, MOMENTS).embeddings(outputs)
    expected = base.embeddings(Outputs(outputs.online.base, outputs.target))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_with_weight_zero_the_loss_is_that_of_the_base_method(x64):
    task = EquiMod(BASES["simclr"], MOMENTS, weight=0.0)
    outputs = random_outputs(task)
    expected = task.base.loss(Outputs(outputs.online.base), None, ()).value
    np.testing.assert_allclose(task.loss(outputs, None, ()).value, expected, rtol=1e-6)


def test_it_is_made_with_its_base_and_the_moments_of_the_augmentations():
    options = {"name": "equimod", "weight": 2.0, "base": {"name": "simclr", "temperature": 0.5}}
    found = make_task(options, FLIPS)
    assert found == EquiMod(
        SimCLR(temperature=0.5), measure_moments(FLIPS.augmentations, 8), weight=2.0
    )
    assert found.moments.columns == (4,)


def test_the_defaults_are_those_of_the_authors():
    task = EquiMod(SimCLR(), MOMENTS)
    options = (task.weight, task.temperature, task.siblings)
    widths = (task.hidden, task.embedding, task.parameters)
    assert (options, widths) == ((1.0, 0.2, True), (2048, 128, 128))


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ({}, "none"),
        ({"base": {"name": "rotation"}}, "'Rotation'"),
        ({"base": {"name": "pirl"}}, "'PIRL'"),
    ],
)
def test_a_base_without_two_views_is_refused(base: dict, name: str):
    with pytest.raises(UserError) as refused:
        make_task({"name": "equimod"} | base, FLIPS)
    line = (
        f"task 'equimod' has the base {name}: it must be a method that compares two views, one of "
        "simclr, moco, byol, barlow_twins"
    )
    assert str(refused.value) == line


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(gray=1.0, solarize=1.0)])
def test_augmentations_without_parameters_are_refused(augmentation: Augmentation):
    facts = FLIPS._replace(augmentations=(augmentation, augmentation))
    with pytest.raises(
        UserError, match=r"all of them are off: turn one on, such as augment\.flip=0\.5"
    ):
        make_task({"name": "equimod", "base": {"name": "byol"}}, facts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "task.weight is -1.0: it must be at least 0"),
        ({"weight": float("nan")}, "task.weight is nan: "),
        ({"temperature": 0.0}, "task.temperature is 0.0: it must be greater than 0"),
        ({"hidden": 0}, "task.hidden is 0: it must be at least 1"),
        ({"embedding": 0}, "task.embedding is 0: it must be at least 1"),
        ({"parameters": 0}, "task.parameters is 0: it must be at least 1"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(EquiMod(SimCLR(), MOMENTS), **options)


@pytest.mark.parametrize("name", ["moco", "byol"])
def test_a_base_whose_images_have_more_than_two_views_is_refused(name: str):
    base = {"name": name, "non_semantic": "patch"}
    facts = DataFacts(0, 8, 16, (Augmentation(flip=0.5),))
    with pytest.raises(UserError, match=r"set task\.base\.non_semantic=none") as refused:
        make_task({"name": "equimod", "base": base}, facts)
    assert "\n" not in str(refused.value)
