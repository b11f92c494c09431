"""Weights without a run: published ones of a ResNet-50, and what `eval.export` has written.

Both are evaluated as a checkpoint of step 0, or of the step at which they were exported.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from safetensors import SafetensorError

from lens_jax import config as configs
from lens_jax.errors import UserError, one_line, reason
from lens_jax.eval.frozen import Frozen, make_parts, state_shapes
from lens_jax.models.torchvision import CLASSIFIER, from_torchvision
from lens_jax.recipes import base_config
from lens_jax.train.state import TrainState
from lens_jax.workdir import files

SUFFIX = ".safetensors"
MODEL_FILE = "model.safetensors"
# Of files that PyTorch writes; MoCo's are .pth.tar.
PICKLES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".pkl")
_CONVERT = (
    "import torch; from safetensors.torch import save_file; "
    "w = torch.load('{file}', map_location='cpu', weights_only=True); w = w.get('state_dict', w); "
    "save_file({{k: v.clone().contiguous() for k, v in w.items()}}, '{converted}')"
)

# MoCo trains in parallel, and has the network of the queries beside that of the keys.
_MOCO = "module.encoder_q."
_IMAGENET_CLASSES = 1000
# Of a run, what its networks are built of.
RUN_KEYS = ("class_names", "examples", "total_steps", "config")


def is_weights(checkpoint: str) -> bool:
    """Whether a checkpoint is a file of weights or the folder of an export, and no run's folder."""
    path = epath.Path(checkpoint)
    if path.suffix in (SUFFIX, *PICKLES):
        return not path.is_dir()
    return path.is_file() or _is_folder(path)


def results_folder(checkpoint: str) -> str:
    """Where results and features are kept: in the folder of a run or an export.

    Those of a file are in a folder beside it, by its name without ".safetensors".
    """
    is_folder = epath.Path(checkpoint).is_dir()
    return checkpoint if is_folder else checkpoint.removesuffix(SUFFIX)


def load(checkpoint: str) -> Frozen:
    """Reads weights; the first process prints what is left out.

    Raises:
      UserError: there is no such file, it is a pickle or damaged, the weights are of another
        architecture, or the folder is no export of this package.

    """
    path = epath.Path(checkpoint)
    if _is_folder(path):
        return _load_export(path)
    return _load_published(path)


def check_head(frozen: Frozen, what: str) -> None:
    """Raises `UserError` where `what`, such as "suite 'shortcut'", needs a head that is missing."""
    if not frozen.has_head:
        raise UserError(
            f"{what} asks the head that learned the task, and weights alone have none: give "
            "--checkpoint the folder of a run"
        )


