"""What is told of augmentations, by runs with and without EquiMod."""

import pytest

from lens_jax.errors import UserError
from lens_jax.eval.augmentation import extract_pairs, regress
from lens_jax.eval.suites.equivariance import Equivariance

VARIED = {"augment.area": (0.3, 1.0), "augment.flip": 0.5, "lens.kind": "none"}
SIMCLR = {"name": "simclr", "hidden": 4, "embedding": 3}
EQUIMOD = {"name": "equimod", "base": SIMCLR, "hidden": 4, "embedding": 3, "parameters": 2}


def test_parameters_are_regressed_from_so_many_evenly_spaced_images(make_subject, make_frozen):
    subject = make_subject(make_frozen(VARIED, SIMCLR))
    suite = Equivariance(examples=10)
    suite.check(subject)
    numbers = suite.measure(subject)

    train = extract_pairs(subject.frozen, subject.train.subsample(10))
    test = extract_pairs(subject.frozen, subject.test.subsample(10))
    expected = regress(train, test)
    assert list(numbers) == ["r2", *(f"r2/{name}" for name in expected)]
    assert {f"r2/{name}": value for name, value in expected.items()}.items() <= numbers.items()
    assert numbers["r2"] == pytest.approx(sum(expected.values()) / len(expected))


def test_equimod_adds_its_two_metrics_of_all_views_and_of_each_operation(make_subject, make_frozen):
    subject = make_subject(make_frozen(VARIED, EQUIMOD))
    numbers = Equivariance(examples=12).measure(subject)
    for metric in ("absolute_equivariance", "relative_equivariance"):
        for suffix in ("", "/crop", "/flip"):
            assert f"{metric}{suffix}" in numbers
        assert f"{metric}/blur" not in numbers
    assert -2 <= numbers["absolute_equivariance"] <= 2


def test_without_augmentations_and_for_lensed_images_there_is_no_answer(make_subject):
    subject = make_subject()
    with pytest.raises(UserError, match="it has none: give a run with some"):
        Equivariance().check(subject)
    with pytest.raises(UserError, match="cannot have representation 'lensed': choose raw"):
        Equivariance().check(subject._replace(representation="lensed"))
