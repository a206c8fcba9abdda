"""Cutting the picture of a long page into parts that a phone shows well: at a dashboard's rows, else where it is blank.

Where a page may be cut is known in the browser only, and the picture is cut later: until then the marks travel in a
text chunk of the PNG (PNG specification, 11.3.3.2), as shares of its height, so that they hold when it is made smaller.

What blocks on large pictures is to be called in a thread.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from wxbridge.core import imaging

if TYPE_CHECKING:
    from PIL import Image

MAX_PARTS = 20
"""The most parts of one picture; more are joined, the smallest first."""
MAX_PART_HEIGHT_IN_WIDTHS = 2.0
"""How tall a part is at most, in widths: a phone's screen shows that much without being scrolled."""
_TOLERATED_EXCESS = 1.2
"""A part that is only so much taller than `MAX_PART_HEIGHT_IN_WIDTHS` is better left whole."""
_MIN_PART_HEIGHT_IN_WIDTHS = 0.1
"""A part that is less tall than this, in widths, is a heading without its panels: it stays with its neighbour."""
_PNG_KEYWORD = b"wxbridge-marks"
_SEARCHED_SHARE = 0.4
"""How much of a part, from its lower end, is searched for a place to cut at."""
_MIN_BAND_PIXELS = 6
"""Pixels: the least height of a blank band."""
_PNG_SIGNATURE_BYTES = 8
_MAX_LINE_CHANGE = 0
"""How far (of 255) the mean of a line of pixels may be from the line above it in a blank band."""


@dataclass(frozen=True)
class PageMarks:
    """Where a picture may be cut, in shares of its height, in order; and what it lacks."""

    rows: tuple[float, ...] = ()
    """Where a row of the dashboard begins: it is cut at each."""
    gaps: tuple[float, ...] = ()
    """Where no panel is cut in two: for parts that are too tall."""
    missing: tuple[str, ...] = ()
    """The titles of panels and tabs that the page did not show."""


NO_MARKS = PageMarks()


def make_marks(rows: Iterable[float], blocks: Iterable[tuple[float, float]]) -> PageMarks:
    """Make marks of where rows begin and what may not be cut in two (upper and lower ends of panels and headings).

    A cut goes through the middle of the space above a row.
    """
    merged: list[list[float]] = []
    for above, below in sorted(blocks):
        if merged and above < merged[-1][1] - 1e-9:
            merged[-1][1] = max(merged[-1][1], below)
        else:
            merged.append([above, below])
    gaps = [(upper[1] + lower[0]) / 2 for upper, lower in pairwise(merged)]
    cuts = []
    for row in rows:
        ends = [below for _, below in merged if below <= row + 1e-9]
        cuts.append((max(ends) + row) / 2 if ends else row)
    return PageMarks(_sort_shares(cuts), _sort_shares(gaps))


def _sort_shares(places: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted({round(place, 6) for place in places if 0 < place < 1}))


def embed_marks(png: bytes, found: PageMarks) -> bytes:
    """Write marks into a PNG."""
    if found == NO_MARKS:
        return png
    data = _PNG_KEYWORD + b"\0" + json.dumps(asdict(found)).encode("ascii")
    chunk = struct.pack(">I", len(data)) + b"tEXt" + data + struct.pack(">I", zlib.crc32(b"tEXt" + data))
    header = _PNG_SIGNATURE_BYTES + 12 + int.from_bytes(png[_PNG_SIGNATURE_BYTES : _PNG_SIGNATURE_BYTES + 4], "big")
    return png[:header] + chunk + png[header:]


def read_marks(image: Image.Image) -> PageMarks:
    """Read the marks of a picture that was opened from a PNG; there may be none."""
    text = getattr(image, "text", {}).get(_PNG_KEYWORD.decode("ascii"))
    try:
        found = json.loads(text or "{}")
        rows, gaps = (_sort_shares(map(float, found.get(name, ()))) for name in ("rows", "gaps"))
        return PageMarks(rows, gaps, tuple(map(str, found.get("missing", ()))))
    except (ValueError, TypeError, AttributeError):
        return NO_MARKS


