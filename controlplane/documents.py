"""A document of texts, code, tables, tiles and charts: as Markdown (without the charts) or one HTML page."""

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
class Chart:
    """`svg` is markup of ours; `note` says how to read it."""

    title: str
    svg: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """One number that a trader asks for; `tone` is good, bad, warn or plain."""

    name: str
    value: str
    note: str
    tone: str = "plain"


Block = Text | Code | Table | Chart


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Below the title: the headline's lines, the facts as a table, the tiles, then the sections."""

    title: str
    headline: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    tiles: tuple[Tile, ...] = ()
    sections: tuple[Section, ...] = ()


def to_markdown(document: Document) -> str:
    parts = [f"# {document.title}", *document.headline]
    if document.facts:
        parts.append(_markdown(Table(("Fact", "Value"), document.facts)))
    if document.tiles:
        rows = tuple((tile.name, tile.value, tile.note) for tile in document.tiles)
        parts.append(_markdown(Table(("Figure", "Value", "Note"), rows)))
    for section in document.sections:
        blocks = [_markdown(block) for block in section.blocks if not isinstance(block, Chart)]
        parts += [f"## {section.title}", *blocks] if blocks else []
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


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2433;max-width:1120px;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .4rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:1.2rem 0 .2rem}
.lead{font-size:1.05rem;margin:.2rem 0}.lead:first-of-type{font-weight:600;font-size:1.2rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:.7rem;margin:1.1rem 0}
.tile{border:1px solid #e4e7ec;border-left:5px solid #98a2b3;border-radius:6px;padding:.5rem .8rem}
.tile b{display:block;font-size:1.2rem;white-space:nowrap;line-height:1.25}
.tile small{color:#667085;display:block}
.good{border-left-color:#2e9e6b}.warn{border-left-color:#e8a317}.bad{border-left-color:#d33a3f}
table{border-collapse:collapse;margin:.6rem 0;font-size:.92rem}td,th{border-bottom:1px solid #e4e7ec;
padding:.3rem .7rem .3rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{color:#667085;font-weight:600}
pre{background:#f4f5f7;padding:.8rem;overflow:auto}
svg{width:100%;height:auto;font:11px system-ui,sans-serif}.note{color:#667085;margin:.1rem 0;font-size:.88rem}
.legend{margin:.2rem 0;font-size:.85rem}.legend span{margin-right:1rem;white-space:nowrap}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.35em;border-radius:2px}
"""


def to_html(document: Document) -> str:
    """Complete by itself: no script, nothing from elsewhere."""
    title = escape(document.title)
    parts = [
        f"<h1>{title}</h1>",
        "".join(f'<p class="lead">{escape(line)}</p>' for line in document.headline),
    ]
    if document.facts:
        parts.append(_html(Table(("Fact", "Value"), document.facts)))
    if document.tiles:
        parts.append(f'<div class="tiles">{"".join(_tile(tile) for tile in document.tiles)}</div>')
    for section in document.sections:
        parts += [f"<h2>{escape(section.title)}</h2>", *map(_html, section.blocks)]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _tile(tile: Tile) -> str:
    return (
        f'<div class="tile {tile.tone}"><small>{escape(tile.name)}</small><b>{escape(tile.value)}</b>'
        f"<small>{escape(tile.note)}</small></div>"
    )


def _html(block: Block) -> str:
    match block:
        case Text():
            return f"<p>{escape(block.text)}</p>"
        case Code():
            return f"<pre>{escape(block.text)}</pre>"
        case Chart():
            note = f'<p class="note">{escape(block.note)}</p>' if block.note else ""
            return f"<h3>{escape(block.title)}</h3>{note}{block.svg}"
    if not block.rows:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(cell)}</th>" for cell in block.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
    return f"<table><tr>{head}</tr>{rows}</table>"
