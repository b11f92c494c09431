import numpy as np
import pytest

from benchmarks.memory import growth


def make_samples(resident: list[int]) -> list[growth.Sample]:
    return [growth.Sample(growth.EVERY * index, size) for index, size in enumerate(resident, 1)]


def test_growth_is_from_the_median_after_the_warm_up_to_the_median_at_the_end():
    warm_up = growth.WARM_UP // growth.EVERY - 1
    rising, steady, late = [100] * warm_up, [1000, 900, 1100] * 4, [1050, 1040, 5000] * 4
    found = growth.find_growth(make_samples(rising + steady + late))
    assert found.first == np.median(steady[: growth.WINDOW])
    assert found.last == np.median(late[-growth.WINDOW :])
    assert found.percent == pytest.approx(5.0)


def test_a_leak_of_a_constant_number_of_bytes_a_step_is_found():
    steps, leak, base = 2000, 50_000, 1_000_000_000
    samples = [
        growth.Sample(step, base + leak * step) for step in range(20, steps + 1, growth.EVERY)
    ]
    between = steps - growth.WARM_UP - (growth.WINDOW - 1) * growth.EVERY
    assert np.diff(growth.find_growth(samples)[:2]) == pytest.approx(leak * between)
    assert growth.find_growth(samples).percent > growth.LIMIT


def test_the_memory_table_has_the_last_sample_and_few_others():
    samples = make_samples([growth.MEBIBYTE * size for size in range(1, 101)])
    lines = growth.describe(samples, growth.find_growth(samples)).splitlines()
    assert len(lines) <= growth.SHOWN + 3
    assert lines[-2].split() == ["2,000", "100.0"]
