import collections
import shutil
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from benchmarks import chaos, memory
from lens_jax.train.loop import data_seed

LINE = "step {}/40  epoch 0.1  90 images/s  eta 0:01  loss 1.386\n"


def moments(runs: list) -> list[tuple[str, str]]:
    return [(kind, point.moment) for kind, points in runs for point in points]


def test_the_moments_are_drawn_by_the_seed_alone():
    assert chaos.draw(50, 0) == chaos.draw(50, 0)
    assert chaos.draw(50, 0) != chaos.draw(50, 1)


@pytest.mark.parametrize("points", [1, 6, 50, 61])
def test_moments_are_dealt_evenly_to_the_kinds_and_every_kind_gets_its_sigterms(points):
    drawn = moments(chaos.draw(points, 3))
    kills = [kind for kind, moment in drawn if moment != chaos.TERM]
    share = points / len(chaos.KINDS)
    assert len(kills) == points
    assert all(abs(kills.count(kind) - share) < 1 for kind in chaos.KINDS)
    counts = collections.Counter(moment for _, moment in drawn)
    assert all(abs(counts[each] - points / 3) < 1 for each in (chaos.START, chaos.STEP, chaos.SAVE))
    for kind in chaos.KINDS:
        assert drawn.count((kind, chaos.TERM)) == chaos.TERMS_OF_A_KIND


def test_the_points_of_a_run_come_in_order_lie_before_its_end_and_are_five_at_most():
    for _, points in chaos.draw(200, 0):
        steps = [point.step for point in points]
        assert steps == sorted(steps)
        assert 1 <= steps[0] <= steps[-1] < chaos.STEPS
        assert len(points) <= chaos.KILLS_IN_A_RUN
        assert all(0 <= point.share < 1 < point.threads for point in points)


@pytest.mark.parametrize(
    ("moment", "line", "due"),
    [
        (chaos.STEP, LINE.format(7), False),
        (chaos.STEP, LINE.format(8), True),
        (chaos.STEP, LINE.format(10), True),
        (chaos.STEP, "compiled the step in 8.0 s for 1 cpu device(s)\n", False),
        (chaos.SAVE, LINE.format(6), False),
        (chaos.SAVE, LINE.format(8), False),
        (chaos.SAVE, LINE.format(9), True),
        (chaos.START, "going on from checkpoint 9 in /any\n", False),
        (chaos.START, LINE.format(1), True),
    ],
)
def test_a_point_at_step_8_is_due_at_lines_that_tell_it(moment, line, due):
    assert chaos.is_due(chaos.Point(moment, 8, 0.5, 2), line) == due


def make_result() -> dict:
    params = {"head": {"bias": jnp.zeros(3), "kernel": jnp.ones((2, 3), jnp.bfloat16)}}
    return {"position": {"next_index": 48, "inner": {"epoch": 0}}, "state": {"params": params}}


def test_equal_results_differ_in_nothing_even_where_a_number_is_nan():
    one, other = make_result(), make_result()
    one["state"]["params"]["head"]["bias"] = (
        other["state"]["params"]["head"]["bias"].at[1].set(jnp.nan)
    )
    other["state"]["params"]["head"]["bias"] = np.array(one["state"]["params"]["head"]["bias"])
    assert chaos.differing(one, other) == []


@pytest.mark.parametrize(
    "replacement",
    [
        jnp.zeros(3).at[2].set(-0.0),
        jnp.zeros(3).at[0].set(1e-45),
        jnp.zeros(3, jnp.int32),
        jnp.zeros((3, 1)),
        {},
        {"more": jnp.zeros(3)},
    ],
)
def test_another_bit_type_shape_or_structure_is_told_by_the_name_of_its_leaf(replacement):
    other = make_result()
    other["state"]["params"]["head"]["bias"] = replacement
    name = "state/params/head/bias"
    found = chaos.differing(make_result(), other)
    assert name in found
    assert all(each.startswith(name) for each in found)


