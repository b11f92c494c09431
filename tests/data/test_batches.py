import json
import logging

import numpy as np
import pytest

from lens_jax.data.batches import (
    NO_INDEX,
    Skipped,
    eval_batches,
    train_batches,
)
from lens_jax.data.crops import CROPS, EVAL_CROPS
from lens_jax.data.decode import decode
from lens_jax.errors import UserError


def train(source, skipped=None, **options):
    defaults = {"batch_size": 4, "image_size": 8, "crop": "none", "seed": 0, "threads": 2}
    return train_batches(source, skipped or Skipped(source), **defaults | options)


def evaluate(source, skipped=None, **options):
    defaults = {"batch_size": 4, "image_size": 8, "crop": "none", "threads": 2}
    return eval_batches(source, skipped or Skipped(source), **defaults | options)


def take(batches, count: int) -> list:
    return [next(batches) for _ in range(count)]


def join(batches: list, key: str) -> np.ndarray:
    """One array of all batches, put after one another."""
    return np.concatenate([batch[key] for batch in batches])


def indices(batches: list) -> list[int]:
    """The indices that the images themselves show, see `numbered`."""
    return join(batches, "image")[:, 0, 0, 0].tolist()


def sorted_bytes(batch: dict) -> list[bytes]:
    """Each image's bytes, sorted."""
    return sorted(image.tobytes() for image in batch["image"])


def assert_same(ones: list, others: list) -> None:
    for one, other in zip(ones, others, strict=True):
        for key in one.keys() | other.keys():
            np.testing.assert_array_equal(one[key], other[key])


def test_a_batch(numbered):
    batch = next(train(numbered(20), image_size=6))
    assert batch.keys() == {"image", "label", "index"}
    assert batch["image"].shape == (4, 6, 6, 3)
    assert batch["image"].dtype == np.uint8
    for key in ("label", "index"):
        assert batch[key].shape == (4,)
        assert batch[key].dtype == np.int32


def test_images_and_labels_stay_together(numbered):
    source = numbered(20)
    for batch in take(train(source, image_size=32), 5):
        for image, label in zip(batch["image"], batch["label"], strict=True):
            index = int(image[0, 0, 0])
            assert label == index % 2
            np.testing.assert_array_equal(image, decode(source[index]["image"]))


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("shards", [1, 2])
def test_the_index_is_that_of_the_image(numbered, crop, shards):
    source = numbered(10)
    for shard in range(shards):
        batches = train(source, crop=crop, shard=shard, shards=shards)
        read = take(batches, 6)  # 24 examples: more than two epochs
        assert join(read, "index").tolist() == indices(read)


@pytest.mark.parametrize("shards", [1, 2])
def test_the_index_of_a_replaced_image_is_that_of_the_next(numbered, shards):
    source = numbered(8, broken=(3, 4, 7))
    for shard in range(shards):
        read = take(train(source, shard=shard, shards=shards), 8)
        assert join(read, "index").tolist() == indices(read)
        assert not {3, 4, 7} & set(indices(read))


@pytest.mark.parametrize("make", [train, evaluate])
def test_the_index_in_a_subsample_is_that_in_the_whole_data_set(numbered, make):
    read = take(make(numbered(20).subsample(8)), 2)
    assert sorted(indices(read)) == [0, 2, 5, 7, 10, 12, 15, 17]
    assert join(read, "index").tolist() == indices(read)


def test_the_index_of_a_replaced_image_in_a_subsample(numbered):
    read = take(train(numbered(20, broken=(5,)).subsample(8)), 2)
    assert sorted(indices(read)) == [0, 2, 7, 7, 10, 12, 15, 17]
    assert join(read, "index").tolist() == indices(read)


def test_every_epoch_has_every_example_once_in_an_order_of_its_own(numbered):
    batches = train(numbered(20))
    epochs = [indices(take(batches, 5)) for _ in range(3)]
    assert [sorted(epoch) for epoch in epochs] == 3 * [list(range(20))]
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_batches_span_epochs(numbered):
    read = indices(take(train(numbered(7), batch_size=3), 7))
    for epoch in np.split(np.array(read), 3):
        assert sorted(epoch) == list(range(7))


def test_batches_larger_than_the_source(numbered):
    batch = next(train(numbered(3), batch_size=6))
    assert sorted(indices([batch])) == [0, 0, 1, 1, 2, 2]


def test_a_source_of_one(numbered):
    assert indices(take(train(numbered(1)), 2)) == 8 * [0]


@pytest.mark.parametrize("crop", CROPS)
def test_batches_are_a_function_of_seed_and_step(numbered, crop):
    source = numbered(20)
    runs = [take(train(source, crop=crop, threads=threads), 8) for threads in (1, 4)]
    assert_same(*runs)
    other = take(train(source, crop=crop, seed=1), 8)
    assert (join(runs[0], "image") != join(other, "image")).any()


def test_seeds_next_to_each_other_share_no_epoch(numbered):
    epochs = set()
    for seed in (0, 1):
        batches = train(numbered(20), seed=seed)
        epochs |= {tuple(indices(take(batches, 5))) for _ in range(2)}
    assert len(epochs) == 4


def test_random_crops_are_new_in_every_epoch(numbered):
    first, second = take(train(numbered(4), crop="random"), 2)
    assert not set(sorted_bytes(first)) & set(sorted_bytes(second))


@pytest.mark.parametrize("steps", [0, 3, 7])
def test_resumed_batches_are_the_same(numbered, steps):
    source = numbered(10)
    batches = train(source, crop="random")
    take(batches, steps)
    state = json.loads(json.dumps(batches.get_state()))
    expected = take(batches, 4)
    resumed = train(source, crop="random")
    next(resumed)
    resumed.set_state(state)
    assert_same(take(resumed, 4), expected)


