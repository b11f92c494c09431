import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.data import decode
from lens_jax.data.records import Source
from lens_jax.eval.features import extract, make_features
from lens_jax.eval.linear import Scores, logistic_regression, sgd_heads, train_heads


def mean_color(_: object, images: jax.Array) -> dict[str, jax.Array]:
    return {"color": jnp.mean(images.astype(jnp.float32), axis=(1, 2)) / 255}


def constant(_: object, images: jax.Array) -> dict[str, jax.Array]:
    return {"nothing": jnp.ones((len(images), 2))}


def mislabeled(source: Source, wrong: tuple[int, ...]) -> Source:
    """The source with another label on some of its images."""

    def read(index: int):
        record = source.read(index)
        return record | {"label": (record["label"] + (index in wrong)) % 3}

    return dataclasses.replace(source, read=read)


def score(solver: str, frozen, train: Source, test: Source, features) -> dict[str, Scores]:
    if solver == "lbfgs":
        learned, tested = extract(frozen, train, features), extract(frozen, test, features)
        return logistic_regression(learned, tested, test.num_classes)
    return sgd_heads(frozen, train, test, features, epochs=40)


def accuracies(scores: dict[str, Scores]) -> dict[str, float]:
    return {tap: each.accuracy for tap, each in scores.items()}


def evaluate(solver: str, frozen, train: Source, test: Source, features) -> dict[str, float]:
    return accuracies(score(solver, frozen, train, test, features))


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_the_accuracy_of_each_class_is_that_of_its_images(make_frozen, colorful, solver: str):
    """Of four red images one is broken and two pass for green, as which nothing finds them."""
    test = mislabeled(colorful(11, 1, broken=(0,)), (3, 9))
    test = dataclasses.replace(test, class_names=(*test.class_names, "unseen"))
    scores = score(solver, make_frozen(), colorful(30), test, mean_color)["color"]
    assert scores.accuracy == pytest.approx(0.8, abs=1e-12)
    np.testing.assert_allclose(scores.by_class, [1, 4 / 6, 1, np.nan])


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("size", [7, 300])
def test_every_test_image_counts_once(make_frozen, colorful, solver: str, size: int):
    test = mislabeled(colorful(size, seed=1), (0, size - 1))
    found = evaluate(solver, make_frozen(), colorful(30), test, mean_color)
    assert found == {"color": pytest.approx((size - 2) / size, abs=1e-12)}


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_what_does_not_decode_is_not_counted(make_frozen, colorful, solver: str):
    frozen, train = make_frozen(), colorful(30)
    test = colorful(6, 1, broken=(0, 5))
    assert evaluate(solver, frozen, train, test, mean_color) == {"color": 1.0}
    missed = mislabeled(test, (1,))
    assert evaluate(solver, frozen, train, missed, mean_color) == {"color": 0.75}


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_constant_features_stay_at_chance(make_frozen, colorful, solver: str):
    found = evaluate(solver, make_frozen(), colorful(30), colorful(30, 1), constant)
    assert found == {"nothing": pytest.approx(1 / 3, abs=1e-12)}


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_frozen_taps_of_a_random_network_separate_colors(make_frozen, colorful, solver: str):
    frozen = make_frozen({"augment.flip": 0.5})
    features = make_features(frozen, "concat", ("block1", "pre_logits"))
    found = evaluate(solver, frozen, colorful(30), colorful(30, 1), features)
    assert found.keys() == {"block1", "pre_logits"}
    assert min(found.values()) > 0.9


def test_the_heads_of_two_taps_do_not_touch_each_other(make_frozen, colorful):
    def both_taps(state: object, images: jax.Array) -> dict[str, jax.Array]:
        return mean_color(state, images) | constant(state, images)

    train, test = colorful(30), mislabeled(colorful(30, 1), (3,))
    both = accuracies(sgd_heads(make_frozen(), train, test, both_taps, epochs=40))
    assert both == {"color": pytest.approx(29 / 30), "nothing": pytest.approx(1 / 3, abs=0.04)}


def test_sgd_learns_from_a_train_set_that_its_batch_does_not_divide(make_frozen, colorful):
    train, test = colorful(530), colorful(30, 1)  # batches of 512
    found = accuracies(sgd_heads(make_frozen(), train, test, mean_color, epochs=12))
    assert found == {"color": 1.0}


def test_evaluation_leaves_the_checkpoint_as_it_was(make_frozen, colorful):
    frozen = make_frozen()
    before = jax.tree.map(np.array, frozen.state)
    sgd_heads(
        frozen,
        colorful(9),
        colorful(9, 1),
        make_features(frozen, "raw", ("pre_logits",)),
        epochs=2,
    )
    jax.tree.map(np.testing.assert_array_equal, frozen.state, before)


def test_heads_move_as_gradient_descent_with_momentum_worked_out_in_numpy(make_frozen, colorful):
    train, epochs = colorful(30), 14
    heads = train_heads(make_frozen(), train, mean_color, epochs=epochs)["color"]

    images = np.stack([decode.decode(train[i]["image"]) for i in range(30)])
    inputs = np.column_stack([images.mean(axis=(1, 2)) / 255, np.ones(30)])
    wanted = np.eye(3)[[train[i]["label"] for i in range(30)]]
    weights, momentum = np.zeros((4, 3)), np.zeros((4, 3))
    for step in range(epochs):
        # Fourteen steps of one full batch each: the rate drops after 6 and after 10 of them.
        rate = 0.1 * 30 / 256 * 0.1 ** ((step >= 6) + (step >= 10))
        scores = np.exp(inputs @ weights)
        gradient = inputs.T @ (scores / scores.sum(axis=1, keepdims=True) - wanted) / 30
        momentum = 0.9 * momentum + gradient
        weights -= rate * momentum
    np.testing.assert_allclose(heads["kernel"], weights[:3], rtol=1e-4)
    np.testing.assert_allclose(heads["bias"], weights[3], atol=1e-7)


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_random_test_labels_are_found_at_chance(make_frozen, colorful, solver: str):
    labels = np.random.default_rng(0).integers(0, 3, 600)
    test = colorful(600, 1)
    shuffled = dataclasses.replace(test, read=lambda i: test.read(i) | {"label": int(labels[i])})
    accuracy = evaluate(solver, make_frozen(), colorful(30), shuffled, mean_color)["color"]
    # Three standard deviations of 600 guesses at one in three.
    assert abs(accuracy - 1 / 3) < 3 * np.sqrt(2 / 9 / 600)


def test_classifiers_learn_from_and_are_evaluated_on_images_of_the_linear_size(
    make_frozen, colorful
):
    sides = set()

    def watched(_: object, images: jax.Array) -> dict[str, jax.Array]:
        sides.add(images.shape[1:])
        return mean_color(_, images)

    frozen = make_frozen({"data.linear_size": 12})
    assert evaluate("sgd", frozen, colorful(30), colorful(9, 1), watched) == {"color": 1.0}
    assert evaluate("lbfgs", frozen, colorful(30), colorful(9, 1), watched) == {"color": 1.0}
    assert sides == {(12, 12, 3)}
