"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """A mistake of the user's. Its text is one line: the wrong value, the legal ones, the fix."""


def check_choice(what: str, value: str, legal: tuple[str, ...]) -> None:
    """Raises `UserError` naming `value` and the legal ones unless `value` is one of `legal`."""
    if value not in legal:
        raise UserError(f"unknown {what} {value!r}: choose one of {', '.join(legal)}")
