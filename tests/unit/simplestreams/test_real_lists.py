"""Published lists, byte for byte: nothing in them is refused, and all is read as the reference does."""

import json
import statistics
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from support.fixtures import FIXTURES, INDEX_2016, INDEX_2020_OTHER_KEY, MAAS_2025, PRODUCTS_2016
from support.lists import build_catalog, parse_index
from support.reference import flattened, signed_text

from proxy.digest import digest_of
from proxy.simplestreams.catalog import Catalog, pack_list
from proxy.simplestreams.clearsign import check_envelope, looks_clearsigned
from proxy.simplestreams.listing import Listing
from proxy.simplestreams.model import PRODUCTS_FORMAT, Index, Products
from proxy.simplestreams.parse import FormatError, parse_document, same_statement
from proxy.simplestreams.walk import flatten, positions

MULTIPASS = FIXTURES / "canonical+multipass"
REFERENCE = FIXTURES / "philroche+simplestreams-clone" / "examples"
SCHEMA = FIXTURES / "meigma+go-simplestreams" / "schema"
INCUS = FIXTURES / "kriszos+kriszos.github.io" / "history"
INCUS_STATES = sorted(INCUS.iterdir())

LISTS = {
    # list: items, paths in the catalog, paths that nothing proves
    PRODUCTS_2016: (7008, 6996, 0),
    MAAS_2025 / "simplestreams_bootloaders.json": (13, 13, 0),
    MAAS_2025 / "simplestreams_centos.json": (8, 8, 0),
    MAAS_2025 / "simplestreams_ubuntu.json": (32, 32, 0),
    REFERENCE / "minimal/streams/v1/download.json": (2, 2, 0),
    REFERENCE / "cirros/streams/v1/net.cirros-cloud:devel:download.json": (33, 33, 0),
    REFERENCE / "cirros/streams/v1/net.cirros-cloud:released:download.json": (22, 22, 0),
    # md5 alone proves nothing to us; some of its items share a path
    REFERENCE / "foocloud/streams/v1/com.example.foovendor:released:download.json": (21, 0, 18),
    # image ids of a cloud: no item has a path
    REFERENCE / "foocloud/streams/v1/com.example.foovendor:released:aws.json": (12, 0, 0),
    # two items name one path
    SCHEMA / "incus/testdata/products.json": (4, 3, 0),
    SCHEMA / "linuxcontainers/testdata/products.json": (2, 2, 0),
    SCHEMA / "lxd/testdata/products.json": (4, 4, 0),
    # its sha256 is not one
    SCHEMA / "testdata/minimal/products.json": (1, 0, 1),
    MULTIPASS / "daily/daily_manifest.json.in": (4, 4, 0),
    MULTIPASS / "releases/multiple_versions_manifest.json.in": (9, 9, 0),
    MULTIPASS / "invalid_image_mirror/releases/multiple_versions_manifest.json.in": (9, 0, 9),
    MULTIPASS / "valid_image_mirror/releases/multiple_versions_manifest.json.in": (9, 9, 0),
    MULTIPASS / "valid_outdated_image_mirror/releases/multiple_versions_manifest.json.in": (6, 6, 0),
    MULTIPASS / "simple_streams_manifest/core_test_manifest.json.in": (13, 13, 0),
    MULTIPASS / "simple_streams_manifest/good_manifest.json.in": (4, 4, 0),
    MULTIPASS / "simple_streams_manifest/lxd_test_manifest.json.in": (4, 4, 0),
    MULTIPASS / "simple_streams_manifest/missing_versions_manifest.json.in": (0, 0, 0),
    MULTIPASS / "simple_streams_manifest/multiple_versions_manifest.json.in": (9, 9, 0),
    MULTIPASS / "simple_streams_manifest/snapcraft_test_manifest.json.in": (32, 32, 0),
}
INCUS_LISTS = {state / "streams/v1/images.json" for state in INCUS_STATES}

INDEXES = {
    INDEX_2016: 11,
    INDEX_2020_OTHER_KEY: 10,
    MAAS_2025 / "simplestreams_index.json": 3,
    REFERENCE / "minimal/streams/v1/index.json": 1,
    REFERENCE / "cirros/streams/v1/index.json": 2,
    REFERENCE / "foocloud/streams/v1/index.json": 2,
    SCHEMA / "testdata/minimal/index.json": 1,
    **{state / "streams/v1/index.json": 1 for state in INCUS_STATES},
}

NO_DOCUMENTS = {
    "simple_streams_index/bad_index.json": "its format is None",
    "simple_streams_index/missing_index.json": "its format is None",
    "simple_streams_index/good_index.json.in": "its format is None",
    "simple_streams_manifest/invalid_top_level.json": "it is not a JSON object",
    "simple_streams_manifest/missing_products_manifest.json": "it has no 'products' object",
}


