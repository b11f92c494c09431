import json
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import recipe
from lens_jax.train import compiling
from lens_jax.train.state import TrainState
from lens_jax.train.system import make_system

torch = pytest.importorskip("torch")
from benchmarks import peer_torch  # noqa: E402 - it ends the process where there is no PyTorch

# Sides that are odd wherever a stride of 2 meets a 3x3 convolution; there the nets are equal.
SMALL = {
    "dtype": "float64",
    "task.all_rotations": True,
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


def config_of(changes: dict) -> recipe.Config:
    return recipe.make_config("glyphs", SMALL | recipe.LENS | changes)


def functions(config: recipe.Config) -> tuple:
    """What makes the first state, and what takes a step."""
    return compiling.make_functions(config, recipe.CLASSES, recipe.make_clock(config, "glyphs"))


def awake(config: recipe.Config) -> TrainState:
    """A first state in float64, with random parameters: where training starts, the lens would do nothing."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(functions(config)[0])

    def draw(tree: dict) -> dict:
        return jax.tree.map(lambda p: jnp.asarray(rng.normal(scale=0.3, size=p.shape)), tree)

    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype if jnp.issubdtype(x.dtype, jnp.integer) else float),
        shapes,
    )
    return zeros.replace(
        params=draw(shapes.params),
        lens_params=draw(shapes.lens_params),
        lens_penalty=jnp.asarray(config.lens.lambda_),
    )


def assign(module: torch.nn.Module, params: dict) -> None:
    """Gives a layer the parameters of its counterpart in Flax: kernels are [h, w, in, out] or [in, out]."""
    weight = np.asarray(params["kernel"] if "kernel" in params else params["scale"])
    weight = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
    module.weight.data = torch.tensor(weight)
    if "bias" in params:
        module.bias.data = torch.tensor(np.asarray(params["bias"]))


def copy_extractor(net: peer_torch.Extractor, params: dict) -> None:
    body = params["extractor"]
    stem = body["Conv_0"] if "Conv_0" in body else body["_ImageNetStem_0"]["Conv_0"]
    assign(net.stem[0], stem)
    kind = next(name for name in body if "Block" in name).partition("_")[0]
    for unit, block in enumerate(net.blocks):
        theirs = body[f"{kind}_{unit}"]
        pairs = [(f"Conv_{i}", conv) for i, conv in enumerate(block.convs)]
        pairs += [(f"BatchNorm_{i}", norm) for i, norm in enumerate(block.norms)]
        pairs += [("projection", block.projection)] if block.projection else []
        assert theirs.keys() == {name for name, _ in pairs}
        for name, module in pairs:
            assign(module, theirs[name])
    assign(net.norm, body["BatchNorm_0"])
    assign(net.head, params["head"]["Dense_0"])


def folded(layer: dict, side: int, axis: int) -> dict:
    """A layer whose axis counts (pixel, channel), as in Flax, with (channel, pixel) as in PyTorch."""

    def swap(x: np.ndarray) -> np.ndarray:
        split = x.reshape(*x.shape[: x.ndim + axis], side**2, -1, *x.shape[x.ndim + axis + 1 :])
        return split.swapaxes(axis - 1 if axis == -1 else -3, axis if axis == -1 else -2).reshape(
            x.shape
        )

    return {k: swap(np.asarray(v)) if k == "kernel" or axis == -1 else v for k, v in layer.items()}


def copy_lens(net: peer_torch.Lens, params: dict) -> None:
    """Layers are numbered by when they run, in Flax; hooks tell when that is in PyTorch."""
    ran = []
    hooks = [
        module.register_forward_hook(lambda module, *_: ran.append(module))
        for module in net.modules()
        if not list(module.children())
    ]
    net(torch.zeros(1, 3, 20, 20))
    for hook in hooks:
        hook.remove()
    convs = [module for module in ran if isinstance(module, torch.nn.Conv2d)]
    norms = [module for module in ran if isinstance(module, torch.nn.GroupNorm)]
    assert len(convs) + len(norms) == len(params)
    for number, module in enumerate(convs):
        layer = params[f"Conv_{number}"]
        if module is net.first:
            layer = folded(layer, net.patch, -2)
        if module is net.last or module in list(net.up):
            layer = folded(layer, net.patch if module is net.last else 2, -1)
        assign(module, layer)
    for number, module in enumerate(norms):
        assign(module, params[f"GroupNorm_{number}"])


def nets_of(config: recipe.Config, state: TrainState) -> peer_torch.Nets:
    """PyTorch's nets with the parameters of a state, in float64."""
    nets = peer_torch.make_nets(config, "cpu", torch.contiguous_format)
    copy_extractor(nets.extractor, state.params)
    if nets.lens is not None:
        copy_lens(nets.lens, state.lens_params)
        nets.lens.double()
    nets.extractor.double()
    return nets


def assert_alike(net: torch.nn.Module, expected: torch.nn.Module) -> None:
    for (name, ours), theirs in zip(net.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(
            ours, theirs, rtol=1e-6, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}"
        )


def random_views(config: recipe.Config) -> tuple[dict[str, np.ndarray], torch.Tensor, torch.Tensor]:
    """A batch, and its views in PyTorch; pixels are black or white, where float32 does not round them."""
    batch = recipe.make_batch(config)
    batch["image"] = batch["image"] // 128 * 255
    images = torch.from_numpy(batch["image"]).permute(0, 3, 1, 2)
    inputs, targets = peer_torch.views(images, config.task.all_rotations)
    return batch, inputs.double(), targets


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
    state = awake(config)
    nets = nets_of(config, state)
    _, inputs, _ = random_views(config)
    system = make_system(config, 0)
    x = jnp.asarray(inputs.permute(0, 2, 3, 1).numpy())
    lensed = jax.jit(system.lens.apply)({"params": state.lens_params}, x)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits, _ = jax.jit(
        lambda v, x: system.network.apply(v, x, None, True, mutable=["batch_stats"])
    )(variables, lensed)
    theirs = nets.lens(inputs)
    assert float((theirs.detach() - inputs).abs().mean()) > 0.01
    np.testing.assert_allclose(theirs.detach().permute(0, 2, 3, 1), lensed, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(nets.extractor(theirs).detach(), logits, rtol=1e-6, atol=1e-8)
    assert peer_torch.check_parameters(nets, state).endswith("on both sides")


@pytest.mark.parametrize("kind", ["none", "network"])
def test_the_first_update_of_the_extractor_is_that_of_the_jax_step(kind: str):
    config = config_of({"lens.kind": kind, "optimizer.learning_rate": 10.0})
    state = awake(config)
    nets, (batch, inputs, targets) = nets_of(config, state), random_views(config)
    new, metrics = jax.jit(functions(config)[1])(state, batch)
    seen = inputs if kind == "none" else torch.cat([nets.lens(inputs).detach(), inputs])
    loss = peer_torch.extractor_step(nets, seen, targets.repeat(len(seen) // len(inputs)))
    assert float(loss) == pytest.approx(float(metrics["loss"]), rel=1e-6)
    assert_alike(nets.extractor, nets_of(config, new).extractor)
    moved = nets.extractor.head.weight - nets_of(config, state).extractor.head.weight
    assert moved.detach().abs().max() > 1e-3


@pytest.mark.parametrize("objective", ["full", "least_likely", "confusion"])
def test_the_first_update_of_the_lens_is_that_of_the_jax_step(objective: str):
    config = config_of(
        {"lens.objective": objective, "lens.raw_fraction": 0.0, "optimizer.learning_rate": 0.0}
    )
    state = awake(config)
    nets, (batch, inputs, targets) = nets_of(config, state), random_views(config)
    new, metrics = jax.jit(functions(config)[1])(state, batch)
    loss = peer_torch.lens_step(nets, config.lens, inputs, nets.lens(inputs), targets)
    expected = metrics["lens_adversarial"] + 2.0 * metrics["lens_reconstruction"]
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert_alike(nets.lens, nets_of(config, new).lens)
    # Adam keeps a tenth of the first gradient.
    slopes = nets_of(config, new.replace(lens_params=new.lens_opt_state[0].mu)).lens
    for parameter, tenth in zip(nets.lens.parameters(), slopes.parameters(), strict=True):
        torch.testing.assert_close(0.1 * parameter.grad, tenth.data, rtol=1e-6, atol=1e-10)


def test_the_lens_is_updated_after_the_extractor_and_neither_gets_the_gradient_of_the_other():
    config = config_of({})
    state, (_, inputs, targets) = awake(config), random_views(config)
    nets, apart = nets_of(config, state), nets_of(config, state)
    peer_torch.update(nets, config, inputs, targets)
    lensed = apart.lens(inputs)
    peer_torch.extractor_step(apart, torch.cat([lensed.detach(), inputs]), targets.repeat(2))
    assert all(parameter.grad is None for parameter in apart.lens.parameters())
    assert_alike(nets.extractor, apart.extractor)
    gradients = [parameter.grad.clone() for parameter in apart.extractor.parameters()]
    peer_torch.lens_step(apart, config.lens, inputs, lensed, targets)
    assert_alike(nets.lens, apart.lens)
    for parameter, before in zip(apart.extractor.parameters(), gradients, strict=True):
        assert parameter.requires_grad
        torch.testing.assert_close(parameter.grad, before, rtol=0, atol=0)


def test_one_rotation_at_random_is_one_of_the_four():
    images = torch.from_numpy(
        recipe.make_batch(config_of({"data.batch_size": 40}))["image"]
    ).permute(0, 3, 1, 2)
    four, labels = peer_torch.views(images, all_rotations=True)
    one, turns = peer_torch.views(images, all_rotations=False)
    assert set(turns.tolist()) == {0, 1, 2, 3}
    torch.testing.assert_close(one, four[4 * torch.arange(40) + turns], rtol=0, atol=0)
    torch.testing.assert_close(labels, torch.arange(4).repeat(40), rtol=0, atol=0)
    quarter = torch.rot90(four[0], 1, (1, 2))
    torch.testing.assert_close(four[1], quarter, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peer_command_measures_both_sides(monkeypatch, capsys, tmp_path, dtype: str):
    path = tmp_path / "peer.json"
    words = ["--images=4", "--image_size=16", "--steps=2", f"--dtype={dtype}", f"--json={path}"]
    monkeypatch.setattr(sys, "argv", ["peer_torch", *words])
    with jax.enable_x64(False):
        peer_torch.main()
    found = json.loads(path.read_text())
    assert found["jax_by_torch"].keys() == {"baseline", "lens"}
    for name, ratio in found["jax_by_torch"].items():
        jax_speed, torch_speed = (
            found["images_per_second"][f"{name}, {side}"] for side in ("JAX", "PyTorch")
        )
        assert ratio == pytest.approx(jax_speed["median"] / torch_speed["median"])
    assert "parameters in extractor and head" in capsys.readouterr().out
