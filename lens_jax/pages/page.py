"""Text and pictures as HTML that needs nothing else: no script, no server, no other file.

Functions take plain text and escape it; only what is `Html` is taken as it is.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple, NewType

Html = NewType("Html", str)

STYLE = """
:root { color-scheme: light dark;
  --text: #1d2433; --soft: #5b6478; --line: #d9dee8; --back: #f6f7f9; }
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
.lead { font-size: 1.25rem; }
figcaption { color: var(--soft); font-size: .9rem; }
.gallery { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; min-width: 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: .5rem;
  padding: .25rem; margin-bottom: .4rem; }
.scroll, pre { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0;
  position: sticky; left: 0; background: var(--back); }
.facts th, .facts td { white-space: normal; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
.facts th { color: var(--soft); font-weight: normal; width: 40%; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
pre { padding: .7rem; border: 1px solid var(--line); border-radius: .5rem; font-size: .85rem; }
@media print {
  :root { color-scheme: light; --text: #000; --soft: #444; --line: #ccc; --back: #fff; }
  .scroll { overflow: visible; font-size: .75rem; }
  pre { overflow: visible; white-space: pre-wrap; overflow-wrap: anywhere; }
  td { white-space: normal; }
  tr, figure { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""


class Picture(NamedTuple):
    """A picture of a page.

    Attributes:
      file: the name of its file.
      png: the bytes of that file.
      alt: what it shows, for those who cannot see it.
      caption: the text under it.

    """

    file: str
    png: bytes
    alt: str
    caption: str


Part = Html | list[Picture]


def document(title: str, parts: Iterable[Part]) -> Html:
    """A whole page; a list of pictures becomes a gallery.

    Characters that UTF-8 cannot encode, as in some file names, become "?".
    """
    blocks = [gallery(part) if isinstance(part, list) else part for part in parts]
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        _tag("title", title),
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        _tag("h1", title),
        *blocks,
        "</body>",
        "</html>",
    ]
    text = "\n".join(lines) + "\n"
    return Html(text.encode(errors="replace").decode())


def printable(text: str) -> str:
    """A text without characters that are no text or that steer a terminal."""
    letters = ""
    for letter in text:
        letters += letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}"
    return letters


def heading(text: str) -> Html:
    """The heading of a section."""
    return _tag("h2", text)


def subheading(text: str) -> Html:
    """The heading of a part of a section."""
    return _tag("h3", text)


def paragraph(text: str) -> Html:
    """A paragraph."""
    return _tag("p", text)


def lead(text: str) -> Html:
    """The first paragraph of a page, in larger letters."""
    return Html(f'<p class="lead">{html.escape(text)}</p>')


def command(text: str) -> Html:
    """Lines for a shell."""
    return _tag("pre", text)


def folded(summary: str, inner: Html) -> Html:
    """Something long behind its summary, to be unfolded."""
    return Html(f"<details>{_tag('summary', summary)}{inner}</details>")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table that scrolls where it is wider than the screen.

    The first column holds the names of the rows and stays in sight.
    """
    head = _cells("th", header)
    body = "".join(f"<tr>{_cells('td', row)}</tr>\n" for row in rows)
    return Html(
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def facts(rows: Iterable[Sequence[str]]) -> Html:
    """A table of names and what they stand for, whose lines are broken on a narrow screen."""
    body = ""
    for name, text in rows:
        body += f'<tr><th scope="row">{html.escape(name)}</th>{_tag("td", text)}</tr>\n'
    return Html(f'<table class="facts"><tbody>\n{body}</tbody></table>')


def gallery(pictures: Iterable[Picture]) -> Html:
    """Pictures beside each other, or one under another where the screen is narrow."""
    return Html(f'<div class="gallery">{"".join(map(_figure, pictures))}</div>')


def _figure(picture: Picture) -> str:
    alt = html.escape(picture.alt)
    data = base64.b64encode(picture.png).decode()
    image = f'<img alt="{alt}" src="data:image/png;base64,{data}">'
    caption = _tag("figcaption", picture.caption)
    return f"<figure>{image}{caption}</figure>\n"


def _cells(name: str, texts: Iterable[str]) -> str:
    return "".join(_tag(name, text) for text in texts)


def _tag(name: str, text: str) -> Html:
    return Html(f"<{name}>{html.escape(text)}</{name}>")
