from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from starlette.testclient import TestClient

from builder import unexpected_errors
from builder.play import app, lists
from client.testing import FakeServer
from model_repository.core.contract import RecommendOptions, options_of
from tests.unit.builder.play.pages import IDS, Page, browsing

Browser = tuple[TestClient, FakeServer]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with FakeServer(IDS) as server, browsing(tmp_path, server) as browser:
        yield browser, server


def press(client: TestClient, page: Page, do: str = "", **written: str) -> Page:
    """Press a button of a page, after writing into its fields."""
    assert not do or do in page.buttons
    answer = client.post("/", data={**page.fields, **written, "do": do})
    assert answer.status_code == 200
    return Page(answer.text)


def history(page: Page) -> list[str]:
    return [row[0] for row in json.loads(page.fields["history"])]


def options(server: FakeServer) -> dict[str, object]:
    """Those of the last request, without what the client adds itself."""
    found = server.requests[-1].options
    return {name: value for name, value in found.items() if name != "timeout"}


def listed(page: Page) -> list[str]:
    found: list[list[str]] = json.loads(page.fields["before"])
    return found[0]


def test_a_new_user_gets_a_list_at_once(browser: Browser) -> None:
    client, server = browser
    page = Page(client.get("/").text)
    assert listed(page) == IDS
    assert "for 5 items" in page.text
    assert "No events yet" in page.text
    assert server.requests[-1].inputs["HISTORY"] == []
    assert options(server) == {}


def test_every_field_has_a_label(browser: Browser) -> None:
    client, _ = browser
    assert Page(client.get("/?user=one").text).unlabelled == []


def test_items_are_found_and_added(browser: Browser) -> None:
    client, server = browser
    page = press(client, Page(client.get("/").text), q="brazil")
    assert "Brazil (1985)" in page.text
    page = press(client, page, "add:b")
    assert history(page) == ["b"]
    assert listed(page) == ["a", "c", "d", "e"]
    assert server.requests[-1].inputs["HISTORY"] == ["b"]


def test_a_search_as_one_types_asks_no_server(browser: Browser) -> None:
    client, server = browser
    asked = len(server.requests)
    assert Page(client.get("/search?q=alien").text).buttons == ["add:a"]
    assert "No item has these words" in client.get("/search?q=nothing").text
    assert client.get("/search").text.strip() == ""
    assert len(server.requests) == asked


def test_a_user_brings_a_history(browser: Browser) -> None:
    client, server = browser
    page = press(client, Page(client.get("/").text), "user", user="one")
    assert history(page) == ["a", "b"]
    request = server.requests[-1]
    assert request.inputs["HISTORY_TIME"] == [100, 200]
    assert request.inputs["HISTORY_ACTION"] == ["liked", ""]
    assert "what came next, held out" in page.text
    assert page.fields["time-1"] == "1970-01-01 00:03:20"


def test_a_user_is_loaded_when_the_name_changes_and_not_again(browser: Browser) -> None:
    client, _ = browser
    page = press(client, Page(client.get("/").text), user="one")
    assert history(page) == ["a", "b"]
    page = press(client, page, "remove:0")
    page = press(client, page, user="one")
    assert history(page) == ["b"]
    assert history(press(client, page, "user")) == ["a", "b"]


def test_any_user_will_do(browser: Browser) -> None:
    client, _ = browser
    page = press(client, Page(client.get("/").text), "any")
    assert history(page) == {"one": ["a", "b"], "two": ["d"]}[page.fields["user"]]


def test_a_user_that_the_run_lacks_is_told(browser: Browser) -> None:
    client, _ = browser
    page = press(client, Page(client.get("/").text), user="nobody")
    assert "no validation user 'nobody'" in page.text


def test_events_are_moved_removed_and_changed(browser: Browser) -> None:
    client, server = browser
    page = Page(client.get("/?user=one").text)
    page = press(client, page, "later:0")
    assert history(page) == ["b", "a"]
    assert server.requests[-1].inputs["HISTORY_TIME"] == [100, 200]
    page = press(client, page, **{"action-0": "seen", "time-0": "1970-01-01 00:00:50"})
    assert server.requests[-1].inputs["HISTORY_ACTION"] == ["seen", "liked"]
    assert server.requests[-1].inputs["HISTORY_TIME"] == [50, 200]
    page = press(client, page, "remove:1")
    assert history(page) == ["b"]
    page = press(client, page, "clear")
    assert history(page) == []
    assert page.fields["user"] == ""


