import collections
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from benchmarks.chaos import faults, table
from benchmarks.chaos.kill import Kill, is_due, name_status
from benchmarks.chaos.kinds import BATCH_SIZE, KINDS, STEPS
from benchmarks.chaos.points import (
    KILLS_IN_A_RUN,
    SAVE,
    START,
    STEP,
    TERM,
    TERMS_OF_A_KIND,
    Point,
    draw,
)
from benchmarks.chaos.poison import choose_record, poison, read_order
from benchmarks.chaos.runs import Run
from lens_jax.train.loop import data_seed

LINE = "step {}/40  epoch 0.1  90 images/s  eta 0:01  loss 1.386\n"


def test_the_moments_are_drawn_by_the_seed_alone():
    assert draw(50, 0) == draw(50, 0)
    assert draw(50, 0) != draw(50, 1)


@pytest.mark.parametrize("points", [1, 6, 50, 61])
def test_moments_are_dealt_evenly_to_the_kinds_and_every_kind_gets_its_sigterms(points: int):
    kills, terms, moments = collections.Counter(), collections.Counter(), collections.Counter()
    for kind, own in draw(points, 3):
        for point in own:
            if point.moment == TERM:
                terms[kind] += 1
            else:
                kills[kind] += 1
                moments[point.moment] += 1
    assert kills.total() == points
    for kind in KINDS:
        assert abs(kills[kind] - points / len(KINDS)) < 1
        assert terms[kind] == TERMS_OF_A_KIND
    for moment in (START, STEP, SAVE):
        assert abs(moments[moment] - points / 3) < 1


def test_the_points_of_a_run_come_in_order_lie_before_its_end_and_are_five_at_most():
    for _, points in draw(200, 0):
        steps = [point.step for point in points]
        assert steps == sorted(steps)
        assert 1 <= steps[0] <= steps[-1] < STEPS
        assert len(points) <= KILLS_IN_A_RUN
        assert all(0 <= point.fraction < 1 < point.threads for point in points)


@pytest.mark.parametrize(
    ("moment", "line", "due"),
    [
        (STEP, LINE.format(7), False),
        (STEP, LINE.format(8), True),
        (STEP, LINE.format(10), True),
        (STEP, "compiled the step in 8.0 s for 1 cpu device(s)\n", False),
        (SAVE, LINE.format(6), False),
        (SAVE, LINE.format(8), False),
        (SAVE, LINE.format(9), True),
        (START, "going on from checkpoint 9 in /any\n", False),
        (START, LINE.format(1), True),
    ],
)
def test_a_point_at_step_8_is_due_at_lines_that_show_it(moment: str, line: str, due: bool):
    assert is_due(Point(moment, 8, 0.5, 2), line) == due


def make_result() -> dict:
    params = {"head": {"bias": jnp.zeros(3), "kernel": jnp.ones((2, 3), jnp.bfloat16)}}
    return {"position": {"next_index": 48, "inner": {"epoch": 0}}, "state": {"params": params}}


def test_equal_results_differ_in_nothing_even_where_a_number_is_nan():
    one, other = make_result(), make_result()
    bias = jnp.zeros(3).at[1].set(jnp.nan)
    one["state"]["params"]["head"]["bias"] = bias
    other["state"]["params"]["head"]["bias"] = np.array(bias)
    assert faults.differing(one, other) == []


@pytest.mark.parametrize(
    "replacement",
    [
        np.array([0, 0, -0.0], np.float32),
        np.array([1e-45, 0, 0], np.float32),
        np.zeros(3, np.int32),
        np.zeros((3, 1), np.float32),
        {},
        {"more": np.zeros(3, np.float32)},
    ],
    ids=["sign", "last bit", "type", "shape", "absent", "subtree"],
)
def test_another_bit_type_shape_or_structure_is_reported_by_the_name_of_its_leaf(replacement):
    other = make_result()
    other["state"]["params"]["head"]["bias"] = replacement
    name = "state/params/head/bias"
    found = faults.differing(make_result(), other)
    assert name in found
    assert all(each.startswith(name) for each in found)


