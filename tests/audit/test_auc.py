import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lens_jax.audit import auc


def test_an_auc_worked_by_hand():
    # The positive ones, 3 and 1, win against (2, 1, 0): 3 of 3, and 1 and a half.
    scores = np.array([[3.0, 2, 1, 1, 0], [0.0, 1, 0, 1, 1]])
    first, second = auc.class_aucs(scores, np.array([0, 1, 0, 1, 1]))
    assert first == pytest.approx(4.5 / 6)
    assert second == 1


def test_aucs_are_those_of_scikit_learn_with_ties_too():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=80)
    scores = rng.integers(6, size=(3, 80)).astype(float)
    expected = [roc_auc_score(labels == number, scores[number]) for number in range(3)]
    np.testing.assert_allclose(auc.class_aucs(scores, labels), expected)


def test_standard_errors_are_those_of_delong_by_loops():
    rng = np.random.default_rng(2)
    labels = np.arange(30) % 2
    scores = np.round(rng.normal(size=30) + labels, 1)
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = np.array([[(p > n) + 0.5 * (p == n) for n in negative] for p in positive])
    variance = wins.mean(axis=1).var() / len(positive) + wins.mean(axis=0).var() / len(negative)

    macro, classes = auc.standard_errors(np.stack([-scores, scores]), labels)
    np.testing.assert_allclose(classes, [np.sqrt(variance)] * 2)
    # Of two classes, one AUC is the other's.
    assert macro == pytest.approx(np.sqrt(variance))
