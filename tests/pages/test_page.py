import base64
import html.parser

import pytest

from lens_jax.pages import page

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'too'"


class Reader(html.parser.HTMLParser):
    """Collects the tags, the texts and the images' attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.texts, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize(
    "make", [page.heading, page.subheading, page.paragraph, page.lead, page.command]
)
def test_text_is_escaped(make):
    reader = Reader(make(HOSTILE))
    assert "script" not in reader.tags
    assert "".join(reader.texts) == HOSTILE


def test_what_steers_a_terminal_is_made_printable():
    assert page.printable("a\x1b[2J\udcff\n\N{SNOWMAN}") == "a\ufffd[2J\ufffd\ufffd\N{SNOWMAN}"


def test_tables_escape_every_cell():
    reader = Reader(page.table([HOSTILE, "b"], [["c", HOSTILE]]))
    assert "script" not in reader.tags
    assert [text for text in reader.texts if text.strip()] == [HOSTILE, "b", "c", HOSTILE]


def test_facts_are_rows_with_a_heading_each_and_escaped():
    reader = Reader(page.facts([(HOSTILE, "a"), ("b", HOSTILE)]))
    assert reader.tags == ["table", "tbody", "tr", "th", "td", "tr", "th", "td"]
    assert [text for text in reader.texts if text.strip()] == [HOSTILE, "a", "b", HOSTILE]


def test_pictures_are_embedded_and_described():
    picture = page.Picture("a.png", b"png's bytes", HOSTILE, "seen & named")
    reader = Reader(page.gallery([picture]))
    data = base64.b64encode(b"png's bytes").decode()
    assert reader.images == [{"alt": HOSTILE, "src": f"data:image/png;base64,{data}"}]
    assert "seen & named" in reader.texts


def test_a_folded_part_keeps_its_html():
    reader = Reader(page.folded(HOSTILE, page.command("ls")))
    assert reader.tags == ["details", "summary", "pre"]
    assert reader.texts == [HOSTILE, "ls"]


def test_a_document_needs_nothing_else():
    picture = page.Picture("a.png", b"bytes", "alt", "caption")
    text = page.document(HOSTILE, [page.paragraph("one"), [picture]])
    reader = Reader(text)
    assert not {"script", "link", "iframe"} & set(reader.tags)
    assert reader.texts.count(HOSTILE) == 2
    assert '<meta name="viewport"' in text
    for outside in ("http://", "https://", "url(", "@import"):
        assert outside not in text
