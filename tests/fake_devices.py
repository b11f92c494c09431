"""Several devices on one processor."""

import os


def fake_devices(count: int) -> dict[str, str]:
    """The environment in which JAX finds so many devices; XLA's other flags stay."""
    flags = os.environ.get("XLA_FLAGS", "")
    return {"XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={count}"}