def test_every_single_flipped_bit_of_an_array_is_found():
    content = np.asarray(make_result()["state"]["params"]["head"]["kernel"])
    for bit in range(8 * content.nbytes):
        changed = bytearray(content.tobytes())
        changed[bit // 8] ^= 1 << bit % 8
        flipped = np.frombuffer(changed, content.dtype).reshape(content.shape)
        assert chaos.differing({"kernel": content}, {"kernel": flipped}) == ["kernel"]


def test_another_position_in_the_data_is_told():
    other = make_result()
    other["position"]["inner"]["epoch"] = 1
    assert chaos.differing(make_result(), other) == ["position/inner/epoch"]


def test_what_is_no_whole_checkpoint_is_left_over(tmp_path):
    assert chaos.leftovers(tmp_path) == []
    for name in ("3", "12", "15.orbax-checkpoint-tmp-1", "18.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert chaos.leftovers(tmp_path) == ["15.orbax-checkpoint-tmp-1", "18.orbax-checkpoint-tmp"]
    for name in chaos.leftovers(tmp_path):
        shutil.rmtree(tmp_path / "checkpoints" / name)
    assert chaos.leftovers(tmp_path) == []


def test_a_folder_without_checkpoints_is_readable_and_one_with_a_broken_row_of_metrics_is_not(
    tmp_path,
):
    assert chaos.find_unreadable(tmp_path) == ""
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert chaos.find_unreadable(tmp_path) == ""
    assert chaos.losses(tmp_path) == [(1, 2.5)]
    metrics.write_text('{"step": 1, "lo\n{"step": 2, "loss": 2.5}\n')
    assert chaos.find_unreadable(tmp_path).startswith("not readable: JSONDecodeError")


def test_the_bad_record_is_met_half_way_and_not_in_the_order_after_the_roll_back():
    size = 1000
    record = chaos.choose_record(size)
    first, again = (chaos._order(size, seed) for seed in (0, data_seed(0, 1)))
    assert first.shape == (chaos.STEPS, chaos.BATCH_SIZE)
    assert len(np.unique(first)) == first.size
    assert np.argwhere(first == record)[:, 0].tolist() == [chaos.STEPS // 2]
    assert record not in again


def test_poison_changes_the_label_of_one_record_and_nothing_else(tmp_path):
    path = tmp_path / "digits-train.array_record-00000-of-00001"
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for index in range(5):
        example = tf_example_pb2.Example()
        example.features.feature["image"].bytes_list.value[:] = [bytes([index])]
        example.features.feature["label"].int64_list.value[:] = [index]
        writer.write(example.SerializeToString())
    writer.close()
    chaos.poison(tmp_path, 3)
    found = [
        tf_example_pb2.Example.FromString(data) for data in ArrayRecordReader(str(path)).read_all()
    ]
    assert [each.features.feature["label"].int64_list.value[0] for each in found] == [
        0,
        1,
        2,
        10,
        4,
    ]
    assert [each.features.feature["image"].bytes_list.value[0][0] for each in found] == [
        0,
        1,
        2,
        3,
        4,
    ]


def make_life(moments: str, status: dict[int, int], problem: str) -> chaos.Life:
    kills = [
        chaos.Kill(
            "jigsaw", chaos.Point(each, 1, 0.0, 2), 1, status.get(index, -9), each == chaos.SAVE, ""
        )
        for index, each in enumerate(moments.split())
    ]
    return chaos.Life(tuple(kills), problem)


def test_the_table_counts_what_was_killed_resumed_equal_torn_and_too_late():
    good = make_life("step save step end", {2: 0, 3: 0}, "")
    unequal = make_life("save end", {1: 0}, "state/step differs")
    broken = make_life("step save step", {2: 1}, "it ended by itself")
    lines = chaos.tabulate([good, unequal, broken]).splitlines()
    counts = {
        line.split()[0]: [int(each) for each in line.split()[1:]]
        for line in lines[1:]
        if "kill" not in line
    }
    assert counts["save"] == [3, 2, 1, 3, 0]
    assert counts["jigsaw"] == [5, 4, 2, 3, 1]
    assert "end" not in counts


@pytest.mark.parametrize(
    ("status", "name"), [(-9, "SIGKILL"), (-6, "SIGABRT"), (75, "exit status 75")]
)
def test_a_status_is_told_in_words(status, name):
    assert chaos.name_status(status) == name


def make_samples(resident: list[int]) -> list[memory.Sample]:
    return [memory.Sample(memory.EVERY * index, size) for index, size in enumerate(resident, 1)]


def test_growth_is_from_the_median_after_the_warm_up_to_the_median_at_the_end():
    warm_up = memory.WARM_UP // memory.EVERY - 1
    rising, steady, late = [100] * warm_up, [1000, 900, 1100] * 4, [1050, 1040, 5000] * 4
    growth = memory.find_growth(make_samples(rising + steady + late))
    assert growth.first == np.median(steady[: memory.WINDOW])
    assert growth.last == np.median(late[-memory.WINDOW :])
    assert growth.percent == pytest.approx(5.0)


def test_a_leak_of_a_constant_number_of_bytes_a_step_is_found_by_its_slope():
    steps, leak, base = 2000, 50_000, 1_000_000_000
    samples = [
        memory.Sample(step, base + leak * step) for step in range(20, steps + 1, memory.EVERY)
    ]
    between = steps - memory.WARM_UP - (memory.WINDOW - 1) * memory.EVERY
    assert np.diff(memory.find_growth(samples)[:2]) == pytest.approx(leak * between)
    assert memory.find_growth(samples).percent > memory.LIMIT


def test_the_memory_table_has_the_last_sample_and_few_others():
    samples = make_samples([memory.MEBIBYTE * size for size in range(1, 101)])
    lines = memory.describe(samples, memory.find_growth(samples)).splitlines()
    assert len(lines) <= memory.SHOWN + 3
    assert lines[-2].split() == ["2,000", "100.0"]


@pytest.mark.parametrize(
    ("benchmark", "flag"), [(memory, "--steps=599"), (chaos, "--points=0"), (chaos, "--jobs=0")]
)
def test_senseless_counts_are_refused_in_one_line_before_anything_starts(
    monkeypatch, benchmark, flag
):
    monkeypatch.setattr(sys, "argv", ["any", flag])
    with pytest.raises(SystemExit) as caught:
        benchmark.main()
    name, _, value = flag.partition("=")
    assert str(caught.value).startswith(f"error: {name} is {value}: give ")
    assert "\n" not in str(caught.value)