def test_an_event_that_is_gone_is_told(browser: Browser) -> None:
    client, _ = browser
    for do in ("remove:7", "later:x", "observe:-1", "remove:" + "9" * 5_000):
        assert "no longer in the history" in client.post("/", data={"do": do}).text


def test_events_that_are_not_shown_travel(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SHOWN", 1)
    client, server = browser
    page = Page(client.get("/?user=one").text)
    assert "and 1 earlier event" in page.text
    assert "time-0" not in page.fields
    press(client, page, **{"action-1": "liked"})
    assert server.requests[-1].inputs["HISTORY"] == ["a", "b"]
    assert server.requests[-1].inputs["HISTORY_ACTION"] == ["liked", "liked"]


def test_what_moved_is_marked(tmp_path: Path) -> None:
    def score(history: object, item: str) -> float:
        order = "dabce" if history else "abcde"
        return -order.index(item)

    with FakeServer(IDS, score=score) as server, browsing(tmp_path, server) as client:
        page = press(client, Page(client.get("/").text), **{"option-top_k": "3"})
        assert "▲" not in page.text
        page = press(client, press(client, page, q="charade"), "add:c")
        assert listed(page) == ["d", "a", "b"]
        assert "1 new Dune" in page.text
        assert "2 ▼1 Alien" in page.text
        assert "; 3 moved" in page.text
        assert "Left the list: <b>Charade</b> & co." in page.text
        page = press(client, page)
        assert not re.search(r"\d moved", page.text)


def test_latencies_are_kept_up_to_a_number(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = browser
    monkeypatch.setattr("builder.play.recommend.LATENCIES", 3)
    page = Page(client.get("/").text)
    for _ in range(4):
        page = press(client, page)
    assert len(json.loads(page.fields["latencies"])[0]) == 3


def test_every_option_of_the_contract_has_a_field(browser: Browser) -> None:
    client, _ = browser
    text = client.get("/").text
    for option in options_of(RecommendOptions):
        assert f'name="option-{option.name}"' in text
        assert option.meaning in Page(text).text


def test_options_are_sent_as_what_they_are(browser: Browser) -> None:
    client, server = browser
    page = Page(client.get("/").text)
    page = press(client, page, **{"option-top_k": "2", "option-include_seen": "on"})
    assert options(server) == {"top_k": 2, "include_seen": True}
    assert len(listed(page)) == 2
    assert page.fields["option-include_seen"] == "on"


def test_a_value_that_is_no_number_is_told_and_asks_no_server(browser: Browser) -> None:
    client, server = browser
    page = Page(client.get("/").text)
    asked = len(server.requests)
    page = press(client, page, **{"option-top_k": "many"})
    assert "top k is 'many': give a whole number" in page.text
    assert len(server.requests) == asked
    assert page.fields["option-top_k"] == "many"


def test_a_new_item_is_ranked_among_the_list(tmp_path: Path) -> None:
    def score(_: object, item: str) -> float:
        return 2.5 if item == lists.NEW_ITEM else 4.0 - IDS.index(item)

    with FakeServer(IDS, score=score) as server, browsing(tmp_path, server) as client:
        page = press(client, Page(client.get("/").text), new="Solaris (1972)")
        assert "(3) Solaris (1972) the new item" in page.text
        assert server.requests[-1].inputs["CANDIDATE_TEXT"][-1] == "Solaris (1972)"
        assert listed(page) == IDS
        page = press(client, page, "new")
        assert page.fields["new"] == ""
        assert server.requests[-1].inputs["HISTORY_TEXT"] == ["Solaris (1972)"]


def test_an_event_is_told_to_the_server(browser: Browser) -> None:
    client, server = browser
    page = press(client, Page(client.get("/?user=one").text), "observe:0")
    assert "counted 1 event" in page.text
    (told,) = [each for each in server.requests if each.model == "observe" and each.inputs["ITEM"]]
    assert told.inputs["ITEM"] == ["a"]
    assert told.inputs["ACTION"] == ["liked"]


def test_an_address_presses_no_button(browser: Browser) -> None:
    client, server = browser
    page = Page(client.get("/?user=one").text)
    client.get("/", params={**page.fields, "do": "observe:0"})
    assert [each for each in server.requests if each.inputs.get("ITEM")] == []


def test_an_event_that_the_catalogue_lacks_is_told_apart(tmp_path: Path) -> None:
    with FakeServer(["a"]) as server, browsing(tmp_path, server) as client:
        page = press(client, Page(client.get("/?user=one").text), "observe:1")
        assert "does not count it" in page.text


def test_an_error_of_the_server_is_a_sentence_in_its_place(browser: Browser) -> None:
    client, server = browser
    before = Page(client.get("/").text)
    server.fail(grpc.StatusCode.INTERNAL, "the <b>model</b> broke")
    answer = client.post("/", data=before.fields)
    assert answer.status_code == 200
    page = Page(answer.text)
    assert "the <b>model</b> broke" in page.text
    assert listed(page) == listed(before)  # so that the next list is compared with this one
    server.stop()
    assert "UNAVAILABLE" in press(client, page).text


def test_texts_are_shown_and_never_taken_for_markup(browser: Browser) -> None:
    client, _ = browser
    for text in (
        client.get("/").text,
        client.get("/search?q=charade").text,
        client.post("/", data={"new": "<b>Charade</b>", "q": '"><b>Charade'}).text,
        client.post("/", data={"user": "<b>Charade"}).text,
        client.post(
            "/", data={"history": json.dumps([["<b>Charade", None, "<b>Charade", 1]])}
        ).text,
    ):
        assert "Charade" in text
        assert "<b>Charade" not in text


def test_a_form_that_is_not_ours_is_refused_in_a_sentence(browser: Browser) -> None:
    client, _ = browser
    for data in (
        {"history": "{"},
        {"before": "3"},
        {"before": r'[["\ud800"]]'},
        {"latencies": f"[[{10**400}]]"},
        {"history": f'[["a",null,null,{"9" * 4_300}]]', "do": "add:b"},
        {"history": '[["a",null,null,1]]', "time-0": "x"},
    ):
        answer = client.post("/", data=data)
        assert answer.status_code == 400
        assert "This did not work" in answer.text


def test_a_page_that_is_not_there(browser: Browser) -> None:
    client, _ = browser
    answer = client.get("/nothing")
    assert (answer.status_code, "no such page" in answer.text) == (404, True)


def test_what_nobody_expected_is_a_page_and_no_traceback(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("nobody expected this")

    monkeypatch.setattr("builder.play.recommend.ask", broken)
    monkeypatch.setattr(unexpected_errors, "message", lambda error: f"a fault: {error}")
    answer = browser[0].get("/")
    assert answer.status_code == 500
    assert "a fault: &#39;nobody expected this&#39;" in answer.text
    assert "Traceback" not in answer.text


def test_two_lists_are_compared(tmp_path: Path) -> None:
    with (
        FakeServer(["a", "b", "c"]) as first,
        FakeServer(["a", "b", "d"]) as second,
        browsing(tmp_path, first, second) as client,
    ):
        answer = client.post("/compare", data={"new": "Solaris"})
        page = Page(answer.text)
        assert json.loads(page.fields["before"]) == [["a", "b", "c"], ["a", "b", "d"]]
        assert page.text.count("only here") == 2
        assert "<b>Charade</b> & co only here" in page.text
        assert "Dune (1984) only here" in page.text
        assert first.address in page.text
        assert second.address in page.text
        assert page.text.count("the new item") == 2
        second.fail(grpc.StatusCode.INTERNAL, "it broke")
        page = Page(client.post("/compare", data=page.fields).text)
        assert "it broke" in page.text
        assert "only here" not in page.text


def test_without_a_second_server_the_page_says_how(browser: Browser) -> None:
    client, _ = browser
    assert "python -m builder play --compare" in client.get("/compare").text


def test_the_quality_of_a_run_without_figures_is_told(browser: Browser) -> None:
    client, _ = browser
    text = client.get("/quality").text
    assert "metrics.json of the run cannot be read" in text
    assert "no curves" in text


def test_metrics_that_are_not_there_are_told(browser: Browser) -> None:
    client, _ = browser
    answer = client.get("/performance")
    assert answer.status_code == 200
    assert "no metrics at http://nowhere:1/metrics" in answer.text
