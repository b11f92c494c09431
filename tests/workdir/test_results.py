import json

import pytest

from lens_jax.errors import UserError
from lens_jax.workdir.files import RESULTS_FILE
from lens_jax.workdir.results import add_result, describe_data, read_results

FIRST = {
    "step": 100,
    "dataset": "digits",
    "boxes": "none",
    "network": "online",
    "representation": "concat",
    "solver": "lbfgs",
    "train_examples": 1437,
    "taps": {"block1": 0.5, "pre_logits": 1 / 3},
}


def test_a_folder_without_evaluations_has_none_and_stays_empty(tmp_path):
    assert read_results(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_added_reads_back_the_same_and_is_plain_json(tmp_path):
    add_result(str(tmp_path), FIRST)
    assert read_results(str(tmp_path)) == [FIRST]
    assert json.loads((tmp_path / RESULTS_FILE).read_text()) == [FIRST]
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS_FILE]


@pytest.mark.parametrize(
    "other",
    [
        {"step": 200},
        {"dataset": "glyphs"},
        {"representation": "raw"},
        {"network": "target"},
        {"solver": "sgd"},
        {"train_examples": 100},
        {"full_name": "digits/2.0.0"},
        {"train_split": "test"},
        {"test_split": "train"},
        {"test_examples": 7},
        {"train_fingerprint": "aa"},
        {"test_fingerprint": "aa"},
        {"boxes": "each"},
    ],
)
def test_another_evaluation_is_added_at_the_end(other: dict, tmp_path):
    add_result(str(tmp_path), FIRST)
    add_result(str(tmp_path), FIRST | other)
    assert read_results(str(tmp_path)) == [FIRST, FIRST | other]


def test_the_same_evaluation_takes_the_place_of_the_older_one(tmp_path):
    again, other = FIRST | {"taps": {"block1": 0.75}}, FIRST | {"step": 200}
    for result in (FIRST, other, again):
        add_result(str(tmp_path), result)
    assert read_results(str(tmp_path)) == [other, again]


def test_a_file_that_is_not_json_is_refused_by_name_and_left_alone(tmp_path):
    path = tmp_path / RESULTS_FILE
    path.write_text('[{"step": 1')
    for touch in (lambda: read_results(str(tmp_path)), lambda: add_result(str(tmp_path), FIRST)):
        with pytest.raises(UserError, match=f"{RESULTS_FILE} is not JSON.*remove"):
            touch()
    assert path.read_text() == '[{"step": 1'


def test_data_that_was_moved_is_the_same_evaluation(tmp_path):
    for folder in ("here", "there"):
        add_result(str(tmp_path), FIRST | {"folder": folder, "test_fingerprint": "aa"})
    assert [row["folder"] for row in read_results(str(tmp_path))] == ["there"]


def test_a_result_says_on_what_it_was_measured_and_an_older_one_what_it_knows():
    row = {"dataset": "image_folder", "full_name": "image_folder", "folder": "/photos"}
    row |= {"test_split": "held_out", "test_examples": 1234}
    assert describe_data(row) == "image_folder /photos held_out, 1,234 images"
    newer = {"dataset": "digits", "full_name": "digits/1.0.0", "folder": "/tfds/digits/1.0.0"}
    assert describe_data(newer | {"test_split": "test"}) == "digits/1.0.0 test"
    assert describe_data(FIRST) == "digits, online network"
    assert describe_data({}) == ""
    assert describe_data(row | {"boxes": "none"}) == describe_data(row)
    assert describe_data(row | {"boxes": "each"}).endswith(" held_out, 1,234 boxes")


def test_a_folder_that_cannot_be_written_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"cannot write to .*file"):
        add_result(str(tmp_path / "file"), FIRST)


def test_a_result_from_before_there_were_choices_is_of_the_online_network_and_of_images(tmp_path):
    older = {key: value for key, value in FIRST.items() if key not in ("network", "boxes")}
    add_result(str(tmp_path), older)
    assert read_results(str(tmp_path)) == [FIRST]
    again = FIRST | {"linear_accuracy": 0.5}
    add_result(str(tmp_path), again)
    assert read_results(str(tmp_path)) == [again]
