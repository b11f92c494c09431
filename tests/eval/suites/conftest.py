import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest

from lens_jax.eval.frozen import Frozen
from lens_jax.eval.suites.base import Subject


@pytest.fixture
def make_subject(make_frozen, colorful, tmp_path) -> Callable[..., Subject]:
    """Makes a subject of red, green and blue images; by default of a drawn network, no lens."""

    def make(frozen: Frozen | None = None, train: int = 30, test: int = 12) -> Subject:
        def open_split(split: str, size: int, seed: int):
            known = {"dataset": "colors/1.0.0", "split": split, "fingerprint": f"{split}{size}"}
            return dataclasses.replace(colorful(size, seed), **known)

        return Subject(
            frozen=frozen or make_frozen({"lens.kind": "none"}),
            network="online",
            representation="raw",
            train=open_split("train", train, 0),
            test=open_split("test", test, 1),
            data_dir="",
            store=str(tmp_path / "store"),
        )

    return make


@pytest.fixture
def constant(make_frozen) -> Frozen:
    """A network whose parameters are zeros: its features are the same for all images."""
    frozen = make_frozen({"lens.kind": "none"})
    state = frozen.state
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    return frozen._replace(state=state.replace(params=zeros))
