import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy

from lens_jax.errors import UserError
from lens_jax.eval import export, weights
from lens_jax.eval.features import make_features
from lens_jax.eval.frozen import Frozen, choose_network, pretext_accuracy

# What a program that has no lens_jax does with an export: run on images from a file.
ELSEWHERE = """
import sys
sys.modules["lens_jax"] = sys.modules["flax"] = None
import jax, jax.export, numpy as np
try:
    import lens_jax
except ImportError:
    folder = sys.argv[1]
    module = jax.export.deserialize(bytearray(open(f"{folder}/model.stablehlo", "rb").read()))
    images = np.fromfile(f"{folder}/images", np.uint8).reshape(-1, 16, 16, 3)
    features = np.asarray(module.call(images))
    alone = np.asarray(module.call(images[:1]))
    np.testing.assert_allclose(alone, features[:1], rtol=0, atol=1e-5)
    features.tofile(f"{folder}/features")
"""


def some_images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


def features_of(frozen: Frozen, representation: str) -> np.ndarray:
    (tap,) = frozen.system.network.extractor.tap_names[-1:]
    compute = jax.jit(make_features(frozen, representation, (tap,)))
    return np.asarray(compute(frozen.state, some_images())[tap])


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize(
    ("representation", "overrides"),
    [
        ("raw", {}),
        ("concat", {"lens.batch_norm": "split"}),
        ("raw", {"lens.batch_norm": "split", "model.standardize": True}),
    ],
)
def test_what_was_exported_gives_the_same_features_when_it_is_given_back(
    make_frozen, tmp_path, representation: str, overrides: dict
):
    frozen = make_frozen(overrides)
    folder = tmp_path / "new"
    export.write(frozen, "online", representation, str(folder))
    back = weights.load(str(folder))
    assert back.step == frozen.step
    assert_alike(features_of(back, representation), features_of(frozen, representation))
    assert "head" not in back.state.params
    if representation == "raw":
        assert back.state.lens_params == {}
        with pytest.raises(UserError, match="needs a lens"):
            features_of(back, "lensed")


def test_the_averaged_network_is_exported_as_the_only_one(make_frozen, tmp_path):
    task = {"name": "byol", "size": 16, "hidden": 8, "embedding": 4, "momentum": 0.9}
    frozen = make_frozen({"lens.kind": "none"}, task)
    folder = tmp_path / "new"
    export.write(frozen, "target", "raw", str(folder))
    back = weights.load(str(folder))
    assert json.loads((folder / "config.json").read_text())["network"] == "target"
    assert_alike(features_of(back, "raw"), features_of(choose_network(frozen, "target"), "raw"))
    with pytest.raises(UserError, match="choose online"):
        choose_network(back, "target")


def test_patch_tasks_export_the_mean_over_their_patches(make_jigsaw):
    frozen = make_jigsaw()
    module = export.make_module(frozen, "raw")
    assert module.platforms == export.PLATFORMS
    assert_alike(module.call(some_images()), features_of(frozen, "raw"))


def test_the_module_runs_where_this_package_cannot_be_imported(make_frozen, tmp_path):
    # A lens that does nothing: constant zeros would be compiled wrongly.
    frozen = make_frozen()
    lens = jax.tree.map(np.zeros_like, frozen.state.lens_params)
    frozen = frozen._replace(state=frozen.state.replace(lens_params=lens))
    folder = tmp_path / "new"
    export.write(frozen, "online", "concat", str(folder))
    some_images().tofile(folder / "images")
    command = [sys.executable, "-c", ELSEWHERE, str(folder)]
    subprocess.run(command, cwd=tmp_path, check=True)
    features = np.fromfile(folder / "features", np.float32).reshape(5, -1)
    assert_alike(features, features_of(frozen, "concat"))
    raw, lensed = np.split(features, 2, axis=1)
    np.testing.assert_allclose(raw, lensed, rtol=1e-4, atol=1e-6)

    # What goes in and what comes out is said beside it.
    about = json.loads((folder / "config.json").read_text())
    assert about["images"] == {"type": "uint8", "shape": ["n", 16, 16, 3], "crop": "none"}
    assert about["features"] == {"type": "float32", "shape": ["n", features.shape[1]]}
    assert (about["tap"], about["representation"]) == ("pre_logits", "concat")


def test_weights_alone_have_no_head_that_could_be_asked(make_frozen, colorful, tmp_path):
    frozen = make_frozen()
    weights.check_head(frozen, "suite 'shortcut'")
    export.write(frozen, "online", "raw", str(tmp_path / "new"))
    back = weights.load(str(tmp_path / "new"))
    assert pretext_accuracy(back, colorful(4), "none") == {}
    with pytest.raises(UserError, match=r"suite 'shortcut' asks the head .* the folder of a run"):
        weights.check_head(back, "suite 'shortcut'")


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(make_frozen, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(UserError, match="full is there already: give a new folder"):
        export.check_folder(str(tmp_path / "full"))
    export.check_folder(str(tmp_path / "new"))
    frozen = make_frozen({"lens.kind": "none"})
    with pytest.raises(UserError, match="'lensed' needs a lens"):
        export.write(frozen, "online", "lensed", str(tmp_path / "new"))
    with pytest.raises(UserError, match=r"cannot write to .*file.new"):
        export.write(frozen, "online", "raw", str(tmp_path / "full" / "file" / "new"))
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_an_export_whose_arrays_are_not_its_configs_is_refused_by_name(make_frozen, tmp_path):
    folder = tmp_path / "new"
    export.write(make_frozen(), "online", "raw", str(folder))
    file = folder / "model.safetensors"
    arrays = safetensors.numpy.load_file(file)
    name = "params/extractor/BatchNorm_0/bias"
    file.write_bytes(safetensors.numpy.save(arrays | {name: np.zeros(3, np.float32)}))
    with pytest.raises(UserError, match=rf"{name} is \[3\], not \[8\]; export again"):
        weights.load(str(folder))


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    pathlib.Path(tmp_path / "model.safetensors").write_bytes(safetensors.numpy.save({}))
    for text in (None, '{"architecture": "resnet50"}', "[]"):
        if text:
            (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=r"no export of lens_jax.*model\.safetensors itself"):
            weights.load(str(tmp_path))
