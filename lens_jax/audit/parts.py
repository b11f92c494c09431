"""The parts of the audit in their order: what each computes, as plain JSON values.

A part sees the results of those before it. What it returns is kept, and told by its section of the
page, see `sections`.
"""

import numpy as np

from lens_jax.audit import duplicates, maps
from lens_jax.audit.advice import advise
from lens_jax.audit.folder import NO_LABEL, choose_images
from lens_jax.audit.kept import write_reading
from lens_jax.audit.marks import look_for_marks
from lens_jax.audit.measure import ask_probes, map_pixels
from lens_jax.audit.probes import Sample
from lens_jax.audit.reading import read_folder
from lens_jax.audit.state import Audit, Part, Result, choose_sample, read_again

# Unlabeled images all belong to this one, whose mean is shown.
ALL = "all images"


def read(audit: Audit) -> Result:
    """Reads every file once."""
    chosen = choose_images(audit.folder, audit.seed)
    reading = read_folder(audit.folder, chosen)
    return write_reading(audit.output, reading)


def compare(audit: Audit) -> Result:
    """Finds duplicates."""
    pairs = duplicates.find_duplicates(read_again(audit))
    return {"pairs": [list(pair) for pair in pairs]}


def probe(audit: Audit) -> Result:
    """Asks every blind probe that is not the same for all images."""
    sample = choose_sample(audit)
    return ask_probes(sample, audit.seed) | {"left_out": _left_out(audit, sample)}


def locate(audit: Audit) -> Result:
    """Makes the mean image and the information map of each class."""
    sample = choose_sample(audit)
    if len(sample.names) >= 2:
        return map_pixels(sample, audit.seed)
    # Nothing can be told apart: one mean image of all.
    small = read_again(audit).small
    if not len(small):
        return {"classes": [], "means": []}
    means = maps.mean_images(small, np.zeros(len(small), int))
    return {"classes": [ALL], "means": means.tolist()}


PARTS = (
    Part("reading", "reading the images", read),
    Part("duplicates", "looking for duplicates", compare),
    Part("probes", "asking the blind probes", probe),
    Part("maps", "mapping what single pixels tell", locate),
    Part("marks", "looking for marks, and planting some to see which are found", look_for_marks),
    Part("advice", "trying what helps", advise),
)


def _left_out(audit: Audit, sample: Sample) -> Result:
    """What the probes did not look at: numbers of classes and of images."""
    classes = set(audit.folder.labels) - {NO_LABEL}
    return {
        "classes": len(classes) - len(sample.names),
        "images": len(audit.folder.paths) - len(sample.labels),
    }
