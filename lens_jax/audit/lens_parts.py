"""The second screen's parts: small copies, a training a task and one of its null, and the views.

JAX is imported only when a part computes: the first screen is there before it is loaded.
"""

import pathlib
from functools import partial
from typing import NamedTuple

from lens_jax.audit.state import Audit, Part, Result
from lens_jax.data.records import fingerprint
from lens_jax.errors import check_choice

IMAGES = "lens-images"
# Where the trainings are, below the output; each set of images has a folder of its own there.
FOLDER = "lens"
SUPERVISED = "supervised"
AUDITED = (SUPERVISED, "rotation", "relative_patch_location", "jigsaw", "simclr")
DEFAULT_TASKS = (SUPERVISED, "rotation")
# The lens, and what it is compared with: one trained with shuffled answers, and one of random
# numbers.
TRAINED, SHUFFLED, RANDOM = "trained", "shuffled", "random"
CHECKPOINT = "checkpoint"
VIEW = "view-"  # begins the names of parts that look through a lens


class LensOptions(NamedTuple):
    """Which lenses are trained.

    Attributes:
      minutes: for all trainings together; 0: none.
      tasks: of `AUDITED`.
      checkpoint: a run's folder, whose lens is shown in place of others; "" for none.

    """

    minutes: float = 0.0
    tasks: tuple[str, ...] = DEFAULT_TASKS
    checkpoint: str = ""


def training_name(task: str, shuffled: bool = False) -> str:
    """The name of the part that trains a lens."""
    return f"lens-{task}-shuffled" if shuffled else f"lens-{task}"


def view_name(task: str) -> str:
    """The name of the part that looks through a task's lens."""
    return f"{VIEW}{task}"


def lens_parts(options: LensOptions) -> tuple[Part, ...]:
    """The parts that follow the first screen; none for no minutes.

    Raises `UserError` for a task that is not of `AUDITED`.
    """
    for task in options.tasks:
        check_choice("task", task, AUDITED)
    if options.checkpoint:
        doing = "looking through the lens of the checkpoint"
        show = partial(view_checkpoint, run=options.checkpoint)
        return (Part(view_name(CHECKPOINT), doing, show, (options.checkpoint,)),)
    if options.minutes == 0:
        return ()

    settings = (f"{options.minutes:g}", *options.tasks)
    parts = [Part(IMAGES, "writing small copies", write_images)]
    for task in options.tasks:
        for shuffled in (False, True):
            title = f"training the lens of {task}"
            if shuffled:
                title += ", with shuffled answers"
            compute = partial(train_lens, task=task, shuffled=shuffled, options=options)
            parts.append(Part(training_name(task, shuffled), title, compute, settings))
        look = partial(view, task=task)
        parts.append(Part(view_name(task), f"looking through the lens of {task}", look, settings))
    return tuple(parts)


def write_images(audit: Audit) -> Result:
    """Writes the copies that are trained on; "why_not" says why nothing can be trained."""
    from lens_jax.audit import lens_images

    chosen = lens_images.choose(audit)
    count = len(chosen.labels)
    result = {"images": count, "classes": len(chosen.names), "why_not": ""}
    if count < lens_images.LEAST_IMAGES:
        result["why_not"] = (
            f"there are {count:,} different images, and a network learns fewer than "
            f"{lens_images.LEAST_IMAGES} by heart"
        )
        return result
    key = fingerprint([audit.folder.fingerprint, str(audit.seed)])
    folder = f"{FOLDER}/{key}"
    lens_images.write(chosen, str(pathlib.Path(audit.output) / folder / "images"))
    return result | {
        "folder": folder,
        "side": chosen.pixels.shape[1],
        "held_out": int(chosen.held_out.sum()),
    }


def train_lens(audit: Audit, task: str, shuffled: bool, options: LensOptions) -> Result:
    """Trains one lens for its part of the time; "why_not" says why it was not."""
    images = audit.results[IMAGES]
    why_not = images["why_not"]
    if task == SUPERVISED and images["classes"] < 2:
        why_not = "there are no labels to learn"
    if why_not:
        return {"why_not": why_not}

    from lens_jax.audit.lens_recipe import lens_config
    from lens_jax.audit.lens_training import train_for

    trained = [name for name in options.tasks if name != SUPERVISED or images["classes"] > 1]
    seconds = 60 * options.minutes / (2 * len(trained))
    root = pathlib.Path(audit.output) / images["folder"]
    config = lens_config(task, str(root / "images"), images["side"], audit.seed, shuffled=shuffled)
    workdir = root / training_name(task, shuffled)
    return {"why_not": "", "workdir": str(workdir)} | train_for(
        config, str(workdir), seconds
    )._asdict()


def view(audit: Audit, task: str) -> Result:
    """Looks at images through a trained lens, and through its null."""
    trained = audit.results[training_name(task)]
    shuffled = audit.results[training_name(task, shuffled=True)]
    if trained["why_not"]:
        return {"why_not": trained["why_not"]}

    from lens_jax.audit.lens_measure import measure
    from lens_jax.eval import frozen

    lens = frozen.load(trained["workdir"])
    null = frozen.load(shuffled["workdir"])
    return measure(audit, view_name(task), lens, null)


def view_checkpoint(audit: Audit, run: str) -> Result:
    """Looks at images through the lens of another run, on which nothing is trained here.

    Raises `UserError` where the run has no checkpoint or no lens.
    """
    from lens_jax.audit.lens_measure import measure
    from lens_jax.errors import UserError
    from lens_jax.eval import frozen

    lens = frozen.load(run)
    if lens.system.lens_network is None:
        raise UserError(f"the run in {run} has no lens: give one that was trained with a lens")
    return measure(audit, view_name(CHECKPOINT), lens, None)