def short(value: object) -> str:
    """Name a fixture, or what is expected of it, in a test's id."""
    return str(value.relative_to(FIXTURES)) if isinstance(value, Path) else str(value)


def text(path: Path) -> bytes:
    """Read a document; of a signed one the signed text."""
    raw = path.read_bytes()
    return signed_text(raw) if looks_clearsigned(raw) else raw


def products(path: Path) -> Products:
    """Read a products list."""
    parsed = parse_document(text(path))
    assert isinstance(parsed, Products)
    return parsed


@pytest.fixture(scope="module")
def ubuntu_2016() -> Products:
    """Return Ubuntu's list of November 2016."""
    return products(PRODUCTS_2016)


@pytest.fixture(scope="module")
def catalog_2016(ubuntu_2016: Products) -> Catalog:
    """Return what that list lets a mirror serve."""
    return build_catalog([ubuntu_2016])


# Ubuntu's list of November 2016


def test_the_2016_list_has_the_known_figures(ubuntu_2016: Products, catalog_2016: Catalog) -> None:
    listed = ubuntu_2016.document["products"]
    assert len(listed) == 51
    assert sum(len(product["versions"]) for product in listed.values()) == 1319
    assert sum(1 for _ in positions(ubuntu_2016)) == 7008
    assert len(catalog_2016) == 6996
    assert len({item.digest for item in catalog_2016}) == 6967
    assert all(entry.digest is not None for entry in Listing(pack_list(ubuntu_2016)))


def test_the_2016_lists_sizes_are_known(ubuntu_2016: Products, catalog_2016: Catalog) -> None:
    """It describes 1,212 GB in files of 568 B to 470 MB, half of them over 211 MB."""
    described = sum(int(flatten(one)["size"]) for one in positions(ubuntu_2016))
    sizes = [item.size_bytes for item in catalog_2016]
    assert round(described / 10**9) == 1212
    assert (min(sizes), max(sizes), int(statistics.median(sizes))) == (568, 470_482_944, 211_583_272)


def test_a_path_that_two_versions_list_has_one_digest(ubuntu_2016: Products, catalog_2016: Catalog) -> None:
    digests = defaultdict(list)
    for fields in map(flatten, positions(ubuntu_2016)):
        digests[fields["path"]].append(fields["sha256"])
    shared = {path: found for path, found in digests.items() if len(found) > 1}
    assert len(shared) == 12
    assert all(
        set(found) == {item.digest}
        for path, found in shared.items()
        if (item := catalog_2016.find(path)) is not None
    )


def test_a_digest_may_be_listed_under_several_paths(catalog_2016: Catalog) -> None:
    times = Counter(item.digest for item in catalog_2016)
    assert sum(1 for count in times.values() if count > 1) == 27


def test_checksums_with_the_blanks_of_sha256sum_reject_nothing(
    ubuntu_2016: Products, catalog_2016: Catalog
) -> None:
    """185 LXD items have a combined_sha256 that ends in "  -"; their own sha256 is what counts."""
    everything = map(flatten, positions(ubuntu_2016))
    odd = [fields for fields in everything if fields.get("combined_sha256", "")[-3:] == "  -"]
    assert len(odd) == 185
    assert {fields["ftype"] for fields in odd} == {"lxd.tar.xz"}
    for fields in odd:
        found = catalog_2016.find(fields["path"])
        assert found is not None
        assert found.digest == fields["sha256"]


def test_index_and_list_of_2016_say_when_they_were_made(ubuntu_2016: Products) -> None:
    """Fri, 04 Nov 2016: the list at 03:33:58, the index three seconds later."""
    assert ubuntu_2016.updated == 1478230438
    assert parse_index(text(INDEX_2016)).updated == 1478230441


# All lists


@pytest.mark.parametrize("path", [*LISTS, *sorted(INCUS_LISTS)], ids=short)
def test_every_item_inherits_as_with_the_reference_client(path: Path) -> None:
    """Item by item and field by field, with the reference client as the judge."""
    parsed = products(path)
    ours = {(one.product, one.version, one.item): flatten(one) for one in positions(parsed)}
    assert ours == flattened(parsed.document)


@pytest.mark.parametrize(("path", "counts"), LISTS.items(), ids=short)
def test_what_can_be_proved_is_served(path: Path, counts: tuple[int, int, int]) -> None:
    parsed = products(path)
    catalog = build_catalog([parsed])
    unprovable = sum(catalog.is_unverifiable(entry.path) for entry in Listing(pack_list(parsed)))
    assert (sum(1 for _ in positions(parsed)), len(catalog), unprovable) == counts


