import functools
from collections.abc import Callable
from typing import Any

import pytest

from tests.train.reference import SIDE, TASKS, Case, make_case


@pytest.fixture(scope="session")
def exact(tiny_config) -> Callable[..., Case]:
    """Makes a case in float64, see reference.py; the options are of the config's section `lens`."""

    @functools.cache
    def make(task: str = "rotation", **options: Any) -> Case:
        # The reference draws nothing; equimod needs something to be drawn all the same.
        overrides = {"dtype": "float64", "data.image_size": SIDE, "augment.flip": 0.5}
        for name, value in options.items():
            overrides[f"lens.{name}"] = value
        return make_case(tiny_config(overrides, {"name": task, **TASKS[task]}))

    return make
