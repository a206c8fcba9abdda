"""A sheet to draw on, measured in pixels: text, lines, areas, and the PNG that comes of it (matplotlib's Agg)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wxbridge.core.pictures import Theme
from wxbridge.pictures.charts.axis import Tick
from wxbridge.pictures.charts.fonts import Fonts, fonts

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from wxbridge.pictures.charts.data import Values

_COMPRESSION = 6
_FEW_COLOURS = 128
_MAX_FULL_COLOUR_BYTES = 100_000
"""A larger picture is written with few colours, which makes a third of the size of it."""


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


class Sheet:
    """A figure measured in pixels from its lower left corner."""

    def __init__(self, width: int, height: int, colours: Colours) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import IdentityTransform

        # At 72 dpi a point is a pixel.
        self.figure: Figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=colours.back)
        self.canvas = FigureCanvasAgg(self.figure)
        self.renderer: Any = self.canvas.get_renderer()  # type: ignore[no-untyped-call]
        self.pixels = IdentityTransform()
        self.colours = colours
        self.fonts: Fonts = fonts()

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
        from matplotlib.patheffects import Normal, Stroke

        text = self.fitted(self.fonts.clean(text), size, width, bold=bold)
        if not text:
            return 0.0
        ink = colour or self.colours.text
        artist = self.figure.text(
            x, y, text, transform=self.pixels, color=ink, ha=align, va="baseline", zorder=6,
            fontproperties=self._font(text, size, bold=bold), parse_math=False,
        )  # fmt: skip
        if bold and not text.isascii():
            artist.set_path_effects([Stroke(linewidth=size / 26, foreground=ink), Normal()])
        return self.width(text, size, bold=bold)

    def label_tick(self, tick: Tick, middle: float, base: float, size: float) -> None:
        """Write what a tick of the time axis says, the date below the hours."""
        self.text(middle, base, tick.label, size, colour=self.colours.dim, align="center")
        if tick.date:
            self.text(middle, base - round(size * 1.15), tick.date, size, colour=self.colours.dim, align="center")

    def _font(self, text: str, size: float, *, bold: bool) -> Any:
        from matplotlib.font_manager import FontProperties

        families = [family for family in self.fonts.families if family != self.fonts.chinese]
        # Most Chinese fonts have no bold face: beside Latin letters in bold it looks like a mistake, so that bold is
        # made of thicker lines for both.
        if bold and text.isascii():
            return FontProperties(family=families, size=size, weight="bold")
        return FontProperties(family=list(self.fonts.families), size=size)

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Pixels that a text takes."""
        font = self._font(text, size, bold=bold)
        return float(self.renderer.get_text_width_height_descent(text, font, ismath=False)[0])

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

    def box(self, left: float, bottom: float, right: float, top: float, colour: str, alpha: float, order: int) -> None:
        """Fill a rectangle."""
        from matplotlib.patches import Rectangle

        if right <= left or top <= bottom:
            return
        self.figure.add_artist(
            Rectangle(
                (left, bottom), right - left, top - bottom, facecolor=colour, edgecolor="none", alpha=alpha,
                transform=self.pixels, zorder=order, antialiased=False,
            )
        )  # fmt: skip

    def line(
        self,
        xs: Any,
        ys: Any,
        colour: str,
        width: float,
        *,
        order: float = 1,
        dashes: tuple[float, ...] = (),
        clip: Any = None,
        marker: str = "",
    ) -> None:
        """Draw a line through points; NaN leaves a gap. With a `marker` its points alone."""
        from matplotlib.lines import Line2D

        artist = Line2D(
            xs, ys, color=colour, linewidth=width, transform=self.pixels, zorder=order,
            linestyle="none" if marker else "-", marker=marker or None, markersize=width * 3, markeredgewidth=0,
            solid_joinstyle="round", solid_capstyle="butt",
        )  # fmt: skip
        if dashes and not marker:
            artist.set_linestyle((0, [each / width for each in dashes]))
        if clip is not None:
            artist.set_clip_box(clip)
        self.figure.add_artist(artist, clip=clip is not None)
        if clip is not None:
            artist.set_clip_box(clip)

    def fill(self, xs: Any, ys: Any, base: float, colour: str, clip: Any) -> None:
        """Fill between a line and a height, but not where the line has gaps."""
        import numpy as np
        from matplotlib.collections import PolyCollection

        shapes = []
        for piece in pieces(ys):
            x, y = xs[piece], ys[piece]
            if len(x) > 1:
                shapes.append(np.column_stack((np.r_[x[0], x, x[-1]], np.r_[base, y, base])))
        artist = PolyCollection(
            shapes, facecolors=colour, edgecolors="none", alpha=self.colours.fill, transform=self.pixels, zorder=2.5
        )
        self.figure.add_artist(artist)
        artist.set_clip_box(clip)

    def png(self) -> bytes:
        """Draw it all and encode it, without a date or a program's name."""
        from PIL import Image

        self.canvas.draw()  # type: ignore[no-untyped-call]
        width, height = self.canvas.get_width_height()
        pixels: Any = self.canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        image = Image.frombuffer("RGBA", (width, height), pixels, "raw", "RGBA", 0, 1)
        image = image.convert("RGB")
        data = _encoded(image)
        if len(data) > _MAX_FULL_COLOUR_BYTES:
            data = _encoded(_reduced(image, self.colours.back))
        self.figure.clear()
        return data


def _encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=_COMPRESSION)
    return out.getvalue()


def _reduced(image: Image.Image, back: str) -> Image.Image:
    """With few colours, of which the background's is kept; the others differ in shades of antialiasing."""
    from PIL import Image

    reduced = image.quantize(_FEW_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = reduced.getpalette() or []
    ground = 3 * int(reduced.getpixel((0, 0)))  # type: ignore[arg-type]  # its place in the palette
    palette[ground : ground + 3] = bytes.fromhex(back[1:])
    reduced.putpalette(palette)
    return reduced


def _without_middle(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return text[:head].rstrip() + "…" + text[len(text) - (keep - head) :].lstrip()


def pieces(values: Values) -> Iterator[slice]:
    """The stretches without a gap."""
    import numpy as np

    there = np.concatenate(([False], ~np.isnan(values), [False]))
    edges = np.flatnonzero(np.diff(there.view(np.int8)))
    for first, last in zip(edges[0::2], edges[1::2], strict=True):
        yield slice(int(first), int(last))
