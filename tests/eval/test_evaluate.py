import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from lens_jax.data.records import Source
from lens_jax.errors import UserError
from lens_jax.eval.evaluate import evaluate, linear_results, pretext_results
from lens_jax.eval.features import make_features
from lens_jax.eval.frozen import choose_network, pretext_accuracy
from lens_jax.eval.options import (
    Options,
    data_notes,
    describe_data,
    open_sources,
    resolve_representations,
    resolve_shortcut,
)
from lens_jax.train import same_data
from tests.data.boxed import write_coco

COLORS = {"red": (230, 30, 30), "green": (30, 220, 40), "blue": (40, 40, 225)}
SWAPPED = {"red": "green", "green": "blue", "blue": "red"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images in the color of their class; in the split "swapped", in that of another class."""
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
def make_evaluated(make_frozen, images):
    """Makes a frozen network whose data set are the images."""

    def make(overrides: dict | None = None, task: dict | None = None):
        own = {"data.name": "image_folder", "data.dir": str(images)}
        return make_frozen(own | (overrides or {}), task, step=3)

    return make


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_colors_are_separated_and_confused_where_the_labels_are(
    make_evaluated, images, solver: str
):
    frozen = make_evaluated({"lens.kind": "none"})
    options = Options(taps=("block1",), solver=solver, epochs=30)
    found = linear_results(frozen, options)
    fingerprints = {found.pop("train_fingerprint"), found.pop("test_fingerprint")}
    assert len(fingerprints) == 2
    # Neighbors need the features of all images, which SGD does not keep.
    if solver == "lbfgs":
        assert found.pop("knn_accuracy") == 1.0
        assert 1 <= found.pop("rankme") <= 9
        assert found.pop("color_r2") <= 1
    assert found == {
        "step": 3,
        "dataset": "image_folder",
        "full_name": "image_folder",
        "folder": str(images),
        "boxes": "none",
        "train_split": "train",
        "test_split": "test",
        "network": "online",
        "representation": "raw",
        "solver": solver,
        "train_examples": 12,
        "test_examples": 9,
        "taps": {"block1": 1.0},
        "linear_accuracy": 1.0,
        "class_accuracy": dict.fromkeys(COLORS, 1.0),
    }
    swapped = linear_results(frozen, options._replace(test_split="swapped"))
    assert swapped["linear_accuracy"] == 0.0
    assert swapped["test_examples"] == 6


def test_the_last_tap_gives_the_linear_accuracy_of_features_with_and_without_the_lens(
    make_evaluated,
):
    frozen = make_evaluated()
    found = linear_results(
        frozen,
        Options(
            taps=("pre_logits", "block1"),
            representation="concat",
            train_split="swapped",
            examples=3,
        ),
    )
    assert list(found["taps"]) == ["pre_logits", "block1"]
    assert found["linear_accuracy"] == found["taps"]["block1"] == 0.0
    assert found["representation"] == "concat"
    assert found["train_examples"] == 3
    everything = linear_results(frozen, Options(representation="raw"))
    assert list(everything["taps"]) == ["block1", "block2", "pre_logits"]
    assert everything["linear_accuracy"] == everything["taps"]["pre_logits"]
    assert everything["representation"] == "raw"


def test_another_data_set_is_read_from_its_own_folder(make_evaluated, images, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for name in ("blue", "red"):
            (tmp_path / split / name).symlink_to(images / "train" / name)
    config = make_evaluated({"data.name": "digits", "data.dir": str(tmp_path / "nowhere")}).config
    train, test = open_sources(
        config, Options(dataset="image_folder", data_dir=str(tmp_path), examples=5)
    )
    assert train.class_names == test.class_names == ("blue", "red")
    assert (len(train), len(test)) == (5, 8)


def test_pretext_results_are_those_of_both_conditions(make_evaluated):
    frozen = make_evaluated()
    _, test = open_sources(frozen.config, Options())
    found = pretext_results(frozen, Options(shortcut="chromatic"))
    expected = {"shortcut": "chromatic"}
    for condition, drawn in (("clean", "none"), ("shortcut", "chromatic")):
        accuracy = pretext_accuracy(frozen, test, drawn)
        expected[f"pretext_accuracy_{condition}"] = accuracy["raw"]
        expected[f"pretext_accuracy_{condition}_lensed"] = accuracy["lensed"]
    assert found == expected


def test_without_a_shortcut_both_conditions_are_the_same(make_evaluated):
    found = pretext_results(make_evaluated({"lens.kind": "none"}), Options(shortcut="none"))
    assert found.keys() == {"shortcut", "pretext_accuracy_clean", "pretext_accuracy_shortcut"}
    assert found["pretext_accuracy_clean"] == found["pretext_accuracy_shortcut"]


@pytest.mark.parametrize(
    ("own", "option", "expected"),
    [
        ("none", "", "arrow"),
        ("chromatic", "", "chromatic"),
        ("chromatic", "arrow", "arrow"),
        ("arrow", "none", "none"),
    ],
)
def test_the_shortcut_is_that_of_the_options_or_the_runs_or_an_arrow(
    tiny_config, own, option, expected
):
    assert resolve_shortcut(tiny_config({"shortcut": own}), Options(shortcut=option)) == expected


def test_an_evaluation_has_both_parts(make_evaluated):
    frozen, options = make_evaluated({"lens.kind": "none"}), Options(taps=("block1",))
    pretext = {"shortcut": "arrow", "pretext_accuracy_clean": 0.125}
    found = evaluate(frozen, options, pretext)
    assert found.pop("seconds") > 0
    assert found == linear_results(frozen, options) | pretext


def test_what_is_evaluated_by_default_depends_on_the_lens(make_evaluated):
    lens, none = make_evaluated().system, make_evaluated({"lens.kind": "none"}).system
    assert resolve_representations(lens, ()) == ("raw", "lensed", "concat")
    assert resolve_representations(none, ()) == ("raw",)
    assert resolve_representations(lens, ("mean",)) == ("mean",)
    with pytest.raises(UserError, match=r"'sum'.*concat"):
        resolve_representations(lens, ("mean", "sum"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(taps=("pre_logits", "block9")), ("'block9'", "block1")),
        (Options(representation="sum"), ("'sum'", "concat")),
        (Options(solver="adam"), ("'adam'", "lbfgs")),
        (Options(dataset="mnist"), ("'mnist'", "digits")),
        (Options(test_split="validation"), ("'validation'", "swapped")),
        (Options(shortcut="cross"), ("'cross'", "arrow")),
    ],
)
def test_options_that_the_run_does_not_offer_are_refused(
    make_evaluated, options: Options, words: tuple
):
    frozen = make_evaluated()

    def evaluate_all() -> None:
        evaluate(frozen, options, pretext_results(frozen, options))

    with pytest.raises(UserError) as caught:
        evaluate_all()
    assert all(word in str(caught.value) for word in words), caught.value


def test_images_without_classes_are_refused(make_evaluated, images, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).symlink_to(images / "train" / "red")
    with pytest.raises(UserError, match="no classes to learn: give a --dataset"):
        open_sources(make_evaluated().config, Options(data_dir=str(tmp_path)))


def test_by_default_another_split_is_evaluated_than_was_trained_on(make_evaluated, images):
    config = make_evaluated({"data.eval_split": ""}).config
    train, test = open_sources(config, Options())
    assert (train.split, test.split) == ("train", "test")
    _, test = open_sources(config, Options(test_split="train"))
    assert test.split == "train"


def test_the_test_split_of_another_data_set_is_its_own(make_evaluated, images):
    frozen = make_evaluated({"data.name": "digits", "data.eval_split": "validation"})
    _, test = open_sources(frozen.config, Options(dataset="image_folder", data_dir=str(images)))
    assert test.split == "test"


def test_the_lines_say_where_the_test_split_is_what_was_trained_on(make_evaluated):
    frozen = make_evaluated()
    train, _ = open_sources(frozen.config, Options())
    trained = frozen._replace(run=frozen.run | {"data": same_data.describe(train)})
    assert data_notes(trained, Options()) == list(train.notes)
    last = data_notes(trained, Options(test_split="train"))[-1]
    assert last == "the test split 'train' is what the run was trained on"


def test_training_images_of_one_class_are_refused_in_one_line(make_evaluated, images):
    options = Options(examples=1, taps=("block1",))
    with pytest.raises(UserError, match="1 of split 'train', are of one class: give more"):
        linear_results(make_evaluated(), options)


BYOL = {"name": "byol", "hidden": 8, "embedding": 4, "momentum": 0.9}


def test_the_target_network_is_evaluated_with_its_own_parameters_and_statistics(make_evaluated):
    frozen = make_evaluated({"lens.kind": "none"}, BYOL)
    options = Options(taps=("block1",), network="target")
    expected = {}
    state = frozen.state
    swapped = state.replace(params=state.target_params, batch_stats=state.target_stats)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    for name, by_hand in (("online", state), ("target", swapped)):
        chosen = choose_network(frozen, name)
        compute = make_features(chosen, "raw", ("block1", "pre_logits"))
        found = compute(chosen.state, pixels)
        expected[name] = compute(by_hand, pixels)
        for tap, features in found.items():
            np.testing.assert_array_equal(features, expected[name][tap])
    assert abs(expected["online"]["block1"] - expected["target"]["block1"]).max() > 0.1

    results = linear_results(frozen, options)
    assert results["network"] == "target"
    # Without the trained parameters nothing changes: they are not read.
    zeros = jax.tree.map(jnp.zeros_like, (state.params, state.batch_stats))
    emptied = frozen._replace(state=state.replace(params=zeros[0], batch_stats=zeros[1]))
    assert linear_results(emptied, options) == results


@pytest.mark.parametrize(
    ("task", "network", "words"),
    [(None, "target", "choose online"), (BYOL, "average", "choose one of online, target")],
)
def test_a_network_that_is_not_there_is_refused(make_evaluated, task, network: str, words: str):
    frozen = make_evaluated({"lens.kind": "none"}, task)
    options = Options(network=network)
    for measure in (linear_results, pretext_results):
        with pytest.raises(UserError, match=words) as caught:
            measure(frozen, options)
        assert network in str(caught.value)


def test_images_or_boxes_are_classified_whatever_a_run_was_trained_on(tiny_config, tmp_path):
    write_coco(tmp_path, [[(0, 0, 5, 5, "cat"), (2, 1, 10, 9, "dog")], [], [(0, 0, 9, 9, "dog")]])
    splits = Options(train_split="train", test_split="train")

    def opened(boxes: str, trained_on: str, dataset: str = "", orient: str = "auto") -> Source:
        overrides = {"data.name": "tfds:zoo", "data.dir": str(tmp_path), "data.orient": orient}
        config = tiny_config(overrides | {"data.boxes": trained_on})
        train, test = open_sources(config, splits._replace(boxes=boxes, dataset=dataset))
        assert len(train) == len(test)
        assert describe_data(train, test)["boxes"] == test.boxes
        return test

    for trained_on in ("none", "each", "largest"):
        assert len(opened("none", trained_on)) == len(opened("largest", trained_on)) == 2
        assert len(opened("each", trained_on)) == 3
        assert opened("", trained_on).boxes == trained_on
    # Another data set need not have boxes.
    write_coco(tmp_path, [[(0, 0, 5, 5, "cat")]], "park")
    assert opened("", "each", "tfds:park").boxes == "none"
    with pytest.raises(UserError, match="orient=always turns"):
        opened("each", "none", orient="always")
