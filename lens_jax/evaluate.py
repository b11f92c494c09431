r"""Evaluates a checkpoint by suites: what its representation knows, and what it ignores.

    python -m lens_jax.evaluate --checkpoint=runs/mine --suite=linear,knn
    python -m lens_jax.evaluate --checkpoint=runs/mine --suite="knn(k=200) linear(solver=sgd)" \
      --dataset=glyphs --follow
    python -m lens_jax.evaluate --checkpoint=runs/mine --embed=embeddings.npz
    python -m lens_jax.evaluate --checkpoint=resnet50.safetensors --suite=knn --dataset=digits
    python -m lens_jax.evaluate --checkpoint=runs/mine --export=exported --representation=concat

The results of each suite, with their protocol, are added to evaluation.json in the run's folder, or
in --output; those of weights.safetensors by default in the folder weights beside it. Features of a
data set are extracted once, and kept in the folder features there for later suites; --clean removes
them.
"""

from absl import flags

from lens_jax import cli
from lens_jax.errors import UserError

CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Work directory of a run; or what --export wrote, or a ResNet-50's weights.safetensors.",
)
SUITE = flags.DEFINE_string(
    "suite", "", "Suites, each with its options, such as 'linear knn(k=200)'; see docs/evaluate.md."
)
EMBED = flags.DEFINE_string(
    "embed", "", "File for the features of the test images, .npz or .parquet."
)
EXPORT = flags.DEFINE_string(
    "export", "", "New folder for the extractor: safetensors, config and a StableHLO module."
)
CLEAN = flags.DEFINE_bool("clean", False, "Remove the stored features at the end.")
DATASET = flags.DEFINE_string("dataset", "", "Data set to evaluate on; the run's own by default.")
BOXES = flags.DEFINE_enum(
    "boxes",
    "",
    ["", "none", "each", "largest"],
    "Evaluate on images, or on boxes in them: all, or the largest of each image; as in the run by "
    "default, and on the images of another data set.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where data sets are; the run's data.dir by default."
)
TRAIN_SPLIT = flags.DEFINE_string(
    "train_split", "", "Split of the labeled images to learn from; the run's by default."
)
TEST_SPLIT = flags.DEFINE_string("test_split", "", "Split to evaluate on; the run's by default.")
EXAMPLES = flags.DEFINE_integer(
    "examples", None, "Number of labeled images to learn from, all by default.", 1
)
REPRESENTATION = flags.DEFINE_enum(
    "representation",
    "raw",
    ["raw", "lensed", "mean", "concat"],
    "Features of the image, of the lensed image, their mean, or both together.",
)
NETWORK = flags.DEFINE_enum(
    "network", "online", ["online", "target"], "Evaluate the trained network or its average."
)
STORE = flags.DEFINE_string(
    "store", "", "Folder for features, on a local disk; features in the run's folder by default."
)
OUTPUT = flags.DEFINE_string(
    "output",
    "",
    "Folder for evaluation.json; by default the run's, or one beside the weights.",
)
FOLLOW = flags.DEFINE_bool(
    "follow", False, "Evaluate every new checkpoint until training has ended."
)
ONCE = flags.DEFINE_bool("once", False, "End at once if there is no checkpoint yet.")


def main() -> None:
    """Evaluates the newest checkpoint, or with --follow each as it comes."""
    # Imported only now, so that --help and mistyped flags answer at once.
    from lens_jax.devices import cache, distributed
    from lens_jax.eval import embed, export, job, store, suites
    from lens_jax.eval.follow import follow
    from lens_jax.eval.options import Options, data_notes
    from lens_jax.eval.weights import results_folder

    # All that can be wrong is found before anything is read.
    check_flags()
    chosen = suites.parse(SUITE.value) if SUITE.value else []
    options = Options(
        dataset=DATASET.value,
        boxes=BOXES.value,
        data_dir=DATA_DIR.value,
        train_split=TRAIN_SPLIT.value,
        test_split=TEST_SPLIT.value,
        examples=EXAMPLES.value,
        representation=REPRESENTATION.value,
        network=NETWORK.value,
    )

    distributed.start()
    home = results_folder(CHECKPOINT.value)
    features = STORE.value or store.default_folder(home)
    # Passes over several splits and checkpoints are the same program.
    cache.use_cache(features)
    failures = []
    noted = False
    for frozen in follow(CHECKPOINT.value, to_the_end=FOLLOW.value, wait=not ONCE.value):
        if EXPORT.value:
            export.write(frozen, NETWORK.value, REPRESENTATION.value, EXPORT.value)
        if not (chosen or EMBED.value):
            continue
        subject = job.open_subject(frozen, options, features)
        if not noted:
            job.print_once("\n".join(data_notes(frozen, options)))
            noted = True
        failures += job.run(subject, chosen, OUTPUT.value or home)
        if EMBED.value:
            embed.write(subject, EMBED.value)

    if CLEAN.value:
        store.clean(features)
    if failures:
        names = ", ".join(failures)
        raise UserError(f"not all suites could be run, see the lines above: {names}")


def check_flags() -> None:
    """Raises `UserError` for flags that exclude each other, and files that cannot be written."""
    from lens_jax.eval import embed, export, suites

    if FOLLOW.value and ONCE.value:
        raise UserError("--follow and --once exclude each other: give one of them")
    if FOLLOW.value and EXPORT.value:
        raise UserError("--follow and --export exclude each other: export the last checkpoint")
    if not (SUITE.value or EMBED.value or EXPORT.value):
        names = ", ".join(suites.SUITES)
        raise UserError(f"nothing to do: give --suite, of {names}, --embed or --export")
    if EMBED.value:
        embed.check_file(EMBED.value)
    if EXPORT.value:
        export.check_folder(EXPORT.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["checkpoint"])
    cli.run(main)
