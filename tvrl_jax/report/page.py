"""One self-contained page: text, tables and pictures in a file that needs nothing else."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tvrl_jax.files import whole_file
from tvrl_jax.report.page_style import CSS

CSS_PIXELS = 0.64  # of a page per pixel of a plot: its letters come out as large as the captions


class Text(NamedTuple):
    text: str
    quiet: bool = False


class Bullets(NamedTuple):
    items: Sequence[str]


class Facts(NamedTuple):
    """Name and value, a line each."""

    pairs: Sequence[tuple[str, str]]


class Strong(NamedTuple):
    """A cell of a table that stands out."""

    text: str


class Table(NamedTuple):
    head: Sequence[str]
    rows: Sequence[Sequence[str | Strong]]
    note: str = ""
    left: int = 1  # columns of text, at the left; the others hold numbers


class Picture(NamedTuple):
    png: bytes
    alt: str  # what it shows, for those who do not see it
    caption: str = ""
    plot: bool = True  # a drawing on white, which a dark page may invert; False: an image


class Gallery(NamedTuple):
    """Small pictures side by side."""

    pictures: Sequence[Picture]


class Alarm(NamedTuple):
    """A box that cannot be missed."""

    items: Sequence[str]


class Fold(NamedTuple):
    """Parts that are shown, and printed, on request: long tables."""

    summary: str
    parts: Sequence


class Section(NamedTuple):
    title: str
    parts: Sequence


def write_report(path: str | Path, sections: Sequence[Section], *, title: str) -> None:
    """Writes the page in one move. Every text is escaped; no part can bring markup of its own."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_file.write(path, page(sections, title=title))


def page(sections: Sequence[Section], *, title: str) -> str:
    """The page as text. The policy in its head forbids loading anything from anywhere."""
    body = "\n".join(_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{_escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<h1>{_escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def _escape(text: object) -> str:
    return html.escape(str(text), quote=True)


def _section(section: Section) -> str:
    heading = f"<h2>{_escape(section.title)}</h2>\n" if section.title else ""
    return f"<section>\n{heading}{_parts(section.parts)}\n</section>"


def _parts(parts: Sequence) -> str:
    return "\n".join(_part(part) for part in parts)


def _part(part) -> str:
    return _RENDER[type(part)](part)


def _text(part: Text) -> str:
    kind = ' class="quiet"' if part.quiet else ""
    return f"<p{kind}>{_escape(part.text)}</p>"


def _items(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_escape(item)}</li>" for item in items) + "</ul>"


def _facts(part: Facts) -> str:
    lines = (f"<dt>{_escape(name)}</dt><dd>{_escape(value)}</dd>" for name, value in part.pairs)
    return "<dl>" + "".join(lines) + "</dl>"


def _table(part: Table) -> str:
    head = _row("th", part.head, part.left)
    rows = "\n".join(_row("td", row, part.left) for row in part.rows)
    note = f"<figcaption>{_escape(part.note)}</figcaption>" if part.note else ""
    return (
        f'<figure class="table"><div class="scroll"><table><thead>{head}</thead>'
        f"<tbody>{rows}</tbody></table></div>{note}</figure>"
    )


def _row(tag: str, cells: Sequence[str | Strong], left: int) -> str:
    made = []
    for column, cell in enumerate(cells):
        strong = isinstance(cell, Strong)
        text = f"<strong>{_escape(cell.text)}</strong>" if strong else _escape(cell)
        kind = "" if column < left else ' class="number"'
        made.append(f"<{tag}{kind}>{text}</{tag}>")
    return "<tr>" + "".join(made) + "</tr>"


def _picture(part: Picture) -> str:
    data = base64.b64encode(part.png).decode("ascii")
    caption = f"<figcaption>{_escape(part.caption)}</figcaption>" if part.caption else ""
    kind = "plot" if part.plot else "image"
    width = int.from_bytes(part.png[16:20])  # where every PNG keeps it
    size = f' width="{round(width * CSS_PIXELS)}"' if part.plot else ""
    return (
        f'<figure class="{kind}"><img alt="{_escape(part.alt)}"{size} '
        f'src="data:image/png;base64,{data}">{caption}</figure>'
    )


def _gallery(part: Gallery) -> str:
    return f'<div class="gallery">{_parts(part.pictures)}</div>'


def _alarm(part: Alarm) -> str:
    word = "Alarm" if len(part.items) == 1 else f"{len(part.items)} alarms"
    return f'<div class="alarm" role="alert"><h2>{word}</h2>{_items(part.items)}</div>'


def _fold(part: Fold) -> str:
    return f"<details><summary>{_escape(part.summary)}</summary>{_parts(part.parts)}</details>"


_RENDER = {
    Text: _text,
    Bullets: lambda part: _items(part.items),
    Facts: _facts,
    Table: _table,
    Picture: _picture,
    Gallery: _gallery,
    Alarm: _alarm,
    Fold: _fold,
}
