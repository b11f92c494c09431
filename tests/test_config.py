import copy

import pytest
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.defaults import DEFAULTS, RANGES
from lens_jax.errors import UserError
from lens_jax.recipes import base_config


def test_the_schema_lists_every_key_of_a_config():
    found = set()
    for section, value in base_config("glyphs").to_dict().items():
        found |= {f"{section}.{key}" for key in value} if isinstance(value, dict) else {section}
    # What is different in later views is free.
    assert set(configs.key_names()) == found - {"augment.later"}


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
    free = (
        "data.dir",
        "data.max_skipped",
        "data.textures",
        "data.threads",
        "mesh.fsdp",
        "remat",
        "train.checkpoint_every",
        "train.keep_checkpoints",
        "train.log_every",
        "train.on_collapse",
        "train.rollbacks",
    )
    assert configs.difference(old, new) == (None if name in free else expected)
    assert configs.difference(old, old) is None


@pytest.mark.parametrize(("value", "is_default"), [(True, True), (False, False)])
def test_a_key_that_only_one_of_two_configs_has_stands_for_its_default(
    tiny_config, value: bool, is_default: bool
):
    old = configs.to_json(tiny_config())
    new = configs.to_json(tiny_config())
    new["task"]["all_rotations"] = value
    new["data"]["depth"] = 16
    del old["task"]["all_rotations"], old["data"]["depth"], old["lens"]["blocks"]
    for found in (configs.difference(old, new), configs.difference(new, old)):
        assert (found is None) == is_default, found
    assert configs.from_json(old).data.depth == 16
    assert configs.from_json(old).lens.blocks == 1


ATTACHED = {"name": "equimod", "base": {"name": "simclr", "embedding": 8}, "weight": 2.0}


def test_options_of_an_attached_task_that_only_one_has_stand_for_their_defaults(tiny_config):
    old = configs.to_json(tiny_config(task=ATTACHED))
    new = configs.to_json(tiny_config(task=ATTACHED))
    new["task"]["siblings"] = True
    new["task"]["base"]["temperature"] = 0.1
    assert configs.difference(old, new) is None
    new["task"]["base"]["temperature"] = 0.2
    expected = "task.base.temperature was 0.1 and is now 0.2"
    assert configs.difference(old, new) == expected


@pytest.mark.parametrize(("base", "is_free"), [("simclr", True), ("byol", False)])
def test_the_duration_is_free_where_neither_the_task_nor_its_base_depends_on_it(
    tiny_config, base: str, is_free: bool
):
    task = {"name": "equimod", "base": {"name": base}}
    constant = {"optimizer.schedule": "constant"}
    old = configs.to_json(tiny_config(constant | {"train.duration": "4 steps"}, task))
    new = configs.to_json(tiny_config(constant | {"train.duration": "8 steps"}, task))
    assert (configs.difference(old, new) is None) == is_free


def test_a_run_from_before_there_were_monitors_goes_on_without_them(tiny_config):
    old = configs.to_json(tiny_config())
    del old["train"]["monitors"], old["train"]["on_collapse"]
    assert configs.from_json(old).train.monitors is False
    assert configs.from_json(old).train.on_collapse == "warn"
    new = configs.to_json(changed(tiny_config(), "train.monitors", True))
    expected = "train.monitors was False and is now True"
    assert configs.difference(old, new) == expected


