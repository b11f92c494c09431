import pytest

from lens_jax.report import recovery
from lens_jax.report.recovery import Recovery
from lens_jax.report.runs import TrainedRun, find_runs


def by_name(folder) -> dict[str, TrainedRun]:
    return {run.name: run for run in find_runs(str(folder))}


@pytest.mark.parametrize(
    ("lens", "shortcut", "clean", "expected"),
    [
        (0.77, 0.52, 0.80, 25 / 28),
        (0.80, 0.52, 0.80, 1),
        (0.40, 0.52, 0.80, -12 / 28),
    ],
)
def test_the_recovered_fraction_by_hand(lens, shortcut, clean, expected):
    found = Recovery("raw", cost=clean - shortcut, left=clean - lens, noise=0.02)
    assert found.fraction == pytest.approx(expected)


@pytest.mark.parametrize("cost", [-0.1, 0.0, 0.019])
def test_nothing_is_recovered_of_a_cost_within_the_noise(cost):
    found = Recovery("raw", cost, left=-0.03, noise=0.02)
    assert found.fraction is None
    assert recovery.fractions([found]) == {}


def test_each_measure_is_compared_with_raw_features_and_clean_images(add_run, accuracy):
    add_run("clean", evaluations=[accuracy(0.8, pretext_accuracy_clean=0.95)])
    add_run("arrow", "arrow", evaluations=[accuracy(0.5, pretext_accuracy_clean=0.55)])
    evaluations = [
        accuracy(0.71, pretext_accuracy_clean=0.75),
        accuracy(0.6, representation="lensed", pretext_accuracy_clean=0.75),
        accuracy(0.77, representation="concat", pretext_accuracy_clean=0.75),
    ]
    found = by_name(add_run("lens", "arrow", "network", evaluations=evaluations))
    raw, concat, pretext = recovery.find_recoveries(found["lens"], list(found.values()))

    # Two standard errors of a difference of fractions of 2,000 images.
    noise = 2 * ((0.8 * 0.2 + 0.5 * 0.5) / 2000) ** 0.5
    assert raw == ("raw", *map(pytest.approx, (0.3, 0.09, noise)))
    assert concat == ("concat", *map(pytest.approx, (0.3, 0.03, noise)))
    assert pretext[:3] == ("pretext", pytest.approx(0.4), pytest.approx(0.2))
    assert recovery.fractions([raw, concat, pretext]) == {
        "recovered_raw": pytest.approx(0.7),
        "recovered_concat": pytest.approx(0.9),
        "recovered_pretext": pytest.approx(0.5),
    }
    assert recovery.find_recoveries(found["arrow"], list(found.values())) == []


@pytest.mark.parametrize(("images", "fraction"), [(2000, None), (10**5, pytest.approx(2))])
def test_a_cost_is_noise_on_few_images_and_none_on_many(add_run, accuracy, images, fraction):
    add_run("clean", evaluations=[accuracy(0.8, test_examples=images)])
    add_run("arrow", "arrow", evaluations=[accuracy(0.78, test_examples=images)])
    evaluations = [accuracy(0.82, test_examples=images)]
    found = by_name(add_run("lens", "arrow", "network", evaluations=evaluations))
    (raw,) = recovery.find_recoveries(found["lens"], list(found.values()))
    assert raw.fraction == fraction


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"evaluations": []},
        {"evaluations": [{"dataset": "digits", "representation": "raw", "linear_accuracy": 0.5}]},
    ],
)
def test_nothing_is_compared_with_a_run_of_another_kind(add_run, accuracy, other):
    add_run("clean", evaluations=[accuracy(0.8)])
    arrow = {"evaluations": [accuracy(0.5)]} | other
    add_run("arrow", "arrow", **arrow)
    found = by_name(add_run("lens", "arrow", "network", evaluations=[accuracy(0.7)]))
    assert recovery.find_references(found["lens"], list(found.values())) is None
    assert recovery.find_recoveries(found["lens"], list(found.values())) == []


@pytest.mark.parametrize("kind", ["network", "random", "fgsm", "pgd"])
def test_attacks_are_compared_with_runs_on_unaltered_images_as_a_lens_is(add_run, accuracy, kind):
    add_run("a_noise", "arrow", "random", evaluations=[accuracy(0.6)])
    add_run("a_noise_clean", "none", "random", evaluations=[accuracy(0.9)])
    add_run("clean", evaluations=[accuracy(0.8)])
    add_run("the_arrow", "arrow", evaluations=[accuracy(0.5)])
    found = by_name(add_run("z", "arrow", kind, evaluations=[accuracy(0.74)]))
    runs = list(found.values())
    references = recovery.find_references(found["z"], runs)
    assert references.shortcut.name == "the_arrow"
    assert references.clean.name == "clean"
    (raw,) = recovery.find_recoveries(found["z"], runs)
    assert raw.fraction == pytest.approx(0.8)
    assert [run.name for run in runs if run.has_lens] == ["z"] * (kind == "network")
