"""The devices that are measured."""

import platform

import jax


def describe_machine() -> str:
    """The devices, and what computes on them."""
    kind = jax.devices()[0].device_kind
    return f"{jax.device_count()} x {kind} ({jax.default_backend()}), jax {jax.__version__}"


def facts() -> dict[str, str]:
    """What a JSON file of results says of the machine."""
    return {"machine": describe_machine(), "python": platform.python_version()}


def peak_bytes() -> int | None:
    """The most bytes that the first device has held so far; None where it keeps no count."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")
