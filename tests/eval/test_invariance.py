import numpy as np
import pytest

from lens_jax.eval.invariance import Score, firing_percent, measure_scores


def score_by_loops(features, sets, classes, count: int) -> float:
    """The score of the best `count` units, value by value."""
    images, units = features.shape
    names = sorted(set(classes.tolist()))
    fraction = max(1 / len(names), 0.05)
    index = int(images * (100 - 100 * fraction) // 100)
    total = 0.0
    for name in names:
        scores = []
        for unit in range(units):
            column = features[:, unit].tolist()
            high = sorted(column)[index]
            low = sorted(column, reverse=True)[index]
            everywhere = sum(value >= high for value in column) / images
            rates = []
            for number in sorted(set(sets[classes == name].tolist())):
                inside = [column[i] for i in range(images) if sets[i] == number]
                above = sum(value > high for value in inside)
                below = sum(value < low for value in inside)
                if len(inside) >= 3 and max(above, below) > 0:
                    rates.append(max(above, below) / len(inside))
            local = sum(rates) / len(rates) if rates else 0.0
            scores.append(100 * fraction * local / everywhere)
        best = sorted(scores)[-count:]
        total += sum(best) / count
    return total / len(names)


def rectified(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Features with ties, as they are behind a ReLU; of many units most values are zero."""
    values = rng.normal(size=shape) - rng.uniform(0, 2, shape[1])
    return np.maximum(np.round(values, 1), 0).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 5, 16, 25])
@pytest.mark.parametrize("kind", ["normal", "rectified"])
def test_the_score_is_that_of_loops(classes: int, kind: str):
    rng = np.random.default_rng(classes)
    # Sets of all sizes, also of one image and of two.
    sets = rng.integers(0, 3 * classes, 8 * classes)
    labels = sets % classes
    shape = (len(sets), 7)
    features = rectified(rng, shape) if kind == "rectified" else rng.normal(size=shape)
    scores = measure_scores(features, sets, labels, (1, 3, 7), shuffles=2)
    for count, score in scores.items():
        assert score.value == pytest.approx(score_by_loops(features, sets, labels, count))


def test_classes_without_a_set_of_three_images_score_nothing():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 4))
    sets = np.repeat(np.arange(10), 4)
    labels = sets % 5
    # Class 5 has two images alone.
    sets[-2:] = 10
    labels[-2:] = 5
    (score,) = measure_scores(features, sets, labels, (2,), shuffles=2).values()
    assert score.value == pytest.approx(score_by_loops(features, sets, labels, 2))


def test_blocks_of_units_and_the_numbers_of_sets_make_no_difference():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 300)).astype(np.float32)
    sets = np.repeat(np.arange(30), 4)
    first = measure_scores(features, sets, sets % 6, (10,), shuffles=2)
    second = measure_scores(features, sets * 7 + 3, sets % 6 * 11, (10,), shuffles=2)
    assert first == second
    assert first[10].value == pytest.approx(score_by_loops(features, sets, sets % 6, 10))


def test_units_that_know_the_set_alone_score_100_and_dead_ones_nothing():
    # 40 objects: a unit may fire on 5 %, on two of them. Unit u is highest on three neighbors, of
    # which the last only reaches the threshold.
    objects = 40
    known = np.zeros((objects, objects))
    for unit in range(objects):
        for place in range(objects):
            known[(unit + place) % objects, unit] = -place
    sets = np.repeat(np.arange(objects), 5)
    features = known[sets]
    (score,) = measure_scores(features, sets, sets, (1,), shuffles=2).values()
    assert score.value == pytest.approx(100)
    assert score.chance < 60

    dead = np.zeros((len(sets), 3))
    scores = measure_scores(dead, sets, sets, (3,), shuffles=2)
    assert scores == {3: Score(0.0, 0.0, 0.0)}


def test_a_unit_that_fires_on_half_of_a_set_scores_50():
    # Ten classes of one set of ten images. Unit c is high on five images of set c and on four of
    # the next one. On a tenth of all images it is at least the threshold, a single value of 1.
    sets = np.repeat(np.arange(10), 10)
    place = np.tile(np.arange(10), 10)
    features = np.zeros((100, 10))
    for unit in range(10):
        features[(sets == unit) & (place < 5), unit] = 2
        features[(sets == (unit + 1) % 10) & (place < 4), unit] = 2
        features[(sets == (unit + 5) % 10) & (place == 0), unit] = 1
    one, two, three = measure_scores(features, sets, sets, (1, 2, 3), shuffles=2).values()
    assert one.value == pytest.approx(50)
    assert two.value == pytest.approx((50 + 40) / 2)
    assert three.value == pytest.approx((50 + 40 + 0) / 3)


@pytest.mark.parametrize(
    ("classes", "percent"), [(2, 50), (12, 100 / 12), (20, 5), (563, 5), (1000, 5)]
)
def test_a_unit_may_fire_on_a_class_but_at_least_on_five_percent(classes: int, percent: float):
    assert firing_percent(classes) == pytest.approx(percent)


@pytest.mark.parametrize(
    ("size", "expected"), [(12, {10: 27.0, 25: 24.0}), (24, {10: 19.7, 25: 17.8})]
)
def test_features_without_meaning_score_as_by_chance(size: int, expected: dict[int, float]):
    # Known values of independent normal features, of 1,000 classes of one set and 512 units.
    rng = np.random.default_rng(size)
    sets = np.repeat(np.arange(300), size)
    features = rng.normal(size=(len(sets), 512)).astype(np.float32)
    scores = measure_scores(features, sets, sets, (10, 25), shuffles=8)
    for count, score in scores.items():
        assert score.chance == pytest.approx(expected[count], abs=0.5)
        # The score itself is one more draw: its deviation is that of the mean times sqrt(8).
        deviation = score.chance_error * 8**0.5
        assert 0 < deviation < 0.5
        assert abs(score.value - score.chance) < 4 * deviation


def test_chance_does_not_depend_on_what_features_know():
    # Of the same features, those that know the set score high, and by chance as the others do.
    rng = np.random.default_rng(0)
    sets = np.repeat(np.arange(100), 12)
    noise = rng.normal(size=(1200, 64))
    knowing = rng.normal(size=(100, 64))[sets] + 0.3 * noise
    labels = sets % 10
    (blind,) = measure_scores(noise, sets, labels, (10,), shuffles=3).values()
    (known,) = measure_scores(knowing, sets, labels, (10,), shuffles=3).values()
    assert known.chance == pytest.approx(blind.chance, abs=1)
    assert known.value > blind.value + 30
    again = measure_scores(knowing, sets, labels, (10,), shuffles=3)
    assert again == {10: known}
