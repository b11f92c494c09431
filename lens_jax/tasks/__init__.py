"""The tasks by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lens_jax.errors import check_choice
from lens_jax.tasks.barlow_twins import BarlowTwins
from lens_jax.tasks.base import DataFacts, Task
from lens_jax.tasks.byol import BYOL
from lens_jax.tasks.equimod import EquiMod
from lens_jax.tasks.exemplar import Exemplar
from lens_jax.tasks.jigsaw import Jigsaw
from lens_jax.tasks.moco import MoCo
from lens_jax.tasks.pirl import PIRL
from lens_jax.tasks.relative_patch_location import RelativePatchLocation
from lens_jax.tasks.rotation import Rotation
from lens_jax.tasks.simclr import SimCLR
from lens_jax.tasks.supervised import Supervised

TASKS: dict[str, type[Task]] = {
    "rotation": Rotation,
    "exemplar": Exemplar,
    "relative_patch_location": RelativePatchLocation,
    "jigsaw": Jigsaw,
    "supervised": Supervised,
    "simclr": SimCLR,
    "moco": MoCo,
    "byol": BYOL,
    "barlow_twins": BarlowTwins,
    "pirl": PIRL,
    "equimod": EquiMod,
}


def make_task(options: Mapping[str, Any], facts: DataFacts) -> Task:
    """The task that `options`, the config's section, name under "name"; the rest are its own.

    A task that attaches to another one has that one's options under "base". Raises `UserError` for
    an unknown task, and for options that it cannot have.
    """
    options = dict(options)
    name = options.pop("name")
    check_choice("task", name, tuple(TASKS))
    if "base" in options:
        options["base"] = make_task(options["base"], facts)

    task_class = TASKS[name]
    known = [field.name for field in dataclasses.fields(task_class)]
    for option in options:
        check_choice(f"option of task {name!r}", option, known)
    return task_class.from_options(options, facts)
