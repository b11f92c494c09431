import itertools

import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.sweep.grid import folder_name, make_runs, parse, row_settings, to_text


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ("seed=3", [{"seed": 3}]),
        (
            "lens.lambda_=10,1e2 seed=0,1",
            [
                {"lens.lambda_": 10, "seed": 0},
                {"lens.lambda_": 10, "seed": 1},
                {"lens.lambda_": 100.0, "seed": 0},
                {"lens.lambda_": 100.0, "seed": 1},
            ],
        ),
        (
            "  shortcut=none   seed=0 ;\n shortcut=arrow lens.objective=full seed=0,1 ",
            [
                {"shortcut": "none", "seed": 0},
                {"shortcut": "arrow", "lens.objective": "full", "seed": 0},
                {"shortcut": "arrow", "lens.objective": "full", "seed": 1},
            ],
        ),
        ("lens.lambda=7", [{"lens.lambda_": 7}]),
        (
            "lens.widths=(64,128),(32,),(8, 8)",
            [{"lens.widths": (64, 128)}, {"lens.widths": (32,)}, {"lens.widths": (8, 8)}],
        ),
        (
            "train.duration='8 epochs',\"90 steps\"",
            [{"train.duration": "8 epochs"}, {"train.duration": "90 steps"}],
        ),
        (
            "optimizer.decay_at=(),('1 epochs','2 epochs')",
            [{"optimizer.decay_at": ()}, {"optimizer.decay_at": ("1 epochs", "2 epochs")}],
        ),
        ("data.dir='a; b, (c=d'", [{"data.dir": "a; b, (c=d"}]),
        ("data.dir='7',x=y", [{"data.dir": "7"}, {"data.dir": "x=y"}]),
        ("augment.flip=True,true", [{"augment.flip": True}, {"augment.flip": "true"}]),
    ],
)
def test_a_grid_is_read_as_products_that_are_joined(grid: str, expected: list):
    assert parse(grid) == expected


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("", "no key"),
        ("seed=0;", "no key"),
        (";seed=0", "no key"),
        ("seed", "'seed'"),
        ("seed=", "'seed='"),
        ("=3", "'=3'"),
        ("seed=0,,1", "'seed=0,,1'"),
        ("seed=0, 1", "'seed=0,'"),
        ("shortcut=none , seed=0", "','"),
        ("seed=0 shortcut=none seed=1", "seed stands twice"),
        ("lens.lambda=0 lens.lambda_=1", "lens.lambda_ stands twice"),
        ("train.duration='8 epochs", "not closed"),
        ("lens.widths=(8,8 seed=0", "not closed"),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused_in_one_line_with_an_example(grid: str, words: str):
    with pytest.raises(UserError) as caught:
        parse(grid)
    text = str(caught.value)
    assert words in text
    assert "--grid" in text
    assert "\n" not in text


def test_each_run_has_its_settings_on_top_of_the_base_which_stays_as_it_was(tiny_config):
    base = tiny_config({"shortcut": "arrow"})
    before = base.to_dict()
    runs = make_runs(base, "lens.lambda=10,100 seed=0,1 task.all_rotations=False")
    assert [(run.config.lens.lambda_, run.config.seed) for run in runs] == [
        (10.0, 0),
        (10.0, 1),
        (100.0, 0),
        (100.0, 1),
    ]
    assert all(run.config.shortcut == "arrow" and not run.config.task.all_rotations for run in runs)
    assert all(run.config.is_locked for run in runs)
    assert base.to_dict() == before
    assert row_settings(runs[0]) == {"lens.lambda_": 10.0, "task.all_rotations": False}


def test_a_run_that_the_grid_names_twice_is_made_once(tiny_config):
    runs = make_runs(
        tiny_config(),
        "lens.lambda_=10,10.0,20 seed=0,0; seed=0 lens.lambda=20; seed=1 lens.lambda_=20",
    )
    assert [run.name for run in runs] == [
        "lens.lambda_=10.0,seed=0",
        "lens.lambda_=20.0,seed=0",
        "lens.lambda_=20.0,seed=1",
    ]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("lens.lamda=3", ("'lens.lamda'", "lens.lambda_", "task.all_rotations")),
        ("lens=3", ("'lens'", "lens.widths")),
        ("seed.real=3", ("'seed.real'", "seed")),
        ("'seed'=3", ("\"'seed'\"", "seed")),
        ("seed=0.5", ("seed", "0.5", "int")),
        ("seed=True", ("seed", "True", "int")),
        ("seed=None", ("seed", "None", "int")),
        ("seed=one", ("seed", "'one'", "int")),
        ("remat=false", ("remat", "'false'", "bool", "False")),
        ("lens.widths=64,128", ("lens.widths", "64", "tuple", "(8, 8)")),
        ("train.duration=8", ("train.duration", "8", "str")),
        ("seed=0,-1", ("seed", "-1")),
        ("shortcut=none,cross", ("'cross'", "arrow")),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_legal(grid: str, words: tuple, tiny_config):
    with pytest.raises(UserError) as caught:
        make_runs(tiny_config(), grid)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("of", [1, 2, 3, 7, 20])
