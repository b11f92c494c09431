import jax

from lens_jax.eval.frozen import pretext_accuracy
from lens_jax.train.durations import Clock
from lens_jax.train.optimizers import extractor_optimizer, lens_optimizer
from lens_jax.train.state import init_state


def test_a_lens_that_never_changed_changes_no_accuracy(make_frozen, colorful):
    frozen = make_frozen({"lens.widths": (32, 64)})
    both = extractor_optimizer(frozen.config, Clock(1, 1, 1)), lens_optimizer(frozen.config)
    fresh = jax.jit(lambda: init_state(frozen.config, frozen.system, *both))()
    frozen = frozen._replace(state=frozen.state.replace(lens_params=fresh.lens_params))
    found = pretext_accuracy(frozen, colorful(300), "none")
    assert found["lensed"] == found["raw"]
