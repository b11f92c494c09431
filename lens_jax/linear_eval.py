"""Evaluates a run: linear classifiers on its features, and whether it took a shortcut.

    python -m lens_jax.linear_eval --checkpoint=runs/mine --dataset=glyphs
    python -m lens_jax.linear_eval --checkpoint=runs/mine --follow     (beside the training job)

Writes linear_eval.json into the folder of the run, or into --output: the accuracy of one linear
classifier on each tap of the frozen extractor, of the last one also class by class, and the pretext
accuracy on images without and with the shortcut. As in training, the same command is started once
for each process of a pod or a cluster, see docs/launching.md.
"""

import operator
from typing import Any

from absl import flags

from lens_jax import cli
from lens_jax.errors import UserError

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Work directory of the training run.")
DATASET = flags.DEFINE_string("dataset", "", "Data set to classify; the run's own by default.")
BOXES = flags.DEFINE_enum(
    "boxes",
    "",
    ["", "none", "each", "largest"],
    "Classify images, or boxes in them: all, or the largest of each image; as in the run by "
    "default, and the images of another data set.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where that data set is; the run's data.dir by default."
)
TRAIN_SPLIT = flags.DEFINE_string(
    "train_split", "", "Split to learn the classifiers on; the run's by default."
)
TEST_SPLIT = flags.DEFINE_string(
    "test_split", "", "Split to evaluate them on; the run's by default."
)
EXAMPLES = flags.DEFINE_integer(
    "examples", None, "Number of labeled training examples, all by default.", 1
)
TAPS = flags.DEFINE_list("taps", [], "Taps to classify, such as block4,pre_logits; all by default.")
REPRESENTATIONS = flags.DEFINE_list(
    "representations", [], "By default raw,lensed,concat with a lens, raw without."
)
NETWORK = flags.DEFINE_enum(
    "network", "online", ["online", "target"], "Evaluate the trained network or its average."
)
SOLVER = flags.DEFINE_enum(
    "solver", "lbfgs", ["lbfgs", "sgd"], "Logistic regression, or heads trained by SGD."
)
EPOCHS = flags.DEFINE_integer("epochs", 70, "Epochs of SGD.", 1)
SHORTCUT = flags.DEFINE_string(
    "shortcut", "", "For pretext accuracy; the run's by default, arrow if it has none."
)
OUTPUT = flags.DEFINE_string(
    "output", "", "Folder for linear_eval.json; the run's folder by default."
)
FOLLOW = flags.DEFINE_bool(
    "follow", False, "Evaluate every new checkpoint until training has ended."
)
ONCE = flags.DEFINE_bool("once", False, "End at once if there is no checkpoint yet.")

CLASSES_NAMED = 5


def main() -> None:
    """Evaluates the newest checkpoint, or with --follow each as it comes."""
    # Imported only now, so that --help and mistyped flags answer at once.
    import jax

    from lens_jax.devices import distributed
    from lens_jax.eval.evaluate import evaluate, pretext_results
    from lens_jax.eval.follow import follow
    from lens_jax.eval.options import Options, data_notes, resolve_representations
    from lens_jax.eval.weights import results_folder
    from lens_jax.workdir.results import add_result

    if FOLLOW.value and ONCE.value:
        raise UserError("--follow and --once exclude each other: give one of them")
    options = Options(
        dataset=DATASET.value,
        boxes=BOXES.value,
        data_dir=DATA_DIR.value,
        train_split=TRAIN_SPLIT.value,
        test_split=TEST_SPLIT.value,
        examples=EXAMPLES.value,
        taps=tuple(TAPS.value),
        solver=SOLVER.value,
        epochs=EPOCHS.value,
        network=NETWORK.value,
        shortcut=SHORTCUT.value,
    )
    names = tuple(REPRESENTATIONS.value)
    distributed.start()
    first = jax.process_index() == 0
    has_notes = False
    for frozen in follow(CHECKPOINT.value, to_the_end=FOLLOW.value, wait=not ONCE.value):
        if first and not has_notes:
            print(*data_notes(frozen, options), sep="\n", flush=True)
            has_notes = True
        # All processes evaluate together, and the first one prints and writes: in this order, so
        # that nothing is lost where it cannot write.
        representations = resolve_representations(frozen.system, names)
        pretext = pretext_results(frozen, options)
        if first:
            print_pretext(frozen.step, pretext)
        for representation in representations:
            chosen = options._replace(representation=representation)
            result = evaluate(frozen, chosen, pretext)
            if first:
                print_linear(result)
            add_result(OUTPUT.value or results_folder(CHECKPOINT.value), result)


def print_linear(result: dict[str, Any]) -> None:
    """Prints the linear accuracies of one evaluation as a table."""
    from lens_jax.workdir.results import describe_data

    measured = [str(result[key]) for key in ("step", "representation", "solver")]
    print(f"\nstep {'  '.join(measured)}")
    print(f"  evaluated on {describe_data(result)}")
    print(f"  classifiers learned on {result['train_split']}, {result['train_examples']:,} images")
    for tap, accuracy in result["taps"].items():
        print(f"  linear accuracy on {tap:<12} {accuracy:7.2%}", flush=True)
    if "knn_accuracy" in result:
        _print_features(result, tap)
    _print_least_accurate(result["class_accuracy"])


def _print_features(result: dict[str, Any], tap: str) -> None:
    neighbors = f"{result['knn_accuracy']:7.2%}"
    rank = f"{result['rankme']:6.1f}"
    color = f"{result['color_r2']:7.2%}"
    print(f"  nearest neighbors, {tap:<12} {neighbors}")
    print(f"  effective rank,    {tap:<12} {rank}")
    print(f"  mean color, R2,    {tap:<12} {color}")


def _print_least_accurate(class_accuracy: dict[str, float]) -> None:
    by_accuracy = sorted(class_accuracy.items(), key=operator.itemgetter(1))
    named = []
    for name, accuracy in by_accuracy[:CLASSES_NAMED]:
        named.append(f"{name} {accuracy:.1%}")
    print(f"  least accurate classes: {', '.join(named)}", flush=True)


def print_pretext(step: int, pretext: dict[str, Any]) -> None:
    """Prints the pretext accuracies of a checkpoint, if its task has any."""
    print(f"\nstep {step}", flush=True)
    for name, value in pretext.items():
        if name.startswith("pretext_accuracy"):
            print(f"  {name:<31} {value:7.2%}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint"])
    cli.run(main)
