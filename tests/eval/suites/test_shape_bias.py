import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from lens_jax.data.builders import textured_glyphs
from lens_jax.data.cue_conflict import CATEGORIES, open_stimuli, open_textured
from lens_jax.data.records import Source
from lens_jax.data.source import open_source
from lens_jax.errors import UserError
from lens_jax.eval import suites
from lens_jax.eval.features import Rows
from lens_jax.eval.suites.base import Subject
from lens_jax.eval.suites.shape_bias import ShapeBias, count_decisions

SPLITS = {"train": 300, "test": 20, "swapped": 100, "silhouette": 20}
# (a source, the labels of its images) -> features [n, d].
Represent = Callable[[Source, np.ndarray], np.ndarray]


class KnownSubject(Subject):
    """A subject with a representation whose answer is known."""

    represent: Represent

    def rows(self, source: Source, *taps: str) -> Rows:
        labels = np.array([source[index]["label"] for index in range(len(source))])
        features = self.represent(source, labels).astype(np.float32)
        taps = taps or self.taps[-1:]
        every = np.arange(len(labels))
        return Rows(dict.fromkeys(taps, features), labels, np.zeros((len(labels), 3)), every)


def make_subject(frozen, train: Source, represent: Represent, data_dir: str = "") -> Subject:
    subject = KnownSubject(frozen, "online", "raw", train, train, data_dir, "")
    subject.represent = represent
    return subject


