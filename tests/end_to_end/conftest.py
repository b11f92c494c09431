import os

import pytest

from .commands import end_launchers


@pytest.fixture(scope="session", autouse=True)
def _compile_in_little_time(tmp_path_factory):
    """Commands that come to the same program compile it once, and none is worth optimizing."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path_factory.mktemp("compiled"))
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    # Two threads that share a small regression wait for each other four times as long as it takes.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    yield
    end_launchers()


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Where the commands prepare their data sets, once for all workers."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "data"
