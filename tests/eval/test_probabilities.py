import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lens_jax.eval import logistic


def test_probabilities_are_those_of_scikit_learn_and_the_best_is_what_is_predicted():
    rng = np.random.default_rng(0)
    labels = rng.choice([2, 5, 7], size=90)
    features = (rng.normal(size=(90, 4)) + labels[:, None] / 3).astype(np.float32)
    classifier = logistic.fit(features, labels, 1.0)
    found = logistic.probabilities(classifier, features)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    best = classifier.classes[np.argmax(found, axis=1)]
    np.testing.assert_array_equal(best, logistic.predict(classifier, features))

    standardized = (features - features.mean(axis=0)) / features.std(axis=0)
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(standardized, labels)
    np.testing.assert_allclose(found, peer.predict_proba(standardized), atol=5e-3)


def test_large_logits_do_not_overflow():
    classes = np.array([0, 1])
    classifier = logistic.Classifier(
        classes, np.zeros(1), np.ones(1), np.array([[0, 1e4]]), classes
    )
    found = logistic.probabilities(classifier, np.ones((1, 1), np.float32))
    assert found[0] == pytest.approx([0, 1])
