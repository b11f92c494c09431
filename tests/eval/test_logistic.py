import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lens_jax.eval import logistic


def classes_apart(count: int, distance: float, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Features around the centers of classes, one of them constant, and in unlike scales."""
    rng = np.random.default_rng(0)
    centers = distance * np.random.default_rng(1).normal(size=(classes, 6))
    labels = rng.integers(0, classes, count)
    features = (centers[labels] + rng.normal(size=(count, 6))) * [1, 100, 0.01, 1, 1, 0] + 7
    return features.astype(np.float32), labels


@pytest.mark.parametrize("strength", [0.01, 0.1, 10.0])
def test_it_is_the_logistic_regression_of_scikit_learn(strength: float):
    features, labels = classes_apart(300, distance=1.0)
    found = logistic.fit(features, labels, strength)

    library = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8)
    make_pipeline(StandardScaler(), library).fit(features.astype(np.float64), labels)
    np.testing.assert_allclose(found.kernel, library.coef_.T, rtol=0, atol=5e-3)
    # Softmax does not depend on what all biases have in common.
    centered = found.bias - found.bias.mean()
    np.testing.assert_allclose(centered, library.intercept_, rtol=0, atol=5e-3)


def test_chunks_make_no_difference(monkeypatch):
    features, labels = classes_apart(301, distance=1.0)
    whole = logistic.fit(features, labels, 0.1)
    monkeypatch.setattr(logistic, "_CHUNK", 6 * 50)
    in_chunks = logistic.fit(features, labels, 0.1)
    np.testing.assert_allclose(whole.kernel, in_chunks.kernel, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(
        logistic.predict(whole, features), logistic.predict(in_chunks, features)
    )


def test_classes_far_apart_are_told_by_their_own_labels():
    features, labels = classes_apart(200, distance=30.0)
    names = np.array([7, 3, 0, 12])[labels]
    classifier = logistic.fit(features[:100], names[:100], 1.0)
    assert classifier.classes.tolist() == [0, 3, 7, 12]
    np.testing.assert_array_equal(logistic.predict(classifier, features[100:]), names[100:])


def test_features_may_be_a_file_that_is_mapped_into_memory(tmp_path):
    features, labels = classes_apart(100, distance=3.0)
    path = tmp_path / "features.npy"
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=features.shape)
    file[:] = features
    mapped = np.lib.format.open_memmap(path, mode="r")
    expected = logistic.fit(features, labels, 0.1)
    np.testing.assert_array_equal(logistic.fit(mapped, labels, 0.1).kernel, expected.kernel)
