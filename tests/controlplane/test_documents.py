"""One document, two forms: nothing of what it says can become markup."""

from hypothesis import given
from hypothesis import strategies as st

from controlplane.documents import Chart, Code, Document, Section, Table, Text, Tile, to_html, to_markdown

WHOLE = Document(
    title="A <title>",
    headline=("first", "second"),
    facts=(("Fact & figure", "1"),),
    tiles=(Tile("loss", "3 %", "of equity", tone="bad"),),
    sections=(
        Section("1. Texts", (Text("a < b"), Code("x = 1"), Table(("k", "v"), (("a|b", "two\nlines"),)))),
        Section("2. Nothing", (Table(("k", "v"), ()),)),
        Section("3. Only a chart", (Chart("curve", "<svg></svg>", "read it so"),)),
    ),
)


def test_markdown_leaves_charts_out_and_keeps_each_cell_in_its_place():
    assert to_markdown(WHOLE) == (
        "# A <title>\n\nfirst\n\nsecond\n\n"
        "| Fact | Value |\n| --- | --- |\n| Fact & figure | 1 |\n\n"
        "| Figure | Value | Note |\n| --- | --- | --- |\n| loss | 3 % | of equity |\n\n"
        "## 1. Texts\n\na < b\n\n```\nx = 1\n```\n\n| k | v |\n| --- | --- |\n| a\\|b | two lines |\n\n"
        "## 2. Nothing\n\n| k | v |\n| --- | --- |\n| none |  |\n"
    )


def test_html_is_whole_and_escapes_all_but_our_own_drawings():
    page = to_html(WHOLE)
    assert page.startswith("<!doctype html>")
    for part in (
        "<h1>A &lt;title&gt;</h1>",
        '<p class="lead">first</p>',
        "<td>Fact &amp; figure</td>",
        '<div class="tile bad">',
        "<p>a &lt; b</p>",
        "<pre>x = 1</pre>",
        "<p>none</p>",
        "<svg></svg>",
        '<p class="note">read it so</p>',
    ):
        assert part in page


@given(text=st.text(max_size=40))
def test_no_text_opens_a_tag(text):
    said = f"<{text}>"
    blocks = (Text(said), Code(said), Table((said,), ((said,),)))
    page = to_html(
        Document(title=said, headline=(said,), facts=((said, said),), sections=(Section(said, blocks),))
    )
    plain = to_html(
        Document(
            title="",
            headline=("",),
            facts=(("", ""),),
            sections=(Section("", (Text(""), Code(""), Table(("",), (("",),)))),),
        )
    )
    assert page.count("<") == plain.count("<")


@given(
    cells=st.lists(
        st.text(
            alphabet=st.characters(blacklist_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=10
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_row_of_markdown_is_one_line(cells):
    row = tuple(cells)
    text = to_markdown(Document(title="t", sections=(Section("s", (Table(row, (row,)),)),)))
    assert len(text.split("\n\n")[-1].splitlines()) == 3