def test_to_stop_at_a_collapse_without_monitors_is_refused(tiny_config):
    config = changed(tiny_config(), "train.on_collapse", "stop")
    configs.check(changed(config, "train.monitors", True))
    with pytest.raises(UserError, match="nothing would see a collapse"):
        configs.check(changed(config, "train.monitors", False))


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        (
            "task.name",
            "jigsawed",
            "rotation, exemplar, relative_patch_location, jigsaw, supervised, simclr, moco, byol, "
            "barlow_twins, pirl, equimod",
        ),
        ("model.name", "resnet5", "resnet50"),
        ("model.stem", "root", "patch"),
        ("shortcut", "cross", "chromatic"),
        ("dtype", "float16", "bfloat16"),
        ("train.on_collapse", "end", "warn, stop"),
        ("optimizer.schedule", "linear", "cosine, step, constant"),
        ("data.boxes", "all", "none, each, largest"),
        ("data.pairs", "videos", "none, frames, regions, both"),
        ("data.pair_distance", 0, "between 1 and inf"),
        ("data.crop", "circle", "random, central, none"),
        ("data.eval_crop", "random", "central, none"),
        ("data.linear_crop", "random", "central, none"),
        ("augment.area", (0.0, 1.0), "fractions of the image above 0 and up to 1"),
        ("augment.area", (0.5, 0.2), "the smaller one first"),
        ("augment.area", (0.5, 1.5), "fractions of the image above 0 and up to 1"),
        ("augment.flip", -0.1, "between 0 and 1"),
        ("augment.flip", float("nan"), "between 0 and 1"),
        ("augment.jitter", 1.01, "between 0 and 1"),
        ("augment.jitter_kind", "pil", "torchvision, slim"),
        ("augment.brightness", -0.4, "between 0 and inf"),
        ("augment.contrast", -0.4, "between 0 and inf"),
        ("augment.saturation", -0.4, "between 0 and inf"),
        ("augment.hue", 0.6, "between 0 and 0.5"),
        ("augment.gray", 1.5, "between 0 and 1"),
        ("augment.gray_kind", "lightness", "luma, mean"),
        ("augment.blur", 2.0, "between 0 and 1"),
        ("augment.sigma", (0.0, 2.0), "standard deviations in pixels above 0"),
        ("augment.sigma", (2.0, 0.1), "the smaller one first"),
        ("augment.solarize", -1.0, "between 0 and 1"),
        ("lens.kind", "unet", "network, none, random, fgsm, pgd"),
        ("lens.acts_on", "crops", "views, images"),
        ("lens.objective", "worst", "full, least_likely, confusion, reconstruction"),
        ("lens.budget", "fixed", "penalty, target, bound"),
        ("lens.batch_norm", "apart", "joint, split"),
        ("lens.lambda_", -1.0, "between 0 and inf"),
        ("lens.lambda_", float("nan"), "between 0 and inf"),
        ("lens.target", 0.0, "between 1e-09 and inf"),
        ("lens.target", -0.01, "between 1e-09 and inf"),
        ("lens.epsilon", 0.0, "between 1e-09 and inf"),
        ("lens.epsilon", -0.1, "between 1e-09 and inf"),
        ("lens.epsilon", float("nan"), "between 1e-09 and inf"),
        ("lens.attack_steps", 0, "between 1 and inf"),
        ("lens.update_every", 0, "between 1 and inf"),
        ("lens.update_every", -3, "between 1 and inf"),
        ("lens.lensed_fraction", 0.0, "lens.kind=none"),
        ("lens.lensed_fraction", -0.5, "between 0 and 1"),
        ("lens.lensed_fraction", 1.01, "between 0 and 1"),
        ("lens.raw_fraction", 1.5, "between 0 and 1"),
        ("lens.raw_fraction", -0.1, "between 0 and 1"),
        ("data.max_skipped", 1.01, "between 0 and 1"),
        ("train.keep_checkpoints", 0, "between 1"),
        ("data.batch_size", 0, "between 1 and"),
        ("data.batch_size", -8, "between 1 and"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_with_the_legal_ones(
    name, value, legal, tiny_config
):
    configs.check(tiny_config())
    with pytest.raises(UserError) as caught:
        configs.check(changed(tiny_config(), name, value))
    text = str(caught.value)
    assert (repr(value) if isinstance(value, str) else name) in text, text
    assert f"{value:g}" in text if value == 0 else str(value) in text, text
    assert legal in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lens.lambda_", 0.0),
        ("lens.target", 1e-9),
        ("lens.epsilon", 1e-9),
        ("lens.attack_steps", 1),
        ("lens.update_every", 1),
        ("lens.lensed_fraction", 1e-3),
        ("lens.lensed_fraction", 1.0),
        ("lens.raw_fraction", 0.0),
        ("lens.raw_fraction", 1.0),
        ("train.keep_checkpoints", 1),
    ],
)
def test_the_ends_of_a_range_are_legal(name: str, value: float, tiny_config):
    configs.check(changed(tiny_config(), name, value))


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ({"solarize": 1.5}, "augment.solarize is 1.5: it must lie between 0 and 1"),
        ({"solarise": 0.5}, "unknown setting in augment.later 'solarise': choose one of area, "),
        ({"blur": 0.5, "sigma": (2.0, 0.1)}, "augment.sigma is (2.0, 0.1): give two"),
    ],
)
def test_the_settings_of_later_views_are_checked_too(tiny_config, later: dict, words: str):
    with pytest.raises(UserError) as caught:
        configs.check(tiny_config({"augment.later": later}))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"batch_norm": "split", "raw_fraction": 0.0},
            ("'split' needs raw inputs", "lens.raw_fraction", "joint"),
        ),
        (
            {"kind": "fgsm", "objective": "reconstruction"},
            ("'fgsm'", "'reconstruction'", "full, least_likely, confusion"),
        ),
        ({"kind": "pgd", "objective": "reconstruction"}, ("'pgd'", "not 'reconstruction'")),
    ],
)
def test_values_that_do_not_go_together_are_refused(
    options: dict, words: tuple[str, ...], tiny_config
):
    with pytest.raises(UserError) as caught:
        configs.check(tiny_config({f"lens.{key}": value for key, value in options.items()}))
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"data.boxes": "each", "data.pairs": "frames"},
            ("exclude each other", "data.pairs=regions"),
        ),
        ({"data.boxes": "each", "data.orient": "always"}, ("data.orient=always", "auto or never")),
        ({"data.pairs": "regions", "data.orient": "always"}, ("data.orient=always",)),
        ({"data.pairs": "frames"}, ("task 'rotation'", "use one of simclr, moco, byol")),
    ],
)
def test_boxes_and_pairs_are_refused_where_they_cannot_be_meant(options, words, tiny_config):
    with pytest.raises(UserError) as caught:
        configs.check(tiny_config(options))
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_a_lens_on_images_would_alter_one_of_a_pair(tiny_config):
    task = {"name": "simclr", "hidden": 8, "embedding": 4}
    options = {"data.pairs": "frames", "lens.acts_on": "images", "lens.objective": "full"}
    with pytest.raises(UserError, match=r"one of a pair|first image of a pair"):
        configs.check(tiny_config(options, task))
    configs.check(tiny_config(options | {"lens.acts_on": "views"}, task))
    configs.check(tiny_config(options | {"lens.kind": "none"}, task))


