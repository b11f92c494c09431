"""What probes and maps measure of a sample of images, as plain JSON values."""

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from lens_jax.audit import maps
from lens_jax.audit.probes import PROBES, Sample
from lens_jax.audit.separation import Separation, separate
from lens_jax.audit.state import Result


def ask_probes(sample: Sample, seed: int, names: Collection[str] = tuple(PROBES)) -> Result:
    """Asks the blind probes that are not the same for all images; none without two classes."""
    result: Result = {
        "images": len(sample.labels),
        "classes": sample.names,
        "probes": {},
        "constant": [],
    }
    if len(sample.names) < 2:
        return result

    asked = {}
    for name in sorted(names, key=list(PROBES).index):
        features = PROBES[name].features(sample)
        if np.any(features != features[0]):
            asked[name] = features
        else:
            result["constant"].append(name)

    # A thread a probe is faster than a product in many threads.
    def ask(features: np.ndarray) -> Separation:
        return separate(features, sample.labels, seed)

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = list(pool.map(ask, asked.values()))
    for name, answer in zip(asked, answers, strict=True):
        result["probes"][name] = {
            "macro": answer.macro._asdict(),
            "classes": [each._asdict() for each in answer.classes],
            "p": answer.p,
        }
    return result


def map_pixels(sample: Sample, seed: int) -> Result:
    """Makes the mean image and the information map of each class, of two or more."""
    found = maps.measure_information(sample.small, sample.labels, seed)
    return {
        "classes": sample.names,
        "means": maps.mean_images(sample.small, sample.labels).tolist(),
        "maps": np.round(found.maps, 4).tolist(),
        "null_highest": found.null_highest,
        "fractions": found.fractions,
        "spots": [spot._asdict() for spot in found.spots],
        "p": found.p,
    }