def test_the_state_does_not_grow(numbered):
    batches = train(numbered(10))
    sizes = {len(json.dumps(batches.get_state())) for batch in take(batches, 9)}
    assert len(sizes) == 1


def whole(parts: list) -> list:
    """The batches that several processes hold together: their parts, put after one another."""
    return [{key: join(batch, key) for key in batch[0]} for batch in zip(*parts, strict=True)]


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_the_number_of_processes_does_not_change_the_batches(numbered, shards):
    source = numbered(10)
    one = train(source, crop="random")
    several = [train(source, crop="random", shard=shard, shards=shards) for shard in range(shards)]
    # 32 examples: batches 2 and 7 span two epochs.
    parts = [take(batches, 8) for batches in several]
    assert {len(batch["image"]) for part in parts for batch in part} == {4 // shards}
    assert_same(whole(parts), take(one, 8))
    assert all(batches.get_state() == one.get_state() for batches in several)


def test_batches_are_resumed_in_another_number_of_processes(numbered):
    source = numbered(10)
    one = train(source, crop="random")
    take(one, 3)
    state = one.get_state()
    several = [train(source, crop="random", shard=shard, shards=2) for shard in range(2)]
    for batches in several:
        batches.set_state(state)
    assert_same(whole([take(batches, 4) for batches in several]), take(one, 4))


def test_batches_of_one(numbered):
    batches = train(numbered(5), batch_size=1)
    assert sorted(indices(take(batches, 5))) == list(range(5))


def test_a_broken_image_is_replaced_by_the_next_and_named(numbered, caplog):
    source = numbered(8, broken=(3, 4, 7))
    skipped = Skipped(source)
    with caplog.at_level(logging.WARNING, logger="absl"):
        batches = train(source, skipped)
        epochs = [indices(take(batches, 2)) for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == 2 * [[0, 0, 1, 2, 5, 5, 5, 6]]
    assert skipped.names == {"image 3", "image 4", "image 7"}
    lines = [line for line in caplog.messages if "does not decode" in line]
    named = [line.split(" (")[0].split(": ")[1] for line in lines]
    assert sorted(named) == ["image 3", "image 4", "image 7"]


def test_too_many_broken_images_are_refused(numbered):
    source = numbered(8, broken=(3, 4))
    skipped = Skipped(source)
    skipped.check(0.0)
    take(train(source, skipped), 2)
    skipped.check(0.25)
    with pytest.raises(
        UserError, match=r"^2 of 8 images did not decode, more than the limit of 20\.00%: image 3, "
    ):
        skipped.check(0.2)


def test_a_source_of_broken_images_is_refused(numbered):
    source = numbered(3, broken=range(3))
    with pytest.raises(UserError, match="none of the 3 images decodes, from image 0 on"):
        next(train(source))


@pytest.mark.parametrize("size", [1, 7, 8, 9])
def test_evaluation_is_one_ordered_pass(numbered, size):
    batches = list(evaluate(numbered(size)))
    assert {len(batch["mask"]) for batch in batches} == {4}
    filling = -size % 4
    mask = join(batches, "mask")
    assert mask.dtype == bool
    assert mask.tolist() == size * [True] + filling * [False]
    assert indices(batches)[:size] == list(range(size))
    assert join(batches, "index").tolist() == [*range(size), *filling * [NO_INDEX]]
    assert join(batches, "label")[:size].tolist() == [i % 2 for i in range(size)]


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 9])
def test_evaluation_in_several_processes(numbered, shards, size):
    source = numbered(size)
    parts = [list(evaluate(source, shard=shard, shards=shards)) for shard in range(shards)]
    together = whole(parts)
    assert_same(together, list(evaluate(source)))
    mask = join(together, "mask")
    assert np.array(indices(together))[mask].tolist() == list(range(size))
    assert join(together, "index")[mask].tolist() == list(range(size))


def test_evaluation_masks_broken_images(numbered):
    source = numbered(6, broken=(0, 4))
    skipped = Skipped(source)
    batches = list(evaluate(source, skipped))
    assert join(batches, "mask").tolist() == [0, 1, 1, 1, 0, 1, 0, 0]
    assert join(batches, "index").tolist() == [0, 1, 2, 3, 4, 5, NO_INDEX, NO_INDEX]
    assert batches[0]["image"][0].max() == 0
    assert skipped.names == {"image 0", "image 4"}


@pytest.mark.parametrize("crop", EVAL_CROPS)
def test_evaluation_can_be_repeated(numbered, crop):
    first = list(evaluate(numbered(9), crop=crop))
    second = list(evaluate(numbered(9), crop=crop))
    assert_same(first, second)


def test_unknown_crops_are_refused(numbered):
    with pytest.raises(
        UserError, match="unknown crop 'center': choose one of random, central, none"
    ):
        train(numbered(4), crop="center")
    with pytest.raises(UserError, match="unknown crop 'random': choose one of central, none"):
        evaluate(numbered(4), crop="random")


@pytest.mark.parametrize("make", [train, evaluate])
def test_batch_sizes_that_cannot_be_shared_are_refused(numbered, make):
    with pytest.raises(
        UserError, match="batch size 4 cannot be shared by 3 processes: use a multiple of 3"
    ):
        make(numbered(4), shards=3)
    with pytest.raises(UserError, match="batch size 0"):
        make(numbered(4), batch_size=0)