def test_items_with_md5_only_are_remembered_as_unverifiable() -> None:
    path = REFERENCE / "foocloud/streams/v1/com.example.foovendor:released:download.json"
    catalog = build_catalog([products(path)])
    name = "files/release-20121001/foovendor-6.1-server-cloudimg-amd64-root.tar.gz"
    assert catalog.is_unverifiable(name)
    assert catalog.find(name) is None


def test_lists_of_one_mirror_make_one_catalog() -> None:
    names = ("bootloaders", "centos", "ubuntu")
    catalog = build_catalog(products(MAAS_2025 / f"simplestreams_{name}.json") for name in names)
    assert len(catalog) == 13 + 8 + 32


def test_successive_kernels_of_maas_can_share_a_digest() -> None:
    catalog = build_catalog([products(MAAS_2025 / "simplestreams_ubuntu.json")])
    kernels = [item for item in catalog if item.path.endswith("/boot-kernel")]
    assert len({item.digest for item in kernels}) < len({item.path for item in kernels})


@pytest.mark.parametrize("state", [REFERENCE / "minimal", *INCUS_STATES], ids=short)
def test_the_bytes_that_are_here_match_their_list(state: Path) -> None:
    """Each file lies at the path that its list names, with the digest and size that it names."""
    name = "download.json" if state.name == "minimal" else "images.json"
    items = list(build_catalog([products(state / "streams/v1" / name)]))
    here = [item for item in items if (state / item.path).exists()]
    assert here
    for item in here:
        data = (state / item.path).read_bytes()
        assert (digest_of(data), len(data)) == (item.digest, item.size_bytes)


# Indexes


@pytest.mark.parametrize(("path", "count"), INDEXES.items(), ids=short)
def test_every_published_index_is_read_whole(path: Path, count: int) -> None:
    index = parse_index(text(path))
    assert len(index.entries) == count
    assert index.oddities == ()
    assert all(entry.format == PRODUCTS_FORMAT and entry.is_followed for entry in index.entries)


def test_lists_that_are_long_dead_are_named_like_the_others() -> None:
    """Parsing does not know which lists are still there; the 2016 index names eleven, most of them gone."""
    index = parse_index(text(INDEX_2016))
    assert "streams/v1/com.ubuntu.cloud:released:joyent.sjson" in {entry.path for entry in index.entries}
    assert all(entry.path.endswith(".sjson") for entry in index.entries)
    assert {entry.path for entry in index.entries} == {
        f"streams/v1/{entry.content_id}.sjson" for entry in index.entries
    }


def test_the_plain_flavour_of_an_index_states_the_same() -> None:
    """index.sjson names .sjson lists and index.json names .json lists; nothing else may differ."""
    signed = text(INDEX_2016)
    plain = signed.replace(b'.sjson"', b'.json"')
    assert plain != signed
    assert same_statement(signed, plain)
    assert not same_statement(signed, plain.replace(b"joyent.json", b"joyfull.json"))
    assert not same_statement(signed, text(INDEX_2020_OTHER_KEY))
    assert not same_statement(signed, plain[:-5])


@pytest.mark.parametrize(("name", "problem"), NO_DOCUMENTS.items(), ids=short)
def test_what_is_no_simplestreams_is_refused_in_words(name: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        parse_document((MULTIPASS / name).read_bytes())


def test_a_list_is_no_index() -> None:
    with pytest.raises(FormatError, match="a products list where an index"):
        parse_index(text(MAAS_2025 / "simplestreams_ubuntu.json"))


def test_no_published_document_is_left_untested() -> None:
    """Every fixture stands in one of the tables above, or is another broken or formatless index.

    But for the data directory of an earlier release, which nobody has published.
    """
    known = {*LISTS, *INCUS_LISTS, *INDEXES, *(MULTIPASS / name for name in NO_DOCUMENTS)}
    others = [path for path in FIXTURES.rglob("*json*") if path.is_file() and path not in known]
    others = [path for path in others if FIXTURES / "data_853a742" not in path.parents]
    assert {path.parts[len(FIXTURES.parts)] for path in others} == {"canonical+multipass"}
    for path in others:
        assert "format" not in json.loads(path.read_bytes())


# Envelopes


@pytest.mark.parametrize("path", [INDEX_2016, PRODUCTS_2016, INDEX_2020_OTHER_KEY], ids=short)
def test_every_published_signed_document_is_one_envelope(path: Path) -> None:
    raw = path.read_bytes()
    assert looks_clearsigned(raw)
    check_envelope(raw)


def test_blanks_at_the_ends_of_signed_lines_do_no_harm() -> None:
    """The 2016 index has some; the signature does not cover them, JSON does not mind them."""
    raw = INDEX_2016.read_bytes()
    stripped = b"\n".join(line.rstrip() for line in raw.split(b"\n"))
    assert stripped != raw
    check_envelope(stripped)
    assert isinstance(parse_document(signed_text(stripped)), Index)
    assert same_statement(signed_text(stripped), signed_text(raw))
