import numpy as np
import pytest

from lens_jax.eval import geometry
from lens_jax.eval.geometry import effective_rank, neighbors_accuracy, regression_r2


def by_loops(train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels) -> float:
    """kNN image by image: the 20 largest cosines vote with exp(cosine / 0.07)."""
    hits = 0
    for query, label in zip(test, test_labels, strict=True):
        cosines = [row @ query / (np.linalg.norm(row) * np.linalg.norm(query)) for row in train]
        votes: dict[int, float] = {}
        for index in np.argsort(cosines)[::-1][:20]:
            weight = np.exp(cosines[index] / 0.07)
            votes[labels[index]] = votes.get(labels[index], 0.0) + weight
        hits += max(votes, key=votes.get) == label
    return hits / len(test)


def test_neighbors_vote_as_in_a_loop_over_all_pairs(monkeypatch):
    # Several parts of test images, of which the last one is smaller.
    monkeypatch.setattr(geometry, "QUERIES", 16)
    # And several of training images, of which the last one is smaller than k.
    monkeypatch.setattr(geometry, "BANK", 40)
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(4, 6))
    labels, test_labels = rng.integers(0, 4, 90), rng.integers(0, 4, 41)
    train = (centers[labels] + rng.normal(size=(90, 6))).astype(np.float32)
    test = (centers[test_labels] + rng.normal(size=(41, 6))).astype(np.float32)
    found = neighbors_accuracy(train, labels, test, test_labels)
    assert found == pytest.approx(by_loops(train, labels, test, test_labels))
    assert 0.3 < found < 1


def test_test_images_of_a_class_that_is_never_learned_are_missed():
    train = np.eye(3, dtype=np.float32)[[0, 1, 0, 1]]
    labels = np.array([0, 1, 0, 1])
    assert neighbors_accuracy(train[:, :], labels, train[:2], np.array([0, 2])) == 0.5


def test_the_rank_of_many_images_is_that_of_an_evenly_spaced_part(monkeypatch):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 8)) * [9, 9, 9, 9, 0, 0, 0, 0]
    assert effective_rank(features.astype(np.float32)) == pytest.approx(4, abs=0.1)
    monkeypatch.setattr(geometry, "RANKME_IMAGES", 100)
    assert effective_rank(features.astype(np.float32)) == pytest.approx(4, abs=0.2)
    # One direction, however many images.
    line = np.outer(np.arange(1, 6), np.arange(1, 4)).astype(np.float32)
    assert effective_rank(line) == pytest.approx(1, abs=0.01)


def test_what_features_hold_linearly_is_explained_and_what_they_do_not_is_not():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(400, 6)).astype(np.float32)
    linear = features @ rng.normal(size=(6, 3)) + 5
    nothing = rng.normal(size=(400, 3))
    train, test = slice(0, 300), slice(300, 400)

    def r2(values: np.ndarray) -> float:
        return regression_r2(features[train], values[train], features[test], values[test])

    assert r2(linear) == pytest.approx(1, abs=1e-3)
    assert abs(r2(nothing)) < 0.1
    # Noise of the same variance as what can be known.
    noise = rng.normal(size=linear.shape) * linear.std(axis=0)
    assert r2(linear + noise) == pytest.approx(0.5, abs=0.15)
