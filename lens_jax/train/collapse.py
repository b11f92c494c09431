"""The alarm that the embeddings of all images have become alike."""

from lens_jax.errors import UserError
from lens_jax.workdir.metrics import Scalars

# The standard deviation, of at most 1, below which embeddings are alike: their mean cosine
# similarity is above 0.9975. See docs/monitors.md for what it is in trainings that go well.
LEAST_DEVIATION = 0.05
# For how long they must be: methods that end well have been seen below 0.1 for 30 steps.
LEAST_STEPS = 100
LEAST_FRACTION = 0.01


class CollapsedError(UserError):
    """Embeddings that have collapsed, where training is to stop at that."""


class Alarm:
    """Notices a collapse, and says so once."""

    def __init__(self, on_collapse: str, total_steps: int):
        """Takes one of `config.ON_COLLAPSE`, and the steps of the whole training."""
        self._stops = on_collapse == "stop"
        self._patience = max(LEAST_STEPS, round(LEAST_FRACTION * total_steps))
        self._since: int | None = None
        self._sounded = False

    def check(self, step: int, scalars: Scalars) -> str | None:
        """Takes the mean metrics up to `step`; returns the one line to print, if it is time.

        Embeddings count as collapsed where all means for `patience` steps are below
        `LEAST_DEVIATION`.

        Raises:
          CollapsedError: in place of returning the line, where the training is to stop.

        """
        deviation = scalars.get("embedding_std")
        if deviation is None or deviation >= LEAST_DEVIATION:
            self._since = None
            return None
        # A training that was rolled back is earlier again.
        self._since = step if self._since is None else min(step, self._since)
        if self._sounded or step - self._since < self._patience:
            return None

        self._sounded = True
        rank, size = scalars["embedding_rank"], scalars["embedding_size"]
        line = (
            f"the embeddings have collapsed since step {self._since} (rank {rank:.1f} of "
            f"{size:.0f}, standard deviation {deviation:.3f} of 1)"
        )
        if self._stops:
            raise CollapsedError(
                f"{line}: training stopped; change the method or lower optimizer.learning_rate in "
                "a new --workdir, or go on with train.on_collapse=warn"
            )
        return line
