"""Pairs of frames and of regions, against loops and cases worked out by hand."""

import pathlib
from itertools import product

import numpy as np
import pytest

from lens_jax.data.batches import Skipped, eval_batches, train_batches
from lens_jax.data.records import Source
from lens_jax.data.selection import Selection, frame_pairs, match, region_pairs
from lens_jax.data.source import open_source
from lens_jax.errors import UserError
from tests.data import boxed


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("films")
    boxed.write_videos(folder, tracked=True, name="film")
    boxed.write_videos(folder, tracked=False, name="clip")
    return folder


def opened(folder: pathlib.Path, pairs: str, distance: int = 1, name: str = "clip") -> Source:
    selection = Selection("none", pairs, distance)
    return open_source(f"tfds:{name}", "train", str(folder), selection=selection)


def title(record: dict) -> tuple[str, int, tuple[int, ...]]:
    """The video and the frame of a record, and its region in tenths."""
    words = record["name"].split("] ")[1].split()
    region = tuple(round(10 * edge) for edge in record.get("region", ()))
    return words[0], int(words[2]), region


def all_pairs(source: Source) -> list[tuple]:
    pairs = []
    for index in range(len(source)):
        first, second = source[index], source.read_partner(index)
        assert first["label"] == second["label"]
        pairs.append((title(first), title(second)))
    return sorted(pairs)


def test_matches_are_those_of_loops():
    rng = np.random.default_rng(0)
    for distance in (1, 2, 5):
        # Some of the cells of a table of keys and frames, in any order.
        cells = [cell for cell in product(range(3), range(2), range(12)) if rng.uniform() < 0.7]
        table = rng.permutation(np.array(cells))
        keys, frames = table[:, :2], table[:, 2]
        expected = []
        for i, j in product(range(len(table)), repeat=2):
            if (keys[i] == keys[j]).all() and frames[j] == frames[i] + distance:
                expected.append((i, j))
        first, second = match(keys, frames, distance)
        assert list(zip(first.tolist(), second.tolist(), strict=True)) == sorted(expected)
        assert expected


def test_matches_among_none_and_among_one():
    nothing = np.zeros((0, 1), int), np.zeros(0, int)
    assert [len(part) for part in match(*nothing, 1)] == [0, 0]
    assert [len(part) for part in match(np.zeros((1, 1), int), np.zeros(1, int), 1)] == [0, 0]


def test_frames_of_some_records_are_paired():
    videos, frames = np.array([0, 0, 0, 1, 1]), np.array([2, 0, 1, 0, 1])
    first, second = frame_pairs(np.array([0, 2, 3, 4]), videos, frames, 1)
    assert first.records.tolist() == [2, 3]
    assert second.records.tolist() == [0, 4]


def test_regions_of_a_track_are_paired_by_hand():
    # Three frames of one video in another order: tracks 5 and 6, then 6, then 6 and 5.
    counts, frames = np.array([2, 1, 2]), np.array([0, 2, 1])
    tracks = np.array([5, 6, 6, 6, 5])
    first, second = region_pairs(counts, np.zeros(3, int), frames, tracks, 1)
    assert list(zip(*first, strict=True)) == [(0, 0), (0, 1), (2, 0)]
    assert list(zip(*second, strict=True)) == [(2, 1), (2, 0), (1, 0)]


@pytest.mark.parametrize("distance", [1, 2, 3, 4])
def test_frames_that_are_so_far_apart_are_paired(folder, distance):
    expected = []
    for video, frames in boxed.VIDEOS.items():
        for frame in frames:
            if frame + distance in frames:
                expected.append(((video, frame, ()), (video, frame + distance, ())))
    assert all_pairs(opened(folder, "frames", distance)) == sorted(expected)


def test_the_one_box_of_each_frame_is_paired(folder):
    box = (0, 0, 5, 5)
    expected = [
        ((v, i, box), (v, j, box)) for (v, i, _), (_, j, _) in all_pairs(opened(folder, "frames"))
    ]
    assert all_pairs(opened(folder, "regions")) == expected


def test_boxes_of_one_track_are_paired(folder):
    stays, leaves = (0, 0, 5, 5), (5, 5, 10, 10)
    expected = []
    for video, frames in boxed.VIDEOS.items():
        for frame in frames:
            if frame + 1 in frames:
                expected.append(((video, frame, stays), (video, frame + 1, stays)))
                if frame + 1 < 3:
                    expected.append(((video, frame, leaves), (video, frame + 1, leaves)))
    found = opened(folder, "regions", name="film")
    assert all_pairs(found) == sorted(expected)
    assert found.class_names == ("cat", "dog", "cup")


