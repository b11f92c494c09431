import dataclasses

import pytest

from lens_jax.errors import UserError
from lens_jax.eval.suites import SUITES, parse
from lens_jax.eval.suites.base import Suite, to_plain
from lens_jax.eval.suites.cka import CKA
from lens_jax.eval.suites.knn import KNN
from lens_jax.eval.suites.linear import Linear


@pytest.mark.parametrize(
    ("text", "suites"),
    [
        ("knn", [KNN()]),
        ("linear,knn", [Linear(), KNN()]),
        (" linear  knn ", [Linear(), KNN()]),
        ("knn(k=7, temperature=0.5), knn", [KNN(7, 0.5), KNN()]),
        ("linear(solver=sgd,epochs=3)knn()", [Linear("sgd", epochs=3), KNN()]),
        ("linear(taps=[block1, pre_logits])", [Linear(taps=("block1", "pre_logits"))]),
        ("linear(taps=block1,c=[0.1,1e2])", [Linear(taps=("block1",), c=(0.1, 100.0))]),
        ("linear(taps=[])", [Linear()]),
        ("cka(other='runs/a=1,b=(2, 3)') knn", [CKA("runs/a=1,b=(2, 3)"), KNN()]),
        ('cka(other="it\'s")', [CKA("it's")]),
    ],
)
def test_suites_are_read_with_their_options(text: str, suites: list):
    assert parse(text) == suites


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "--suite is empty"),
        ("neighbors", "unknown suite 'neighbors': choose one of linear, knn"),
        ("knn(neighbors=3)", "unknown option 'neighbors' of suite 'knn': choose one of k, temp"),
        ("knn(k=many)", "option 'k' of suite 'knn' is 'many': it must be a whole number"),
        ("knn(k=1.5)", "it must be a whole number"),
        ("linear(c=[1,x])", "option 'c' of suite 'linear' is 'x': it must be a number"),
        ("knn(k)", "cannot read the option 'k' of suite 'knn'"),
        ("knn(k=3", r"cannot read --suite='knn\(k=3' from '\(k=3' on"),
        ("knn;linear", "cannot read --suite='knn;linear' from ';linear' on"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, words: str):
    with pytest.raises(UserError, match=words) as error:
        parse(text)
    assert "\n" not in str(error.value)


def test_options_are_plain_values():
    assert to_plain(Linear(c=(1.0, 2.0))) == {
        "solver": "lbfgs",
        "taps": [],
        "c": [1.0, 2.0],
        "epochs": 70,
    }


@pytest.mark.parametrize("name", SUITES)
def test_no_option_hides_what_all_suites_have(name: str):
    options = {field.name for field in dataclasses.fields(SUITES[name])}
    assert not options & set(dir(Suite))
