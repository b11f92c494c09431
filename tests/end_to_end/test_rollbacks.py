import jax
import numpy as np
import pytest

from lens_jax.eval.frozen import load
from lens_jax.workdir.metrics import read_metrics

from .commands import run, train

# The rate rises from 0, so that the first checkpoint is good and a later step is not.
DIVERGING = (
    "--config.optimizer.learning_rate=1e30",
    "--config.optimizer.warmup=10 steps",
    "--config.train.duration=20 steps",
    "--config.train.checkpoint_every=1 steps",
)


@pytest.mark.parametrize("rollbacks", [0, 2])
def test_a_diverging_run_returns_to_its_last_checkpoint_as_often_as_allowed_and_keeps_it(
    rollbacks, tmp_path, data
):
    result = run(*train(tmp_path, data, *DIVERGING, f"--config.train.rollbacks={rollbacks}"))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stdout.splitlines() if "rolling back" in line]
    assert len(lines) == rollbacks
    assert all(f"{used} of {rollbacks} times" in line for used, line in enumerate(lines, 1))
    assert all(" at step " in line for line in lines)
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert " at step " in error
    kept = load(str(tmp_path))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(kept.state))
    steps = [row["step"] for row in read_metrics(str(tmp_path))]
    assert steps == sorted(set(steps))
    assert steps[-1] == kept.step
