import json
import os
import subprocess
import sys

import pytest

from tests.fake_devices import fake_devices

# What of the state each method moves, beside the parameters of network and lens.
MOVED = {
    "simclr": set(),
    "simclr, pairs": set(),
    "moco": {"target_params", "target_stats", "memory"},
    "moco, groups": {"target_params", "target_stats", "memory"},
    "moco, patch": {"target_params", "target_stats", "memory"},
    "moco, texture": {"target_params", "target_stats", "memory"},
    "byol": {"target_params", "target_stats"},
    "byol, quilting": {"target_params", "target_stats"},
    "barlow_twins": set(),
    "pirl": {"memory"},
    "equimod, byol": {"target_params", "target_stats"},
    "equimod, moco": {"target_params", "target_stats", "memory"},
}


# Variants of the others: each takes ten seconds to compile.
SLOW = (
    "simclr, pairs",
    "moco, groups",
    "moco, texture",
    "byol, quilting",
    "equimod, byol",
)


def cases() -> list:
    """All methods, the variants marked as slow."""
    found = []
    for method in MOVED:
        marks = [pytest.mark.slow] if method in SLOW else []
        found.append(pytest.param(method, marks=marks))
    return found


@pytest.fixture(scope="module")
def found(request) -> dict:
    flags = fake_devices(8)
    left_out = () if request.config.getoption("--slow") else SLOW
    methods = [method for method in MOVED if method not in left_out]
    output = subprocess.run(
        [sys.executable, "-m", "tests.devices.methods_on_devices", *methods],
        env=os.environ | flags,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(output.stdout.splitlines()[-1])


@pytest.mark.parametrize("method", cases())
def test_eight_devices_train_as_one_with_queue_and_target_network(method: str, found: dict):
    assert found["devices"] == 8
    assert found[method]["apart"] < 1e-6
    moved = {part for part, distance in found[method]["moved"].items() if distance > 1e-6}
    assert moved == {"params", "lens_params"} | MOVED[method]
