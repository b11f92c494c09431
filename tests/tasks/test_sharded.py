import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from tests.fake_devices import fake_devices

ROOT = pathlib.Path(__file__).parents[2]
TASKS = {
    "exemplar": 8,
    "simclr": 4,
    "moco": 4,
    "moco, symmetric": 4,
    "byol": 4,
    "barlow_twins": 4,
    "pirl": 4,
    "pirl, info_nce": 4,
}


def compare(processes: int) -> dict[str, dict]:
    """What sharded.py prints, with eight devices in so many processes and in float64."""
    environment = os.environ | fake_devices(8 // processes) | {"JAX_ENABLE_X64": "1"}
    words = [sys.executable, "-m", "tests.tasks.sharded"]
    if processes > 1:
        with socket.create_server(("localhost", 0)) as server:
            address = f"localhost:{server.getsockname()[1]}"
        cluster = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes)}
        environment |= cluster

    started = []
    for number in range(processes):
        if processes > 1:
            environment = environment | {"JAX_PROCESS_ID": str(number)}
        started.append(
            subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        )
    try:
        outputs = [process.communicate(timeout=400)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * processes
    return json.loads(outputs[0].splitlines()[-1])


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def comparisons(request: pytest.FixtureRequest) -> dict[str, dict]:
    return compare(request.param)


@pytest.mark.parametrize(("task", "inputs_per_device"), TASKS.items())
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
