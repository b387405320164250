"""A page counts as done only when nothing of it can still be in the author's hands."""

from __future__ import annotations

from typing import Any

from caisson._trail import MAX_HELD, MAX_PAGES, Track, Trail

Record = dict[str, Any]


def page(track: Track, count: int) -> list[Record]:
    records: list[Record] = [{"n": number} for number in range(count)]
    for record in records:
        track.give(record)
    return records


def test_a_page_that_passed_through_is_done_at_its_end() -> None:
    trail = Trail({})
    track = trail.open("r")
    for number in range(3):
        record = {"n": number}
        track.give(record)
        trail.receive(record)
    assert trail.pages == {}
    track.page("2")
    assert trail.pages == {"r": "2"}


def test_a_page_in_the_authors_hands_is_not_done() -> None:
    trail = Trail({})
    track = trail.open("r")
    held = page(track, 3)
    track.page("2")
    assert trail.pages == {}
    trail.receive(held[0])
    trail.receive(held[1])
    trail.receive(held[2])
    assert trail.pages == {}, "what the last record leads to may still come"


def test_a_collected_page_is_done_when_a_later_one_comes_out() -> None:
    trail = Trail({})
    track = trail.open("r")
    first = page(track, 2)
    track.page("2")
    second = page(track, 2)
    assert trail.pages == {}
    for record in first:
        trail.receive(record)
    assert trail.pages == {}
    trail.receive(second[0])
    assert trail.pages == {"r": "2"}


def test_a_page_that_is_sorted_away_is_not_done() -> None:
    trail = Trail({})
    track = trail.open("r")
    first = page(track, 2)
    track.page("2")
    second = page(track, 2)
    track.page(True)
    trail.receive(second[0])
    trail.receive(first[0])
    trail.receive(second[1])
    assert trail.pages == {}, "a record of the first page has not come out"


def test_a_dropped_record_does_not_hold_its_page_back() -> None:
    trail = Trail({})
    track = trail.open("r")
    for number in range(3):
        record = {"n": number}
        track.give(record)
        if number != 2:
            trail.receive(record)
    track.page("2")
    assert trail.pages == {}
    record = {"n": 3}
    track.give(record)
    trail.receive(record)
    assert trail.pages == {"r": "2"}


def test_an_author_who_builds_new_records_has_no_pages() -> None:
    trail = Trail({})
    track = trail.open("r")
    for number in range(5):
        for record in page(track, MAX_HELD // 2):
            trail.receive(dict(record))
        track.page(str(number))
    assert trail.pages == {}
    assert not track._given, "a track that was given up holds nothing"


def test_parents_that_only_drive_other_requests_are_never_done() -> None:
    trail = Trail({})
    parents = trail.open("parents")
    page(parents, 2)
    parents.page(True)
    for name in ("a", "b"):
        child = trail.open(name)
        record = {"child": name}
        child.give(record)
        trail.receive(record)
        child.page(True)
    assert trail.pages == {"a": True, "b": True}


def test_the_same_request_twice_is_two_tracks() -> None:
    trail = Trail({"r": True})
    assert trail.open("r").resume is True
    assert trail.open("r").resume is None


def test_a_state_remembers_so_many_requests_and_no_more() -> None:
    trail = Trail({})
    for number in range(MAX_PAGES + 5):
        trail.open(str(number)).page(True)
    assert len(trail.pages) == MAX_PAGES
