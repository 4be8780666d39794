"""A document of tables, texts and code, written as Markdown or as one HTML page."""

from dataclasses import dataclass
from html import escape

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table without rows says "none"."""

    head: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: tuple[Text | Code | Table, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


def to_markdown(document: Document) -> str:
    parts = [f"# {document.title}", _markdown(Table(("Fact", "Value"), document.facts))]
    for section in document.sections:
        parts += [f"## {section.title}", *map(_markdown, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Text | Code | Table) -> str:
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Code):
        return f"```\n{block.text}\n```"
    rows = block.rows or (("none", *[""] * (len(block.head) - 1)),)
    lines = [block.head, tuple("---" for _ in block.head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #bbb;padding:.3rem .6rem;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}pre{background:#f4f4f4;padding:1rem;"
    "overflow:auto}"
)


def to_html(document: Document) -> str:
    """Complete by itself: no script, nothing from elsewhere."""
    title = escape(document.title)
    parts = [f"<h1>{title}</h1>", _html(Table(("Fact", "Value"), document.facts))]
    for section in document.sections:
        parts += [f"<h2>{escape(section.title)}</h2>", *map(_html, section.blocks)]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _html(block: Text | Code | Table) -> str:
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre>{escape(block.text)}</pre>"
    if not block.rows:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(cell)}</th>" for cell in block.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
    return f"<table><tr>{head}</tr>{rows}</table>"
