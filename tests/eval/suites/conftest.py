import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest

from lens_jax.eval.frozen import Frozen
from lens_jax.eval.suites.base import Subject


@pytest.fixture
def make_subject(make_frozen, colorful, tmp_path) -> Callable[..., Subject]:
    """Makes a subject: a drawn network, 60 images to learn from, and 30 to evaluate on."""

    def make(frozen: Frozen | None = None, train: int = 60, test: int = 30) -> Subject:
        splits = []
        for name, size in (("train", train), ("test", test)):
            source = colorful(size, seed=size)
            splits.append(dataclasses.replace(source, split=name, fingerprint=f"{name} {size}"))
        return Subject(
            frozen=frozen or make_frozen({"lens.kind": "none"}),
            network="online",
            representation="raw",
            train=splits[0],
            test=splits[1],
            data_dir="",
            store=str(tmp_path / "features"),
        )

    return make


@pytest.fixture
def constant(make_frozen) -> Frozen:
    """A network whose parameters are zeros: its features are the same for all images."""
    frozen = make_frozen({"lens.kind": "none"})
    state = frozen.state
    zeros = jax.tree.map(jnp.zeros_like, state.params)
    return frozen._replace(state=state.replace(params=zeros))
