"""A page counts as done only when nothing of it can still be in the author's hands."""

from __future__ import annotations

from typing import Any

from caisson._native import Track, Trail

MAX_HELD, MAX_LINGERING, MAX_OPEN, MAX_PAGES = 1_000, 32, 3, 2_000  # as the stub says

Record = dict[str, Any]


def receive(trail: Trail, record: Record) -> None:
    trail.arrive(record)
    trail.passed()


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
        receive(trail, record)
    assert trail.pages == {}
    track.page("2")
    assert trail.pages == {"r": "2"}


def test_a_page_in_the_authors_hands_is_not_done() -> None:
    trail = Trail({})
    track = trail.open("r")
    held = page(track, 3)
    track.page("2")
    assert trail.pages == {}
    receive(trail, held[0])
    receive(trail, held[1])
    receive(trail, held[2])
    assert trail.pages == {}, "what the last record leads to may still come"


def test_a_collected_page_is_done_when_a_later_one_comes_out() -> None:
    trail = Trail({})
    track = trail.open("r")
    first = page(track, 2)
    track.page("2")
    second = page(track, 2)
    assert trail.pages == {}
    for record in first:
        receive(trail, record)
    assert trail.pages == {}
    receive(trail, second[0])
    assert trail.pages == {"r": "2"}


def test_a_page_that_is_sorted_away_is_not_done() -> None:
    trail = Trail({})
    track = trail.open("r")
    first = page(track, 2)
    track.page("2")
    second = page(track, 2)
    track.page(True)
    receive(trail, second[0])
    receive(trail, first[0])
    receive(trail, second[1])
    assert trail.pages == {}, "a record of the first page has not come out"


def test_a_dropped_record_might_be_held_back_and_keeps_its_page_open() -> None:
    trail = Trail({})
    track = trail.open("r")
    held = {"n": 0}
    track.give(held)
    for number in range(1, 6):
        record = {"n": number}
        track.give(record)
        receive(trail, record)
        track.page(str(number))
    assert trail.pages == {}
    receive(trail, held)
    later = {"n": 6}
    track.give(later)
    receive(trail, later)
    assert trail.pages == {"r": "5"}


def test_an_author_who_builds_new_records_has_no_pages() -> None:
    trail = Trail({})
    track = trail.open("r")
    for number in range(5):
        for record in page(track, MAX_HELD // 2):
            receive(trail, dict(record))
        track.page(str(number))
    assert trail.pages == {}
    assert not track.held, "a track that was given up holds nothing"


def test_an_author_who_drops_records_is_given_up_and_costs_no_memory() -> None:
    trail = Trail({})
    track = trail.open("r")
    for number in range(100):
        for record in page(track, 100):
            if record["n"] % 4:
                receive(trail, record)
        track.page(str(number))
        assert track.held < MAX_HELD + 100
    assert trail.pages == {}
    assert not track.held


def test_two_long_pages_may_be_collected() -> None:
    trail = Trail({})
    track = trail.open("r")
    held: list[Record] = []
    for number in range(MAX_OPEN - 1):
        held += page(track, MAX_HELD)
        track.page(str(number))
    for record in held:
        receive(trail, record)
    later = page(track, 1)
    receive(trail, later[0])
    assert trail.pages == {"r": str(MAX_OPEN - 2)}


def test_requests_of_which_records_were_dropped_are_not_looked_at_for_ever() -> None:
    trail = Trail({})
    for number in range(MAX_LINGERING * 3):
        track = trail.open(str(number))
        records = page(track, 3)
        receive(trail, records[0])
        track.page(True)
        track.end()
    assert trail.tracks == MAX_LINGERING
    assert trail.pages == {}
    assert not trail.exact


def test_parents_that_only_drive_other_requests_are_never_done() -> None:
    trail = Trail({})
    parents = trail.open("parents")
    page(parents, 2)
    parents.page(True)
    for name in ("a", "b"):
        child = trail.open(name)
        record = {"child": name}
        child.give(record)
        receive(trail, record)
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


def test_a_checkpoint_is_exact_between_pages_and_not_within_one() -> None:
    trail = Trail({})
    track = trail.open("r")
    assert trail.exact
    record = {"n": 1}
    track.give(record)
    trail.arrive(record)
    assert trail.exact
    trail.passed()
    assert not trail.exact
    track.page("2")
    assert trail.exact


def test_a_record_that_no_track_knows_ends_exactness_for_the_slice() -> None:
    trail = Trail({})
    receive(trail, {"made": "up"})
    assert not trail.exact
    trail.open("r").page(True)
    assert not trail.exact
    trail.restart()
    assert trail.exact
