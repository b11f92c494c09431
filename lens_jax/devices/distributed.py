"""Joins the processes of a pod or cluster, before any of them touches a device, and lets them
agree.

A cluster is told by the environment, with JAX_COORDINATOR_ADDRESS=HOST:PORT of process 0,
JAX_NUM_PROCESSES and JAX_PROCESS_ID, or is one that JAX knows by itself: Cloud TPU, Slurm and Open
MPI.
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

# JAX offers what it detects to itself alone, and not before it connects.
from jax._src.clusters import ClusterEnv
from jax.experimental import multihost_utils

from lens_jax.errors import UserError

if TYPE_CHECKING:
    from lens_jax.data.batches import Skipped

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_GREETING_SECONDS = 5.0
_RETRY_SECONDS = 0.5


class Cluster(NamedTuple):
    """The processes that train together, and which of them this one is.

    Attributes:
      address: HOST:PORT at which process 0 can be reached.
      processes: how many there are.
      process: which one this is, in [0, processes).
      local_devices: the devices of the host that are this process's, None for all.

    """

    address: str
    processes: int
    process: int
    local_devices: Sequence[int] | None = None


def start(seconds: int = 300) -> None:
    """Connects this process with the others of its cluster; does nothing where it is the only one.

    Must come before anything that asks for devices. On CPUs, JAX's collectives then go through
    Gloo.

    Args:
      seconds: how long to wait for all processes to be there.

    Raises:
      UserError: some processes are still missing after that time, and which; or the environment
        does not describe a cluster.

    """
    cluster = find_cluster(os.environ, seconds)
    if cluster is None or cluster.processes == 1:
        return
    if missing := roll_call(cluster, seconds):
        raise UserError(
            f"{_ids(missing)} of {cluster.processes} did not come to {cluster.address} within {seconds} s: "
            "look at the output there, and start all processes again"
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
    """The cluster that `VARIABLES` tell or that JAX detects, None where there is none.

    Raises:
      UserError: only some of `VARIABLES` are set, or they do not fit together.

    """
    told = [environment.get(name, "") for name in VARIABLES]
    if any(told):
        return _told(*told)
    found = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, seconds)
    return None if None in found[:3] else Cluster(*found)


def _told(address: str, processes: str, process: str) -> Cluster:
    is_address = address.rpartition(":")[0] and address.rpartition(":")[2].isdecimal()
    if (
        is_address
        and processes.isdecimal()
        and process.isdecimal()
        and int(process) < int(processes)
    ):
        return Cluster(address, int(processes), int(process))
    values = zip(VARIABLES, (address, processes, process), strict=True)
    raise UserError(
        f"{' '.join(f'{name}={value}' for name, value in values)} is no cluster: set all three, to HOST:PORT "
        "of process 0, the number of processes, and this one's in 0, 1, ..., or none of them"
    )


def roll_call(cluster: Cluster, seconds: float) -> list[int]:
    """The processes that are not there in time, the same answer in all that are.

    Where one never starts, JAX's own service aborts all the others without saying which one it was.
    So each first tells its number to process 0, which answers them all when it has heard from every
    one, or after `seconds` with the missing. It listens on the port that JAX's service takes over
    afterwards.
    """
    port = int(cluster.address.rpartition(":")[2])
    return (
        _listen(port, cluster.processes, seconds)
        if cluster.process == 0
        else _report(cluster, seconds)
    )


def _listen(port: int, processes: int, seconds: float) -> list[int]:
    deadline, missing = time.monotonic() + seconds, set(range(1, processes))
    with ExitStack() as stack:
        server, callers = stack.enter_context(_serve(port)), []
        while missing and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                caller = stack.enter_context(server.accept()[0])
                caller.settimeout(_GREETING_SECONDS)
                missing.discard(int(caller.makefile().readline()))
            except (OSError, ValueError):
                continue  # the time is over, or it was no process of ours
            callers.append(caller)
        for caller in callers:
            caller.sendall(json.dumps(sorted(missing)).encode() + b"\n")
    return sorted(missing)


def _serve(port: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=dual)
    except OSError as error:
        raise UserError(
            f"process 0 cannot listen on port {port}: {error.strerror}; end what listens there, or choose "
            "another port"
        ) from error


def _report(cluster: Cluster, seconds: float) -> list[int]:
    host, _, port = cluster.address.rpartition(":")
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(
                (host.strip("[]"), int(port)), timeout=left
            ) as connection:
                # Process 0 may have started later, and waits for the others that long from then.
                connection.settimeout(seconds + _GREETING_SECONDS)
                connection.sendall(f"{cluster.process}\n".encode())
                return json.loads(connection.makefile().readline())
        except (OSError, ValueError):
            time.sleep(_RETRY_SECONDS)
    return [0]


def _ids(missing: Sequence[int]) -> str:
    shown = ", ".join(map(str, missing[:16])) + (", ..." if len(missing) > 16 else "")
    return f"{'process' if len(missing) == 1 else f'{len(missing)} processes'} {shown}"


def check_skipped(skipped: "Skipped", limit: float) -> None:
    """Raises `UserError` in all processes where together they skipped too much, see `Skipped.check`."""
    elsewhere = UserError("another process found it")
    for name in sorted(set().union(*gather(sorted(skipped.names)))):
        skipped.add(name, elsewhere)
    skipped.check(limit)


def gather(value: Any) -> list[Any]:
    """What each process gave as `value`, fit for JSON, in the order of the processes."""
    text = json.dumps(value).encode()
    longest = int(np.max(multihost_utils.process_allgather(np.int32(len(text)))))
    # Arrays of one length can be gathered, and JSON may end in blanks.
    texts = multihost_utils.process_allgather(np.frombuffer(text.ljust(longest), np.uint8))
    return [json.loads(row.tobytes()) for row in texts]
