"""Small drawings as SVG: they take their colours from the page, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

Points = Sequence[tuple[float, float]]

_SPARK: Final = (160, 28)
_CHART: Final = (440, 200)
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 8, 10, 26
_TICKS: Final = 4
_TONES: Final = 4
"""Colours of lines that the style sheet has."""


def sparkline(values: Sequence[float], label: str) -> Markup:
    """One line from the first value to the last, from zero up. ``label`` is read out."""
    width, height = _SPARK
    top = max(values, default=0.0) or 1.0
    step = width / max(1, len(values) - 1)
    points = " ".join(
        f"{place * step:.1f},{height - 2 - (height - 4) * value / top:.1f}"
        for place, value in enumerate(values)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}" '
        'preserveAspectRatio="none"><polyline points="{}"/></svg>'
    ).format(width, height, label, points)


def lines(series: Mapping[str, Points], label: str) -> Markup:
    """A line for each name, x and y from the least to the most; "" where there are no points."""
    points = [point for each in series.values() for point in each]
    if not points:
        return Markup("")
    width, height = _CHART
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    wide, tall = (right - left) or 1.0, (high - low) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (x - left) / wide * (width - _LEFT - _RIGHT),
            height - _BOTTOM - (y - low) / tall * (height - _TOP - _BOTTOM),
        )

    parts = []
    for number in range(_TICKS + 1):
        value = low + tall * number / _TICKS
        _, y = at(left, value)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                _LEFT, width - _RIGHT, y, y
            )
            + Markup('<text x="{}" y="{:.1f}" text-anchor="end">{:.3g}</text>').format(
                _LEFT - 6, y + 4, value
            )
        )
    for x, anchor in ((left, "start"), (right, "end")):
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{:.0f}</text>').format(
                at(x, low)[0], height - 6, anchor, x
            )
        )
    for number, (name, each) in enumerate(series.items()):
        drawn = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in each)
        parts.append(
            Markup('<polyline class="tone-{}" points="{}"><title>{}</title></polyline>').format(
                number % _TONES, drawn, name
            )
        )
    drawing = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return drawing.format(width, height, label, Markup("").join(parts))


def interval(low: float, value: float, high: float, most: float) -> Markup:
    """A value with its interval on a scale from 0 to ``most``."""
    width, height = 200, 16
    scale = width / (most or 1.0)
    return Markup(
        '<svg class="interval" viewBox="0 0 {} {}" aria-hidden="true">'
        '<line x1="{:.1f}" x2="{:.1f}" y1="8" y2="8"/><circle cx="{:.1f}" cy="8" r="4"/></svg>'
    ).format(width, height, max(0.0, low) * scale, high * scale, value * scale)