def read_arrays(path: epath.Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file; raises `UserError` for what is none."""
    if path.suffix in PICKLES:
        converted = path.name.partition(".")[0] + SUFFIX
        command = _CONVERT.format(file=path.name, converted=converted)
        raise UserError(
            f"{path} is a pickle, which may run any code when it is read: where you trust it, "
            f'convert it by `python -c "{command}"`, and give --checkpoint={converted}'
        )
    if path.suffix != SUFFIX:
        raise UserError(f"{path} is not named *{SUFFIX}: give the folder of a run, or such a file")
    try:
        return safetensors.numpy.load(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error
    except SafetensorError as error:
        raise UserError(
            f"{path} is no safetensors file, or a damaged one: {one_line(error)}; fetch it again"
        ) from error
    except KeyError as error:
        raise UserError(
            f"{path} has arrays of type {error}, which NumPy does not have: save them as F32"
        ) from error


def assemble(run: dict[str, Any], step: int, arrays: dict[str, np.ndarray], source: str) -> Frozen:
    """The checkpoint of an exported extractor and its lens, if it has one.

    Args:
      run: "config", "class_names", "examples" and "total_steps", as of a run.
      step: at which they were exported.
      arrays: by the names of the state's parts, such as "params/extractor/Conv_0/kernel".
      source: where they are from, for messages.

    Raises:
      UserError: other arrays than the config describes: the first name and shape that differ.

    """
    config, system = make_parts(run)
    expected = extractor_and_lens(state_shapes(config, system))
    _check_arrays(arrays, expected, source)
    tree = unflatten_dict(arrays, sep="/")

    # Parts without arrays, such as no lens, have no names.
    state = make_state(
        step,
        tree["params"],
        tree["batch_stats"],
        tree.get("lens_params", {}),
    )
    run = run | {"weights": source}
    # Of two networks, the one that was exported is the only one.
    return Frozen(step, config, run, system._replace(target=None), state)


def extractor_and_lens(state: TrainState) -> dict[str, Any]:
    """What evaluation needs of a state, flat, by names such as "params/extractor/Conv_0/kernel"."""
    arrays = {}
    for part in ("params", "batch_stats", "lens_params"):
        for path, array in flatten_dict(getattr(state, part)).items():
            if part == "lens_params" or "extractor" in path:
                arrays["/".join((part, *path))] = array
    return arrays


def make_state(step: int, params: Any, batch_stats: Any, lens_params: Any) -> TrainState:
    """A state of networks alone, with nothing that training needs."""
    state = TrainState(
        step=np.int32(step),
        params=params,
        batch_stats=batch_stats,
        opt_state=(),
        target_params={},
        target_stats={},
        lens_params=lens_params,
        lens_opt_state=(),
        lens_penalty=np.float32(0),
        memory={},
        probe={},
    )
    return jax.tree.map(jnp.asarray, state)


def _is_folder(path: epath.Path) -> bool:
    return (path / MODEL_FILE).exists()


def _load_published(path: epath.Path) -> Frozen:
    arrays = read_arrays(path)
    if any(name.startswith(_MOCO) for name in arrays):
        # The rest is the network of the keys, and the queue.
        arrays = {
            name.removeprefix(_MOCO): array
            for name, array in arrays.items()
            if name.startswith(_MOCO)
        }

    config = _published_config()
    run = {
        "config": configs.to_json(config),
        "class_names": [str(number) for number in range(_IMAGENET_CLASSES)],
        "examples": 0,
        "total_steps": 1,
        "weights": str(path),
    }
    config, system = make_parts(run)
    shapes = state_shapes(config, system)
    extractor = {
        "params": shapes.params["extractor"],
        "batch_stats": shapes.batch_stats["extractor"],
    }
    variables = from_torchvision(arrays, extractor, str(path))

    head = [name for name in arrays if name.startswith(CLASSIFIER)]
    if head and jax.process_index() == 0:
        print(f"left out of {path}, as features are evaluated: {', '.join(sorted(head))}")
    state = make_state(
        0,
        {"extractor": variables["params"]},
        {"extractor": variables["batch_stats"]},
        {},
    )
    return Frozen(0, config, run, system, state)


def _published_config() -> ConfigDict:
    """As torchvision evaluates: the central 224 px of a shorter side of 256, and no lens."""
    config = base_config("imagenet2012")
    config.model.name = "resnet50_v1"
    config.task = ConfigDict({"name": "supervised"})
    config.lens.kind = "none"
    return config


def _load_export(folder: epath.Path) -> Frozen:
    path = folder / files.CONFIG_FILE
    record = files.read_json(path) if path.exists() else {}
    if not isinstance(record, dict) or not {"step", *RUN_KEYS} <= record.keys():
        keys = ", ".join(RUN_KEYS)
        raise UserError(
            f"{folder} is no export of lens_jax, whose {files.CONFIG_FILE} has {keys}: give the "
            f"folder that --export wrote, or the file {folder / MODEL_FILE} itself"
        )
    files.check_format(record, str(folder))
    run = {key: record[key] for key in RUN_KEYS}
    arrays = read_arrays(folder / MODEL_FILE)
    return assemble(run, record["step"], arrays, str(folder))


def _check_arrays(found: dict[str, Any], expected: dict[str, Any], source: str) -> None:
    """Raises `UserError` for the first name and shape that differ."""
    for name in sorted(found.keys() | expected.keys()):
        here = list(found[name].shape) if name in found else "absent"
        there = list(expected[name].shape) if name in expected else "absent"
        if here != there:
            raise UserError(
                f"{source} holds other arrays than its config describes: {name} is {here}, not "
                f"{there}; export again"
            )
