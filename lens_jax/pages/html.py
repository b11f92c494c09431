"""Text and pictures as HTML that needs nothing else: no script, no server, no other file.

Functions take plain text and escape it; only what is `Html` is taken as it is.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple, NewType

Html = NewType("Html", str)

STYLE = """
:root { color-scheme: light dark; --text: #1d2433; --soft: #5b6478; --line: #d9dee8; --back: #f6f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9f0; --soft: #a3abbd; --line: #3a4152; --back: #161a22; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 1rem 0 .5rem; }
h2 { margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { margin: 1.5rem 0 .5rem; }
h2, h3, p, figcaption, summary { overflow-wrap: anywhere; }
p, figcaption { max-width: 44rem; }
figcaption { color: var(--soft); font-size: .9rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: .5rem;
  padding: .25rem; margin-bottom: .4rem; }
.scroll, pre { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0;
  position: sticky; left: 0; background: var(--back); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
pre { padding: .7rem; border: 1px solid var(--line); border-radius: .5rem; font-size: .85rem; }
"""


class Picture(NamedTuple):
    """A PNG with the name of its file, what it shows for those who cannot see it, and its caption."""

    file: str
    png: bytes
    alt: str
    caption: str


Part = Html | list[Picture]


def document(title: str, parts: Iterable[Part]) -> Html:
    """A whole page; a list of pictures becomes a gallery, and what is no text, as in some file names, "?"."""
    body = "\n".join(gallery(part) if isinstance(part, list) else part for part in parts)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
    return Html(page.encode(errors="replace").decode())


def heading(text: str) -> Html:
    """The heading of a chapter."""
    return _tag("h2", text)


def subheading(text: str) -> Html:
    """The heading of a part of a chapter."""
    return _tag("h3", text)


def paragraph(text: str) -> Html:
    """A paragraph."""
    return _tag("p", text)


def command(text: str) -> Html:
    """Lines for a shell."""
    return _tag("pre", text)


def folded(summary: str, inner: Html) -> Html:
    """Something long behind its summary, to be unfolded."""
    return Html(f"<details>{_tag('summary', summary)}{inner}</details>")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table that scrolls where it is wider than the screen; the first column is the rows' names."""
    head = "".join(_tag("th", cell) for cell in header)
    body = "".join(f"<tr>{''.join(_tag('td', cell) for cell in row)}</tr>\n" for row in rows)
    return Html(
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>'
    )


def gallery(pictures: Iterable[Picture]) -> Html:
    """Pictures beside each other, or one under another where the screen is narrow."""
    return Html(f'<div class="gallery">{"".join(map(_figure, pictures))}</div>')


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    caption = _tag("figcaption", picture.caption)
    image = f'<img alt="{html.escape(picture.alt)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}{caption}</figure>\n"


def _tag(name: str, text: str) -> Html:
    return Html(f"<{name}>{html.escape(text)}</{name}>")
