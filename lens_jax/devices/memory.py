"""How much memory a device has."""

import jax
import psutil


def bytes_per_device() -> int:
    """The bytes that JAX may use on a device of this process.

    Accelerators tell their own limit. Where there is none to be had, as of a CPU, it is what the
    host has left, over the devices that share it.
    """
    devices = jax.local_devices()
    statistics = devices[0].memory_stats() or {}
    limit = statistics.get("bytes_limit")
    if limit is not None:
        return limit
    return psutil.virtual_memory().available // len(devices)