def test_what_only_together_is_refused_is_legal_apart(tiny_config):
    for options in (
        {"lens.batch_norm": "split", "lens.raw_fraction": 0.5},
        {"lens.batch_norm": "joint", "lens.raw_fraction": 0.0},
        {"lens.kind": "network", "lens.objective": "reconstruction"},
        {"lens.kind": "random", "lens.objective": "reconstruction"},
        {"lens.kind": "pgd", "lens.objective": "confusion"},
    ):
        configs.check(tiny_config(options))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("(8, 8)", (8, 8)),
        ("[8, 8]", [8, 8]),
        ("True", True),
        ("true", "true"),
        ("arrow", "arrow"),
        ("'7'", "7"),
        ("a=b", "a=b"),
        ("", ""),
        ("(" * 1000, "(" * 1000),
    ],
)
def test_a_text_is_read_as_python_reads_it_or_stays_a_text(text: str, value: object):
    assert configs.read_value(text) == value
    assert type(configs.read_value(text)) is type(value)


@pytest.fixture(params=["ConfigDict", "dictionaries"])
def assignable(request, tiny_config) -> object:
    """A config in each of the two forms that can be assigned to."""
    config = tiny_config()
    return config if request.param == "ConfigDict" else config.to_dict()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", 7, 7),
        ("shortcut", "arrow", "arrow"),
        ("lens.blocks", 2, 2),
        ("lens.lambda_", 10, 10.0),
        ("lens.lambda_", 0.5, 0.5),
        ("lens.widths", (4,), (4,)),
        ("lens.widths", [4, 8, 16], (4, 8, 16)),
        ("remat", True, True),
        ("task.all_rotations", False, False),
    ],
)
def test_a_key_is_assigned_in_the_type_that_it_holds(assignable, key, value, expected):
    assert configs.assign(assignable, key, value) == expected
    section, _, name = key.rpartition(".")
    holder = assignable[section] if section else assignable
    assert holder[name] == expected
    assert type(holder[name]) is type(expected)


