"""Views as HTML and as rich text: everything from outside stays text."""

import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline._draw import Axis, Dots, Picture, Shown, Table, View, html, rich, table

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
ALLOWED = set(
    "article header span style p ul li dl dt dd div figure figcaption i table caption thead tbody tr th td "
    "svg line text polyline polygon circle rect".split()
)


class Reader(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.open = set(), set(), [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def view_of(word):
    """A view that shows a word in every place there is."""
    picture = Picture(
        title=word,
        detail=word,
        x=Axis(label=word),
        y=Axis(label=word, scale="names", names=[word]),
        marks=[Dots(x=[1], y=[0], label=word)],
    )
    rows = Table(head=(word, "n"), rows=[(word, "1")], caption=word)
    return View(
        kind=word,
        verdict=word,
        tone="bad",
        headline=word,
        facts=[(word, word)],
        lines=[word],
        pictures=[picture],
        tables=[rows],
        notes=[word],
    )


@given(word=st.text(max_size=60) | st.just(EVIL))
def test_words_stay_words(word):
    """Whatever a class is called: no element, no handler and no address comes of it."""
    page = Reader(html(view_of(word)))

    assert page.tags <= ALLOWED
    assert [] == page.open
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not page.attributes & {"href", "src", "srcdoc", "action"}


def test_words_are_shown():
    """What was escaped reads as it was written."""
    page = Reader(html(view_of(EVIL)))

    assert sum(EVIL in text for text in page.text) >= 8


def test_numbers_to_the_right():
    """Columns of numbers are set to the right, columns of words are not."""
    page = table(
        Table(head=("class", "D", "took"), rows=[("a", "0.21", "3 ms"), ("b", "1,200", "-")])
    )

    assert 2 * 3 == page.count("dl-number")


def test_no_rows_no_table():
    """An empty table is left out."""
    assert "" == table(Table(head=("a",), rows=()))


class Told(Shown):
    """A result with words of its own."""

    def __str__(self):
        return "drift: confidence of [red]car[/red] on cam[1]\n  second [bold]line"


class Seen(Shown):
    """A result with a view of its own."""

    def _view(self):
        return View(
            kind="check", verdict="bad", tone="bad", headline="it [red]fell", facts=[("n", 3)]
        )


def test_words_make_a_view():
    """A result that says nothing but `str` shows that."""
    page = Told()._repr_html_()

    assert "drift: confidence of [red]car[/red] on cam[1]" in page
    assert "<li>second [bold]line</li>" in page


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        (Told(), "drift: confidence of [red]car[/red] on cam[1]\n  second [bold]line\n"),
        (Seen(), "bad: it [red]fell\n  n: 3\n"),
    ],
)
def test_rich_prints_the_words(result, wanted):
    """A terminal that uses rich shows the words as they are, brackets and all."""
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=200)
    console.print(result)

    assert wanted == console.file.getvalue()


@example(text="\\[@\n]")  # what looks like a tag across the end of the first line
@given(text=st.text(alphabet="ab[]/\\ =#@\n", max_size=40))
def test_rich_reads_nothing_as_markup(text):
    """No text is taken for markup, whatever backslashes and brackets are in it."""
    markup = pytest.importorskip("rich.text").Text.from_markup

    assert text == markup(rich("good", text)).plain


def test_repr():
    """The short form is the conclusion; a verdict is not said twice."""
    assert "<Seen bad: it [red]fell>" == repr(Seen())
    assert "Calm: nothing" == View(kind="k", verdict="calm", headline="Calm: nothing").conclusion


def test_intervals_and_times_stay_whole():
    """Numbers with their interval stand right; short words do not break, long ones get room."""
    row = ("0.42 to 0.51", "11-20 10:15", "a camera's name, in full", "why " * 20)
    page = table(Table(head=("interval", "at", "camera", "why"), rows=[row]))
    cells = re.findall(r"<td([^>]*)>", page)

    assert [' class="dl-number"', ' class="dl-short"', "", ' class="dl-long"'] == cells


@pytest.mark.parametrize("turning", ["\u202e", "\u202a", "\u2066", "\u2069"])
def test_no_word_turns_its_neighbours(turning):
    """What would turn the text around a name shows as a replacement character, also in pictures."""
    name = f"gate{turning}exe"
    rows = Axis(label="", scale="names", names=[name])
    seen = Picture(title=name, x=Axis(label="D"), y=rows, marks=[Dots(x=[1], y=[0])])
    page = html(View(kind="k", headline=name, pictures=[seen]))

    assert turning not in page
    assert 4 == page.count("gate\N{REPLACEMENT CHARACTER}exe")
