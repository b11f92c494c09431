"""Connects the processes of a pod or cluster, and exchanges values between them.

The cluster is described by the environment: JAX_COORDINATOR_ADDRESS=HOST:PORT of process 0,
JAX_NUM_PROCESSES and JAX_PROCESS_ID. Without these it is one that JAX detects: Cloud TPU, Slurm or
Open MPI.
"""

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

# JAX has no public function that detects a cluster without connecting to it.
from jax._src.clusters import ClusterEnv
from jax.experimental import multihost_utils

from lens_jax.errors import UserError

if TYPE_CHECKING:
    from lens_jax.data.batches import Skipped

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_GREETING_SECONDS = 5.0
_RETRY_SECONDS = 0.5
_MOST_SHOWN = 16


class Cluster(NamedTuple):
    """The processes that train together, and which of them this one is.

    Attributes:
      address: HOST:PORT at which process 0 can be reached.
      processes: how many there are.
      process: which one this is, in [0, processes).
      local_devices: the devices of the host that this process uses, None for all.

    """

    address: str
    processes: int
    process: int
    local_devices: Sequence[int] | None = None


def start(seconds: int = 300) -> None:
    """Connects this process with the others of its cluster; does nothing where it is the only one.

    Must come before anything that uses devices. On CPUs, JAX's collectives then go through Gloo.

    Args:
      seconds: how long to wait for all processes.

    Raises:
      UserError: some processes are still missing after that time, or the environment does not
        describe a cluster.

    """
    cluster = find_cluster(os.environ, seconds)
    if cluster is None or cluster.processes == 1:
        return
    if missing := roll_call(cluster, seconds):
        raise UserError(
            f"{_names(missing)} of {cluster.processes} did not come to {cluster.address} within "
            f"{seconds} s: look at the output there, and start all processes again"
        )
    jax.distributed.initialize(
        cluster.address,
        cluster.processes,
        cluster.process,
        cluster.local_devices,
        cluster_detection_method="deactivate",
        initialization_timeout=seconds,
    )


def find_cluster(environment: Mapping[str, str], seconds: int) -> Cluster | None:
    """The cluster that `VARIABLES` describe or that JAX detects, None where there is none.

    Args:
      environment: the environment variables.
      seconds: how long the detection may wait for an answer.

    Raises:
      UserError: only some of `VARIABLES` are set, or they do not fit together.

    """
    # What the user has set comes before what JAX detects.
    values = [environment.get(name, "") for name in VARIABLES]
    if any(values):
        return _parse_cluster(*values)
    found = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, seconds)
    return None if None in found[:3] else Cluster(*found)


def _parse_cluster(address: str, processes: str, process: str) -> Cluster:
    host, _, port = address.rpartition(":")
    if (
        host
        and port.isdecimal()
        and processes.isdecimal()
        and process.isdecimal()
        and int(process) < int(processes)
    ):
        return Cluster(address, int(processes), int(process))
    names = zip(VARIABLES, (address, processes, process), strict=True)
    settings = " ".join(f"{name}={value}" for name, value in names)
    raise UserError(
        f"{settings} is no cluster: set all three, to HOST:PORT of process 0, the number of "
        "processes, and this one's in 0, 1, ..., or none of them"
    )


def roll_call(cluster: Cluster, seconds: float) -> list[int]:
    """The processes that are missing after some time, the same list in all that are present.

    Where one never starts, JAX's own service aborts all the others without saying which one it was.
    So each first sends its number to process 0, which answers them all: with an empty list when it
    has heard from every one, or after `seconds` with the missing ones. It listens on the port that
    JAX's service takes over afterwards.
    """
    if cluster.process == 0:
        return _listen(cluster, seconds)
    return _report(cluster, seconds)


def _listen(cluster: Cluster, seconds: float) -> list[int]:
    """Process 0's part of the roll call."""
    deadline = time.monotonic() + seconds
    missing = set(range(1, cluster.processes))
    with ExitStack() as stack:
        server = stack.enter_context(_open_server(int(cluster.address.rpartition(":")[2])))

        # Until all have called or the time is over.
        callers = []
        while missing and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                caller = stack.enter_context(server.accept()[0])
                caller.settimeout(_GREETING_SECONDS)
                missing.discard(int(caller.makefile().readline()))
            except (OSError, ValueError):
                continue  # the time is over, or it was no process of the cluster
            callers.append(caller)

        answer = json.dumps(sorted(missing)) + "\n"
        for caller in callers:
            caller.sendall(answer.encode())
    return sorted(missing)


def _open_server(port: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=dual)
    except OSError as error:
        raise UserError(
            f"process 0 cannot listen on port {port}: {error.strerror}; end what listens there, or "
            "choose another port"
        ) from error


def _report(cluster: Cluster, seconds: float) -> list[int]:
    """The other processes' part of the roll call."""
    host, _, port = cluster.address.rpartition(":")
    address = host.strip("[]"), int(port)
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(address, timeout=left) as connection:
                # Process 0 may have started later, and waits for the others that long from then.
                connection.settimeout(seconds + _GREETING_SECONDS)
                connection.sendall(f"{cluster.process}\n".encode())
                return json.loads(connection.makefile().readline())
        except (OSError, ValueError):
            time.sleep(_RETRY_SECONDS)
    return [0]


def _names(processes: Sequence[int]) -> str:
    if len(processes) == 1:
        return f"process {processes[0]}"
    shown = [str(process) for process in processes[:_MOST_SHOWN]]
    if len(processes) > _MOST_SHOWN:
        shown.append("...")
    return f"{len(processes)} processes {', '.join(shown)}"


def check_skipped(skipped: "Skipped", limit: float) -> None:
    """Raises `UserError` in all processes where together they skipped too many images.

    See `Skipped.check` for the limit.
    """
    names = set().union(*gather(sorted(skipped.names)))
    for name in sorted(names):
        skipped.add(name, UserError("another process found it"))
    skipped.check(limit)


def gather(value: Any) -> list[Any]:
    """The values of all processes, each fit for JSON, in the order of the processes."""
    text = json.dumps(value).encode()
    lengths = multihost_utils.process_allgather(np.int32(len(text)))
    # Only arrays of one length can be gathered; JSON may end in blanks.
    padded = text.ljust(int(np.max(lengths)))
    texts = multihost_utils.process_allgather(np.frombuffer(padded, np.uint8))
    return [json.loads(row.tobytes()) for row in texts]
