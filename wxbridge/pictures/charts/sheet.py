"""A sheet to draw on, measured in pixels: text, lines, areas, and the PNG that comes of it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from PIL import Image, ImageDraw

from wxbridge.core.pictures import Theme
from wxbridge.pictures.charts.axis import Tick
from wxbridge.pictures.charts.fonts import FontFile, Fonts, fonts

_COMPRESSION = 6
_FINENESS = 4
"""How many times larger a line is drawn before it is reduced to a mask with soft edges."""
_FEW_COLOURS = 128
_ALIKE = 8
"""Of 255: how far apart two colours are to be for both to be kept, but for those of whole areas."""
_AREA_PIXELS = 2000
_PILLOWS_CELL = 4
"""Of 255: within so much Pillow looks for the nearest colour of a palette but once."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Colours:
    """A theme."""

    back: str
    text: str
    dim: str
    grid: str
    edge: str
    red: str
    green: str
    amber: str
    shade: float
    """How strongly the breaching side is shaded; the firing stretch less."""
    fill: float
    curves: tuple[str, ...]


# The curves' colours are Okabe and Ito's, which colour-blind people tell apart, less the red, which is the threshold's.
THEMES: dict[Theme, Colours] = {
    "light": Colours(
        "#ffffff", "#1f2328", "#656d76", "#e6e9ed", "#c9ced4", "#d1242f", "#1a7f37", "#bf8700", 0.07, 0.10,
        ("#0072b2", "#e08e00", "#009e73", "#b3589a", "#3fa7dd"),
    ),
    "dark": Colours(
        "#17191e", "#e3e5e8", "#9aa1ab", "#2a2e35", "#434851", "#ff5c64", "#56d364", "#e3b341", 0.12, 0.13,
        ("#58a6e8", "#f0a83a", "#2fc49a", "#d98cc2", "#8fd0f5"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """A part of a sheet, in its pixels."""

    left: float
    bottom: float
    right: float
    top: float


class Sheet:
    """A sheet measured in pixels from its lower left corner. What is drawn with a higher `order` is on top."""

    def __init__(self, width: int, height: int, colours: Colours) -> None:
        self.colours = colours
        self.fonts: Fonts = fonts()
        self._image = Image.new("RGB", (width, height), colours.back)
        self._whole = Clip(0, 0, width, height)
        self._strokes: list[tuple[float, Callable[[], None]]] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        colour: str = "",
        align: str = "left",
        bold: bool = False,
        width: float = math.inf,
    ) -> float:
        """Write a line at its baseline, cut to a width; returns the width that it has."""
        text = self.fitted(self.fonts.clean(text), size, width, bold=bold)
        if not text:
            return 0.0
        taken = self.width(text, size, bold=bold)
        left = x - {"left": 0.0, "center": taken / 2, "right": taken}[align]

        def write() -> None:
            draw, place = ImageDraw.Draw(self._image), left
            # Most Chinese fonts have no bold face: beside Latin letters in one theirs look like a mistake, so that bold
            # is made of thicker lines for both.
            thick = size / 52 if bold and not self._has_bold(text) else 0
            ink = colour or self.colours.text
            for file, part in self._parts(text, bold=bold):
                face = file.face(round(size))
                draw.text((place, self._image.height - y), part, ink, face, "ls", stroke_width=thick)
                place += face.getlength(part)

        self._strokes.append((6, write))
        return taken

    def label_tick(self, tick: Tick, middle: float, base: float, size: float) -> None:
        """Write what a tick of the time axis says, the date below the hours."""
        self.text(middle, base, tick.label, size, colour=self.colours.dim, align="center")
        if tick.date:
            self.text(middle, base - round(size * 1.15), tick.date, size, colour=self.colours.dim, align="center")

    def _has_bold(self, text: str) -> bool:
        return self.fonts.bold is not None and text.isascii()

    def _parts(self, text: str, *, bold: bool) -> Iterator[tuple[FontFile, str]]:
        """Split a text where another face has to go on."""
        if bold and self.fonts.bold is not None and self._has_bold(text):
            yield self.fonts.bold, text
            return
        for file, letters in groupby(text, lambda letter: self.fonts.face_of(letter) or self.fonts.faces[0]):
            yield file, "".join(letters)

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Pixels that a text takes."""
        return float(sum(file.face(round(size)).getlength(part) for file, part in self._parts(text, bold=bold)))

    def fitted(self, text: str, size: float, width: float, *, bold: bool = False) -> str:
        """Take so much out of a text's middle that it fits: its end often tells what its beginning does not."""
        if width == math.inf or self.width(text, size, bold=bold) <= width:
            return text
        low, high = 0, len(text) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.width(_without_middle(text, middle), size, bold=bold) <= width:
                low = middle
            else:
                high = middle - 1
        return _without_middle(text, low)

    def box(
        self, left: float, bottom: float, right: float, top: float, colour: str, alpha: float, order: float
    ) -> None:
        """Fill a rectangle of whole pixels."""
        if right <= left or top <= bottom:
            return
        height = self._image.height
        place = (round(left), height - round(top), max(round(left) + 1, round(right)), height - round(bottom))

        def fill() -> None:
            size = place[2] - place[0], place[3] - place[1]
            self._image.paste(colour, place, Image.new("L", size, round(255 * alpha)))

        if place[1] < place[3]:
            self._strokes.append((order, fill))

    def line(
        self,
        xs: Sequence[float],
        ys: Sequence[float],
        colour: str,
        width: float,
        *,
        order: float = 1,
        dashes: tuple[float, ...] = (),
        clip: Clip | None = None,
        marker: str = "",
    ) -> None:
        """Draw a line through points; NaN leaves a gap. With a `marker` its points alone."""
        paths = [[*zip(xs[piece], ys[piece], strict=True)] for piece in pieces(ys)]
        radius = width * 1.5 if marker else width / 2

        def stroke(draw: ImageDraw.ImageDraw, paths: Iterator[Points]) -> None:
            for points in paths:
                if marker:
                    for x, y in points:
                        _draw_marker(draw, x, y, radius * _FINENESS, marker)
                elif dashes:
                    for dash in _dashed(points, [each * _FINENESS for each in dashes]):
                        draw.line(dash, 255, round(width * _FINENESS))
                else:
                    _draw_path(draw, points, width * _FINENESS)

        where = clip or self._whole
        self._strokes.append((order, lambda: self._paint(paths, radius + 1, colour, 1.0, where, stroke, _FINENESS)))

    def fill(
        self, xs: Sequence[float], ys: Sequence[float], base: float, colour: str, clip: Clip, order: float = 2.5
    ) -> None:
        """Fill between a line and a height, but not where the line has gaps. The line itself is to cover the edge."""
        shapes = [
            [(xs[piece.start], base), *zip(xs[piece], ys[piece], strict=True), (xs[piece.stop - 1], base)]
            for piece in pieces(ys)
            if piece.stop - piece.start > 1
        ]

        def stroke(draw: ImageDraw.ImageDraw, shapes: Iterator[Points]) -> None:
            for points in shapes:
                draw.polygon(points, 255)

        self._strokes.append((order, lambda: self._paint(shapes, 1, colour, self.colours.fill, clip, stroke)))

    def _paint(
        self,
        shapes: Sequence[Points],
        margin: float,
        colour: str,
        alpha: float,
        clip: Clip,
        stroke: Callable[[ImageDraw.ImageDraw, Iterator[Points]], None],
        fineness: int = 1,
    ) -> None:
        """Paint shapes in a colour; drawn `fineness` times larger and reduced, they have soft edges."""
        if not shapes:
            return
        whole = self._whole
        left = math.floor(max(min(x for shape in shapes for x, _ in shape) - margin, clip.left, 0))
        right = math.ceil(min(max(x for shape in shapes for x, _ in shape) + margin, clip.right, whole.right))
        bottom = math.floor(max(min(y for shape in shapes for _, y in shape) - margin, clip.bottom, 0))
        top = math.ceil(min(max(y for shape in shapes for _, y in shape) + margin, clip.top, whole.top))
        if left >= right or bottom >= top:
            return
        fine = Image.new("L", ((right - left) * fineness, (top - bottom) * fineness), 0)
        # A place is a pixel's corner here, and its middle in Pillow.
        moved, turned = left * fineness + 0.5, top * fineness - 0.5
        stroke(
            ImageDraw.Draw(fine), ([(x * fineness - moved, turned - y * fineness) for x, y in each] for each in shapes)
        )
        mask = fine.reduce(fineness) if fineness > 1 else fine
        if alpha < 1:
            mask = mask.point([round(alpha * each) for each in range(256)])
        self._image.paste(colour, (left, self._image.height - top), mask)

    def png(self) -> bytes:
        """Draw it all and encode it, without a date or a program's name; with few colours, a third of the size."""
        for _, stroke in sorted(self._strokes, key=lambda each: each[0]):
            stroke()
        out = io.BytesIO()
        _reduced(self._image).save(out, "PNG", compress_level=_COMPRESSION)
        return out.getvalue()


def _draw_path(draw: ImageDraw.ImageDraw, points: Points, width: float) -> None:
    """Draw a line with round joints; where points lie closer than it is wide nothing of a joint would be seen."""
    draw.line(points, 255, max(1, round(width)))
    radius = width / 2
    for (before, _), (x, y), (after, _) in zip(points, points[1:], points[2:], strict=False):
        if after - before > radius:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)


def _draw_marker(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, marker: str) -> None:
    if marker == "o":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    else:
        tip = -radius if marker == "^" else radius
        draw.polygon([(x, y + tip), (x - radius, y - tip), (x + radius, y - tip)], 255)


def _dashed(points: Points, lengths: Sequence[float]) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Cut a line into dashes: `lengths` are those of a dash and a gap in turn."""
    place, left = 0, lengths[0]
    for (x, y), (next_x, next_y) in pairwise(points):
        length = math.hypot(next_x - x, next_y - y)
        done = 0.0
        while length - done > 0:
            step = min(left, length - done)
            if place % 2 == 0:
                first, last = done / length, (done + step) / length
                yield ((x + first * (next_x - x), y + first * (next_y - y)),
                       (x + last * (next_x - x), y + last * (next_y - y)))  # fmt: skip
            done += step
            left -= step
            if left <= 0:
                place += 1
                left = lengths[place % len(lengths)]


def _reduced(image: Image.Image) -> Image.Image:
    """With the colours alone that most pixels have, none too like another: the rest are shades of soft edges."""
    counted: list[Any] = image.getcolors(image.width * image.height) or []
    chosen: list[tuple[int, ...]] = []
    cells: set[tuple[int, ...]] = set()
    for count, colour in sorted(counted, key=lambda each: -each[0]):
        # Of those that Pillow may take for each other the more frequent one: the background stays what it is.
        size = _ALIKE if count < _AREA_PIXELS else _PILLOWS_CELL
        if (size, *(part // size for part in colour)) not in cells and len(chosen) < _FEW_COLOURS:
            chosen.append(colour)
            cells |= {(size, *(part // size for part in colour)) for size in (_ALIKE, _PILLOWS_CELL)}
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in chosen for part in colour])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def _without_middle(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return text[:head].rstrip() + "…" + text[len(text) - (keep - head) :].lstrip()


def pieces(values: Sequence[float]) -> Iterator[slice]:
    """The stretches without a gap."""
    first = None
    for place, value in enumerate(values):
        if math.isnan(value):
            if first is not None:
                yield slice(first, place)
            first = None
        elif first is None:
            first = place
    if first is not None:
        yield slice(first, len(values))
