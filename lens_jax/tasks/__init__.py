"""The tasks by name."""

from collections.abc import Mapping
from typing import Any

from lens_jax.errors import UserError, check_choice
from lens_jax.tasks.base import Task
from lens_jax.tasks.exemplar import Exemplar
from lens_jax.tasks.jigsaw import Jigsaw
from lens_jax.tasks.relative_patch_location import RelativePatchLocation
from lens_jax.tasks.rotation import Rotation
from lens_jax.tasks.supervised import Supervised

PRETEXT_TASKS = {
    "rotation": Rotation,
    "exemplar": Exemplar,
    "relative_patch_location": RelativePatchLocation,
    "jigsaw": Jigsaw,
}
TASKS = (*PRETEXT_TASKS, "supervised")


def make_task(name: str, options: Mapping[str, Any], num_classes: int) -> Task:
    """The task `name` with its options from the config; `num_classes` is the data set's (0: no labels)."""
    check_choice("task", name, TASKS)
    if name in PRETEXT_TASKS:
        return PRETEXT_TASKS[name](**options)
    if num_classes < 2:
        raise UserError("task 'supervised' needs labels: give the data set at least two classes")
    return Supervised(num_classes)
