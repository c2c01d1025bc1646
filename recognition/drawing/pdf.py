"""Paint a picture that Graphviz has laid out (its `-Tjson` form) as a PDF of one page, as large as the picture.

Letters come from the fonts that every PDF reader has, so nothing is embedded: Helvetica, which is as wide as the
Arial that the layout is made for; Symbol for arrows, Greek and mathematics; an Asian font for whatever both lack.
"""

from __future__ import annotations

import io
import json
from contextlib import suppress
from functools import cache
from itertools import groupby
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

from recognition.utils.packages import require

LARGEST = 14400  # points: Acrobat shows no larger page, so a larger picture is scaled down to it
LAST_FONT = 'HeiseiKakuGo-W5'  # Chinese, Japanese, Cyrillic, Greek; readers bring their own in its place
DASHES: Mapping[str, Sequence[int]] = {'dashed': (5, 3), 'dotted': (1, 3), 'solid': ()}
STEPS = {'P': 'L', 'p': 'L', 'L': 'L', 'B': 'C', 'b': 'C'}  # how the points of a shape are joined
FILLED, CLOSED = frozenset('PBE'), frozenset('PpB')

Item = Mapping[str, Any]


def paint(laid_out: bytes, title: str = '') -> bytes:
    """Return the PDF of a picture in Graphviz's JSON; MissingExtra without reportlab."""
    pdfgen = require('reportlab.pdfgen.canvas', 'plot', 'a PDF')
    graph = json.loads(laid_out)
    left, bottom, right, top = extent(graph)
    scale = min(1.0, LARGEST / max(right - left, top - bottom))
    content = io.BytesIO()
    canvas = pdfgen.Canvas(content, pagesize=(scale * (right - left), scale * (top - bottom)), invariant=1)
    canvas.setTitle(title)
    canvas.scale(scale, scale)
    canvas.translate(-left, -bottom)
    for layer in layers(graph):
        canvas.saveState()  # each begins with a plain solid line
        pen = _Pen(canvas)
        for item in layer:
            pen.draw(item)
        canvas.restoreState()
    canvas.save()
    return content.getvalue()


def extent(graph: Item) -> Tuple[float, float, float, float]:
    """Return the corners of the page: those of the background, which has the margin in it."""
    for item in graph.get('_draw_', ()):
        if item['op'] in STEPS:
            xs, ys = zip(*item['points'])
            return min(xs), min(ys), max(xs), max(ys)
    left, bottom, right, top = map(float, graph['bb'].split(','))
    return left, bottom, right, top


def layers(graph: Item) -> Iterator[Sequence[Item]]:
    """Yield what is to be drawn, in order: background, frames, boxes, arrows, each apart from its words."""
    for part in (graph, *graph.get('objects', ()), *graph.get('edges', ())):
        for key in ('_draw_', '_ldraw_', '_hdraw_', '_tdraw_'):
            yield part.get(key, ())


class _Pen:
    """The state that Graphviz's drawing operations change, and the page that they draw on."""

    def __init__(self, canvas: Any):
        self.canvas = canvas
        self.size = 14.0
        self.bold = False
        self.ink = '#000000'
        self.rules: Dict[str, Callable[[Item], None]] = {
            'c': self.stroke,
            'C': self.fill,
            'F': self.font,
            't': self.traits,
            'S': self.style,
            'T': self.text,
            'E': self.ellipse,
            'e': self.ellipse,
            **dict.fromkeys(STEPS, self.shape),
        }

    def draw(self, item: Item) -> None:
        """Carry out one operation; one without a rule (an image, say) is not among those that we make."""
        rule = self.rules.get(item['op'])
        if rule:
            rule(item)

    def stroke(self, item: Item) -> None:
        self.ink = item['color']
        self.canvas.setStrokeColor(colour(self.ink))

    def fill(self, item: Item) -> None:
        self.canvas.setFillColor(colour(item['color']))

    def font(self, item: Item) -> None:
        self.size, self.bold = item['size'], False

    def traits(self, item: Item) -> None:
        self.bold = bool(item['fontchar'] & 1)

    def style(self, item: Item) -> None:
        name = item['style']
        if name.startswith('setlinewidth('):
            self.canvas.setLineWidth(float(name[len('setlinewidth(') : -1]))
        elif name in DASHES:
            self.canvas.setDash(list(DASHES[name]))

    def shape(self, item: Item) -> None:
        points = item['points']
        path = self.canvas.beginPath()
        path.moveTo(*points[0])
        if STEPS[item['op']] == 'C':
            for i in range(1, len(points), 3):
                path.curveTo(*points[i], *points[i + 1], *points[i + 2])
        else:
            for point in points[1:]:
                path.lineTo(*point)
        if item['op'] in CLOSED:
            path.close()
        self.canvas.drawPath(path, stroke=int(visible(self.ink)), fill=int(item['op'] in FILLED))

    def ellipse(self, item: Item) -> None:
        x, y, half_width, half_height = item['rect']
        corners = (x - half_width, y - half_height, x + half_width, y + half_height)
        self.canvas.ellipse(*corners, stroke=int(visible(self.ink)), fill=int(item['op'] in FILLED))

    def text(self, item: Item) -> None:
        """Write a line in the pen's colour, each run of letters in the first font that has them."""
        from reportlab.pdfbase.pdfmetrics import stringWidth

        runs = [(prepare(font), words) for font, words in font_runs(item['text'], self.bold)]
        width = sum(stringWidth(words, font, self.size) for font, words in runs)
        x, y = item['pt']
        x -= width * {'l': 0.0, 'n': 0.5, 'r': 1.0}[item['align']]
        self.canvas.saveState()
        self.canvas.setFillColor(colour(self.ink))
        line = self.canvas.beginText(x, y)
        for font, words in runs:
            line.setFont(font, self.size)
            line.textOut(words)
        self.canvas.drawText(line)
        self.canvas.restoreState()


def visible(ink: str) -> bool:
    """Whether a colour is not fully transparent: '#fffffe00' is."""
    return not (len(ink) == len('#rrggbbaa') and ink.endswith('00')) and ink != 'transparent'


@cache
def colour(ink: str) -> Any:
    """Return reportlab's colour for '#rrggbb', '#rrggbbaa' or a name."""
    from reportlab.lib.colors import HexColor, getAllNamedColors

    named = getAllNamedColors().get(ink)
    return named if named is not None else HexColor(ink, hasAlpha=len(ink) == len('#rrggbbaa'))


def font_runs(words: str, bold: bool) -> List[Tuple[str, str]]:
    """Return (font, letters) for the runs of a line that one font has."""
    usual = 'Helvetica-Bold' if bold else 'Helvetica'
    fonts = ((usual if is_usual(letter) else LAST_FONT, letter) for letter in words)
    return [(font, ''.join(c for _, c in run)) for font, run in groupby(fonts, key=lambda pair: pair[0])]


def is_usual(letter: str) -> bool:
    """Whether reportlab writes a letter in Helvetica, or in the Symbol font in its stead."""
    from reportlab.pdfbase import pdfmetrics

    usual = pdfmetrics.getFont('Helvetica')
    for encoding in (usual.encName, *(font.encName for font in usual.substitutionFonts)):
        with suppress(UnicodeEncodeError):
            letter.encode(encoding)
            return True
    return False


@cache
def prepare(font: str) -> str:
    """Return the name of a font that the page can use."""
    if font == LAST_FONT:
        from reportlab.pdfbase.cidfonts import UnicodeCIDFont
        from reportlab.pdfbase.pdfmetrics import registerFont

        registerFont(UnicodeCIDFont(font))
    return font
