"""The filter language chooses what the reference client chooses, item by item.

The oracle is the engine behind `sstream-mirror --dry-run`, unpatched.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import reference
from support.keys import SigningKey
from support.lists import parse_index
from support.maas import maas_tree

from proxy.jobs.selection import Selection
from proxy.simplestreams.filters import Filter, FilterError
from proxy.simplestreams.model import Products
from proxy.simplestreams.parse import parse_document
from proxy.simplestreams.select import select

INDEX = "streams/v1/index.json"

COMBINATIONS = [
    (),
    ("arch=amd64",),
    ("arch=arm64",),
    ("arch!=amd64",),
    ("arch = amd64",),
    ("arch  ~  amd64",),
    ("arch=amd64 ",),
    ("arch==amd64",),
    ("arch=amd64,arm64",),
    ("arch~(amd64|arm64)",),
    ("arch!~64$",),
    ("arch~",),
    ("arch=",),
    ("arch!=",),
    ("nosuch=",),
    ("nosuch!=x",),
    ("nosuch=x",),
    ("nosuch~.*",),
    ("nosuch!~.*",),
    ("release~(noble|jammy)",),
    ("release=noble", "arch=amd64"),
    ("release=noble", "release=jammy"),
    ("release~no", "arch~arm", "ftype~boot"),
    ("os~(grub*|pxelinux)",),
    ("os=ubuntu",),
    ("os!=ubuntu",),
    ("bootloader-type=uefi",),
    ("bootloader-type~.",),
    ("bootloader-type!~.",),
    ("subarches=generic",),
    ("subarches~generic",),
    ("subarch~(generic|hwe-t)",),
    ("subarch~^hwe",),
    ("kflavor=generic",),
    ("kflavor!=generic",),
    ("krel=noble",),
    ("label=stable",),
    ("label=candidate",),
    ("ftype=squashfs",),
    ("ftype~^boot-",),
    ("ftype!~boot", "ftype!~squash"),
    ("item_name=manifest",),
    ("version_name~^2025",),
    ("product_name~ga-24",),
    ("content_id~v3",),
    ("content_id!~v3",),
    ("datatype=image-ids",),
    ("version=24.04",),
    ("path~squashfs",),
    ("size~^4",),
    ("release_title~LTS",),
    ("arch|x=",),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    """Return a tree like MAAS's: kernels that share a squashfs, boot loaders, CentOS."""
    root = tmp_path_factory.mktemp("maas")
    maas_tree(root, key, releases=("22.04", "24.04"), arches=("amd64", "arm64"), versions=3)
    return root


@pytest.fixture(scope="module")
def lists(root: Path) -> list[Products]:
    index = parse_index((root / INDEX).read_bytes())
    parsed = [parse_document((root / entry.path).read_bytes()) for entry in index.entries]
    return [one for one in parsed if isinstance(one, Products)]


def ours(lists: list[Products], expressions: Sequence[str], newest: int | None) -> list[str]:
    selection = Selection(filters=tuple(map(Filter.parse, expressions)), newest=newest)
    choices = select(lists, selection.condition(), selection.newest_versions)
    return sorted(choice.file.path for choice in choices if choice.file is not None)


@pytest.mark.parametrize("newest", [None, 1, 2])
@pytest.mark.parametrize("expressions", COMBINATIONS, ids=" ".join)
def test_the_same_items_are_chosen(
    root: Path, lists: list[Products], expressions: tuple[str, ...], newest: int | None
) -> None:
    assert ours(lists, expressions, newest) == reference.chosen(root, INDEX, expressions, newest)


FIELDS = st.dictionaries(st.sampled_from(["a", "b", "a-", "a|b", "x.y"]), st.text("ab =!~x", max_size=4))


@given(st.text("ab-|.x =!~()*\t", max_size=8), FIELDS)
def test_any_expression_means_the_same_or_is_none_to_both(expression: str, fields: dict[str, str]) -> None:
    try:
        one = Filter.parse(expression)
    except FilterError:
        assert not reference.is_filter(expression)
    else:
        assert reference.is_filter(expression)
        assert one.matches(fields) == reference.passes(expression, fields)
