import dataclasses

import pytest

from lens_jax.errors import UserError
from lens_jax.tasks.pirl import PIRL
from lens_jax.tasks.rotation import Rotation
from lens_jax.train import same_data

ROTATION = Rotation()
RUN = {
    "class_names": ["red", "green", "blue"],
    "examples": 10,
    "data": {
        "dataset": "colors/1",
        "folder": "/a",
        "split": "train",
        "fingerprint": "aa",
        "textures": "",
    },
}


@pytest.fixture
def source(colorful):
    return dataclasses.replace(
        colorful(10), dataset="colors/1", folder="/b", split="train", fingerprint="aa"
    )


def test_data_that_was_moved_is_the_same(source, capsys):
    assert same_data.describe(source) == RUN["data"] | {"folder": "/b"}
    same_data.check(RUN, source, "run", task=ROTATION, allowed=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_names": ("red", "lime", "blue")}, "no class 'green' any more; a new class 'lime'"),
        ({"size": 1012}, "1,002 images more than 10"),
        ({"size": 9}, "1 image fewer than 10"),
        ({"textures": "cc"}, "the same images, with other textures"),
        ({"fingerprint": "bb"}, "as many images, of other names or sizes"),
        ({"fingerprint": "bb", "dataset": "colors/2"}, "colors/1 then, colors/2 now"),
    ],
)
def test_what_has_changed_is_said_in_one_line_and_refused_unless_allowed(
    change, words, source, capsys
):
    changed = dataclasses.replace(source, **change)
    with pytest.raises(UserError, match=words) as caught:
        same_data.check(RUN, changed, "run", task=ROTATION, allowed=False)
    assert "--allow_changed_data" in str(caught.value)
    assert "\n" not in str(caught.value)
    same_data.check(RUN, changed, "run", task=ROTATION, allowed=True)
    assert words in capsys.readouterr().out


def test_another_number_of_classes_is_refused_even_where_changes_are_allowed(source):
    more = dataclasses.replace(source, class_names=("red", "green", "blue", "lime"))
    with pytest.raises(UserError, match=r"3 classes only, not with 4: .* --init=run"):
        same_data.check(RUN, more, "run", task=ROTATION, allowed=True)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize(
    ("images", "words"),
    [
        (1025, r"1,015 images more than 10; its memory has 1,024 rows for 10 images"),
        (2049, r"and would need 3,072 for 2,049: .* --init=run"),
    ],
)
def test_a_memory_of_other_rows_is_refused_with_a_way_out(images, words, allowed, source):
    changed = dataclasses.replace(source, size=images)
    with pytest.raises(UserError, match=words) as caught:
        same_data.check(RUN, changed, "run", task=PIRL(images), allowed=allowed)
    # What would be refused again is not offered.
    assert "--allow_changed_data" not in str(caught.value)
    same_data.check(RUN, changed, "run", task=ROTATION, allowed=True)


def test_a_memory_that_has_room_for_the_images_goes_on_where_that_is_allowed(source, capsys):
    changed = dataclasses.replace(source, size=1024)
    same_data.check(RUN, changed, "run", task=PIRL(1024), allowed=True)
    assert "going on" in capsys.readouterr().out


def test_of_many_classes_three_are_named(source):
    names = tuple("abcde")
    text = same_data.difference(RUN, dataclasses.replace(source, class_names=names))
    assert text.endswith("a new class 'a', 'b', 'c' and 2 more")


def test_a_run_from_before_fingerprints_is_compared_by_classes_and_images(source):
    older = {key: RUN[key] for key in ("class_names", "examples")}
    assert same_data.difference(older, source) is None
    assert same_data.difference(older | {"examples": 9}, source) == "1 image more than 9"
