"""Every file in configs/, for every data set."""

import functools
import importlib.util
import itertools
import json
import pathlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax import defaults
from lens_jax.errors import UserError
from lens_jax.models import resnet
from lens_jax.recipes import LARGE
from lens_jax.tasks.base import DataFacts
from lens_jax.train import compiling
from lens_jax.train.durations import Clock
from tests.train.tiny import build, random_batch, random_state, with_own_networks

FILES = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))
METHODS = {
    "rotation",
    "exemplar",
    "relative_patch_location",
    "jigsaw",
    "simclr",
    "moco",
    "byol",
    "barlow_twins",
    "pirl",
    "equimod",
}
# The methods that equimod attaches to, and which of them have a target network.
BASES = {"simclr": False, "byol": True, "barlow_twins": False, "moco": True}
SHRUNKEN = {"data.image_size": 32, "data.batch_size": 4, "model.batch_norm_group": 0}
SHRUNKEN_TASKS = {
    "cell": 10,
    "patch": 8,
    "embedding": 8,
    "hidden": 16,
    "size": 0,
    "copies": 2,
    "queue": 16,
    "negatives": 16,
    "parameters": 8,
}


for_every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
for_every_variant = pytest.mark.parametrize("variant", tuple(defaults.DATASETS))


def load(path: pathlib.Path, *variant: str) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*variant)


def shrink_task(options: ConfigDict) -> None:
    """Small heads and memories, for a task and the one that it attaches to."""
    for key in SHRUNKEN_TASKS.keys() & options.keys():
        options[key] = SHRUNKEN_TASKS[key]
    if "base" in options:
        shrink_task(options.base)


def test_there_is_a_config_for_every_method():
    assert METHODS | {"supervised"} <= {path.stem for path in FILES}


@for_every_variant
@for_every_file
def test_every_config_is_sound_and_locked(path: pathlib.Path, variant: str):
    config = load(path, variant)
    configs.check(config)
    dataset = {"youtube8m": "youtube8m_frames"}.get(variant, variant)
    assert config.data.name.removesuffix("/64") == dataset
    assert config.task.name == path.stem
    for section in (config, config.lens, config.augment, config.task):
        with pytest.raises((AttributeError, KeyError), match="typo"):
            section.typo = 1


@for_every_variant
@for_every_file
def test_every_config_survives_json(path: pathlib.Path, variant: str):
    config = load(path, variant)
    values = json.loads(json.dumps(configs.to_json(config)))
    back = configs.from_json(values)
    assert back.to_dict() == config.to_dict()
    assert back == config
    assert isinstance(back.lens.widths, tuple)
    assert isinstance(back.augment.area, tuple)
    assert configs.difference(configs.to_json(config), configs.to_json(back)) is None
    with pytest.raises((AttributeError, KeyError), match="typo"):
        back.lens.typo = 1


@pytest.fixture(scope="module")
def shallow() -> Iterator[None]:
    """One block a stage, in the extractors' full width: the others would repeat its shapes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, block in (
            ("resnet50", resnet.BottleneckBlock),
            ("resnet18", resnet.BasicBlock),
        ):
            patch.setitem(resnet.ARCHITECTURES, name, partial(resnet.ResNet, (1, 1, 1, 1), block))
        yield


@functools.cache
def traced(text: str) -> tuple[Any, Any, Any]:
    """The shapes of a config's state before and after a step of four images, and of the metrics."""
    config = configs.from_json(json.loads(text))
    init, step = compiling.make_functions(config, DataFacts(5, 1000), Clock(4, 1000, 1000))
    state = jax.eval_shape(init)
    side = config.data.image_size
    batch = {
        "image": jax.ShapeDtypeStruct((4, side, side, 3), np.uint8),
        "label": jax.ShapeDtypeStruct((4,), np.int32),
        "index": jax.ShapeDtypeStruct((4,), np.int32),
    }
    new, metrics = jax.eval_shape(step, state, batch)
    return state, new, metrics


@for_every_variant
@for_every_file
def test_every_config_makes_a_step_at_its_full_size(
    shallow: None, path: pathlib.Path, variant: str
):
    values = configs.to_json(load(path, variant))
    # Groups of statistics must divide the batch of four.
    values["model"]["batch_norm_group"] = min(2, values["model"]["batch_norm_group"])
    # The large data sets' configs differ in nothing else, and are traced once.
    values["data"] |= {"name": "", "eval_split": ""}
    state, new, metrics = traced(json.dumps(values, sort_keys=True))
    numbers = (new.params, new.target_params, new.lens_params, new.batch_stats, new.target_stats)
    assert {leaf.dtype for leaf in jax.tree.leaves(numbers)} == {np.dtype(np.float32)}
    assert shapes_of(new) == shapes_of(state)
    assert bool(new.lens_params) == (values["lens"]["kind"] == "network")
    assert bool(new.target_params) == (path.stem in ("moco", "byol"))
    assert {leaf.shape for leaf in jax.tree.leaves(metrics)} == {()}


def shapes_of(tree: Any) -> Any:
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


