import socket
import threading

import jax
import pytest

from lens_jax.devices.distributed import VARIABLES, Cluster, find_cluster, roll_call, start
from lens_jax.errors import UserError


@pytest.fixture
def address() -> str:
    """An address where nothing listens."""
    with socket.create_server(("localhost", 0)) as server:
        return f"localhost:{server.getsockname()[1]}"


def call(address: str, processes: int, present: list[int], seconds: float) -> dict[int, list[int]]:
    """What a roll call returns in each of the processes that are present."""
    answers = {}

    def run(process: int) -> None:
        answers[process] = roll_call(Cluster(address, processes, process), seconds)

    threads = [threading.Thread(target=run, args=(process,)) for process in present]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_where_all_are_present_none_is_missing(address):
    assert call(address, 4, [3, 1, 2, 0], seconds=60) == {0: [], 1: [], 2: [], 3: []}


def test_all_that_are_present_learn_which_are_missing(address):
    assert call(address, 5, [0, 2, 3], seconds=3) == {0: [1, 4], 2: [1, 4], 3: [1, 4]}


def test_without_process_0_the_others_miss_it(address):
    assert call(address, 3, [1, 2], seconds=1) == {1: [0], 2: [0]}


def test_another_program_on_the_port_is_no_process(address):
    host, port = address.split(":")
    answers = {}
    thread = threading.Thread(target=lambda: answers.update(call(address, 2, [0], seconds=4)))
    thread.start()
    while thread.is_alive():
        try:
            with socket.create_connection((host, int(port)), timeout=1) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\n")
            break
        except OSError:
            continue
    thread.join()
    assert answers == {0: [1]}


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"process 0 cannot listen on port {port}"):
            roll_call(Cluster(f"localhost:{port}", 2, 0), 1)


def environment(*values: str) -> dict[str, str]:
    return dict(zip(VARIABLES, values, strict=True))


def test_a_cluster_is_described_by_the_environment():
    four = environment("10.0.0.1:8476", "4", "3")
    assert find_cluster(four, 1) == Cluster("10.0.0.1:8476", 4, 3)
    single = environment("[fd00::1]:8476", "1", "0")
    assert find_cluster(single, 1) == Cluster("[fd00::1]:8476", 1, 0)


@pytest.mark.parametrize(
    "values",
    [
        ("10.0.0.1:8476", "4", ""),
        ("", "4", "3"),
        ("10.0.0.1", "4", "3"),
        ("10.0.0.1:port", "4", "3"),
        (":8476", "4", "3"),
        ("10.0.0.1:8476", "4", "4"),
        ("10.0.0.1:8476", "4", "-1"),
        ("10.0.0.1:8476", "four", "0"),
    ],
)
def test_a_cluster_that_is_half_described_is_refused_with_all_values(values):
    variables = environment(*values)
    with pytest.raises(UserError) as refusal:
        find_cluster(variables, 1)
    assert all(f"{name}={value}" in str(refusal.value) for name, value in variables.items())


def test_slurm_is_detected(monkeypatch):
    for name, value in {
        "SLURM_JOB_ID": "4096",
        "SLURM_STEP_NODELIST": "node[07,09]",
        "SLURM_NTASKS": "16",
        "SLURM_PROCID": "9",
        "SLURM_LOCALID": "1",
    }.items():
        monkeypatch.setenv(name, value)
    cluster = find_cluster({}, 1)
    assert (cluster.processes, cluster.process, list(cluster.local_devices)) == (16, 9, [1])
    assert cluster.address.startswith("node07:")


def test_a_single_process_is_not_connected(monkeypatch):
    for name, value in environment("localhost:1", "1", "0").items():
        monkeypatch.setenv(name, value)
    start(seconds=1)
    for name in VARIABLES:
        monkeypatch.delenv(name)
    start(seconds=1)
    assert not jax.distributed.is_initialized()


def test_the_missing_are_named_in_one_line(address, monkeypatch):
    for name, value in environment(address, "3", "1").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"process 0 of 3 did not come to {address} within 1 s"):
        start(seconds=1)
    assert not jax.distributed.is_initialized()
