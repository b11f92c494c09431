import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from lens_jax.audit import separation


def test_an_auc_worked_by_hand():
    # The positive ones, 3 and 1, win against (2, 1, 0): 3 of 3, and 1 and a half.
    scores = np.array([[3.0, 2, 1, 1, 0], [0.0, 1, 0, 1, 1]])
    first, second = separation.class_aucs(scores, np.array([0, 1, 0, 1, 1]))
    assert first == pytest.approx(4.5 / 6)
    assert second == 1


def test_aucs_are_those_of_scikit_learn_with_ties_too():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=80)
    scores = rng.integers(6, size=(3, 80)).astype(float)
    expected = [roc_auc_score(labels == number, scores[number]) for number in range(3)]
    np.testing.assert_allclose(separation.class_aucs(scores, labels), expected)


def test_scores_are_those_of_ridge_regression_without_the_fold():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(50, 4)).astype(np.float32)
    labels = np.arange(50) % 3
    arrangements = np.stack([labels, rng.permutation(labels)])
    folds = separation.assign_folds(labels, seed=0)
    prepared = separation.prepare_folds(rows, folds)
    found = separation.cross_validate(rows, arrangements, prepared)
    for scores, each in zip(found, arrangements, strict=True):
        for fold in range(separation.FOLDS):
            held_out = folds == fold
            peer = Ridge(alpha=0.1).fit(rows[~held_out], np.eye(3)[each[~held_out]])
            predicted = peer.predict(rows[held_out])
            expected = (predicted - predicted.mean(axis=0)).T
            np.testing.assert_allclose(scores[:, held_out], expected, atol=1e-4)


def test_standard_errors_are_those_of_delong_by_loops():
    rng = np.random.default_rng(2)
    labels = np.arange(30) % 2
    scores = np.round(rng.normal(size=30) + labels, 1)
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = np.array([[(p > n) + 0.5 * (p == n) for n in negative] for p in positive])
    variance = wins.mean(axis=1).var() / len(positive) + wins.mean(axis=0).var() / len(negative)

    macro, classes = separation.standard_errors(np.stack([-scores, scores]), labels)
    np.testing.assert_allclose(classes, [np.sqrt(variance)] * 2)
    # Of two classes, one AUC is the other's.
    assert macro == pytest.approx(np.sqrt(variance))


def test_shuffles_keep_the_classes_of_each_fold():
    labels = np.arange(60) % 3
    folds = separation.assign_folds(labels, seed=0)
    arrangements = separation.shuffle_within(labels, folds, seed=0)
    assert len(np.unique(arrangements, axis=0)) == len(arrangements)
    np.testing.assert_array_equal(arrangements[0], labels)
    for fold in range(separation.FOLDS):
        within = np.sort(arrangements[:, folds == fold], axis=1)
        assert (within == within[0]).all()


def test_p_values_without_a_relation_are_as_often_small_as_they_say():
    rng = np.random.default_rng(3)
    p_values = [separation.permutation_p(rng.normal(size=(100, 4))) for _ in range(1000)]
    for level in (0.05, 0.2):
        fraction = np.mean(np.array(p_values) <= level)
        assert fraction == pytest.approx(level, abs=4 * np.sqrt(level / 1000))


def test_a_single_class_that_is_told_gives_the_least_p_value():
    statistics = np.zeros((100, 3))
    statistics[:, 0] = np.arange(100) % 7
    statistics[0, 2] = 5
    assert separation.permutation_p(statistics) == 0.01
    assert separation.permutation_p(np.ones((100, 3))) == 1


def test_holm_worked_by_hand():
    adjusted = separation.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])
    assert separation.holm([0.6, 0.9]) == [1, 1]
    assert separation.holm([]) == []


def test_features_that_tell_are_told_from_features_that_do_not():
    rng = np.random.default_rng(4)
    labels = np.arange(80) % 2
    noise = rng.normal(size=(80, 3))
    told = noise.copy()
    # No line parts them: one class is near zero, the other away from it on either side.
    told[:, 1] = 0.3 * noise[:, 1] + np.where(labels, 0, 2 * np.sign(noise[:, 2]))
    found = separation.separate(told, labels, seed=0)
    assert found.macro.low <= found.macro.value <= found.macro.high <= 1
    assert found.macro.value > 0.9 > found.macro.null_highest >= found.macro.null
    assert found.p == pytest.approx(1 / (1 + separation.SHUFFLES))

    same = separation.separate(noise, labels, seed=0)
    assert same.p > 0.01
    assert same.macro.null_highest > 0.55


def test_features_without_any_variation_tell_nothing():
    found = separation.separate(np.ones((40, 2)), np.arange(40) % 2, seed=0)
    assert found.macro.value == 0.5
    assert found.p == 1
