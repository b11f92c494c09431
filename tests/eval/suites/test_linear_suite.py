import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lens_jax.errors import UserError
from lens_jax.eval import linear
from lens_jax.eval.features import Rows
from lens_jax.eval.suites.linear import Linear


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_a_linear_classifier_tells_colors_by_each_tap(make_subject, solver: str):
    suite = Linear(solver=solver, taps=("block1", "pre_logits"), epochs=30)
    subject = make_subject()
    suite.check(subject)
    numbers = suite.measure(subject)
    names = [f"class_accuracy/{name}" for name in ("red", "green", "blue")]
    assert [*numbers] == ["accuracy", "accuracy/block1", "accuracy/pre_logits", *names]
    assert numbers["accuracy"] == numbers["accuracy/pre_logits"]
    assert numbers["accuracy/block1"] > 0.9
    of_classes = np.mean([numbers[name] for name in names])
    assert numbers["accuracy"] == pytest.approx(of_classes)
    assert solver == "sgd" or "C=0.1" in suite.protocol(subject)


def noisy(count: int, seed: int) -> Rows:
    """Three classes that three of many features tell, in part."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    features = rng.normal(size=(count, 60)).astype(np.float32)
    features[np.arange(count), labels] += 2
    return Rows({"tap": features}, labels, np.zeros((count, 3)), np.arange(count))


def held_out_accuracy(rows: Rows, strength: float) -> float:
    """By scikit-learn, of every tenth example after learning from the others."""
    held_out = np.arange(len(rows.labels)) % 10 == 9
    features = rows.taps["tap"]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    model.fit(features[~held_out], rows.labels[~held_out])
    return model.score(features[held_out], rows.labels[held_out])


def test_the_strength_that_is_best_on_held_out_images_is_taken():
    train, test = noisy(300, 0), noisy(2000, 1)

    def accuracy(*strengths: float) -> float:
        return linear.logistic_regression(train, test, 3, strengths)["tap"].accuracy

    # Features outnumber what is known of them, so that weak penalties fit noise.
    weak, strong = 1e3, 1e-2
    assert held_out_accuracy(train, strong) > held_out_accuracy(train, weak)
    assert accuracy(strong) > accuracy(weak) + 0.03
    assert accuracy(weak, strong) == accuracy(strong, weak) == accuracy(strong)


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        (Linear(solver="adam"), "unknown solver 'adam': choose one of lbfgs, sgd"),
        (Linear(taps=("block9",)), "unknown tap 'block9': choose one of block1"),
        (Linear(c=(0.1, 0.0)), "c of suite 'linear' is 0.0"),
        (Linear(epochs=0), "epochs of suite 'linear' is 0"),
    ],
)
def test_options_without_sense_are_refused(make_subject, suite: Linear, words: str):
    with pytest.raises(UserError, match=words):
        suite.check(make_subject())