def test_lambda_may_be_written_without_its_underscore(assignable):
    configs.assign(assignable, "lens.lambda", 7)
    assert assignable["lens"]["lambda_"] == 7.0
    assert "lambda" not in assignable["lens"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("lens.lamda", 3.0, ("'lens.lamda'", "lens.lambda_", "task.all_rotations")),
        ("lens", 3.0, ("'lens'", "lens.widths")),
        ("widths", (8,), ("'widths'", "lens.widths")),
        ("", 3, ("''", "seed")),
        ("seed.real", 3, ("'seed.real'", "seed")),
        ("seed", 0.5, ("seed", "0.5", "int")),
        ("seed", True, ("seed", "True", "int")),
        ("seed", None, ("seed", "None", "int")),
        ("lens.lambda", True, ("lens.lambda_", "True", "float", "100.0")),
        ("remat", 1, ("remat", "1", "bool", "False")),
        ("shortcut", 3, ("shortcut", "3", "str", "'none'")),
        ("lens.widths", 64, ("lens.widths", "64", "tuple", "(8, 8)")),
    ],
)
def test_an_unknown_key_or_another_type_is_refused_and_changes_nothing(
    assignable, key: str, value: object, words: tuple[str, ...]
):
    before = copy.deepcopy(assignable)
    with pytest.raises(UserError) as caught:
        configs.assign(assignable, key, value)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)
    assert assignable == before


def test_the_keys_of_a_config_are_those_of_all_configs_and_its_tasks_own(tiny_config):
    names = configs.key_names(tiny_config())
    assert set(configs.key_names()) < set(names)
    assert set(names) - set(configs.key_names()) == {"task.all_rotations"}
    assert {"seed", "lens.widths", "task.name"} <= set(configs.key_names())
    assert "lens" not in names


def test_every_number_has_a_range_that_holds_its_default():
    owned = ("lens.", "augment.", "task.", "data.depth")
    numbers = set()
    for key in configs.key_names():
        value = configs.get(DEFAULTS, key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            numbers.add(key)
    assert {key for key in numbers if not key.startswith(owned)} == set(RANGES)
    for key, (low, high) in RANGES.items():
        assert low <= configs.get(DEFAULTS, key) <= high


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.learning_rate", -0.1),
        ("optimizer.learning_rate", float("nan")),
        ("optimizer.weight_decay", float("inf")),
        ("optimizer.momentum", 1.5),
        ("optimizer.head_weight_decay", -1.0),
        ("lens.blocks", -1),
        ("lens.learning_rate", float("nan")),
        ("model.width", 0),
        ("data.image_size", 0),
    ],
)
def test_numbers_that_cannot_be_meant_are_named(tiny_config, key: str, value: float):
    with pytest.raises(UserError, match=f"{key} is {value}: it must lie between"):
        configs.check(changed(tiny_config(), key, value))