def test_every_single_flipped_bit_of_an_array_is_found():
    content = np.asarray(make_result()["state"]["params"]["head"]["kernel"])
    for bit in range(8 * content.nbytes):
        changed = bytearray(content.tobytes())
        changed[bit // 8] ^= 1 << bit % 8
        flipped = np.frombuffer(changed, content.dtype).reshape(content.shape)
        assert faults.differing({"kernel": content}, {"kernel": flipped}) == ["kernel"]


def test_another_position_in_the_data_is_reported():
    other = make_result()
    other["position"]["inner"]["epoch"] = 1
    assert faults.differing(make_result(), other) == ["position/inner/epoch"]


def test_what_is_no_whole_checkpoint_is_left_over(tmp_path):
    assert faults.leftovers(tmp_path) == []
    for name in ("3", "12", "15.orbax-checkpoint-tmp-1", "18.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    found = faults.leftovers(tmp_path)
    assert found == ["15.orbax-checkpoint-tmp-1", "18.orbax-checkpoint-tmp"]
    for name in found:
        shutil.rmtree(tmp_path / "checkpoints" / name)
    assert faults.leftovers(tmp_path) == []


def test_a_folder_without_checkpoints_is_readable_and_one_with_a_broken_row_of_metrics_is_not(
    tmp_path,
):
    assert faults.find_unreadable(tmp_path) == ""
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert faults.find_unreadable(tmp_path) == ""
    assert faults.losses(tmp_path) == [(1, 2.5)]
    metrics.write_text('{"step": 1, "lo\n{"step": 2, "loss": 2.5}\n')
    assert faults.find_unreadable(tmp_path).startswith("not readable: JSONDecodeError")


def test_the_bad_record_is_read_halfway_and_not_after_the_roll_back():
    size = 1000
    record = choose_record(size)
    first, again = read_order(size, seed=0), read_order(size, data_seed(0, 1))
    assert first.shape == (STEPS, BATCH_SIZE)
    assert len(np.unique(first)) == first.size
    assert np.argwhere(first == record)[:, 0].tolist() == [STEPS // 2]
    assert record not in again


def write_records(path: Path, count: int) -> None:
    """Records whose image and label are their index."""
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for index in range(count):
        example = tf_example_pb2.Example()
        example.features.feature["image"].bytes_list.value[:] = [bytes([index])]
        example.features.feature["label"].int64_list.value[:] = [index]
        writer.write(example.SerializeToString())
    writer.close()


def test_poison_changes_the_label_of_one_record_and_nothing_else(tmp_path):
    path = tmp_path / "digits-train.array_record-00000-of-00001"
    write_records(path, 5)
    poison(tmp_path, 3)
    images, labels = [], []
    for record in ArrayRecordReader(str(path)).read_all():
        feature = tf_example_pb2.Example.FromString(record).features.feature
        images.append(feature["image"].bytes_list.value[0][0])
        labels.append(feature["label"].int64_list.value[0])
    assert images == [0, 1, 2, 3, 4]
    assert labels == [0, 1, 2, 10, 4]


def make_run(moments: str, status: dict[int, int], problem: str) -> Run:
    """A run of jigsaw killed at some moments; -9 is the status that is not given."""
    kills = []
    for index, moment in enumerate(moments.split()):
        point, torn = Point(moment, 1, 0.0, 2), moment == SAVE
        kills.append(Kill("jigsaw", point, 1, status.get(index, -9), torn, ""))
    return Run(tuple(kills), problem)


def test_the_table_counts_what_was_killed_resumed_equal_torn_and_too_late():
    good = make_run("step save step end", {2: 0, 3: 0}, "")
    unequal = make_run("save end", {1: 0}, "state/step differs")
    broken = make_run("step save step", {2: 1}, "it ended by itself")
    counts = {}
    for line in table.tabulate([good, unequal, broken]).splitlines()[1:]:
        if "kill" not in line:
            name, *cells = line.split()
            counts[name] = list(map(int, cells))
    assert counts["save"] == [3, 2, 1, 3, 0]
    assert counts["jigsaw"] == [5, 4, 2, 3, 1]
    assert "end" not in counts
    assert table.list_problems([good, unequal]) == ["jigsaw: state/step differs"]


@pytest.mark.parametrize(
    ("status", "name"), [(-9, "SIGKILL"), (-6, "SIGABRT"), (75, "exit status 75")]
)
def test_a_status_is_named(status: int, name: str):
    assert name_status(status) == name
