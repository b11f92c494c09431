"""Writes the extractor, with or without its lens, for other programs.

The folder holds the arrays as safetensors and a config, which `eval.weights` reads back, and the
whole way from pixels to features as a StableHLO module, which needs nothing of this package:

    module = jax.export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
    features = module.call(images)  # uint8 [n, h, w, 3] -> float32 [n, d]
"""

import json
import uuid
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from etils import epath

from lens_jax import config as configs
from lens_jax.errors import UserError
from lens_jax.eval import weights
from lens_jax.eval.features import check_representation, make_features
from lens_jax.eval.frozen import Frozen, choose_network
from lens_jax.eval.passes import linear_size
from lens_jax.lens.lens import RAW
from lens_jax.models.torchvision import to_torchvision
from lens_jax.workdir import files

MODULE_FILE = "model.stablehlo"
TORCHVISION_FILE = "torchvision.safetensors"
PLATFORMS = ("cpu", "cuda", "tpu")
# The model that torchvision calls resnet50.
_TORCHVISION = {
    "name": "resnet50_v1",
    "width": 64,
    "stem": "imagenet",
    "last_stride": 2,
    "standardize": False,
}


def check_folder(folder: str) -> None:
    """Raises `UserError` for a folder that holds something."""
    path = epath.Path(folder)
    if path.is_file() or (path.exists() and any(path.iterdir())):
        raise UserError(f"--export={folder} is there already: give a new folder, or empty it")


def write(frozen: Frozen, network: str, representation: str, folder: str) -> None:
    """Writes a checkpoint's features of the last tap as a folder, and prints what it holds.

    Args:
      frozen: the checkpoint.
      network: which of its networks, one of `frozen.NETWORKS`.
      representation: one of `features.REPRESENTATIONS`; with "raw" the lens stays out.
      folder: is made, and is there only when it is complete.

    Raises:
      UserError: no such network or representation, or a folder that cannot be written.

    """
    check_representation(frozen, representation)
    exported = _reduce(choose_network(frozen, network), representation)
    module = make_module(exported, representation)
    if jax.process_index() != 0:
        return

    about = _describe(exported, network, representation, module)
    path = epath.Path(folder)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.unfinished")
    with files.writing_to(folder):
        unfinished.mkdir(parents=True)
        try:
            _write_files(unfinished, exported, about, module)
            unfinished.rename(path)
        except OSError:
            unfinished.rmtree(missing_ok=True)
            raise
    names = sorted(file.name for file in path.iterdir())
    print(f"exported step {frozen.step}, {representation}, to {folder}: {', '.join(names)}")


def make_module(frozen: Frozen, representation: str) -> jax.export.Exported:
    """The function from uint8 images [n, h, w, 3] to features, float32 [n, d], for any n."""
    (tap,) = frozen.system.network.extractor.tap_names[-1:]
    features = make_features(frozen, representation, (tap,))
    state = jax.device_get(frozen.state)

    def compute(images: jax.Array) -> jax.Array:
        # Behind a barrier the parameters are no constants: see `Frozen`.
        parameters = jax.lax.optimization_barrier(jax.tree.map(jnp.asarray, state))
        return features(parameters, images)[tap]

    side = linear_size(frozen.config.data)
    (count,) = jax.export.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((count, side, side, 3), jnp.uint8)
    return jax.export.export(jax.jit(compute), platforms=PLATFORMS)(images)


def _reduce(frozen: Frozen, representation: str) -> Frozen:
    """The checkpoint as `weights.load` will read it: without head, and for "raw" without lens."""
    state = frozen.state
    config = configs.to_json(frozen.config)
    # Where the data lie on this machine is nothing for others.
    config["data"]["dir"] = ""
    if representation == RAW:
        stats = state.batch_stats
        if frozen.system.lens.split:
            stats = stats[RAW]
        state = state.replace(batch_stats=stats, lens_params={})
        config["lens"]["kind"] = "none"

    arrays = jax.device_get(weights.extractor_and_lens(state))
    run = {name: frozen.run[name] for name in weights.RUN_KEYS} | {"config": config}
    return weights.assemble(run, frozen.step, arrays, "the export")


def _describe(
    frozen: Frozen, network: str, representation: str, module: jax.export.Exported
) -> dict[str, Any]:
    """What config.json says: of what, how images go in and features come out, and the config."""
    (images,) = module.in_avals
    (features,) = module.out_avals
    data = frozen.config.data
    about = {
        "format": files.FORMAT,
        "step": frozen.step,
        "network": network,
        "representation": representation,
        "tap": frozen.system.network.extractor.tap_names[-1],
    }
    about["images"] = {
        "type": str(images.dtype),
        "shape": ["n", *images.shape[1:]],
        "crop": data.linear_crop or data.eval_crop,
    }
    about["features"] = {"type": str(features.dtype), "shape": ["n", *features.shape[1:]]}

    # What `weights.load` builds the networks of.
    for name in weights.RUN_KEYS:
        about[name] = frozen.run[name]
    return about


def _write_files(
    folder: epath.Path, frozen: Frozen, about: dict[str, Any], module: jax.export.Exported
) -> None:
    arrays = jax.device_get(weights.extractor_and_lens(frozen.state))
    _write_arrays(folder / weights.MODEL_FILE, arrays)
    (folder / files.CONFIG_FILE).write_text(json.dumps(about, indent=2) + "\n")
    (folder / MODULE_FILE).write_bytes(module.serialize())

    # An extractor that torchvision has goes into its programs too.
    model = frozen.config.model
    is_torchvision = all(model[key] == value for key, value in _TORCHVISION.items())
    if is_torchvision and about["representation"] == RAW:
        state = frozen.state
        variables = {
            "params": state.params["extractor"],
            "batch_stats": state.batch_stats["extractor"],
        }
        _write_arrays(folder / TORCHVISION_FILE, to_torchvision(jax.device_get(variables)))


def _write_arrays(path: epath.Path, arrays: dict[str, Any]) -> None:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    path.write_bytes(safetensors.numpy.save(contiguous))
