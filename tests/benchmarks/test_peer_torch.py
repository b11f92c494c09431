import json
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from benchmarks import programs, variants
from configs import rotation, simclr
from lens_jax.errors import UserError
from lens_jax.train import compiling
from lens_jax.train.state import TrainState
from lens_jax.train.system import make_system
from tests.end_to_end.commands import run

torch = pytest.importorskip("torch")
from benchmarks.peer_torch import compare, update  # noqa: E402 - they need PyTorch
from benchmarks.peer_torch.nets import Extractor, Lens  # noqa: E402

# Sides that are odd wherever a stride of 2 meets a 3x3 convolution; there the nets are equal.
SMALL = {
    "dtype": "float64",
    "data.batch_size": 3,
    "data.image_size": 20,
    "model.width": 8,
    "lens.widths": (8, 16),
    "lens.patch": 2,
    "lens.lambda_": 2.0,
    "lens.learning_rate": 0.5,
    "optimizer.weight_decay": 0.1,
    "optimizer.head_weight_decay": 0.2,
}


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    """Computes in float64, so that only mistakes can tell the two sides apart."""
    with jax.enable_x64(True):
        yield


HEADS = {"task.hidden": 6, "task.embedding": 4, "optimizer.warmup": "0 steps"}


def config_of(changes: dict, method: str = "rotation") -> ConfigDict:
    if method == "simclr":
        config = variants.changed(simclr.get_config("glyphs"), SMALL | HEADS | compare.PLAIN)
    else:
        config = variants.changed(
            rotation.get_config("glyphs"), SMALL | {"task.all_rotations": True}
        )
    return variants.changed(config, variants.LENS | changes)


def make_functions(config: ConfigDict) -> tuple:
    """What makes the first state, and what takes a step."""
    return compiling.make_functions(config, programs.FACTS, programs.make_clock(config))


def random_state(config: ConfigDict) -> TrainState:
    """A first state in float64, with random parameters: the lens starts by doing nothing."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(make_functions(config)[0])

    def zeros(shape: jax.ShapeDtypeStruct) -> jax.Array:
        is_integer = jnp.issubdtype(shape.dtype, jnp.integer)
        return jnp.zeros(shape.shape, shape.dtype if is_integer else float)

    def draw(shape: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.asarray(rng.normal(scale=0.3, size=shape.shape))

    return jax.tree.map(zeros, shapes).replace(
        params=jax.tree.map(draw, shapes.params),
        lens_params=jax.tree.map(draw, shapes.lens_params),
        lens_penalty=jnp.asarray(config.lens.lambda_),
    )


def assign(module: torch.nn.Module, params: dict) -> None:
    """Gives a layer the parameters of its counterpart in Flax.

    Kernels there are [h, w, in, out] or [in, out].
    """
    weight = np.asarray(params["kernel"] if "kernel" in params else params["scale"])
    weight = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
    module.weight.data = torch.tensor(weight)
    if "bias" in params:
        module.bias.data = torch.tensor(np.asarray(params["bias"]))


def copy_extractor(net: Extractor, params: dict) -> None:
    body = params["extractor"]
    stem = body["Conv_0"] if "Conv_0" in body else body["_ImageNetStem_0"]["Conv_0"]
    assign(net.stem[0], stem)
    kind = next(name for name in body if "Block" in name).partition("_")[0]
    for unit, block in enumerate(net.blocks):
        layers = {}
        for number, conv in enumerate(block.convs):
            layers[f"Conv_{number}"] = conv
        for number, norm in enumerate(block.norms):
            layers[f"BatchNorm_{number}"] = norm
        if block.projection:
            layers["projection"] = block.projection
        block_params = body[f"{kind}_{unit}"]
        assert block_params.keys() == layers.keys()
        for name, module in layers.items():
            assign(module, block_params[name])
    assign(net.norm, body["BatchNorm_0"])
    head = params["head"]
    if "Dense_1" not in head:
        assign(net.head, head["Dense_0"])
        return
    assign(net.head.first, head["Dense_0"])
    assign(net.head.norm, head["BatchNorm_0"])
    assign(net.head.last, head["Dense_1"])


def swap_pixels(array: np.ndarray, side: int, axis: int) -> np.ndarray:
    """An axis that counts (pixel, channel), as in Flax, with (channel, pixel) as in PyTorch."""
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    pixels = array.reshape(*before, side**2, -1, *after)
    return pixels.swapaxes(axis, axis + 1).reshape(array.shape)


def copy_lens(net: Lens, params: dict) -> None:
    layers = lens_layers(net)
    assert layers.keys() == params.keys()
    for name, module in layers.items():
        layer = {key: np.asarray(value) for key, value in params[name].items()}
        if module is net.first:
            layer["kernel"] = swap_pixels(layer["kernel"], net.patch, 2)
        if module is net.last or module in list(net.up):
            side = net.patch if module is net.last else 2
            layer["kernel"] = swap_pixels(layer["kernel"], side, 3)
            layer["bias"] = swap_pixels(layer["bias"], side, 0)
        assign(module, layer)


def lens_layers(net: Lens) -> dict[str, torch.nn.Module]:
    """The layers by their names in Flax, which number each kind in the order in which they run."""
    layers, hooks = {}, []

    def name_layer(module: torch.nn.Module, *_) -> None:
        kind = "Conv" if isinstance(module, torch.nn.Conv2d) else "GroupNorm"
        number = sum(name.startswith(kind) for name in layers)
        layers[f"{kind}_{number}"] = module

    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.GroupNorm):
            hooks.append(module.register_forward_hook(name_layer))
    net(torch.zeros(1, 3, 20, 20))
    for hook in hooks:
        hook.remove()
    return layers


def nets_of(config: ConfigDict, state: TrainState) -> update.Nets:
    """PyTorch's nets with the parameters of a state, in float64."""
    nets = update.make_nets(config, "cpu", torch.contiguous_format)
    copy_extractor(nets.extractor, state.params)
    if nets.lens is not None:
        copy_lens(nets.lens, state.lens_params)
        nets.lens.double()
    nets.extractor.double()
    return nets


