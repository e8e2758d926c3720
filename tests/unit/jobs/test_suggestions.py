"""What a person probably meant: the same words at every run."""

from collections import Counter

from proxy.jobs.suggestions import listed


def test_what_there_is_has_one_order_however_it_was_counted() -> None:
    """The likest first, then the most frequent, then by name."""
    values = ["riscv64", "ppc64el", "amd64", "s390x", "s390x"]
    told = "'amd64', 's390x', 'ppc64el', 'riscv64'"
    assert listed("amd", Counter(values)) == listed("amd", Counter(reversed(values))) == told
