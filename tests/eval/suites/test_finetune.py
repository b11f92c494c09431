"""Fine-tuning: the settings, what it begins with, and what it learns."""

import jax
import numpy as np
import pytest

from lens_jax import config as configs
from lens_jax.errors import UserError
from lens_jax.eval import finetune
from lens_jax.eval.finetune import fine_tune, make_config
from lens_jax.eval.suites.finetune import Finetune

COLORFUL = {
    "augment.area": (0.5, 1.0),
    "augment.jitter": 0.8,
    "augment.solarize": 0.2,
    "data.linear_size": 12,
    "optimizer.name": "lars",
    "shortcut": "arrow",
}


def test_crops_and_flips_are_the_runs_and_all_else_is_a_plain_supervised_training(make_frozen):
    config = make_config(make_frozen(COLORFUL).config, images=100, epochs=3, learning_rate=0.5)
    configs.check(config)
    assert config.task.name == "supervised"
    assert config.lens.kind == config.shortcut == "none"
    assert (config.augment.area, config.augment.jitter) == ((0.5, 1.0), 0.0)
    assert (config.data.image_size, config.data.batch_size) == (12, 100)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("sgd", 0.5)
    assert config.train.duration == "3 epochs"


def test_it_begins_with_the_extractor_and_a_head_that_is_drawn(make_subject, make_frozen):
    """Also where the run has separate statistics for raw images; with no steps of any length."""
    frozen = make_frozen({"lens.batch_norm": "split"})
    subject = make_subject(frozen)
    tuned = fine_tune(frozen, subject.train, epochs=1, learning_rate=0.0)
    jax.tree.map(
        np.testing.assert_array_equal,
        tuned.state.params["extractor"],
        frozen.state.params["extractor"],
    )
    assert tuned.state.params["head"]["Dense_0"]["kernel"].shape[1] == 3
    assert tuned.step == 1


def test_a_constant_network_stays_at_chance_and_a_drawn_one_learns_colors(
    make_subject, constant, monkeypatch
):
    """Of features that are 0, the head's bias alone has a gradient."""
    monkeypatch.setattr(finetune, "BATCH_SIZE", 12)
    numbers = Finetune(epochs=1).measure(make_subject(constant))
    assert numbers == {"accuracy": pytest.approx(1 / 3)}
    # A drawn extractor tells them.
    suite = Finetune(epochs=8, learning_rate=2.0)
    subject = make_subject()
    suite.check(subject)
    assert suite.measure(subject)["accuracy"] > 0.9


def test_a_learning_rate_that_is_too_high_and_lensed_images_are_refused(make_subject):
    subject = make_subject()
    with pytest.raises(UserError, match="not finite: lower its learning_rate, which is 1e"):
        Finetune(epochs=3, learning_rate=1e30).measure(subject)
    with pytest.raises(UserError, match="cannot have representation 'mean': choose raw"):
        Finetune().check(subject._replace(representation="mean"))
