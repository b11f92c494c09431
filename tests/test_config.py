import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.errors import UserError
from lens_jax.train import optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import init_state
from lens_jax.train.step import make_step
from lens_jax.train.system import make_system

FILES = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))
SHRUNKEN = {
    "data.image_size": 32,
    "data.batch_size": 4,
    "model.name": "small",
    "model.width": 4,
    "model.stem": "patch",
    "lens.widths": (8, 8),
    "lens.patch": 4,
}
every_config = pytest.mark.parametrize(
    ("path", "variant"),
    [pytest.param(path, name, id=f"{path.stem}:{name}") for path in FILES for name in configs.DATASETS],
)


def load(path: pathlib.Path, *variant: str) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*variant)


def test_there_are_configs():
    assert {"rotation", "supervised"} <= {path.stem for path in FILES}


@every_config
def test_every_config_is_sound_and_locked(path: pathlib.Path, variant: str):
    config = load(path, variant)
    configs.check(config)
    assert config.data.name == variant
    assert config.task.name == path.stem
    for section in (config, config.lens, config.task):
        with pytest.raises((AttributeError, KeyError), match="typo"):
            section.typo = 1


@every_config
def test_every_config_survives_json(path: pathlib.Path, variant: str):
    config = load(path, variant)
    values = json.loads(json.dumps(configs.to_json(config)))
    back = configs.from_json(values)
    assert back.to_dict() == config.to_dict()
    assert back == config
    assert isinstance(back.lens.widths, tuple)
    assert configs.difference(configs.to_json(config), configs.to_json(back)) is None
    with pytest.raises((AttributeError, KeyError), match="typo"):
        back.lens.typo = 1


@every_config
def test_every_config_trains_a_step_and_keeps_its_parameters_in_float32(path: pathlib.Path, variant: str):
    config = load(path, variant)
    config.update_from_flattened_dict(SHRUNKEN)
    clock = Clock(4, 8, total_steps=1000)
    both = optimizers.extractor_optimizer(config, clock), optimizers.lens_optimizer(config)
    system = make_system(config, 5)
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (4, 32, 32, 3), np.uint8),
        "label": rng.integers(0, 5, 4).astype(np.int32),
    }
    step = make_step(config, system, *both)

    @jax.jit
    def train(batch: dict) -> tuple:
        state = init_state(config, system, *both)
        return state, *step(state, batch)

    state, new, metrics = train(batch)
    assert int(new.step) == 1
    assert {"loss"} < set(metrics)
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert {leaf.dtype for leaf in jax.tree.leaves((new.params, new.lens_params, new.batch_stats))} == {
        np.dtype(np.float32)
    }
    assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert bool(new.lens_params) == config.lens.enabled


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_default_variant_is_imagenet_and_an_unknown_one_is_refused(path: pathlib.Path):
    assert load(path) == load(path, "imagenet2012")
    with pytest.raises(UserError, match=r"'mnist'.*glyphs"):
        load(path, "mnist")


def test_the_schema_lists_every_key_of_a_config():
    names = set(configs.key_names())
    found = set()
    for section, value in configs.base_config("glyphs").to_dict().items():
        found |= {f"{section}.{key}" for key in value} if isinstance(value, dict) else {section}
    assert names == found


def changed(config: ConfigDict, name: str, value: object) -> ConfigDict:
    """A copy with one value set, whatever its type was."""
    copy = ConfigDict(config.to_dict(), type_safe=False)
    section, _, key = name.rpartition(".")
    (copy[section] if section else copy)[key] = value
    return copy


@pytest.mark.parametrize("name", configs.key_names())
def test_a_difference_names_the_key_and_both_values(name: str, tiny_config):
    old = configs.to_json(tiny_config())
    new = configs.to_json(changed(tiny_config(), name, "other"))
    before = old
    for key in name.split("."):
        before = before[key]
    expected = f"{name} was {before!r} and is now 'other'"
    assert configs.difference(old, new) == (None if name in ("data.dir", "data.threads") else expected)
    assert configs.difference(old, old) is None


def test_a_key_that_only_one_of_two_configs_has_is_a_difference(tiny_config):
    old = configs.to_json(tiny_config(task={"name": "supervised"}))
    new = configs.to_json(tiny_config(task={"name": "supervised", "all_rotations": True}))
    assert configs.difference(old, new) == "task.all_rotations was None and is now True"
    assert configs.difference(new, old) == "task.all_rotations was True and is now None"


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("task.name", "jigsaw", "rotation, supervised"),
        ("model.name", "resnet5", "resnet50"),
        ("model.stem", "root", "patch"),
        ("shortcut", "cross", "chromatic"),
        ("dtype", "float16", "bfloat16"),
        ("optimizer.schedule", "linear", "cosine, step"),
        ("data.crop", "circle", "random, central, none"),
        ("data.eval_crop", "random", "central, none"),
        ("lens.objective", "worst", "least_likely"),
        ("lens.lambda_", -1.0, "between 0 and inf"),
        ("lens.lambda_", float("nan"), "between 0 and inf"),
        ("lens.raw_share", 1.5, "between 0 and 1"),
        ("lens.raw_share", -0.1, "between 0 and 1"),
        ("data.max_skipped", 1.01, "between 0 and 1"),
        ("train.keep_checkpoints", 0, "between 1"),
        ("data.batch_size", 0, "multiple of"),
        ("data.batch_size", -8, "multiple of"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_with_the_legal_ones(name, value, legal, tiny_config):
    configs.check(tiny_config())
    with pytest.raises(UserError) as caught:
        configs.check(changed(tiny_config(), name, value))
    text = str(caught.value)
    assert (repr(value) if isinstance(value, str) else name) in text, text
    assert value == () or str(value) in text, text
    assert legal in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("lens.lambda_", 0.0), ("lens.raw_share", 0.0), ("lens.raw_share", 1.0), ("train.keep_checkpoints", 1)],
)
def test_the_ends_of_a_range_are_legal(name: str, value: float, tiny_config):
    configs.check(changed(tiny_config(), name, value))
