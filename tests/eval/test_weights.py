import contextlib
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from lens_jax.errors import UserError
from lens_jax.eval import export, weights
from lens_jax.eval.features import make_features
from lens_jax.eval.follow import follow
from lens_jax.models.resnet import make_resnet
from lens_jax.models.torchvision import to_torchvision


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """A ResNet-50 with drawn weights, by torchvision's names."""
    model = make_resnet("resnet50_v1", stem="imagenet")
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) == 4:
            scale = np.float32(np.prod(leaf.shape[:3]) ** -0.5)
            return rng.standard_normal(leaf.shape, np.float32) * scale
        return rng.random(leaf.shape, np.float32) + 0.5

    return to_torchvision(jax.tree.map(draw, shapes))


def bfloat16() -> bytes:
    """A file with a number of a type that NumPy does not have."""
    header = b'{"bn1.bias":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    return len(header).to_bytes(8, "little") + header + bytes(2)


@contextlib.contextmanager
def saved(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> Iterator[str]:
    path.write_bytes(safetensors.numpy.save(arrays))
    yield str(path)
    path.unlink()


def test_published_weights_are_a_checkpoint_with_their_numbers(arrays, tmp_path, capsys):
    classifier = {"fc.weight": np.zeros((1000, 2048), np.float32)}
    with saved(tmp_path / "resnet50.safetensors", arrays | classifier) as file:
        (frozen,) = follow(file, to_the_end=True, wait=True)
        assert weights.results_folder(file) == str(tmp_path / "resnet50")
    assert "left out of" in capsys.readouterr().out
    assert (frozen.step, frozen.has_head) == (0, False)
    assert (frozen.config.data.image_size, frozen.config.data.eval_crop) == (224, "central")
    state = frozen.state
    extractor = {
        "params": state.params["extractor"],
        "batch_stats": state.batch_stats["extractor"],
    }
    back = to_torchvision(extractor)
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], array) for name, array in arrays.items())
    compute = make_features(frozen, "raw", ("pre_logits",))
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), np.uint8)
    assert jax.eval_shape(compute, state, images)["pre_logits"].shape == (2, 2048)


def test_moco_has_the_same_network_under_names_of_its_own(arrays, tmp_path):
    moco = {f"module.encoder_q.{name}": array for name, array in arrays.items()}
    moco |= {
        "module.encoder_q.fc.0.weight": np.zeros((2048, 2048), np.float32),
        "module.encoder_k.bn1.weight": np.zeros(64, np.float32),
        "module.queue": np.zeros((128, 8), np.float32),
        "module.queue_ptr": np.zeros(1, np.int64),
    }
    with saved(tmp_path / "moco.safetensors", moco) as file:
        frozen = weights.load(file)
    name = "layer4.2.conv3.weight"
    kernel = frozen.state.params["extractor"]["layer4_2"]["conv3"]["kernel"]
    np.testing.assert_array_equal(np.asarray(kernel).transpose(3, 2, 0, 1), arrays[name])


@pytest.mark.slow
def test_a_resnet50_is_exported_under_torchvision_names_too(arrays, tmp_path):
    with saved(tmp_path / "resnet50.safetensors", arrays) as file:
        frozen = weights.load(file)
    export.write(frozen, "online", "raw", str(tmp_path / "new"))
    back = safetensors.numpy.load_file(tmp_path / "new" / "torchvision.safetensors")
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], array) for name, array in arrays.items())


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("moco.pth.tar", b"PK", r"is a pickle, which may run any code.*moco\.safetensors$"),
        ("a.safetensors", b"no", r"a\.safetensors is no safetensors file, or a damaged one"),
        ("a.safetensors", None, r"cannot read .*a\.safetensors: No such file"),
        ("a.txt", b"", r"a\.txt is not named \*\.safetensors"),
        (
            "a.safetensors",
            safetensors.numpy.save({"conv1.weight": np.zeros((64, 3, 3, 3), np.float32)}),
            r"no ResNet-50 as torchvision has it: bn1\.bias is absent, not \[64\]",
        ),
        (
            "a.safetensors",
            bfloat16(),
            "arrays of type 'BF16', which NumPy does not have: save them as F32",
        ),
    ],
)
def test_what_is_no_weights_is_one_line(tmp_path, name: str, content: bytes | None, text: str):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert weights.is_weights(str(path))
    with pytest.raises(UserError, match=text) as caught:
        weights.load(str(path))
    assert "\n" not in str(caught.value)


def test_the_folder_of_a_run_is_no_weights(train_to, tmp_path):
    train_to(1)
    assert not weights.is_weights(str(tmp_path))
    assert not weights.is_weights(str(tmp_path / "not" / "there"))
    assert weights.results_folder(str(tmp_path)) == str(tmp_path)
