"""The dates of a tree's files."""

from proxy.trees.dates import document_dates, item_date

INDEX = "streams/v1/index.sjson"


def test_a_document_has_its_own_date_and_a_flavour_that_of_what_it_repeats() -> None:
    updated = {
        INDEX: 100.5,
        "streams/v1/index.json": None,
        "streams/v1/index.json.gpg": None,
        "streams/v1/list.sjson": 90.0,
        "streams/v1/list.json.gpg": None,
        "streams/v1/other": None,
    }
    assert document_dates(updated, INDEX, 1000.0) == {
        INDEX: 100,
        "streams/v1/index.json": 100,
        "streams/v1/index.json.gpg": 100,
        "streams/v1/list.sjson": 90,
        "streams/v1/list.json.gpg": 90,
        "streams/v1/other": 100,
    }


def test_nothing_is_dated_later_than_it_was_accepted() -> None:
    assert document_dates({INDEX: 2000.0}, INDEX, 1000.9) == {INDEX: 1000}
    assert document_dates({INDEX: None}, INDEX, 1000.9) == {INDEX: 1000}
    assert item_date(2000.0, 1000.9) == 1000
    assert item_date(None, 1000.9) == 1000
    assert item_date(-5.0, 1000.9) == 0