@pytest.fixture(scope="module")
def letters(tmp_path_factory) -> str:
    """A TFDS directory with a few letters, nine in ten of which have the texture of their class."""
    folder = tmp_path_factory.mktemp("letters")
    rng = np.random.default_rng(0)
    (folder / "photographs").mkdir()
    for number in range(11):
        noise = rng.integers(0, 100 + 10 * number, (128, 648, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / "photographs" / f"{number:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textured_glyphs, "SPLITS", SPLITS)
        textured_glyphs.prepare(str(folder / "photographs"), str(folder / "data"), 32, 0.9)
    return str(folder / "data")


def test_the_decisions_are_those_that_a_loop_counts():
    rng = np.random.default_rng(0)
    decisions, shapes, textures = rng.integers(4, size=(3, 200))
    found = count_decisions(decisions, shapes, textures, ("a", "b", "c", "d"))
    images = for_shape = for_texture = 0
    of_class = {name: [0, 0] for name in "abcd"}
    for decision, shape, texture in zip(decisions, shapes, textures, strict=True):
        if shape == texture:
            continue
        images += 1
        if decision == shape:
            for_shape += 1
            of_class["abcd"[shape]][0] += 1
        if decision == texture:
            for_texture += 1
            of_class["abcd"[shape]][1] += 1
    assert found["shape_bias"] == pytest.approx(for_shape / (for_shape + for_texture))
    assert found["shape_decisions"] == pytest.approx(for_shape / images)
    assert found["texture_decisions"] == pytest.approx(for_texture / images)
    for name, (shape, texture) in of_class.items():
        assert found[f"shape_bias/{name}"] == pytest.approx(shape / (shape + texture))


def test_a_class_without_decisions_has_no_bias_and_no_decision_at_all_is_an_error():
    found = count_decisions(np.array([0, 2]), np.array([0, 1]), np.array([1, 0]), ("a", "b", "c"))
    assert found == {
        "shape_bias": 1,
        "shape_decisions": 0.5,
        "texture_decisions": 0,
        "shape_bias/a": 1,
    }
    with pytest.raises(UserError, match="no decision for the shape or the texture of any of 1"):
        count_decisions(np.array([2]), np.array([0]), np.array([1]), ("a", "b", "c"))


def test_letters_by_their_shape_have_a_bias_of_1_by_their_texture_0(make_frozen, letters):
    def textures(source: Source, _: np.ndarray) -> np.ndarray:
        return open_textured("textured_glyphs", source.split, letters).textures

    def by_shape(_: Source, labels: np.ndarray) -> np.ndarray:
        return np.eye(10)[labels]

    def by_texture(source: Source, labels: np.ndarray) -> np.ndarray:
        return np.eye(10)[textures(source, labels)]

    def by_both(source: Source, labels: np.ndarray) -> np.ndarray:
        return np.concatenate([by_shape(source, labels), 0.5 * by_texture(source, labels)], axis=1)

    train = open_textured("textured_glyphs", "train", letters).source
    biases = []
    for represent in (by_shape, by_texture, by_both):
        subject = make_subject(make_frozen(), train, represent, letters)
        numbers = ShapeBias().measure(subject)
        assert next(iter(numbers)) == "shape_bias"
        biases.append(numbers["shape_bias"])
        if represent is by_both:
            # Features are standardized and both cues agree in what is learned: none is favored.
            assert 0.4 < numbers["shape_bias"] < 0.6
        else:
            assert numbers["shape_decisions"] + numbers["texture_decisions"] == 1
    assert biases[:2] == [1, 0]


def test_the_suite_runs_on_a_network_and_says_what_it_learned_from(make_frozen, letters, tmp_path):
    train = open_textured("textured_glyphs", "train", letters).source
    store = str(tmp_path / "store")
    frozen = make_frozen()
    subject = Subject(frozen, "online", "raw", train, train, letters, store)
    (suite,) = suites.parse("shape_bias(dataset=textured_glyphs/32-tied90)")
    suite.check(subject)
    numbers = suite.measure(subject)
    assert 0 <= numbers["shape_bias"] <= 1
    assert "300 images whose texture is that of their class" in suite.protocol(subject)
    assert suite.sources(subject)["test"].split == "swapped"


def test_features_of_shapes_are_never_those_of_textures_in_the_store(letters):
    shapes = open_textured("textured_glyphs", "train", letters).source
    textures = open_source("tfds:textured_glyphs,label=texture", "train", letters)
    assert shapes.fingerprint != textures.fingerprint


def write_stimuli(folder: pathlib.Path) -> str:
    """One image a pair of categories, and one of each whose shape and texture agree."""
    blank = Image.new("RGB", (8, 8))
    for shape in CATEGORIES:
        (folder / shape).mkdir(parents=True)
        for texture in CATEGORIES:
            blank.save(folder / shape / f"{shape}1-{texture}2.png")
    return str(folder)


def test_published_images_are_decided_by_the_mean_probability_of_a_category(make_frozen, tmp_path):
    folder = write_stimuli(tmp_path / "stimuli")
    # As ImageNet: several classes a category, and classes of none.
    some = sum((each[:2] for each in CATEGORIES.values()), ())
    ids = [*sorted(some), "n00000001", "n00000002"]
    category = {wordnet: name for name, each in CATEGORIES.items() for wordnet in each}
    names = list(CATEGORIES)
    images = 4 * len(ids)
    train = Source(
        tuple(ids), images, lambda i: {"image": b"", "label": i % len(ids), "name": str(i)}
    )

    def represent(cue: str) -> Represent:
        def features(source: Source, labels: np.ndarray) -> np.ndarray:
            one_hot = np.eye(len(names) + 1)
            if source is not train:
                return one_hot[labels if cue == "shape" else open_stimuli(folder).textures]
            kinds = [category.get(ids[label]) for label in labels]
            return one_hot[[names.index(kind) if kind else len(names) for kind in kinds]]

        return features

    suite = ShapeBias(stimuli=folder)
    for cue, bias in (("shape", 1), ("texture", 0)):
        subject = make_subject(make_frozen(), train, represent(cue))
        suite.check(subject)
        numbers = suite.measure(subject)
        assert numbers["shape_bias"] == bias
        assert numbers["shape_decisions"] == bias
        assert numbers["texture_decisions"] == 1 - bias
    assert "256 images" in suite.protocol(subject)


def test_the_categories_are_207_classes_of_imagenet_without_overlap():
    every = sum(CATEGORIES.values(), ())
    assert len(every) == len(set(every)) == 207
    assert list(CATEGORIES) == sorted(CATEGORIES)
    assert len(CATEGORIES) == 16


def test_classes_without_a_category_and_names_without_two_are_told(make_frozen, tmp_path, colorful):
    folder = write_stimuli(tmp_path / "stimuli")
    subject = make_subject(make_frozen(), colorful(9), lambda *_: np.zeros((9, 1)))
    with pytest.raises(UserError, match=r"has no class of airplane, bear, .* WordNet ids"):
        ShapeBias(stimuli=folder).check(subject)
    Image.new("RGB", (8, 8)).save(tmp_path / "stimuli" / "cat" / "cat1.png")
    with pytest.raises(UserError, match=r"'cat/cat1.png' does not tell its shape and its texture"):
        open_stimuli(folder)
    with pytest.raises(UserError, match="no folder of cue-conflict images at 'nowhere'"):
        open_stimuli("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no cue-conflict images in"):
        open_stimuli(str(tmp_path / "empty"))
