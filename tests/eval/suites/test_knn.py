import dataclasses

import pytest

from lens_jax.data.records import UNLABELED
from lens_jax.errors import UserError
from lens_jax.eval import geometry
from lens_jax.eval.suites.knn import KNN


def test_neighbors_have_the_color_of_an_image(make_subject):
    subject = make_subject()
    suite = KNN(k=3)
    suite.check(subject)
    rows, queries = subject.rows(subject.train), subject.rows(subject.test)
    expected = geometry.neighbors_accuracy(
        rows.taps["pre_logits"],
        rows.labels,
        queries.taps["pre_logits"],
        queries.labels,
        neighbors=3,
    )
    assert suite.measure(subject) == {"accuracy": expected}
    assert expected > 0.8


def test_all_images_as_neighbors_and_no_weights_leave_chance(make_subject):
    # With ten images of each class, and temperature without end, every class has as many votes.
    accuracy = KNN(k=30, temperature=1e9).measure(make_subject())["accuracy"]
    assert accuracy <= 0.67


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        (KNN(k=31), "k=31, and there are 30 labeled images: choose a k from 1 to 30"),
        (KNN(k=0), "k=0"),
        (KNN(temperature=0.0), "temperature of suite 'knn' is 0.0"),
    ],
)
def test_options_without_sense_are_refused(make_subject, suite: KNN, words: str):
    with pytest.raises(UserError, match=words):
        suite.check(make_subject())


def test_images_without_labels_are_refused(make_subject):
    subject = make_subject()
    unlabeled = dataclasses.replace(subject.train, class_names=(UNLABELED,))
    with pytest.raises(UserError, match="suite 'knn' needs labels, and colors"):
        KNN().check(subject._replace(train=unlabeled))
