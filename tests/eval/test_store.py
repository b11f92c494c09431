import dataclasses

import jax
import numpy as np
import pytest

from lens_jax.eval import store
from lens_jax.eval.features import extract, make_features
from lens_jax.eval.frozen import Frozen

TAPS = ("block1", "pre_logits")


def named(source, **changes):
    known = {"dataset": "colors/1.0.0", "split": "test", "fingerprint": "0123"}
    return dataclasses.replace(source, **(known | changes))


def finished(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rows_are_those_of_a_pass_without_what_does_not_decode(make_frozen, colorful, tmp_path):
    frozen, source = make_frozen(), named(colorful(9, broken=(0, 4)))
    expected = extract(frozen, source, make_features(frozen, "raw", TAPS))
    found = store.read_rows(str(tmp_path), frozen, source, "raw", TAPS)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert found.positions.tolist() == [1, 2, 3, 5, 6, 7, 8]
    assert isinstance(found.taps["block1"], np.memmap)


def test_what_is_stored_is_not_computed_again(make_frozen, colorful, tmp_path):
    frozen, source = make_frozen(), named(colorful(7))
    first = store.read_rows(str(tmp_path), frozen, source, "raw", TAPS[:1])

    def unreadable(index: int):
        raise AssertionError("read again")

    # The same images, by their fingerprint.
    silent = dataclasses.replace(source, read=unreadable)
    again = store.read_rows(str(tmp_path), frozen, silent, "raw", TAPS[:1])
    jax.tree.map(np.testing.assert_array_equal, first, again)
    with pytest.raises(AssertionError, match="read again"):
        store.read_rows(str(tmp_path), frozen, silent, "raw", TAPS)


def other_numbers(frozen: Frozen) -> Frozen:
    params = jax.tree.map(lambda leaf: leaf * 1.001, frozen.state.params)
    return frozen._replace(state=frozen.state.replace(params=params))


def test_nothing_is_stale(make_frozen, colorful, tmp_path):
    """Each change of the networks, of the images or of how they are read makes its own features."""
    frozen, source = make_frozen(), named(colorful(7))
    cases = [
        (frozen, source, "raw"),
        (frozen, source, "lensed"),
        (other_numbers(frozen), source, "raw"),
        (frozen, named(colorful(7), fingerprint="4567"), "raw"),
        (frozen, named(colorful(7), split="train"), "raw"),
        (frozen, source.subsample(5), "raw"),
        (make_frozen({"data.linear_size": 12}), source, "raw"),
        (make_frozen({"data.linear_crop": "central"}), source, "raw"),
    ]
    names = set()
    for network, images, representation in cases:
        store.read_rows(str(tmp_path), network, images, representation, TAPS[:1])
        names.add(tuple(finished(tmp_path)))
    assert len(names) == len(cases)
    assert len(finished(tmp_path)) == len(cases)


def test_it_is_the_same_wherever_the_data_lie(make_frozen, colorful, tmp_path):
    source = named(colorful(5))
    for folder in ("/here", "/there"):
        frozen = make_frozen({"data.dir": folder, "data.threads": 1})
        moved = dataclasses.replace(source, folder=folder)
        store.read_rows(str(tmp_path), frozen, moved, "raw", TAPS[:1])
    assert len(finished(tmp_path)) == 1


def test_what_a_killed_job_left_is_never_read(make_frozen, colorful, tmp_path):
    frozen, source = make_frozen(), named(colorful(5))

    def killed(index: int):
        if index == 3:
            raise KeyboardInterrupt
        return source.read(index)

    with pytest.raises(KeyboardInterrupt):
        store.read_rows(
            str(tmp_path), frozen, dataclasses.replace(source, read=killed), "raw", TAPS
        )
    found = store.read_rows(str(tmp_path), frozen, source, "raw", TAPS)
    expected = extract(frozen, source, make_features(frozen, "raw", TAPS))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_store_is_cleaned_of_features_and_of_nothing_else(make_frozen, colorful, tmp_path):
    frozen, source = make_frozen(), named(colorful(5))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    store.read_rows(str(tmp_path), frozen, source, "raw", TAPS)
    assert store.clean(str(tmp_path)) > 5 * 4
    assert finished(tmp_path) == ["mine"]
    assert (tmp_path / "mine" / "notes.txt").read_text() == "kept"
