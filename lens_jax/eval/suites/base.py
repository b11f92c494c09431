"""What every suite has: a suite is to evaluation what a task is to training."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

from lens_jax.data.records import UNLABELED, Source
from lens_jax.errors import UserError
from lens_jax.eval import store
from lens_jax.eval.features import Rows
from lens_jax.eval.frozen import Frozen
from lens_jax.pages import page

# Fractions lie in [0, 1]. A name such as "accuracy/block1" is that of a number, and of what it is.
Numbers = dict[str, float]


class Subject(NamedTuple):
    """What is evaluated, and on what.

    Attributes:
      frozen: a checkpoint with the chosen network, "online" or "target", as the one it evaluates.
      network: which of the two that is.
      representation: one of `features.REPRESENTATIONS`.
      train: the labeled examples to learn from.
      test: the examples to evaluate on.
      data_dir: TFDS' directory, where suites find data sets of their own; "" is its default.
      store: the folder of the feature store.

    """

    frozen: Frozen
    network: str
    representation: str
    train: Source
    test: Source
    data_dir: str
    store: str

    @property
    def taps(self) -> tuple[str, ...]:
        """The names of the extractor's taps, the one before the head last."""
        return self.frozen.system.network.extractor.tap_names

    def rows(self, source: Source, *taps: str) -> Rows:
        """Features of a source from the store; of the last tap where none is named."""
        names = taps or self.taps[-1:]
        return store.read_rows(self.store, self.frozen, source, self.representation, names)


@dataclasses.dataclass(frozen=True)
class Suite:
    """A kind of question to a representation; its fields are the options of the command line.

    A field is an int, a float, a str, or a tuple of one of these.
    """

    name: ClassVar[str]

    def check(self, subject: Subject) -> None:
        """Raises `UserError` where the subject or its data cannot answer, before any work."""

    def sources(self, subject: Subject) -> dict[str, Source]:
        """What is measured on. Raises `UserError`."""
        return {"train": subject.train, "test": subject.test}

    def measured_on(self, subject: Subject) -> dict[str, dict[str, Any]]:
        """The sources, and what else is measured with, as plain JSON values. Raises `UserError`."""
        return {role: describe_source(source) for role, source in self.sources(subject).items()}

    def measure(self, subject: Subject) -> Numbers:
        """The numbers; the first one stands for all in a short table."""
        raise NotImplementedError

    def protocol(self, subject: Subject) -> str:
        """What stands behind the numbers, for people: the solver, the tap, the splits."""
        raise NotImplementedError

    def tell(self, numbers: Numbers) -> list[page.Part]:
        """The numbers as parts of a page; a table of them by default."""
        rows = [(name, format_number(name, value)) for name, value in numbers.items()]
        return [page.table(("", "value"), rows)]

    def published(self) -> list[page.Part]:
        """What others measured, as parts of a page that say on what; nothing by default."""
        return []


# Words in the names of numbers that are fractions, and are printed as percent.
_FRACTIONS = ("accuracy", "fraction", "error", "decision", "bias", "iou", "gap")


def format_number(name: str, value: float) -> str:
    """A number as people read it: percent of fractions, and else four digits."""
    kind = name.partition("/")[0]
    if any(word in kind for word in _FRACTIONS):
        return f"{value:.2%}"
    return f"{value:.4g}"


def has_labels(source: Source) -> bool:
    """Whether a source has classes to tell apart."""
    return source.num_classes >= 2 and source.class_names != (UNLABELED,)


def check_labels(source: Source, suite: str) -> None:
    """Raises `UserError` for a source without classes."""
    if not has_labels(source):
        raise UserError(
            f"suite {suite!r} needs labels, and {source.dataset or 'the data set'} has none: give "
            "a --dataset with labels, or leave the suite out"
        )


def describe_source(source: Source) -> dict[str, Any]:
    """What tells the images of a source from others; its folder does not."""
    return {
        "name": source.dataset,
        "split": source.split,
        "examples": len(source),
        "boxes": source.boxes,
        "fingerprint": source.fingerprint,
    }


def describe_split(role: str, source: Source) -> str:
    """A split in a protocol, such as "test on glyphs/32/1.0.0 test, 2,000 images"."""
    return f"{role} {source.dataset} {source.split}, {len(source):,} images"


def to_plain(suite: Suite) -> dict[str, Any]:
    """The options of a suite as plain JSON values: a part of its results' identity."""
    options = {}
    for key, value in dataclasses.asdict(suite).items():
        options[key] = list(value) if isinstance(value, tuple) else value
    return options