def read_missing(png: bytes) -> tuple[str, ...]:
    """Read the titles of what a page did not show from its picture; none where that says nothing."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(png)) as image:
            return read_marks(image).missing
    except (OSError, ValueError):
        return ()


def join_pictures(pieces: Sequence[tuple[bytes, PageMarks]]) -> tuple[bytes, PageMarks]:
    """Put pictures of equal width one below the other, as PNG; each begins a row. It takes long: call it in a thread.

    Raises:
        PictureError: one is no picture.
    """
    from PIL import Image

    images = [
        imaging.open_picture(png, "the page", max_pixels=2 * imaging.MAX_PIXELS).convert("RGB") for png, _ in pieces
    ]
    height = sum(image.height for image in images)
    sheet = Image.new("RGB", (images[0].width, height), images[0].getpixel((0, images[0].height - 1)))
    rows: list[float] = []
    gaps: list[float] = []
    top = 0
    for image, (_, marks) in zip(images, pieces, strict=True):
        sheet.paste(image, (0, top))
        rows += [(top + place * image.height) / height for place in (0.0, *marks.rows)]
        gaps += [(top + place * image.height) / height for place in marks.gaps]
        top += image.height
    return imaging.to_png(sheet), PageMarks(_sort_shares(rows), _sort_shares(gaps))


def cut_picture(png: bytes, name: str = "the picture") -> list[bytes]:
    """Cut a picture into parts from above to below; one that is short and has no rows stays as it is.

    Raises:
        PictureError: it is no picture.
    """
    with imaging.open_picture(png, name, max_pixels=2 * imaging.MAX_PIXELS) as opened:
        opened.load()
        found = read_marks(opened)
        image = opened.convert("RGB")
    height = image.height
    cuts = plan_cuts(
        image.size,
        [round(row * height) for row in found.rows],
        [round(gap * height) for gap in found.gaps],
        lambda above, below, wanted: find_blank_band(image, above, below, wanted),
    )
    if not cuts:
        return [png]
    edges = [0, *cuts, height]
    return [imaging.to_png(image.crop((0, above, image.width, below))) for above, below in pairwise(edges)]


def plan_cuts(
    size: tuple[int, int],
    rows: Sequence[int],
    gaps: Sequence[int],
    blank: Callable[[int, int, int], int | None],
) -> list[int]:
    """Where to cut a picture, in pixels from its top.

    Args:
        size: Its width and height.
        rows: Where rows begin: it is cut there, but for headings that nothing stands below.
        gaps: Where a part that is too tall may be cut.
        blank: Likewise where there is no gap: given the lines between which to cut and the wanted one, a line on
            which nothing is written; None where there is none, and the part is cut at the wanted line.
    """
    width, height = size
    tallest = max(1, round(width * MAX_PART_HEIGHT_IN_WIDTHS))
    edges = _without_headings(
        [0, *(row for row in sorted(set(rows)) if 0 < row < height), height], width * _MIN_PART_HEIGHT_IN_WIDTHS
    )
    cuts: list[int] = edges[1:-1]
    for above, below in pairwise(edges):
        while below - above > tallest * _TOLERATED_EXCESS:
            above = _next_cut(above, below, tallest, gaps, blank)  # noqa: PLW2901 - what is left of the part
            cuts.append(above)
    edges = [0, *sorted(cuts), height]
    while len(edges) - 1 > MAX_PARTS:
        del edges[min(range(1, len(edges) - 1), key=lambda index: edges[index + 1] - edges[index - 1])]
    return edges[1:-1]


def _without_headings(edges: list[int], shortest: float) -> list[int]:
    """Join what is too short with what follows it; the last with what is before it."""
    kept = edges[:1]
    for place in edges[1:-1]:
        if place - kept[-1] >= shortest:
            kept.append(place)
    if len(kept) > 1 and edges[-1] - kept[-1] < shortest:
        kept.pop()
    return [*kept, edges[-1]]


def _next_cut(
    above: int, below: int, tallest: int, gaps: Sequence[int], blank: Callable[[int, int, int], int | None]
) -> int:
    """Where to cut a part that is too tall for the first time: so that what it becomes is about equally tall."""
    wanted = above + math.ceil((below - above) / math.ceil((below - above) / tallest))
    first, last = max(above + 1, wanted - round(tallest * _SEARCHED_SHARE)), min(above + tallest, below - 1)
    near = [gap for gap in gaps if first <= gap <= last]
    if near:
        return min(near, key=lambda gap: abs(gap - wanted))
    found = blank(first, last, wanted)
    return min(wanted, last) if found is None else found


def find_blank_band(image: Image.Image, above: int, below: int, wanted: int) -> int | None:
    """The middle of the best blank band between two lines: on as much background as can be, as high as can be.

    A blank band's lines are all alike, so a frame or the edge of a side bar may run through it, but no text.
    """
    from PIL import Image, ImageChops

    if below - above < 2 * _MIN_BAND_PIXELS:
        return None
    part = image.crop((0, above, image.width, below))
    colours = part.resize((min(part.width, 128), min(part.height, 512)), Image.Resampling.NEAREST).getcolors(128 * 512)
    background: Any = max(colours or [(0, (255, 255, 255))])[1]
    changes = _by_line(ImageChops.difference(part, ImageChops.offset(part, 0, 1)))
    ink = _by_line(ImageChops.difference(part, Image.new("RGB", part.size, background)))
    bands, start = [], 1
    for line in range(1, part.height + 1):
        if line == part.height or changes[line] > _MAX_LINE_CHANGE:
            if line - start >= _MIN_BAND_PIXELS:
                bands.append((start, line))
            start = line + 1
    if not bands:
        return None

    def badness(band: tuple[int, int]) -> tuple[float, int, int]:
        middle = (band[0] + band[1]) // 2
        return ink[middle] // 8, -min(band[1] - band[0], 10 * _MIN_BAND_PIXELS), abs(above + middle - wanted)

    best = min(bands, key=badness)
    return above + (best[0] + best[1]) // 2


def _by_line(difference: Image.Image) -> list[int]:
    """How much of each line is different, 0 to 255 times its share; a single point in the line counts too."""
    from PIL import Image

    mask = difference.convert("L").point(lambda value: 255 if value > 12 else 0)  # noqa: PLR2004 - told from noise
    return list(mask.resize((1, mask.height), Image.Resampling.BOX).tobytes())
