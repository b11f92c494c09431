import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import integrate

from lens_jax.errors import UserError
from lens_jax.sweep.grid import Run, folder_name
from lens_jax.sweep.status import Status
from lens_jax.sweep.table import best, make_table, standard_error, to_markdown, welch, write_table


def welch_by_hand(a: list[float], b: list[float]) -> float:
    """The two-sided p by Welch (1947), from the density of Student's t, integrated."""
    means, squared_errors = [], []
    for values in (a, b):
        count = len(values)
        mean = sum(values) / count
        variance = sum((x - mean) ** 2 for x in values) / (count - 1)
        means.append(mean)
        squared_errors.append(variance / count)
    total = sum(squared_errors)
    t = abs(means[0] - means[1]) / math.sqrt(total)

    # The degrees of freedom of Welch and Satterthwaite.
    parts = [squared_errors[0] ** 2 / (len(a) - 1), squared_errors[1] ** 2 / (len(b) - 1)]
    freedom = total**2 / sum(parts)
    power = (freedom + 1) / 2
    scale = math.gamma(power) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)

    def density(x: float) -> float:
        return scale * (1 + x * x / freedom) ** -power

    tail, _ = integrate.quad(density, t, math.inf)
    return 2 * tail


@pytest.mark.parametrize(("m", "n"), [(2, 2), (3, 3), (3, 5), (10, 4)])
def test_welch_agrees_with_its_formula(m: int, n: int):
    rng = np.random.default_rng(m * n)
    a, b = rng.normal(0.80, 0.01, m).tolist(), rng.normal(0.82, 0.05, n).tolist()
    assert welch(a, b) == pytest.approx(welch_by_hand(a, b), rel=1e-6)
    assert welch(b, a) == pytest.approx(welch(a, b), rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        ([0.5, 0.5], [0.5, 0.5], 1),
        ([0.5, 0.5], [0.7, 0.7], 0),
        ([0.5], [0.7, 0.8], 1),
        ([0.5], [0.7], 1),
    ],
)
def test_welch_of_samples_without_spread_or_of_one_value(a: list, b: list, p: float):
    assert welch(a, b) == p


def test_standard_error_is_the_standard_deviation_over_n_minus_1_by_the_root_of_n():
    assert standard_error([0.2, 0.4, 0.9]) == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2 / 3))
    assert standard_error([0.2]) is None
    assert standard_error([]) is None


@pytest.mark.parametrize(
    ("samples", "index"),
    [
        ([[0.5, 0.51, 0.52], [0.8, 0.81, 0.82], [0.6, 0.61, 0.62]], 1),
        # Far above the worst, but not above the second best.
        ([[0.5, 0.51, 0.52], [0.8, 0.81, 0.82], [0.79, 0.81, 0.815]], None),
        ([[0.8, 0.81, 0.82], [], [0.6, 0.61, 0.62]], 0),
        ([[0.8, 0.81, 0.82], []], None),
        ([[0.8, 0.81, 0.82]], None),
        ([], None),
        ([[0.9], [0.6, 0.61, 0.62]], None),
        ([[0.9, 0.9], [0.9, 0.9]], None),
    ],
)
def test_the_best_is_named_only_where_it_differs_from_the_second_best(
    samples: list, index: int | None
):
    assert best(samples) == index


@pytest.fixture
def make_status(tiny_config):
    """Makes the status of a run, finished if it has results."""

    def make(settings: dict, error: str = "", **results: float) -> Status:
        config = tiny_config({"seed": settings.get("seed", 0)})
        state = "finished" if results else "failed" if error else "missing"
        return Status(Run(settings, folder_name(settings), config), state, results, error)

    return make


def linear(value: float) -> dict[str, float]:
    return {"linear_accuracy_raw": value, "seconds": 100 * value}


def test_a_table_by_hand(make_status):
    table = make_table(
        [
            make_status({"shortcut": "arrow", "lens.blocks": 1, "seed": 0}, **linear(0.84)),
            make_status({"shortcut": "arrow", "lens.blocks": 1, "seed": 1}, **linear(0.86)),
            make_status({"shortcut": "arrow", "lens.blocks": 2, "seed": 0}, **linear(0.5)),
            make_status({"shortcut": "arrow", "lens.blocks": 2, "seed": 1}, **linear(0.5)),
            make_status({"shortcut": "arrow", "lens.blocks": 2, "seed": 2}, "loss is nan"),
            make_status({"shortcut": "arrow", "lens.kind": "a|b", "seed": 0}, **linear(0.2)),
            make_status({"shortcut": "arrow", "lens.kind": "a|b", "seed": 1}),
            make_status({"shortcut": "arrow", "lens.kind": "c", "seed": 0}),
        ]
    )
    assert to_markdown(table).splitlines()[:6] == [
        "| lens.blocks | lens.kind | linear raw | seconds | seeds |",
        "| --- | --- | --- | --- | --- |",
        "| 1 |  | **85.0 ± 1.0** | 85 ± 1 | 2 |",
        "| 2 |  | 50.0 ± 0.0 | 50 ± 0 | failed (2 of 3 finished) |",
        "|  | a\\|b | 20.0 | 20 | 1 of 2 |",
        "|  | c |  |  | 0 of 1 |",
    ]
    assert table["rows"][1]["seeds"][2] == {
        "seed": 2,
        "folder": "lens.blocks=2,shortcut=arrow,seed=2",
        "state": "failed",
        "error": "loss is nan",
    }


