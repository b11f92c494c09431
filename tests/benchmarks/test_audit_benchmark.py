import numpy as np
import pytest

from benchmarks.audit import scores
from benchmarks.audit.rows import ROWS, Answer, look
from benchmarks.audit.sets import CLEAN, SHUFFLED, make_set

LABELS = np.arange(80) % 4


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (80, 16, 16, 3), np.uint8)


def test_a_set_has_the_artefact_in_a_fraction_of_one_class(images):
    data = make_set(images, LABELS, "fixed_patch", 0.5, seed=0)
    marked = data.masks.any(axis=(1, 2))
    assert set(LABELS[marked]) == {data.planted}
    assert marked.sum() == 10
    np.testing.assert_array_equal(data.images[~marked], images[~marked])
    assert np.all(data.images[data.masks] == 255)


def test_clean_and_shuffled_sets_are_the_same_images(images):
    for artefact in (CLEAN, SHUFFLED):
        data = make_set(images, LABELS, artefact, 0.0, seed=0)
        np.testing.assert_array_equal(data.images, images)
        assert data.planted == -1
        assert not data.masks.any()
        assert np.array_equal(data.labels, LABELS) == (artefact == CLEAN)


def test_scores_by_hand(images):
    data = make_set(images, LABELS, "fixed_patch", 0.5, seed=0)
    marked = data.masks.any(axis=(1, 2))
    right = Answer(1, True, data.planted, "", marked.astype(float), data.masks[marked][0])
    assert scores.average_precision(data, right) == 1
    assert scores.localize(data, right) == (1, 1)
    elsewhere = right._replace(images=None, place=np.ones((16, 16)))
    assert scores.average_precision(data, elsewhere) is None
    auc, share = scores.localize(data, elsewhere)
    assert (auc, share) == (0.5, pytest.approx(data.masks[marked][0].mean()))
    assert scores.localize(data, right._replace(label=data.planted - 1)) == (None, None)

    def record(score: float, name: str = "a") -> dict:
        return {"data": name, "score": score}

    clean = [record(1), record(3), record(9, "b")]
    assert scores.detection([record(2), record(3)], clean) == (0.5 + 0.75) / 2


def test_every_row_answers(images):
    seen = look(make_set(images, LABELS, "fixed_patch", 0.9, seed=0), seed=0)
    for ask in ROWS.values():
        answer = ask(seen)
        assert np.isfinite(answer.score)
        assert -1 <= answer.label < 4