@for_every_file
def test_every_config_file_trains_a_step_in_miniature(path: pathlib.Path):
    # The default variant's: its augmentation is the fullest, and its numbers are the roughest.
    config = load(path)
    assert config.dtype == "bfloat16"
    config.update_from_flattened_dict(SHRUNKEN)
    shrink_task(config.task)
    built = build(config)
    new, metrics = built.step(random_state(built), random_batch(4, side=32))
    assert int(new.step) == 1
    assert {"loss"} < set(metrics)
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new))


def published_recipes() -> list:
    """Each method's recipe for CIFAR-10, and as slow cases those for more and larger images."""
    methods = ["simclr", "moco", "byol", "barlow_twins", "pirl"]
    small = [(method, "cifar10") for method in (*methods, "equimod")]
    large = [*itertools.product(methods, ["imagenet2012", "imagenet100"])]
    large.append(("equimod", "imagenet2012+byol"))
    return small + [pytest.param(*case, marks=pytest.mark.slow) for case in large]


@pytest.mark.parametrize(("name", "variant"), published_recipes())
def test_every_recipe_of_photographs_trains_a_step_in_miniature(name: str, variant: str):
    """With its own optimizer, heads and groups of statistics, on tiny networks."""
    (path,) = (path for path in FILES if path.stem == name)
    config = load(path, variant)
    assert config.data.batch_size % max(1, config.model.batch_norm_group) == 0
    groups = {"model.batch_norm_group": min(2, config.model.batch_norm_group)}
    small = {"model.name": "small", "model.stem": "patch", "model.width": 8}
    config.update_from_flattened_dict(SHRUNKEN | small | groups)
    config.update_from_flattened_dict({"optimizer.warmup": "0 steps", "lens.kind": "none"})
    shrink_task(config.task)
    built = build(config, with_own_networks)
    state = built.init()
    # Two steps, as an empty memory is only filled by the first one.
    new = state
    for _ in range(2):
        new, metrics = built.step(new, random_batch(4, side=32))
        assert all(np.isfinite(value) for value in metrics.values()), metrics
    # No parameter is dead from the start, but for what lies before a zero.
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), state.params, new.params)
    if not config.model.zero_init_residual:
        assert all(jax.tree.leaves(moved)), moved
    assert moved["extractor"]["BasicBlock_0"]["Conv_1"]["kernel"]


@for_every_file
def test_the_default_variant_is_imagenet_and_an_unknown_one_is_refused(path: pathlib.Path):
    assert load(path) == load(path, "imagenet2012")
    with pytest.raises(UserError, match=r"'mnist'.*glyphs"):
        load(path, "mnist")


def equimod(variant: str) -> ConfigDict:
    (path,) = (path for path in FILES if path.stem == "equimod")
    return load(path, variant)


@pytest.mark.parametrize("base", BASES)
@for_every_variant
def test_equimod_differs_from_its_base_in_what_was_published_alone(base: str, variant: str):
    config = equimod(f"{variant}+{base}")
    configs.check(config)
    (path,) = (path for path in FILES if path.stem == base)
    alone = load(path, variant)
    published = (base, variant) == ("simclr", "cifar10") or variant in LARGE
    if base in ("barlow_twins", "moco") or not published:
        assert config.task.base == alone.task
        for section in ("augment", "data", "lens", "model", "optimizer", "train"):
            assert config[section] == alone[section]
    assert config.task.base.name == base
    assert config.data == alone.data


@pytest.mark.parametrize(
    ("variant", "rate", "decay", "epochs"),
    [
        ("cifar10", 4.0, 1e-6, 800),
        ("imagenet2012", 2.4, 1e-6, 800),
        ("cifar10+byol", 2.0, 1e-6, 800),
        ("imagenet2012+byol", 4.8, 1.5e-6, 1000),
    ],
)
def test_equimod_has_the_published_learning_rates(variant, rate, decay, epochs):
    """Which stand for 256 images here, and there for the batch."""
    config = equimod(variant)
    batch_size = config.data.batch_size
    assert batch_size == (512 if variant.startswith("cifar10") else 4096)
    assert config.optimizer.learning_rate * batch_size / 256 == pytest.approx(rate)
    assert config.optimizer.weight_decay == config.optimizer.head_weight_decay == decay
    assert config.optimizer.warmup == "10 epochs"
    assert config.train.duration == f"{epochs} epochs"
    assert config.task.temperature == 0.2
    widths = (config.task.hidden, config.task.embedding, config.task.parameters)
    assert widths == (2048, 128, 128)
    if "byol" not in variant:
        assert config.task.base.temperature == (0.5 if variant == "cifar10" else 0.2)
        assert config.task.base.hidden == 2048


@pytest.mark.parametrize("base", BASES)
def test_equimod_trains_a_step_in_miniature_with_each_base(base: str):
    config = equimod(f"digits+{base}")
    config.update_from_flattened_dict(SHRUNKEN)
    shrink_task(config.task)
    built = build(config)
    new, metrics = built.step(random_state(built), random_batch(4, side=32))
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert bool(new.target_params) == BASES[base]
    assert {"invariance_loss_raw", "relative_equivariance_raw"} <= set(metrics)


def test_an_unknown_base_of_equimod_is_refused():
    with pytest.raises(UserError, match=r"base of equimod 'pirl': choose one of simclr, byol"):
        equimod("digits+pirl")
