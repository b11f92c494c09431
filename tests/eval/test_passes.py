import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lens_jax.data.batches import Skipped
from lens_jax.devices.distributed import check_skipped, gather
from lens_jax.errors import UserError
from lens_jax.workdir import checkpoints
from tests.fake_devices import fake_devices

# Twelve divides neither a batch of 256 nor the test images; both their batches have broken ones.
DEVICES = 12
SIZE, BROKEN = 269, (2, 7, 266)
TRAIN = 24  # a batch that they can share

SCRIPT = """
import json, pathlib, sys
import jax, numpy as np
jax.config.update("jax_disable_most_optimizations", True)
from lens_jax.data.records import Source
from lens_jax.eval import features, frozen, linear

def read(folder):
    images = [path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())]
    names = ("red", "green", "blue")
    record = lambda i: {"image": images[i], "label": i % 3, "name": f"{i}"}
    return Source(names, len(images), record)

workdir = pathlib.Path(sys.argv[1])
loaded, train, test = frozen.load(str(workdir)), read(workdir / "train"), read(workdir / "test")
tap = features.make_features(loaded, "concat", ("block2", "pre_logits"))
rows, labels, *_ = features.extract(loaded, test, tap)
np.savez(workdir / f"{jax.device_count()}.npz", labels=labels, **rows)
heads = linear.sgd_heads(loaded, train, test, tap, epochs=14)
print(json.dumps({
    "devices": jax.device_count(),
    "pretext": frozen.pretext_accuracy(loaded, test, "arrow"),
    "heads": {name: scores.accuracy for name, scores in heads.items()},
}))
"""


@pytest.fixture(scope="module")
def on_devices():
    """Runs `SCRIPT` with each number of fake devices; returns what they printed."""

    def run(workdir, *numbers: int) -> list[dict]:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(workdir)],
                env=os.environ | fake_devices(number),
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in numbers
        ]
        outputs = [process.communicate(timeout=200)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * len(numbers)
        found = [json.loads(output.splitlines()[-1]) for output in outputs]
        assert [each.pop("devices") for each in found] == [*numbers]
        return found

    return run


def test_many_devices_evaluate_as_one(make_frozen, colorful, tmp_path, on_devices):
    given = make_frozen({"augment.flip": 0.5})
    manager = checkpoints.open_checkpoints(str(tmp_path))
    checkpoints.save(manager, given.step, given.state, given.run)
    manager.close()
    for name, source in (("train", colorful(TRAIN)), ("test", colorful(SIZE, 1, broken=BROKEN))):
        (tmp_path / name).mkdir()
        for i in range(len(source)):
            (tmp_path / name / f"{i:03}.png").write_bytes(source[i]["image"])

    one, many = on_devices(tmp_path, 1, DEVICES)
    assert many == one
    counts = np.array([*one["pretext"].values()]) * 4 * (SIZE - len(BROKEN))
    np.testing.assert_allclose(counts, np.round(counts), rtol=0, atol=1e-9)
    assert len(set(counts)) == 2
    alone, shared = (np.load(tmp_path / f"{number}.npz") for number in (1, DEVICES))
    assert alone["labels"].tolist() == [i % 3 for i in range(SIZE) if i not in BROKEN]
    for name, expected in alone.items():
        assert shared[name].shape == expected.shape
        np.testing.assert_allclose(shared[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("value", [[], [3, 1, 2**40], {"é": None}, "\n ", 0])
def test_a_single_process_gathers_its_own_value(value):
    assert gather(value) == [value]


def test_a_single_process_may_skip_as_much_as_is_allowed(colorful):
    skipped = Skipped(colorful(10))
    for name in ("image 1", "image 4"):
        skipped.add(name, ValueError("no image"))
    check_skipped(skipped, 0.2)
    with pytest.raises(UserError, match=r"2 of 10 images .* image 1, image 4;"):
        check_skipped(skipped, 0.19)
