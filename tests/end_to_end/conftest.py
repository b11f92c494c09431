import pytest


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Where the commands prepare their data sets, once a session."""
    return tmp_path_factory.mktemp("data")
