"""Fine-tuning: all of an extractor learns the labels of images, with a new linear head."""

from typing import Any

import jax
from ml_collections import ConfigDict

from lens_jax.data.batches import Skipped, train_batches
from lens_jax.data.decode import read_decoding
from lens_jax.data.records import Source
from lens_jax.defaults import DEFAULTS
from lens_jax.devices import distributed, mesh
from lens_jax.errors import UserError
from lens_jax.eval.frozen import Frozen
from lens_jax.eval.passes import linear_size, round_up_to_devices
from lens_jax.tasks.base import DataFacts
from lens_jax.train import compiling, finite, warm_start
from lens_jax.train.durations import Clock
from lens_jax.train.monitors import variables_of
from lens_jax.train.system import make_system

BATCH_SIZE = 256
# The parts of the augmentation that change colors; crops and flips stay as the run has them.
_COLORS = ("jitter", "gray", "blur", "solarize")


def fine_tune(frozen: Frozen, train: Source, *, epochs: int, learning_rate: float) -> Frozen:
    """The network after `epochs` of supervised training on `train`, by the training's own step.

    The extractor begins as that of `frozen`, and the head as it is drawn. It sees raw images: the
    lens has no part in this. See `make_config` for the settings.

    Raises `UserError` where numbers are not finite, or too many images do not decode.
    """
    config = make_config(frozen.config, len(train), epochs, learning_rate)
    facts = DataFacts(train.num_classes, len(train))
    clock = Clock(config.data.batch_size, len(train))
    total = clock.steps(config.train.duration)
    clock = clock._replace(total_steps=total)

    # The step of a training of this config, with the extractor's numbers to begin with.
    devices = mesh.make_mesh(config.mesh.fsdp)
    traced = compiling.trace(config, facts, clock, devices)
    step_fn, _ = compiling.compile_step(traced.step)
    state = warm_start.take(traced.init(), _extractor(frozen)).state

    skipped = Skipped(train)
    batches = train_batches(
        train,
        skipped,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        crop=config.data.crop,
        seed=config.seed,
        shard=jax.process_index(),
        shards=jax.process_count(),
        threads=config.data.threads,
        decoding=read_decoding(config.data),
    )
    for _ in range(total):
        batch = mesh.put_batch(devices, next(batches))
        state, metrics = step_fn(state, batch)
        # The devices never fall behind, and batches do not fill their memory.
        jax.block_until_ready(metrics)

    # What is not finite once stays so.
    if not metrics[finite.STATE]:
        raise UserError(
            f"fine-tuning came to numbers that are not finite: lower its learning_rate, which is "
            f"{learning_rate:g}"
        )
    distributed.check_skipped(skipped, config.data.max_skipped)
    system = make_system(config, facts, total)
    return frozen._replace(step=total, config=config, system=system, state=state)


def make_config(config: ConfigDict, images: int, epochs: int, learning_rate: float) -> ConfigDict:
    """The config of a supervised training with the extractor and the data of another one.

    As SimCLR is fine-tuned (Chen et al., 2020, arXiv 2002.05709, appendix B): SGD with momentum
    0.9, a learning rate for 256 images without warm-up, no weight decay, crops and flips alone.
    They are those of the run; the learning rate follows a cosine to 0. A batch is 256 images, or
    all where there are fewer, raised to what the devices can share evenly.
    """
    changed = ConfigDict(config.to_dict())
    changed.task = ConfigDict({"name": "supervised"})
    changed.lens = ConfigDict(DEFAULTS["lens"] | {"kind": "none"})
    changed.optimizer = ConfigDict(DEFAULTS["optimizer"])
    changed.optimizer.update(
        {
            "learning_rate": learning_rate,
            "weight_decay": 0.0,
            "head_weight_decay": 0.0,
        }
    )
    changed.shortcut = "none"
    changed.model.batch_norm_group = 0
    changed.augment.update(dict.fromkeys(_COLORS, 0.0))
    changed.augment.later = ConfigDict()

    data = changed.data
    data.image_size = linear_size(config.data)
    data.eval_crop = config.data.linear_crop or config.data.eval_crop
    data.pairs = "none"
    data.batch_size = round_up_to_devices(min(BATCH_SIZE, images))
    changed.train.update(
        {
            "duration": f"{epochs} epochs",
            "accumulate": 1,
            "monitors": False,
        }
    )
    return changed.lock()


def _extractor(frozen: Frozen) -> dict[str, Any]:
    """The extractor's parameters and running statistics, by the names of their parts."""
    arrays = {}
    for part, variables in variables_of(frozen.system, frozen.state).items():
        arrays[part] = {"extractor": variables["extractor"]}
    return arrays
