"""The suites by name, and how a command line asks for them."""

import dataclasses
import re
import typing
from typing import Any

from lens_jax.errors import UserError, check_choice
from lens_jax.eval.suites.base import Suite
from lens_jax.eval.suites.cka import CKA
from lens_jax.eval.suites.collapse import Collapse
from lens_jax.eval.suites.corruptions import Corruptions
from lens_jax.eval.suites.equivariance import Equivariance
from lens_jax.eval.suites.few_shot import FewShot
from lens_jax.eval.suites.finetune import Finetune
from lens_jax.eval.suites.invariance import Invariance
from lens_jax.eval.suites.knn import KNN
from lens_jax.eval.suites.linear import Linear
from lens_jax.eval.suites.segmentation import Segmentation
from lens_jax.eval.suites.shape_bias import ShapeBias
from lens_jax.eval.suites.shift import Shift
from lens_jax.eval.suites.shortcut import Shortcut
from lens_jax.eval.suites.transfer import Transfer
from lens_jax.eval.suites.watermark import Watermark

SUITES: dict[str, type[Suite]] = {
    "linear": Linear,
    "knn": KNN,
    "few_shot": FewShot,
    "finetune": Finetune,
    "transfer": Transfer,
    "segmentation": Segmentation,
    "invariance": Invariance,
    "equivariance": Equivariance,
    "shape_bias": ShapeBias,
    "corruptions": Corruptions,
    "shift": Shift,
    "watermark": Watermark,
    "shortcut": Shortcut,
    "cka": CKA,
    "collapse": Collapse,
}

# A value in quotes may hold anything else, as a path does with commas.
_QUOTED = r"'[^']*'|\"[^\"]*\""
_WORD = re.compile(rf"(?P<name>\w+)\s*(?:\((?P<options>(?:{_QUOTED}|[^()'\"])*)\))?")
_OPTION = re.compile(rf"(?P<key>\w+)\s*=\s*(?P<value>{_QUOTED}|\[[^\[\]]*\]|[^,\[\]'\"]*)")


def parse(text: str) -> list[Suite]:
    """The suites that a text such as "linear, knn(k=200) transfer(datasets=[digits,glyphs])" names.

    Suites stand between blanks or commas, options in round brackets, and several values of one
    option in square ones. A value with commas or brackets of its own stands in quotes.

    Raises:
      UserError: an unknown suite or option, a value of another type, or a text of another form.

    """
    suites = []
    rest = text.strip(" ,")
    while rest:
        word = _WORD.match(rest)
        if word is None:
            raise UserError(
                f"cannot read --suite={text!r} from {rest!r} on: write suites such as "
                "linear,knn(k=20)"
            )
        suites.append(_make(word["name"], word["options"] or ""))
        rest = rest[word.end() :].strip(" ,")
    if not suites:
        raise UserError(f"--suite is empty: name some of {', '.join(SUITES)}")
    return suites


def _make(name: str, text: str) -> Suite:
    check_choice("suite", name, tuple(SUITES))
    suite = SUITES[name]
    types = typing.get_type_hints(suite)
    known = [field.name for field in dataclasses.fields(suite)]

    options = {}
    rest = text.strip(" ,")
    while rest:
        option = _OPTION.match(rest)
        if option is None:
            raise UserError(
                f"cannot read the option {rest!r} of suite {name!r}: write key=value, or "
                "key=[value,value]"
            )
        key, value = option["key"], option["value"].strip()
        if key not in known:
            legal = f"choose one of {', '.join(known)}" if known else "it has none"
            raise UserError(f"unknown option {key!r} of suite {name!r}: {legal}")
        options[key] = _read_value(f"option {key!r} of suite {name!r}", types[key], value)
        rest = rest[option.end() :].strip(" ,")
    return suite(**options)


def _read_value(what: str, kind: Any, text: str) -> Any:
    """The value of a type; of a tuple's type, each of the values in square brackets, or the one."""
    if typing.get_origin(kind) is tuple:
        (item, _) = typing.get_args(kind)
        parts = text.strip("[]").split(",")
        return tuple(_read_value(what, item, part.strip()) for part in parts if part.strip())
    if text[:1] in ("'", '"'):
        text = text[1:-1]
    try:
        return kind(text)
    except ValueError as error:
        words = {int: "a whole number", float: "a number"}
        raise UserError(f"{what} is {text!r}: it must be {words[kind]}") from error
