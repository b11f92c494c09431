import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.fake_devices import fake_devices

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def comparisons() -> dict[str, dict]:
    """What sharded.py prints, with eight devices and in float64."""
    environment = os.environ | fake_devices(8) | {"JAX_ENABLE_X64": "1"}
    words = [sys.executable, "-m", "tests.tasks.sharded"]
    output = subprocess.run(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(output.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("task", "inputs_per_device"),
    [
        ("exemplar", 8),
        ("simclr", 4),
        ("moco", 4),
        ("moco, symmetric", 4),
        ("byol", 4),
        ("barlow_twins", 4),
        ("pirl", 4),
        ("pirl, info_nce", 4),
    ],
)
def test_eight_devices_compute_what_one_does(comparisons, task: str, inputs_per_device: int):
    found = comparisons[task]
    assert (found["devices"], found["dtype"]) == (8, "float64")
    assert found["inputs_per_device"] == inputs_per_device
    assert found["loss"] > 0.1
    assert found["difference"] < 1e-12


def test_each_of_eight_devices_holds_an_eighth_of_a_bank_and_gathers_none_of_the_rest(comparisons):
    found = comparisons["bytes"]
    assert found["state"] < 1.01 * found["bank"] / 8
    assert found["temporaries"] < found["bank"] / 8
