"""Judges a run's representation by linear classification, and whether it took a shortcut.

    python -m lens_jax.linear_eval --checkpoint=runs/mine --dataset=glyphs
    python -m lens_jax.linear_eval --checkpoint=runs/mine --follow     (beside the training job)

Writes linear_eval.json into the run's folder: the accuracy of one linear classifier on each tap of the
frozen extractor, and the pretext accuracy on images without and with the shortcut.
"""

import time
from typing import Any

from absl import flags

from lens_jax import cli
from lens_jax.errors import UserError, check_choice

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Work directory of the training run.")
DATASET = flags.DEFINE_string("dataset", "", "Data set to classify; the run's own by default.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where that data set is; the run's data.dir by default.")
TRAIN_SPLIT = flags.DEFINE_string(
    "train_split", "", "Split to learn the classifiers on; the run's by default."
)
TEST_SPLIT = flags.DEFINE_string("test_split", "", "Split to judge them on; the run's by default.")
EXAMPLES = flags.DEFINE_integer("examples", None, "Number of labelled training examples, all by default.", 1)
TAPS = flags.DEFINE_list("taps", [], "Taps to classify, such as block4,pre_logits; all by default.")
REPRESENTATION = flags.DEFINE_string(
    "representation", "", "raw, lensed, mean or concat; by default concat with a lens, raw without."
)
SOLVER = flags.DEFINE_enum(
    "solver", "lbfgs", ["lbfgs", "sgd"], "Logistic regression, or heads trained by SGD."
)
EPOCHS = flags.DEFINE_integer("epochs", 70, "Epochs of SGD.", 1)
SHORTCUT = flags.DEFINE_string(
    "shortcut", "", "For pretext accuracy; the run's by default, arrow if it has none."
)
FOLLOW = flags.DEFINE_bool("follow", False, "Evaluate every new checkpoint until training has ended.")
ONCE = flags.DEFINE_bool("once", False, "End at once if there is no checkpoint yet.")


def main() -> None:
    """Evaluates the newest checkpoint, or with --follow each as it comes."""
    from lens_jax.eval.follow import follow
    from lens_jax.eval.results import add_result

    if FOLLOW.value and ONCE.value:
        raise UserError("--follow and --once exclude each other: give one of them")
    for frozen in follow(CHECKPOINT.value, to_the_end=FOLLOW.value, wait=not ONCE.value):
        result = evaluate(frozen)
        add_result(CHECKPOINT.value, result)
        print_result(result)


def evaluate(frozen: Any) -> dict[str, Any]:
    """All figures of one checkpoint."""
    from lens_jax.data.source import open_source
    from lens_jax.eval import features, linear
    from lens_jax.eval.frozen import pretext_accuracy

    began, data = time.monotonic(), frozen.config.data
    name, folder = DATASET.value or data.name, data.dir if DATA_DIR.value is None else DATA_DIR.value
    train = open_source(name, TRAIN_SPLIT.value or data.train_split, folder)
    test = open_source(name, TEST_SPLIT.value or data.eval_split, folder)
    if train.num_classes < 2:
        raise UserError(f"data set {name!r} has no classes to learn: give a --dataset with labels")
    train = train.thinned(EXAMPLES.value or len(train))
    representation = REPRESENTATION.value or ("concat" if frozen.system.lens else "raw")
    check_choice("representation", representation, features.REPRESENTATIONS)
    known = features.tap_names(frozen)
    taps = tuple(TAPS.value) or known
    for tap in taps:
        check_choice("tap", tap, known)
    read = features.make_features(frozen, representation, taps)
    if SOLVER.value == "lbfgs":
        accuracy = linear.logistic_regression(frozen, train, test, read)
    else:
        accuracy = linear.sgd_heads(frozen, train, test, read, epochs=EPOCHS.value)
    shortcut = SHORTCUT.value or (frozen.config.shortcut if frozen.config.shortcut != "none" else "arrow")
    result = {
        "step": frozen.step,
        "dataset": name,
        "representation": representation,
        "solver": SOLVER.value,
        "train_examples": len(train),
        "test_examples": len(test),
        "taps": {tap: accuracy[tap] for tap in taps},
        "linear_accuracy": accuracy[taps[-1]],
        "shortcut": shortcut,
    }
    for condition, drawn in (("clean", "none"), ("shortcut", shortcut)):
        for kind, value in pretext_accuracy(frozen, test, drawn).items():
            result[f"pretext_accuracy_{condition}" + ("_lensed" if kind == "lensed" else "")] = value
    return result | {"seconds": time.monotonic() - began}


def print_result(result: dict[str, Any]) -> None:
    """Prints one evaluation as a table."""
    print(f"\nstep {result['step']}  {result['dataset']}  {result['representation']}  {result['solver']}")
    for tap, accuracy in result["taps"].items():
        print(f"  linear accuracy on {tap:<12} {accuracy:7.2%}")
    for name, value in result.items():
        if name.startswith("pretext_accuracy"):
            print(f"  {name:<31} {value:7.2%}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint"])
    cli.run(main)
