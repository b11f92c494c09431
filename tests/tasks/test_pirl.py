from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.models.heads import ImageAndPatches
from lens_jax.tasks import make_task
from lens_jax.tasks.base import DataFacts, Loss, Outputs, Views
from lens_jax.tasks.memory_bank import Bank
from lens_jax.tasks.pirl import PIRL, Draws, shuffle
from tests.losses import references
from tests.tasks.samples import located_batch, mirrored, random_batch, unchanged

SMALL = {"size": 0, "cell": 4, "patch": 2, "hidden": 0, "embedding": 5}


def draws_of(count: int, seed: int = 7) -> Draws:
    """The labels of the images 2, 3, ... of a batch."""
    index = np.arange(2, 2 + count, dtype=np.int32)
    return Draws(index, np.full(count, seed, np.uint32))


def drawn_rows(task: PIRL, seed: int = 7) -> np.ndarray:
    return np.asarray(jax.random.randint(jax.random.key(seed), (task.negatives,), 0, task.images))


def loss_of(task: PIRL, rows: np.ndarray, labels: Draws, bank: Bank) -> Loss:
    return jax.jit(task.loss)(Outputs(jnp.asarray(rows)), labels, bank)


def random_case(images: int, length: int) -> tuple[np.ndarray, Bank]:
    """Embeddings of so many images and their jigsaws, and a memory of 20 rows."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(2 * images, length))
    rows = references.unit_rows(rng.normal(size=(20, length)))
    return embeddings, Bank(jnp.asarray(rows), jnp.asarray(0.3), jnp.asarray(True))


@pytest.mark.parametrize("form", ["nce", "info_nce"])
@pytest.mark.parametrize("measured", [True, False])
def test_the_loss_is_the_mean_of_both_branches_against_the_memory(x64, form: str, measured: bool):
    """Image by image; the row of image 2 is among the drawn ones, and is no negative of it."""
    task = PIRL(20, temperature=0.4, negatives=6, form=form)
    embeddings, bank = random_case(3, 4)
    bank = bank._replace(measured=jnp.asarray(measured))
    units, memory, drawn = references.unit_rows(embeddings), np.asarray(bank.rows), drawn_rows(task)
    assert set(drawn) & {2, 3, 4} == {2}
    log_mean = 0.3 if measured else mean_of_jigsaws(units[1::2], memory, drawn)

    losses, hits = [], []
    for place, unit in enumerate(units):
        index = 2 + place // 2
        rows = memory[drawn[drawn != index]]
        query, own = unit[None], memory[index][None]
        if form == "nce":
            # The reference takes its weight of noise from the number of rows.
            shift = np.log(len(drawn) / len(rows))
            found = references.nce(query, own, rows, 0.4, log_mean + shift)
        else:
            found = references.info_nce(query, own, rows, 0.4)
        losses += found[0]
        hits += found[1]

    found = loss_of(task, embeddings, draws_of(3), bank)
    np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-12)
    accuracies = found.metrics["accuracy"], found.metrics["accuracy_jigsaw"]
    np.testing.assert_allclose(accuracies, np.mean(np.reshape(hits, (3, 2)), axis=0), rtol=1e-12)


def test_each_image_and_its_jigsaw_choose_between_their_row_and_the_drawn_ones(x64):
    task = PIRL(20, temperature=0.4, negatives=6, form="info_nce")
    embeddings, bank = random_case(3, 4)
    memory, drawn = np.asarray(bank.rows), drawn_rows(task)
    expected = np.empty((6, 7))
    for place, unit in enumerate(references.unit_rows(embeddings)):
        index = 2 + place // 2
        expected[place, 0] = unit @ memory[index] / 0.4
        for column, row in enumerate(drawn, start=1):
            is_own = row == index
            expected[place, column] = -np.inf if is_own else unit @ memory[row] / 0.4
    assert np.isneginf(expected).any()

    found = loss_of(task, embeddings, draws_of(3), bank)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-12)
    other = PIRL(20, temperature=0.4, negatives=6, form="nce")
    assert other.has_logits is False
    assert loss_of(other, embeddings, draws_of(3), bank).logits is None


def mean_of_jigsaws(jigsaws: np.ndarray, memory: np.ndarray, drawn: np.ndarray) -> float:
    """The logarithm of the mean of exp(similarity / 0.4) of all that is compared."""
    values = []
    for index, jigsaw in enumerate(jigsaws, 2):
        for row in (index, *drawn[drawn != index]):
            values.append(np.exp(np.dot(jigsaw, memory[row]) / 0.4))
    return np.log(np.mean(values))


@pytest.mark.parametrize("form", ["nce", "info_nce"])
def test_the_gradient_is_that_of_the_losses_with_memory_and_constant_held_fixed(x64, form: str):
    task = PIRL(20, temperature=0.4, negatives=6, form=form)
    embeddings, bank = random_case(3, 4)
    first = bank._replace(measured=jnp.asarray(False))
    labels = draws_of(3)
    constant = loss_of(task, embeddings, labels, first).memory.log_mean
    known = bank._replace(log_mean=constant)

    def value(rows: np.ndarray) -> float:
        return float(loss_of(task, rows, labels, known).value)

    gradient = jax.jit(jax.grad(lambda rows: task.loss(Outputs(rows), labels, first).value))
    found = gradient(jnp.asarray(embeddings))
    np.testing.assert_allclose(found, references.gradient(value, embeddings), atol=1e-7)
    assert np.abs(found).max() > 1e-2


def test_the_constant_is_measured_once_and_then_kept(x64):
    task = PIRL(20, negatives=6)
    embeddings, bank = random_case(3, 4)
    start = Bank(bank.rows, jnp.asarray(0.0), jnp.asarray(False))
    first = loss_of(task, embeddings, draws_of(3), start).memory
    assert first.measured
    assert abs(first.log_mean) > 0.01
    second = loss_of(task, -embeddings, draws_of(3, seed=8), first).memory
    assert second.log_mean == first.log_mean


def test_the_memory_takes_up_the_whole_images_and_not_their_jigsaws(x64):
    task = PIRL(20, negatives=6, momentum=0.5)
    embeddings, bank = random_case(3, 4)
    bank = bank._replace(rows=np.asarray(bank.rows))
    found = loss_of(task, embeddings, draws_of(3), bank).memory.rows
    images = references.unit_rows(embeddings)[0::2]
    np.testing.assert_allclose(
        found[2:5], references.unit_rows(bank.rows[2:5] + images), atol=1e-14
    )
    np.testing.assert_array_equal(found[5:], bank.rows[5:])
    np.testing.assert_array_equal(found[:2], bank.rows[:2])


@pytest.mark.parametrize(("form", "length"), [("nce", 1.0), ("info_nce", 0.0)])
def test_the_memory_starts_at_random_or_empty(form: str, length: float):
    bank = PIRL(20, embedding=8, form=form).memory(jax.random.key(0))
    assert bank.rows.shape == (1024, 8)
    lengths = np.linalg.norm(bank.rows, axis=1)
    np.testing.assert_allclose(lengths, np.full(1024, length), rtol=1e-5)


def test_rows_that_stand_for_no_image_are_never_drawn():
    task = PIRL(6, negatives=500)
    assert set(drawn_rows(task).tolist()) == set(range(6))
    rows = np.full((1024, 2), np.nan, np.float32)
    rows[:6] = references.unit_rows(np.random.default_rng(0).normal(size=(6, 2)))
    bank = Bank(rows, np.float32(0), np.bool_(True))
    embeddings = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    assert np.isfinite(loss_of(task, embeddings, draws_of(4), bank).value)


def test_the_views_are_the_whole_image_and_its_patches_in_the_corner_of_another():
    task = PIRL(5, **SMALL)
    batch = random_batch(5, side=12)
    views = task.views(jax.random.key(0), batch, None)
    assert views.inputs.shape == (10, 12, 12, 3)
    np.testing.assert_array_equal(views.inputs[0::2], batch["image"])

    # In evaluation, the middle 2 px of each cell of 4 px, in order.
    for image, laid_out in zip(batch["image"], views.inputs[1::2], strict=True):
        for place in range(9):
            row, column = divmod(place, 3)
            patch = laid_out[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            y, x = 4 * row + 1, 4 * column + 1
            np.testing.assert_allclose(patch, image[y : y + 2, x : x + 2], atol=1e-6)
        assert not laid_out[6:].any()
        assert not laid_out[:, 6:].any()


def trained_views(task: PIRL, batch: dict, seed: int = 0, augment=unchanged) -> Views:
    make = jax.jit(lambda key, batch: task.views(key, batch, augment))
    return jax.device_get(make(jax.random.key(seed), batch))


def test_in_training_each_image_has_a_patch_of_every_cell_in_an_order_of_its_own():
    """The images' pixels hold their own place; the patches' area is the whole image."""
    task = PIRL(40, **SMALL, patch_area=(1.0, 1.0))
    batch = located_batch(40) | {"index": jnp.arange(40)}
    laid_out = trained_views(task, batch).inputs[1::2, :6, :6]
    corners = laid_out[:, ::2, ::2].reshape(40, 9, 3)
    assert (corners[..., 2].round() == np.arange(40)[:, None]).all()

    # The crops' aspects vary by a third: the places are told apart by their order.
    orders = np.argsort(corners[..., 0] * 100 + corners[..., 1], axis=1)
    assert len({tuple(order) for order in orders}) > 35
    for image in corners:
        rows = np.sort(image[:, 0]).reshape(3, 3)
        assert (np.diff(rows.mean(axis=1)) > 2).all()


def test_shuffled_patches_are_the_same_ones_and_every_place_is_as_likely():
    cut = np.repeat(np.arange(9 * 900, dtype=np.float32), 12).reshape(-1, 2, 2, 3)
    found = np.asarray(jax.jit(shuffle)(jax.random.key(0), cut))[:, 0, 0, 0].reshape(900, 9)
    expected = np.arange(9 * 900).reshape(900, 9)
    np.testing.assert_array_equal(np.sort(found, axis=1), expected)
    for place in range(9):
        counts = np.bincount((found[:, place] % 9).astype(int), minlength=9)
        assert counts.min() > 60
        assert counts.max() < 140


def test_views_are_drawn_by_their_key_and_carry_the_index_of_each_image():
    task, batch = PIRL(9, **SMALL), random_batch(6, side=12)
    batch["index"] = jnp.array([3, 1, 4, 1, 5, 8])
    one, again, other = (trained_views(task, batch, seed) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert one.labels.index.tolist() == [3, 1, 4, 1, 5, 8]
    assert (one.labels.seed != other.labels.seed).all()
    assert (one.inputs[1::2] != other.inputs[1::2]).any()


def test_every_patch_is_augmented_as_a_later_view_and_the_image_as_the_first():
    calls = []

    def record(images: jax.Array, view: int = 0, size: int = 0):
        calls.append((len(images), view, size))
        return mirrored(images, view, size)

    PIRL(5, **SMALL).views(jax.random.key(0), random_batch(5, side=12), record)
    assert calls == [(5, 0, 0), (45, 1, 0)]


def test_an_image_and_its_concatenated_patches_are_embedded_by_weights_of_their_own(x64):
    head = PIRL(5, embedding=3).head(jnp.float64)
    rng = np.random.default_rng(0)
    features = ImageAndPatches(rng.normal(size=(2, 4)), rng.normal(size=(18, 4)))
    found, variables = head.init_with_output(jax.random.key(0), features, None, train=False)
    params = jax.tree.map(np.asarray, variables["params"])

    def dense(layer: dict, x: np.ndarray) -> np.ndarray:
        return x @ layer["kernel"] + layer["bias"]

    for b in range(2):
        image = dense(params["images"]["Dense_0"], features.images[b])
        pieces = [
            dense(params["patches"]["Dense_0"], features.patches[9 * b + i]) for i in range(9)
        ]
        jigsaw = dense(params["Dense_0"], np.concatenate(pieces))
        np.testing.assert_allclose(found[2 * b], image, atol=1e-6)
        np.testing.assert_allclose(found[2 * b + 1], jigsaw, atol=1e-6)


@pytest.mark.parametrize("norm", [True, False])
def test_a_hidden_layer_stands_before_each_embedding(norm: bool):
    head = PIRL(5, hidden=8, norm=norm, embedding=3).head(jnp.bfloat16)
    features = ImageAndPatches(np.ones((2, 4), np.float32), np.ones((18, 4), np.float32))
    init = partial(head.init_with_output, train=False)
    outputs, variables = jax.eval_shape(init, jax.random.key(0), features, None)
    assert (outputs.shape, outputs.dtype) == ((4, 3), jnp.float32)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    for branch in ("images", "patches"):
        assert shapes[branch]["Dense_0"]["kernel"] == (4, 8)
        assert shapes[branch]["Dense_1"]["kernel"] == (8, 3)
    assert shapes["Dense_0"]["kernel"] == (27, 3)
    assert ("batch_stats" in variables) == norm


def test_the_defaults_are_those_of_the_authors_code():
    expected = PIRL(10, 0, 85, 64, (0.6, 1.0), 0, False, 128, 0.07, 32000, 0.5, "nce")
    assert make_task({"name": "pirl"}, DataFacts(0, 10)) == expected


@pytest.mark.parametrize("size", [0, 1])
def test_data_without_indices_is_refused(size: int):
    with pytest.raises(UserError, match=f"remembers each image by its index.* has {size} of them"):
        make_task({"name": "pirl"}, DataFacts(10, size))


def test_a_batch_without_indices_is_refused():
    batch = random_batch(2, side=12)
    del batch["index"]
    with pytest.raises(UserError, match="the batch has no 'index'"):
        PIRL(9, **SMALL).views(jax.random.key(0), batch, unchanged)


def test_patches_that_do_not_fit_into_the_view_are_refused():
    task = PIRL(9, cell=5, patch=5, embedding=5)
    with pytest.raises(UserError, match=r"task.patch is 5: .* view of 12 px; make it 4 or less"):
        task.views(jax.random.key(0), random_batch(2, side=12), None)


@pytest.mark.parametrize("images", [0, 1])
def test_a_batch_without_another_image_is_refused(images: int):
    task = PIRL(20, embedding=4)
    bank = jax.eval_shape(task.memory, jax.random.key(0))

    def value(rows: jax.Array, bank: Bank) -> jax.Array:
        return task.loss(Outputs(rows), draws_of(images), bank).value

    with pytest.raises(UserError, match=f"'pirl' .* got {images}: use at least 2"):
        jax.eval_shape(value, jnp.zeros((2 * images, 4)), bank)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": 60}, "patch of 64 px .* cell of 60 px"),
        ({"size": -1}, "task.size is -1: it must be a number of pixels"),
        ({"norm": True}, "task.norm is True: it must be False where task.hidden is 0"),
        ({"hidden": -1}, "task.hidden is -1: it must be at least 0"),
        ({"embedding": 0}, "task.embedding is 0: it must be at least 1"),
        ({"temperature": 0.0}, "task.temperature is 0.0: it must be greater than 0"),
        ({"temperature": float("nan")}, "task.temperature is nan: "),
        ({"negatives": 0}, "task.negatives is 0: it must be at least 1"),
        ({"momentum": 1.5}, "task.momentum is 1.5: it must be between 0 and 1"),
        ({"form": "triplet"}, "task.form is 'triplet': it must be one of nce, info_nce"),
        ({"patch_area": (0.0, 1.0)}, r"task.patch_area is \(0.0, 1.0\): "),
        ({"patch_area": (0.6, 1.2)}, "task.patch_area is "),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        PIRL(20, **options)