def test_every_linear_column_has_a_best_of_its_own_and_others_have_none(make_status):
    def pair(name: str, raw: float, concat: float, pretext: float) -> list[Status]:
        return [
            make_status(
                {"shortcut": name, "seed": seed},
                linear_accuracy_raw=raw + seed / 1000,
                linear_accuracy_concat=concat + seed / 1000,
                pretext_accuracy_clean=pretext + seed / 1000,
            )
            for seed in range(3)
        ]

    table = make_table([*pair("none", 0.7, 0.2, 0.9), *pair("arrow", 0.3, 0.6, 0.1)])
    assert [row["bold"] for row in table["rows"]] == [
        ["linear_accuracy_raw"],
        ["linear_accuracy_concat"],
    ]
    head, _, first, second, *_ = to_markdown(table).splitlines()
    assert head == "| shortcut | linear raw | linear concat | pretext clean | seeds |"
    assert first == "| none | **70.1 ± 0.1** | 20.1 ± 0.1 | 90.1 ± 0.1 | 3 |"
    assert second == "| arrow | 30.1 ± 0.1 | **60.1 ± 0.1** | 10.1 ± 0.1 | 3 |"


def test_seeds_alone_make_one_row_without_settings(make_status):
    table = make_table(
        [make_status({"seed": 0}, **linear(0.5)), make_status({"seed": 1}, **linear(0.7))]
    )
    assert to_markdown(table).splitlines()[2] == "| 60.0 ± 10.0 | 60 ± 10 | 2 |"


def test_without_seeds_in_the_grid_each_row_is_one_run_of_the_configs_seed(make_status):
    table = make_table([make_status({"lens.blocks": n}, **linear(n / 10)) for n in (1, 2)])
    assert [[seed["seed"] for seed in row["seeds"]] for row in table["rows"]] == [[0], [0]]
    assert to_markdown(table).splitlines()[3] == "| 2 | 20.0 | 20 | 1 |"


def test_the_written_files_agree_and_hold_every_seeds_numbers(make_status, tmp_path):
    statuses = [
        make_status({"lens.widths": (8, 8), "seed": seed}, **linear(0.1 * seed))
        for seed in range(4)
    ]
    text = write_table(str(tmp_path / "sweep"), lambda: statuses)
    (row,) = json.loads((tmp_path / "sweep" / "table.json").read_text())["rows"]
    values = [seed["linear_accuracy_raw"] for seed in row["seeds"]]
    assert values == [0.1 * seed for seed in range(4)]
    assert row["settings"] == {"lens.widths": [8, 8]}
    assert row["summary"]["linear_accuracy_raw"] == {
        "mean": pytest.approx(np.mean(values)),
        "standard_error": pytest.approx(np.std(values, ddof=1) / 2),
    }
    assert (
        (tmp_path / "sweep" / "table.md").read_text() == text == to_markdown(make_table(statuses))
    )
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == [
        "table.json",
        "table.md",
    ]


def test_what_is_finished_while_the_table_is_written_gets_into_it(make_status, tmp_path):
    first, second = (make_status({"seed": seed}, **linear(0.5)) for seed in range(2))
    found = [first]

    def read_all() -> list[Status]:
        before = list(found)
        found[:] = [first, second]
        return before

    write_table(str(tmp_path), read_all)
    assert len(json.loads((tmp_path / "table.json").read_text())["rows"][0]["seeds"]) == 2


def test_a_reader_never_meets_half_a_table_while_several_write(make_status, tmp_path):
    statuses = [make_status({"lens.blocks": n}, **linear(n / 300)) for n in range(300)]

    def write_many(count: int) -> None:
        for _ in range(10):
            write_table(str(tmp_path), lambda: statuses[:count])

    lengths = set()
    write_many(1)
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write_many, count) for count in (1, 300)]
        while not all(writer.done() for writer in writers):
            lengths.add(len(json.loads((tmp_path / "table.json").read_text())["rows"]))
            assert (tmp_path / "table.md").read_text().endswith("t-test).\n")
    assert [writer.result() for writer in writers] == [None, None]
    assert lengths == {1, 300}


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file.*give another"):
        write_table(str(tmp_path / "file"), lambda: [])