def test_the_pieces_make_up_the_whole_without_overlap(of: int, tiny_config):
    runs = make_runs(tiny_config(), "lens.lambda_=1,2,3 seed=0,1,2; shortcut=arrow seed=0")
    pieces = [runs[slice(index, None, of)] for index in range(of)]
    names = [run.name for piece in pieces for run in piece]
    assert sorted(names) == sorted(run.name for run in runs)
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"seed": 0, "shortcut": "arrow"}, "shortcut=arrow,seed=0"),
        ({"lens.widths": (64, 128), "lens.kind": "none"}, "lens.kind=none,lens.widths=64,128"),
        ({"train.duration": "8 epochs"}, "train.duration=8+epochs"),
        ({"data.dir": "../a b/$HOME;*"}, "data.dir=..%2Fa+b%2F%24HOME%3B%2A"),
    ],
)
def test_folder_names_by_hand(settings: dict, name: str):
    assert folder_name(settings) == name
    assert folder_name(dict(reversed(settings.items()))) == name


# fmt: off
WEIRD = (
    "", " ", "+", "%20", "%2B", "a", "A", "a,b", "a,b=1", "a=1", "=", ",", ".", "..", "/", "//",
    "a/b", "a%2Fb", "a\\b", "~", "é", "e\u0301", "\n", "\t", "\0", "'a'", '"a"', "(1,)", "1", "1,",
    "*", "?", "|", "x" * 110, "x" * 119, "x" * 120, "x" * 121, "x" * 300, "x" * 299 + "y",
    "é" * 200, "é" * 199 + "e",
)
# fmt: on
LIKE = (*WEIRD, folder_name({"data.dir": "x" * 300}), folder_name({"data.dir": "x" * 300})[9:])


def is_safe(name: str) -> bool:
    return (
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~,=+%")
        and 0 < len(name) <= 255
    )


def test_folder_names_of_weird_values_are_safe_and_never_the_same():
    strings = [{"data.dir": value} for value in LIKE]
    pairs = [{"data.dir": a, "data.name": b} for a, b in itertools.product(LIKE, repeat=2)]
    tricks = [{"data.dir": f"{a},data.name={b}"} for a, b in itertools.product(LIKE, repeat=2)]
    names = [folder_name(settings) for settings in (*strings, *pairs, *tricks)]
    assert len(set(names)) == len(names)
    assert all(is_safe(name) and name[0].isalpha() for name in names)


def test_different_tuples_and_numbers_have_different_texts():
    rng = np.random.default_rng(0)
    items = [1, 12, 2, 1.0, "1", "1,2", "a", "a', 'b", "'", (1, 2), (1,), ()]
    tuples = {
        repr(value): value
        for size in range(4)
        for value in (
            tuple(items[i] for i in rng.integers(0, len(items), size)) for _ in range(200)
        )
    }
    assert len({to_text(value) for value in tuples.values()}) == len(tuples)
    floats = [0.1, 0.1 + 1e-17, 0.1 + 1e-16, 1e-3, 1e22, 1e23, 100.0]
    assert len({to_text(value) for value in floats}) == len(set(floats))


def test_a_grid_may_name_the_config_of_each_row(tiny_config):
    base = tiny_config()
    grid = (
        "config=simclr:digits,moco:digits seed=0,1; config=supervised:digits model.width=8 seed=2"
    )
    runs = make_runs(base, grid)
    named = [(run.config.task.name, run.config.model.width, run.config.seed) for run in runs]
    small = runs[0].config.model.width
    assert named == [
        ("simclr", small, 0),
        ("simclr", small, 1),
        ("moco", small, 0),
        ("moco", small, 1),
        ("supervised", 8, 2),
    ]
    assert runs[0].name == "config=simclr%3Adigits,seed=0"
    assert row_settings(runs[4]) == {"config": "supervised:digits", "model.width": 8}
    # Without one of its own, a sweep is all the grid's.
    assert [run.config.to_dict() for run in make_runs(None, grid)] == [
        run.config.to_dict() for run in runs
    ]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("seed=0", "give --config, or config=NAME"),
        ("config=simcrl seed=0", "unknown config 'simcrl'"),
        ("config=nowhere/x.py seed=0", "no config file at 'nowhere/x.py'"),
        ("config=simclr:letters", "unknown config variant 'letters'"),
    ],
)
def test_a_grid_without_a_config_that_there_is_is_refused(grid: str, words: str):
    with pytest.raises(UserError, match=words):
        make_runs(None, grid)
