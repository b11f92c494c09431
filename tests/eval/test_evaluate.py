import numpy as np
import PIL.Image
import pytest

from lens_jax.errors import UserError
from lens_jax.eval.evaluate import (
    Question,
    chosen_shortcut,
    judge,
    linear_figures,
    open_sources,
    pretext_figures,
)
from lens_jax.eval.frozen import pretext_accuracy

COLORS = {"red": (230, 30, 30), "green": (30, 220, 40), "blue": (40, 40, 225)}
SWAPPED = {"red": "green", "green": "blue", "blue": "red"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """An image folder whose colors tell the classes; in the split "swapped" they tell another one."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 3), ("swapped", 2)):
        for name in COLORS:
            (folder / split / name).mkdir(parents=True)
            shown = COLORS[SWAPPED[name] if split == "swapped" else name]
            for i in range(count):
                pixels = np.array(shown) + rng.integers(-25, 26, (16, 16, 3))
                PIL.Image.fromarray(pixels.astype(np.uint8)).save(
                    folder / split / name / f"{i}.png"
                )
    return folder


@pytest.fixture
def make_judged(make_frozen, images):
    """Makes a frozen network whose data set are the images."""

    def make(overrides: dict | None = None, task: dict | None = None):
        own = {"data.name": "image_folder", "data.dir": str(images)}
        return make_frozen(own | (overrides or {}), task, step=3)

    return make


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_colors_are_told_apart_and_confused_where_the_labels_are(make_judged, solver: str):
    frozen = make_judged({"lens.kind": "none"})
    question = Question(taps=("block1",), solver=solver, epochs=30)
    assert linear_figures(frozen, question) == {
        "step": 3,
        "dataset": "image_folder",
        "representation": "raw",
        "solver": solver,
        "train_examples": 12,
        "test_examples": 9,
        "taps": {"block1": 1.0},
        "linear_accuracy": 1.0,
    }
    swapped = linear_figures(frozen, question._replace(test_split="swapped"))
    assert swapped["linear_accuracy"] == 0.0
    assert swapped["test_examples"] == 6


def test_the_last_tap_asked_gives_the_linear_accuracy_of_features_with_and_without_the_lens(
    make_judged,
):
    frozen = make_judged()
    found = linear_figures(
        frozen, Question(taps=("pre_logits", "block1"), train_split="swapped", examples=3)
    )
    assert list(found["taps"]) == ["pre_logits", "block1"]
    assert found["linear_accuracy"] == found["taps"]["block1"] == 0.0
    assert found["representation"] == "concat"
    assert found["train_examples"] == 3
    everything = linear_figures(frozen, Question(representation="raw"))
    assert list(everything["taps"]) == ["block1", "block2", "pre_logits"]
    assert everything["linear_accuracy"] == everything["taps"]["pre_logits"]
    assert everything["representation"] == "raw"


def test_another_data_set_is_read_from_its_own_folder(make_judged, images, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for name in ("blue", "red"):
            (tmp_path / split / name).symlink_to(images / "train" / name)
    config = make_judged({"data.name": "digits", "data.dir": str(tmp_path / "nowhere")}).config
    train, test = open_sources(
        config, Question(dataset="image_folder", data_dir=str(tmp_path), examples=5)
    )
    assert train.class_names == test.class_names == ("blue", "red")
    assert (len(train), len(test)) == (5, 8)


def test_pretext_figures_are_those_of_both_conditions(make_judged):
    frozen = make_judged()
    _, test = open_sources(frozen.config, Question())
    found = pretext_figures(frozen, Question(shortcut="chromatic"))
    expected = {"shortcut": "chromatic"}
    for condition, drawn in (("clean", "none"), ("shortcut", "chromatic")):
        accuracy = pretext_accuracy(frozen, test, drawn)
        expected[f"pretext_accuracy_{condition}"] = accuracy["raw"]
        expected[f"pretext_accuracy_{condition}_lensed"] = accuracy["lensed"]
    assert found == expected


def test_without_a_shortcut_both_conditions_are_the_same(make_judged):
    found = pretext_figures(make_judged({"lens.kind": "none"}), Question(shortcut="none"))
    assert found.keys() == {"shortcut", "pretext_accuracy_clean", "pretext_accuracy_shortcut"}
    assert found["pretext_accuracy_clean"] == found["pretext_accuracy_shortcut"]


@pytest.mark.parametrize(
    ("own", "asked", "chosen"),
    [
        ("none", "", "arrow"),
        ("chromatic", "", "chromatic"),
        ("chromatic", "arrow", "arrow"),
        ("arrow", "none", "none"),
    ],
)
def test_the_shortcut_is_the_one_asked_for_or_the_runs_or_an_arrow(tiny_config, own, asked, chosen):
    assert chosen_shortcut(tiny_config({"shortcut": own}), Question(shortcut=asked)) == chosen


def test_a_judgement_is_both_parts_and_takes_a_pretext_that_is_known(make_judged):
    frozen, question = make_judged({"lens.kind": "none"}), Question(taps=("block1",))
    found = judge(frozen, question)
    assert found.pop("seconds") > 0
    assert found == linear_figures(frozen, question) | pretext_figures(frozen, question)
    known = {"shortcut": "arrow", "pretext_accuracy_clean": 0.125}
    given = judge(frozen, question, known)
    del given["seconds"]
    assert given == linear_figures(frozen, question) | known


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (Question(taps=("pre_logits", "block9")), ("'block9'", "block1")),
        (Question(representation="sum"), ("'sum'", "concat")),
        (Question(solver="adam"), ("'adam'", "lbfgs")),
        (Question(dataset="mnist"), ("'mnist'", "digits")),
        (Question(test_split="validation"), ("'validation'", "swapped")),
        (Question(shortcut="cross"), ("'cross'", "arrow")),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    make_judged, question: Question, words: tuple
):
    with pytest.raises(UserError) as caught:
        judge(make_judged(), question)
    assert all(word in str(caught.value) for word in words), caught.value


def test_images_without_classes_are_refused(make_judged, images, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).symlink_to(images / "train" / "red")
    with pytest.raises(UserError, match="no classes to learn: give a --dataset"):
        open_sources(make_judged().config, Question(data_dir=str(tmp_path)))
