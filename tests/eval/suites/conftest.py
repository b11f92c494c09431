import dataclasses
from collections.abc import Callable

import pytest

from lens_jax.eval.suites.base import Subject


@pytest.fixture
def make_subject(make_frozen, colorful, tmp_path) -> Callable[..., Subject]:
    """Makes a drawn network, without a lens, with red, green and blue images to evaluate it on."""

    def make(train: int = 30, test: int = 12, **overrides) -> Subject:
        def open_split(split: str, size: int, seed: int):
            known = {"dataset": "colors/1.0.0", "split": split, "fingerprint": f"{split}{size}"}
            return dataclasses.replace(colorful(size, seed), **known)

        return Subject(
            frozen=make_frozen({"lens.kind": "none"} | overrides),
            network="online",
            representation="raw",
            train=open_split("train", train, 0),
            test=open_split("test", test, 1),
            data_dir="",
            store=str(tmp_path / "store"),
        )

    return make
