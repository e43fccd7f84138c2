from __future__ import annotations

import pytest

from builder.play.form import Form, of_server
from builder.play.history import FormError


def test_every_field_is_optional() -> None:
    form = Form.read({})
    assert (form.q, form.user, form.new, form.do, form.history) == ("", "", "", "", ())
    assert of_server(form.before, 0) == ()


def test_lists_are_of_each_server() -> None:
    form = Form.read({"before": '[["a", "b"], ["c"]]', "latencies": "[[1.5]]"})
    assert of_server(form.before, 1) == ["c"]
    assert of_server(form.latencies, 0) == [1.5]
    assert of_server(form.latencies, 1) == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"before": "{"},
        {"before": "[1]"},
        {"before": "[[1]]"},
        {"latencies": '[["a"]]'},
        {"latencies": "[[-1]]"},
        {"latencies": "[[NaN]]"},
        {"latencies": f"[[{10**400}]]"},
        {"before": r'[["\ud800"]]'},
    ],
)
def test_what_this_page_did_not_write_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(FormError, match="reload the page"):
        Form.read(fields)
