"""What can be seen on a chart: proved by its pixels."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from wxbridge.core import imaging
from wxbridge.core.errors import PictureError
from wxbridge.core.thresholds import AlertThreshold
from wxbridge.pictures.charts.chart import WIDTH, Chart, Curve, Mark, pack_chart
from wxbridge.pictures.charts.data import lines_of
from wxbridge.pictures.charts.drawing import draw_packed
from wxbridge.pictures.charts.fonts import Fonts

START = 1_772_860_200.0
RED, BLUE, ORANGE, GREEN = (209, 36, 47), (0, 114, 178), (224, 142, 0), (26, 127, 55)


def points(values, step: float = 15.0):
    return tuple((START + number * step, value) for number, value in enumerate(values))


def chart(*curves, **more) -> Chart:
    given = {"title": "CPU", "start": START, "end": START + 1800, "unit": "%"} | more
    return Chart(curves=tuple(each if isinstance(each, Curve) else Curve(points(each)) for each in curves), **given)


def draw(*charts: Chart, title: str = "") -> bytes:
    return draw_packed([pack_chart(chart) for chart in charts], title=title)


def pixels(png: bytes) -> np.ndarray:
    assert imaging.sniff(png) == "image/png"
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def like(image: np.ndarray, colour, tolerance: int = 40) -> np.ndarray:
    return np.abs(image - np.array(colour)).max(axis=2) <= tolerance


def line_row(image: np.ndarray, colour) -> int:
    """The row that has most pixels of a colour."""
    return int(like(image, colour).sum(axis=1).argmax())


LINE = [50.0] * 121


def test_a_picture_is_as_wide_as_a_phone_and_small() -> None:
    png = draw(chart([50 + 40 * math.sin(number / 9) for number in range(121)], thresholds=(AlertThreshold(">", 90),)))
    image = pixels(png)
    assert image.shape[1] == WIDTH
    assert 500 <= image.shape[0] <= 900
    assert len(png) < 100_000


def test_the_same_chart_gives_the_same_bytes() -> None:
    same = chart(LINE, thresholds=(AlertThreshold(">", 90),))
    assert draw(same) == draw(same)


def test_a_threshold_is_a_red_line_at_its_height() -> None:
    rows = {}
    for value in (25, 50, 75):
        image = pixels(draw(chart([0.0, 100.0], thresholds=(AlertThreshold(">", value),))))
        rows[value] = line_row(image, RED)
        assert like(image, RED)[rows[value]].sum() > WIDTH * 0.8
    assert abs((rows[25] - rows[50]) - (rows[50] - rows[75])) <= 2
    assert rows[25] > rows[50] > rows[75]


def test_a_thresholds_value_hides_no_point_that_stands_alone() -> None:
    only = [math.nan] * 120 + [80.0]
    image = pixels(draw(chart(only, thresholds=(AlertThreshold(">=", 80),))))
    red = like(image, RED)
    red[line_row(image, RED) - 2 : line_row(image, RED) + 3] = False
    assert red[:, : WIDTH // 3].any()
    assert not red[:, WIDTH // 2 :].any()


def test_a_curve_at_the_thresholds_value_lies_on_its_line() -> None:
    image = pixels(draw(chart(LINE, thresholds=(AlertThreshold(">", 80),))))
    red = line_row(image, RED)
    moved = pixels(draw(chart([80.0] * 121, thresholds=(AlertThreshold(">", 50),))))
    assert abs(line_row(moved, BLUE) - red) <= 2


@pytest.mark.parametrize(("op", "above"), [(">", True), (">=", True), ("<", False), ("<=", False)])
def test_the_side_that_breaches_is_shaded(op, above) -> None:
    image = pixels(draw(chart([0.0, 100.0], thresholds=(AlertThreshold(op, 50),))))
    row = line_row(image, RED)
    column = 700  # beside the curve, between the grid's lines
    shaded, white = (row - 60, row + 60) if above else (row + 60, row - 60)
    assert tuple(image[white, column]) == (255, 255, 255)
    red, green, blue = image[shaded, column]
    assert red > green + 5
    assert green == pytest.approx(blue, abs=4)


def test_the_firing_stretch_is_marked_from_its_start_on() -> None:
    plain = chart(LINE, unit="")
    marked = replace(plain, marks=(Mark(START + 900),))
    with_mark = pixels(draw(marked))
    bar = like(with_mark, RED, 10)
    row = int(bar.sum(axis=1).argmax())
    columns = np.flatnonzero(bar[row])
    assert 0.4 * WIDTH < columns.min() < 0.6 * WIDTH
    assert columns.max() > 0.95 * WIDTH
    assert not like(pixels(draw(plain)), RED, 10).any()


def test_the_end_of_an_alert_is_a_green_line() -> None:
    image = pixels(draw(chart(LINE, marks=(Mark(START + 300, START + 900),))))
    column = int(like(image, GREEN, 30).sum(axis=0).argmax())
    assert 0.4 * WIDTH < column < 0.6 * WIDTH


@pytest.mark.parametrize("gap", [math.nan, None])
def test_a_gap_in_the_data_is_a_gap_in_the_line_and_below_it(gap) -> None:
    values = [60.0 if number < 40 or number >= 80 else gap for number in range(121)]
    image = pixels(draw(chart(values)))
    row = line_row(image, BLUE)
    blue = np.flatnonzero(like(image, BLUE)[row])
    widest = int(np.diff(blue).max())
    assert 0.28 * WIDTH < widest < 0.4 * WIDTH
    inside = int(blue[np.diff(blue).argmax()]) + 100
    assert tuple(image[row + 37, inside]) == (255, 255, 255)


def test_a_single_point_is_a_dot() -> None:
    # The legend has a stroke of the same colour, further down.
    image = pixels(draw(chart(Curve(((START + 900, 50.0),)))))
    found = like(image, BLUE, 60)
    rows, columns = np.nonzero(found[:620])
    assert 30 < len(rows) < 200
    assert rows.max() - rows.min() < 16
    assert 0.4 * WIDTH < columns.mean() < 0.6 * WIDTH


def test_a_single_point_between_gaps_is_a_dot_too() -> None:
    values = [math.nan if number in (59, 61) else 50.0 for number in range(121)]
    values[60] = 90.0
    image = like(pixels(draw(chart(values))), BLUE, 60)
    top = np.flatnonzero(image.any(axis=1)).min()
    assert image[top : top + 12].sum() > 30


def test_states_change_at_once() -> None:
    image = pixels(draw(chart([1.0] * 6 + [0.0] * 6 + [1.0] * 6, unit="", end=START + 17 * 15)))
    columns = like(image, BLUE, 90)[:620].sum(axis=0)
    upright = np.flatnonzero(columns > 300)
    assert 4 <= len(upright) <= 10, "two upright strokes of a few pixels each, no slopes"


def test_without_any_data_it_says_so_in_the_readers_language() -> None:
    def has_words_amid(*curves) -> bool:
        """Whether the middle of the plot reads otherwise in another language."""
        english, chinese = (pixels(draw(chart(*curves, language=language))) for language in ("en", "zh"))
        assert english.shape == chinese.shape
        changed = (english != chinese).any(axis=2)[200:400]
        return bool(changed.any()) and 0.4 * WIDTH < np.nonzero(changed)[1].mean() < 0.7 * WIDTH

    assert has_words_amid()
    assert has_words_amid([math.nan] * 9)
    assert has_words_amid(Curve(((START - 60, 1.0),)))
    assert has_words_amid(Curve(points([1.0]), reference=True))
    assert not has_words_amid([1.0])


def test_infinite_values_leave_the_line_and_are_told() -> None:
    finite = pixels(draw(chart([5.0, 6.0, 5.0], unit="")))
    image = pixels(draw(chart([5.0, math.inf, 6.0, -math.inf, 5.0], unit="")))
    assert image.shape == finite.shape
    assert (image != finite).any()


@pytest.mark.parametrize(
    "values",
    [
        [1.7e308, -1.7e308],
        [1e-320, 2e-320],
        [1e15, 1e15 + 1],
        [-math.inf, -math.inf],
        [math.inf],
        [0.0] * 50,
        [-3.0] * 50,
        [math.nan] * 50,
        [],
        [7],
    ],
)
def test_no_values_are_too_odd_to_be_drawn(values) -> None:
    image = pixels(
        draw(chart(values, unit="seconds", thresholds=(AlertThreshold(">", math.inf), AlertThreshold("<", 1e-3))))
    )
    assert image.shape[1] == WIDTH


def test_the_worst_curves_are_kept_and_the_others_counted() -> None:
    curves = [Curve(points([float(number)] * 3), {"pod": f"pod-{number}"}) for number in range(25)]
    above = lines_of(pack_chart(chart(*curves, thresholds=(AlertThreshold(">", 20),), others=4)), "")
    assert [line.name for line in above.lines] == [f"pod-{number}" for number in range(24, 14, -1)]
    assert above.others == 19
    below = lines_of(pack_chart(chart(*curves, thresholds=(AlertThreshold("<", 5),))), "")
    assert below.lines[0].name == "pod-0"


def test_how_many_are_left_out_is_written_below_the_legend() -> None:
    without, with_others = (pixels(draw(chart(LINE, others=others))) for others in (0, 23))
    assert with_others.shape[0] > without.shape[0]


def test_what_a_value_is_compared_with_is_dashed_and_never_left_out() -> None:
    curves = [Curve(points([float(number)] * 3), {"pod": f"pod-{number}"}) for number in range(25)]
    found = lines_of(pack_chart(chart(*curves, Curve(points([1.0] * 3), name="limit", reference=True))), "")
    assert [line.name for line in found.references] == ["limit"]
    image = pixels(draw(chart([10.0] * 121, Curve(points([80.0] * 121), name="limit", reference=True))))
    row = like(image, RED)[line_row(image, RED)]
    assert 0.3 * WIDTH < row.sum() < 0.75 * WIDTH


def test_long_series_keep_their_peaks_when_they_are_reduced() -> None:
    values = [10.0] * 11_000
    values[5_432] = 95.0
    values[7_000:7_100] = [math.nan] * 100
    long = chart(Curve(points(values, 1.0)), end=START + 11_000)
    (line,) = lines_of(pack_chart(long), "").lines
    assert len(line.at) < 5 * WIDTH
    assert line.maximum == 95.0
    assert np.nanmax(line.values) == 95.0
    assert np.isnan(line.values).any()
    image = like(pixels(draw(long)), BLUE, 60)
    assert np.flatnonzero(image.any(axis=1)).min() < line_row(pixels(draw(long)), BLUE) - 300


def test_points_out_of_order_and_outside_of_the_time_do_no_harm() -> None:
    ordered = points([10.0, 20.0, 90.0, 20.0])
    mixed = (*reversed(ordered), (START - 100, 5000.0), (START + 9999, 5000.0))
    assert draw(chart(Curve(mixed))) == draw(chart(Curve(ordered)))


def test_title_subtitle_note_and_labels_are_written() -> None:
    base = chart(Curve(points(LINE), {"instance": "web-1"}), subtitle="on web-1", note="all series")
    image = draw(base)
    for other in (
        replace(base, title="Memory"),
        replace(base, subtitle="on web-2"),
        replace(base, note="none"),
        replace(base, curves=(Curve(points(LINE), {"instance": "web-2"}),)),
        replace(base, timezone="Asia/Shanghai"),
        replace(base, unit="bytes"),
    ):
        assert draw(other) != image


def test_dollar_signs_are_no_formula_and_long_texts_are_cut() -> None:
    plain = pixels(draw(chart(LINE, title="costs $5^2$ and $x_1$")))
    assert plain.shape[1] == WIDTH
    long = pixels(draw(chart(Curve(points(LINE), {"pod": "x" * 900}), title="很长的标题 " * 90, subtitle="\n\t " * 50)))
    right = long[:, -25:]
    assert (right == 255).all(), "nothing is written beyond the margin"


def test_dark_is_dark_and_levels_are_coloured() -> None:
    dark = pixels(draw(chart(LINE, theme="dark")))
    assert dark.mean() < 60
    rising = pixels(draw(chart([number / 1.2 for number in range(121)], levels=(30, 80))))
    assert all(like(rising, colour, 30).sum() > 200 for colour in (GREEN, (191, 135, 0), RED))
    assert not like(rising, BLUE, 30).any()


def test_several_charts_share_one_picture() -> None:
    small = chart(LINE, title="内存", language="zh")
    one, two, four = (pixels(draw(*[small] * count, title="web-1")) for count in (1, 2, 4))
    assert one.shape[1] == two.shape[1] == four.shape[1] == WIDTH
    assert like(two, BLUE).any(axis=1).sum() > like(one, BLUE).any(axis=1).sum()
    left, right = four[:, : WIDTH // 2], four[:, WIDTH // 2 :]
    assert like(left, BLUE).sum() == pytest.approx(like(right, BLUE).sum(), rel=0.02)


def test_what_is_no_chart_is_refused_in_a_sentence() -> None:
    with pytest.raises(PictureError, match="end has to be after its start"):
        draw(chart(LINE, end=START))
    with pytest.raises(PictureError, match="'Mars/Olympus' is no time zone"):
        draw(chart(LINE, timezone="Mars/Olympus"))
    with pytest.raises(PictureError, match="1 to 24 charts, not 0"):
        draw()


def test_symbols_that_no_font_has_are_left_out_but_letters_are_not() -> None:
    known = Fonts((), knows="abc ".__contains__)
    assert known.clean("a 🔥 b\n\x07c 中") == "a b c 中"
    assert known.lacks("abc 中")
    assert not known.lacks("abc 🔥")


# ---------------------------------------------------------------- samples that a range query repeats


def values_of(values: list[float]) -> list[tuple[float, float]]:
    (line,) = lines_of(pack_chart(chart(Curve(points(values, 2.0)))), "").lines
    return [((at - START) / 2, value) for at, value in zip(line.at, line.values, strict=True)]


def test_a_sample_that_is_repeated_until_the_next_makes_no_stairs() -> None:
    samples = [number + 0.5 for number in range(20)]
    shown = values_of([sample for sample in samples for _ in range(7)])
    assert shown == [(7 * place, sample) for place, sample in enumerate(samples)] + [(139, 19.5)]


def test_what_stayed_and_then_jumped_does_not_become_a_slope() -> None:
    measured = [0.5, 1.5, 0.5, 2.5, 0.5, 1.25, 0.75, *[3.5] * 10, 9.5, 9.25]
    shown = values_of([sample for sample in measured for _ in range(5)])
    place = shown.index((35, 3.5))
    assert shown[place : place + 3] == [(35, 3.5), (80, 3.5), (85, 9.5)]


def test_a_line_of_repeated_samples_reaches_to_its_gap() -> None:
    measured = [number + 0.5 for number in range(10)]
    held = [sample for sample in measured for _ in range(5)]
    shown = values_of([*held, math.nan, *held])
    assert (49, 9.5) in shown
    assert sum(math.isnan(value) for _, value in shown) == 1


def test_what_is_never_repeated_is_left_as_it_is() -> None:
    measured = [math.sin(number) for number in range(200)]
    assert [value for _, value in values_of(measured)] == measured