def assert_alike(net: torch.nn.Module, expected: torch.nn.Module) -> None:
    found = dict(net.named_parameters())
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(
            found[name], parameter, rtol=1e-6, atol=1e-8, msg=lambda text, name=name: name + text
        )


def random_views(config: ConfigDict) -> tuple[dict[str, np.ndarray], torch.Tensor, torch.Tensor]:
    """A batch, and its views in PyTorch; float32 rounds no black or white pixel."""
    batch = programs.make_batch(config)
    batch["image"] = batch["image"] // 128 * 255
    images = torch.from_numpy(batch["image"]).permute(0, 3, 1, 2)
    inputs, labels = update.make_views(images, config.task)
    return batch, inputs.double(), labels


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model.stem": "cifar", "model.last_stride": 1, "lens.widths": (8,), "lens.blocks": 2},
        {
            "model.name": "resnet50",
            "model.stem": "imagenet",
            "model.width": 4,
            "data.image_size": 36,
            "lens.widths": (8, 8, 8),
            "lens.patch": 1,
        },
    ],
    ids=["small", "cifar stem", "resnet50"],
)
def test_with_the_same_parameters_the_nets_give_the_same_outputs(changes: dict):
    config = config_of(changes)
    state = random_state(config)
    nets = nets_of(config, state)
    _, inputs, _ = random_views(config)
    system = make_system(config, programs.FACTS, 100)
    variables = {"params": state.params, "batch_stats": state.batch_stats}

    @jax.jit
    def forward(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        lensed = system.lens_network.apply({"params": state.lens_params}, images)
        logits, _ = system.network.apply(variables, lensed, None, True, mutable=["batch_stats"])
        return lensed, logits

    lensed, logits = forward(jnp.asarray(inputs.permute(0, 2, 3, 1).numpy()))
    torch_lensed = nets.lens(inputs)
    torch_logits = nets.extractor(torch_lensed).detach()
    torch_lensed = torch_lensed.detach()
    assert float((torch_lensed - inputs).abs().mean()) > 0.01
    np.testing.assert_allclose(torch_lensed.permute(0, 2, 3, 1), lensed, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(torch_logits, logits, rtol=1e-6, atol=1e-8)
    assert compare.check_parameters(nets, state).endswith("on both sides")


@pytest.mark.parametrize("kind", ["none", "network"])
@pytest.mark.parametrize("method", ["rotation", "simclr"])
def test_the_first_update_of_the_extractor_is_that_of_the_jax_step(method: str, kind: str):
    config = config_of({"lens.kind": kind, "optimizer.learning_rate": 10.0}, method)
    state = random_state(config)
    nets, (batch, inputs, labels) = nets_of(config, state), random_views(config)
    new, metrics = jax.jit(make_functions(config)[1])(state, batch)
    if kind == "network":
        inputs = torch.cat([nets.lens(inputs).detach(), inputs])
    kinds = len(inputs) // len(labels)
    loss = update.extractor_step(nets, inputs, labels, kinds)
    assert float(loss) == pytest.approx(float(metrics["loss"]), rel=1e-6)
    assert_alike(nets.extractor, nets_of(config, new).extractor)
    moved = last_weight(nets) - last_weight(nets_of(config, state))
    assert moved.abs().max() > 1e-3


def last_weight(nets: update.Nets) -> torch.Tensor:
    """The last matrix of the head."""
    return [weight for weight in nets.extractor.parameters() if weight.ndim == 2][-1].detach()


@pytest.mark.parametrize(
    ("method", "objective"),
    [
        ("rotation", "full"),
        ("rotation", "least_likely"),
        ("rotation", "confusion"),
        ("simclr", "full"),
    ],
)
def test_the_first_update_of_the_lens_is_that_of_the_jax_step(method: str, objective: str):
    config = config_of(
        {"lens.objective": objective, "lens.raw_fraction": 0.0, "optimizer.learning_rate": 0.0},
        method,
    )
    state = random_state(config)
    nets, (batch, inputs, labels) = nets_of(config, state), random_views(config)
    new, metrics = jax.jit(make_functions(config)[1])(state, batch)
    loss = update.lens_step(nets, config.lens, inputs, nets.lens(inputs), labels)
    expected = metrics["lens_adversarial"] + 2.0 * metrics["lens_reconstruction"]
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert_alike(nets.lens, nets_of(config, new).lens)
    # Adam keeps a tenth of the first gradient.
    tenths = nets_of(config, new.replace(lens_params=new.lens_opt_state[0].mu)).lens
    for parameter, tenth in zip(nets.lens.parameters(), tenths.parameters(), strict=True):
        torch.testing.assert_close(0.1 * parameter.grad, tenth.data, rtol=1e-6, atol=1e-10)


def test_the_lens_is_updated_after_the_extractor_and_neither_gets_the_gradient_of_the_other():
    config = config_of({})
    state, (_, inputs, labels) = random_state(config), random_views(config)
    together, apart = nets_of(config, state), nets_of(config, state)
    update.update(together, config, inputs, labels)

    lensed = apart.lens(inputs)
    update.extractor_step(apart, torch.cat([lensed.detach(), inputs]), labels, kinds=2)
    assert all(parameter.grad is None for parameter in apart.lens.parameters())
    assert_alike(together.extractor, apart.extractor)

    gradients = [parameter.grad.clone() for parameter in apart.extractor.parameters()]
    update.lens_step(apart, config.lens, inputs, lensed, labels)
    assert_alike(together.lens, apart.lens)
    for parameter, before in zip(apart.extractor.parameters(), gradients, strict=True):
        assert parameter.requires_grad
        torch.testing.assert_close(parameter.grad, before, rtol=0, atol=0)


def test_one_rotation_at_random_is_one_of_the_four():
    pixels = programs.make_batch(config_of({"data.batch_size": 40}))["image"]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    four, labels = update.views(images, all_rotations=True)
    one, turns = update.views(images, all_rotations=False)
    assert set(turns.tolist()) == {0, 1, 2, 3}
    torch.testing.assert_close(one, four[4 * torch.arange(40) + turns], rtol=0, atol=0)
    torch.testing.assert_close(labels, torch.arange(4).repeat(40), rtol=0, atol=0)
    quarter = torch.rot90(four[0], 1, (1, 2))
    torch.testing.assert_close(four[1], quarter, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task.name", "supervised"),
        ("lens.budget", "bound"),
        ("lens.objective", "reconstruction"),
        ("shortcut", "arrow"),
        ("optimizer.name", "lars"),
    ],
)
def test_a_config_that_the_side_in_pytorch_does_not_have_is_refused(key: str, value: str):
    with pytest.raises(UserError, match=f"{key} is '{value}': the peer in PyTorch has "):
        compare.check_supported(config_of({key: value}))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peer_command_measures_both_sides(tmp_path, dtype: str):
    path = tmp_path / "peer.json"
    flags = ["--config.data.batch_size=4", "--config.data.image_size=16", "--steps=2"]
    flags += [f"--config.dtype={dtype}", f"--json={path}"]
    words = [sys.executable, "-m", "benchmarks.peer_torch", *flags]
    # Compiling takes most of the time.
    ended = run(*words, JAX_DISABLE_MOST_OPTIMIZATIONS="1")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(path.read_text())
    assert found["config"]["dtype"] == dtype
    assert found["jax_by_torch"].keys() == {"baseline", "lens"}
    for name, ratio in found["jax_by_torch"].items():
        jax_speed = found["images_per_second"][f"{name}, JAX"]
        torch_speed = found["images_per_second"][f"{name}, PyTorch"]
        assert ratio == pytest.approx(jax_speed["median"] / torch_speed["median"])
    assert "parameters in extractor and head" in ended.stdout