def test_both_are_the_frames_and_the_regions(folder):
    both = all_pairs(opened(folder, "both", 2))
    assert both == sorted(
        all_pairs(opened(folder, "frames", 2)) + all_pairs(opened(folder, "regions", 2))
    )


def test_videos_without_a_pair_are_counted(folder):
    left_out = "left out: 1 of 3 videos, which have none"
    (note,) = opened(folder, "frames").notes
    assert f"6 pairs of frames, 1 frames apart; {left_out}" in note
    (note,) = opened(folder, "both", 2, "film").notes
    assert f"4 pairs of frames and 5 pairs of regions, 2 frames apart; {left_out}" in note


def message(folder: pathlib.Path, pairs: str, distance: int, name: str) -> str:
    with pytest.raises(UserError) as caught:
        opened(folder, pairs, distance, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_has_no_pairs_is_refused(folder, tmp_path):
    text = message(folder, "both", 5, "clip")
    assert text.startswith("no two frames or regions of clip/1.0.0 train are 5 frames apart")
    text = message(folder, "frames", 5, "clip")
    assert text.startswith("no two frames of clip/1.0.0 train are 5 frames apart in one of its 3 v")
    boxed.write(tmp_path, "plain", {"image": boxed.IMAGE}, [{"image": boxed.picture(0)}])
    assert "plain/1.0.0 has no videos: set data.pairs=none" in message(
        tmp_path, "frames", 1, "plain"
    )
    assert "plain/1.0.0 has no boxes" in message(tmp_path, "regions", 1, "plain")


def read(source: Source, count: int, state: dict | None = None, **options) -> tuple[list, dict]:
    """Batches of pairs and the state after them, from a state on."""
    defaults = {"batch_size": 4, "image_size": 8, "crop": "random", "seed": 3, "threads": 2}
    reader = train_batches(source, Skipped(source), **defaults | options)
    if state is not None:
        reader.set_state(state)
    return [next(reader) for _ in range(count)], reader.get_state()


def assert_same(ones: list, others: list) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one.keys() == other.keys() == {"image", "partner", "label", "index"}
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_batches_hold_both_images_and_reading_goes_on_exactly(folder):
    source = opened(folder, "both", 2)
    batches, _ = read(source, 6)
    for batch in batches:
        assert batch["partner"].shape == batch["image"].shape == (4, 8, 8, 3)
        assert batch["partner"].dtype == np.uint8
        # Red is 40 for each video, plus the number of the frame.
        difference = batch["partner"][..., 0].astype(int) - batch["image"][..., 0]
        assert (difference == 2).all()
        for row, index in enumerate(batch["index"].tolist()):
            assert batch["label"][row] == source[index]["label"]
    _, state = read(source, 3)
    again, _ = read(source, 3, state)
    assert_same(again, batches[3:])


def test_two_processes_read_the_rows_of_one(folder):
    source = opened(folder, "regions", name="film")
    whole, _ = read(source, 4)
    (first, _), (second, _) = (read(source, 4, shard=shard, shards=2) for shard in range(2))
    joined = []
    for one, other in zip(first, second, strict=True):
        joined.append({key: np.concatenate([one[key], other[key]]) for key in one})
    assert_same(joined, whole)


def test_a_pair_of_which_one_does_not_decode_is_replaced():
    pictures = [boxed.picture(value) for value in range(4)]
    broken = [*pictures[:2], b"no image", pictures[3]]

    def reads(images: list[bytes]):
        return lambda index: {"image": images[index], "label": index, "name": f"image {index}"}

    source = Source(tuple("abcd"), 4, reads(pictures), read_partner=reads(broken))
    skipped = Skipped(source)
    defaults = {"batch_size": 4, "image_size": 8, "crop": "none", "seed": 0, "threads": 1}
    batch = next(train_batches(source, skipped, **defaults))
    assert sorted(batch["label"].tolist()) == [0, 1, 3, 3]
    assert skipped.names == {"image 2"}
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["partner"][:, 0, 0, 0])


def test_evaluation_and_monitors_read_the_first_images_alone(folder):
    source = opened(folder, "frames").subsample(4)
    (batch,) = eval_batches(source, Skipped(source), batch_size=4, image_size=8, crop="none")
    assert batch.keys() == {"image", "label", "index", "mask"}
