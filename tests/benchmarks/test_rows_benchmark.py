import json
import sys

import numpy as np
import pytest

from benchmarks import rows
from tests.end_to_end.commands import run


def test_features_lie_around_the_centers_of_their_classes(tmp_path, monkeypatch):
    # Several chunks, of which the last one is smaller.
    monkeypatch.setattr(rows, "_CHUNK", 300)
    made = rows.make_features(tmp_path / "features.npy", 1000, 4, 2, seed=0)
    assert made.rows.shape == (1000, 4)
    assert isinstance(made.rows, np.memmap)
    centers = rows.DISTANCE * np.random.default_rng(0).normal(size=(2, 4))
    for label in range(2):
        own = made.rows[made.labels == label]
        np.testing.assert_allclose(own.mean(axis=0), centers[label], rtol=0, atol=0.2)
        np.testing.assert_allclose(own.std(axis=0), 1, rtol=0, atol=0.1)


def test_memory_of_its_own_is_counted_and_that_of_a_file_is_not(tmp_path):
    size = 2**28
    path = tmp_path / "file.npy"
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(size,))

    def hold(*_: object) -> float:
        return float(np.ones(size, np.uint8).sum())

    def read(*_: object) -> float:
        return float(file.sum())

    nothing = rows.Features(np.zeros((1, 1)), np.zeros(1))
    before = rows.measure(lambda *_: 0.0, nothing, nothing).gibibytes
    held = rows.measure(lambda *_: sum(hold() for _ in range(6)), nothing, nothing).gibibytes
    mapped = rows.measure(lambda *_: sum(read() for _ in range(6)), nothing, nothing).gibibytes
    assert held - before == pytest.approx(0.25, abs=0.05)
    assert mapped - before < 0.05


def test_both_evaluations_are_printed_and_kept(tmp_path):
    written = tmp_path / "rows.json"
    words = ("--rows=2000", "--tests=200", "--size=64", "--classes=4", f"--json={written}")
    result = run(sys.executable, "-m", "benchmarks.rows", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    costs = json.loads(written.read_text())["costs"]
    assert costs.keys() == {"neighbors", "logistic regression"}
    for cost in costs.values():
        assert cost["accuracy"] > 0.4
        assert 0 < cost["gibibytes"] < 8
    assert "2,000 rows of 64 numbers" in result.stdout
