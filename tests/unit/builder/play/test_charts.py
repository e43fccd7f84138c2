from __future__ import annotations

import xml.etree.ElementTree as ET

from builder.play.charts import interval, lines, sparkline


def points(drawing: str) -> list[list[tuple[float, float]]]:
    found = [each for each in ET.fromstring(drawing).iter() if each.tag.endswith("polyline")]
    return [
        [
            (float(x), float(y))
            for x, y in (pair.split(",") for pair in each.get("points", "").split())
        ]
        for each in found
    ]


def test_a_sparkline_goes_from_left_to_right_and_from_zero_up() -> None:
    (drawn,) = points(sparkline([0.0, 2.0, 1.0], "times"))
    assert [x for x, _ in drawn] == [0, 80, 160]
    assert [y for _, y in drawn] == [26, 2, 14]


def test_a_sparkline_of_nothing_or_of_zeros_is_drawn() -> None:
    assert points(sparkline([], "times")) == [[]]
    assert points(sparkline([0.0], "times")) == [[(0, 26)]]


def test_lines_share_their_axes() -> None:
    first, second = points(lines({"a": [(0, 0), (10, 1)], "b": [(0, 1), (10, 0)]}, "both"))
    assert first[0][1] == second[1][1]
    assert first[1][1] == second[0][1] < first[0][1]
    assert first[0][0] == second[0][0] < first[1][0]


def test_lines_of_one_value_and_of_none() -> None:
    assert len(points(lines({"a": [(3, 3)]}, "one"))) == 1
    assert lines({"a": []}, "none") == ""


def test_names_with_markup_are_escaped() -> None:
    for drawing in (
        sparkline([1], '"><script>'),
        lines({"<script>": [(0, 0), (1, 1)]}, '"><script>'),
    ):
        assert "<script>" not in drawing
        ET.fromstring(drawing)


def test_an_interval_begins_at_zero() -> None:
    drawing = ET.fromstring(interval(-0.1, 0.1, 0.3, most=0.4))
    line, circle = list(drawing)
    assert (line.get("x1"), line.get("x2"), circle.get("cx")) == ("0.0", "150.0", "50.0")
