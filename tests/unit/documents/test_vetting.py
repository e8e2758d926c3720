"""One document from a real folder: what proves it, what is asked again, and what is not believed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.generations import INDEX, LIST, PRODUCT, SECOND_LIST, on_disk
from support.keys import SigningKey
from support.mirrors import Worker, open_worker
from support.running import Clock
from support.stored import removed
from support.tree import SignedTree

from proxy.digest import digest_of
from proxy.documents.generation import NO_DIGEST, SIBLING, Document
from proxy.documents.reading import WHOLE
from proxy.documents.rollback import RollbackError
from proxy.documents.vetting import DocumentRefused, Vetting
from proxy.mirror import Mirror, Trust
from proxy.signatures.keyring import SignatureError
from proxy.simplestreams.clearsign import EnvelopeError
from proxy.simplestreams.model import Index
from proxy.simplestreams.parse import FormatError
from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.errors import OriginMisbehaved
from proxy.sources.origin import DocumentSource, OriginItem

PLAIN_INDEX = "streams/v1/index.json"
FURTHER = "streams/v1/mirrors.sjson"


pytestmark = pytest.mark.usefixtures("tree")


@pytest.fixture
def tree(tree: SignedTree) -> SignedTree:
    """Return a tree with two lists."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.add_item(PRODUCT, "20250701", "initrd", content_id="second")
    tree.publish(detached=True)
    return tree


@pytest.fixture
async def unsigned(tmp_path: Path, tree: SignedTree, clock: Clock) -> AsyncIterator[Worker]:
    """Return a worker of the same tree that trusts TLS."""
    mirror = Mirror(name="test", mount="/images/", origins=(f"{tree.root.as_uri()}/",), trust=Trust.TLS)
    async with open_worker(tmp_path / "unsigned", mirror, clock) as worker:
        yield worker


def vetting_of(worker: Worker) -> Vetting:
    vetting: Vetting = worker.documents.checks._check._assembler._vetting
    return vetting


def source_of(worker: Worker) -> DocumentSource:
    [origin] = worker.documents.route.order()
    return DocumentSource(origin, CONFIRMED)


class Dated:
    """The same origin, which gives each document an ETag, and looks at those that it is asked with."""

    host = ""

    def __init__(self, worker: Worker) -> None:
        [self._origin] = worker.documents.route.order()
        self.name = self._origin.name
        self.tag = '"one"'
        self.asked: list[str | None] = []
        self.is_confused = False

    async def fetch(
        self, path: str, validators: Validators, options: FetchOptions = CONFIRMED
    ) -> Fetched | None:
        self.asked.append(validators.etag)
        if validators.etag == self.tag or self.is_confused:
            return None
        fetched = await self._origin.fetch(path, Validators(), options)
        assert fetched is not None
        return Fetched(
            data=fetched.data, validators=Validators(etag=self.tag, last_modified=f"of {self.tag}")
        )

    def item(self, path: str, size_bytes: int) -> OriginItem:
        return self._origin.item(path, size_bytes)


def known(*documents: Document | None) -> dict[str, Document]:
    return {one.path: one for one in documents if one is not None}


async def text_of(worker: Worker, document: Document) -> bytes | None:
    return await worker.storage.threads.slow(worker.storage.store.read, document.text)


async def test_a_signed_document_is_stored_with_its_text(worker: Worker, tree: SignedTree) -> None:
    vetting, source = vetting_of(worker), source_of(worker)
    document, names, signature = await vetting.fetch(source, INDEX, {})
    raw = on_disk(tree, INDEX)[0]
    assert (document.path, document.format, document.size_bytes) == (INDEX, "index:1.0", len(raw))
    assert document.digest == digest_of(raw)
    assert (document.updated, document.origin) == (tree.updated_s, source.name)
    assert tree.key is not None
    assert document.fingerprint == tree.key.fingerprint
    assert document.signed_at is not None
    text = await text_of(worker, document)
    assert text == await vetting.text(document)
    assert isinstance(names, Index)
    assert signature is None
    document, names, _ = await vetting.fetch(source, LIST, {})
    assert (document.format, document.content_id) == ("products:1.0", "com.ubuntu.maas:stable:v3:download")
    assert names is None


async def test_a_plain_document_comes_with_its_signature(worker: Worker, tree: SignedTree) -> None:
    vetting, source = vetting_of(worker), source_of(worker)
    document, names, signature = await vetting.fetch(source, PLAIN_INDEX, {})
    assert signature is not None
    raw, signature_raw = on_disk(tree, PLAIN_INDEX, f"{PLAIN_INDEX}.gpg")
    assert document.digest == document.text == digest_of(raw)
    assert signature == Document(
        path=f"{PLAIN_INDEX}.gpg",
        format=SIBLING,
        digest=digest_of(signature_raw),
        size_bytes=len(signature_raw),
        text=digest_of(signature_raw),
        origin=source.name,
    )
    assert document.fingerprint
    # Unchanged, it keeps what it names and its signature.
    again = await vetting.fetch(source, PLAIN_INDEX, known(document, signature))
    assert again == (document, names, signature)
    (tree.root / f"{PLAIN_INDEX}.gpg").unlink()
    with pytest.raises(DocumentRefused, match=r"not signed: there is no streams/v1/index\.json\.gpg"):
        await vetting.fetch(source, PLAIN_INDEX, {})


async def test_what_is_here_already_is_asked_for_with_its_validators(worker: Worker) -> None:
    vetting, source = vetting_of(worker), source_of(worker)
    document = (await vetting.fetch(source, LIST, {})).document
    # Another origin's validators are not used, and what it gives is noted as its own.
    elsewhere = replace(document, origin="http://other.example/", etag='"other"', last_modified="never")
    assert (await vetting.fetch(source, LIST, known(elsewhere))).document == document
    # A document of which only the dates are known has to be fetched whole.
    assert (await vetting.fetch(source, LIST, known(document.date_only()))).document == document
    # So has one that a flavour's record names, or that the store has lost.
    sibling = replace(document, format=SIBLING)
    assert (await vetting.fetch(source, LIST, known(sibling))).document == document
    store, slow = worker.storage.store, worker.storage.threads.slow
    for digest in (document.digest, document.text):
        assert await slow(removed, store, digest)
        assert not await vetting.holds(document)
        assert (await vetting.fetch(source, LIST, known(document))).document == document
        assert await vetting.holds(document)
    assert await vetting.holds(None)


async def test_an_origin_is_asked_whether_its_own_version_still_holds(worker: Worker) -> None:
    vetting, dated = vetting_of(worker), Dated(worker)
    source = DocumentSource(dated, CONFIRMED)
    index, names, _ = await vetting.fetch(source, INDEX, {})
    assert (index.etag, index.last_modified) == ('"one"', 'of "one"')
    assert await vetting.fetch(source, INDEX, known(index)) == (index, names, None)
    dated.tag = '"two"'
    again, names_again, _ = await vetting.fetch(source, INDEX, known(index))
    assert again == replace(index, etag='"two"', last_modified='of "two"')
    assert names_again == names
    elsewhere = replace(index, origin="http://other.example/")
    assert (await vetting.fetch(source, INDEX, known(elsewhere))).document == again
    assert dated.asked == [None, '"one"', '"one"', None]
    _, _, signature = await vetting.fetch(source, PLAIN_INDEX, {})
    assert signature is not None
    assert (signature.etag, signature.last_modified) == ('"two"', 'of "two"')
    dated.is_confused = True
    with pytest.raises(OriginMisbehaved, match="has not changed, but was not asked"):
        await vetting.fetch(source, LIST, {})


async def test_a_plain_document_whose_signature_is_lost_is_fetched_again(worker: Worker) -> None:
    vetting, source = vetting_of(worker), source_of(worker)
    document, _, signature = await vetting.fetch(source, PLAIN_INDEX, {})
    assert signature is not None
    assert await worker.storage.threads.slow(removed, worker.storage.store, signature.digest)
    again = await vetting.fetch(source, PLAIN_INDEX, known(document, signature))
    assert again.signature is not None
    assert await vetting.holds(again.signature)


async def test_nothing_older_takes_the_place_of_what_is_known(worker: Worker, tree: SignedTree) -> None:
    vetting, source = vetting_of(worker), source_of(worker)
    before = on_disk(tree, LIST)[0]
    tree.publish()
    newer = (await vetting.fetch(source, LIST, {})).document
    tree.write(LIST, before)
    with pytest.raises(RollbackError, match="'updated' lies before"):
        await vetting.fetch(source, LIST, known(newer))
    # Not even where nothing but its dates is known.
    with pytest.raises(RollbackError, match="'updated' lies before"):
        await vetting.fetch(source, LIST, known(newer.date_only()))


async def test_a_date_that_lies_ahead_is_noted(worker: Worker, tree: SignedTree, clock: Clock) -> None:
    vetting, source = vetting_of(worker), source_of(worker)
    before = (await vetting.fetch(source, LIST, {})).document
    tree.publish(updated=clock() + 10_000)
    document = (await vetting.fetch(source, LIST, known(before))).document
    assert (document.is_ahead, document.least_updated) == (True, before.updated)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"no envelope at all", EnvelopeError),
        (b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}\n", EnvelopeError),
    ],
)
async def test_what_is_no_signed_document_is_refused(
    worker: Worker, tree: SignedTree, data: bytes, cause: type[Exception]
) -> None:
    tree.write(LIST, data)
    with pytest.raises(DocumentRefused, match=LIST) as caught:
        await vetting_of(worker).fetch(source_of(worker), LIST, {})
    assert isinstance(caught.value.cause, cause)
    assert caught.value.path == LIST


async def test_what_is_signed_and_no_list_is_refused(worker: Worker, tree: SignedTree) -> None:
    assert tree.key is not None
    tree.write(LIST, tree.key.clearsign(b"[]\n"))
    with pytest.raises(DocumentRefused) as caught:
        await vetting_of(worker).fetch(source_of(worker), LIST, {})
    assert isinstance(caught.value.cause, FormatError)


async def test_without_keys_a_signed_document_proves_nothing(unsigned: Worker) -> None:
    vetting, source = vetting_of(unsigned), source_of(unsigned)
    with pytest.raises(DocumentRefused, match="names no key to check it with"):
        await vetting.fetch(source, LIST, {})
    document, names, signature = await vetting.fetch(source, PLAIN_INDEX, {})
    assert (document.fingerprint, document.signed_at, signature) == ("", None, None)
    assert isinstance(names, Index)
    with pytest.raises(SignatureError, match="names no key"):
        await vetting.check_signature(b"text", b"signature")


async def test_a_further_document_is_proved_as_others_are(
    worker: Worker, tree: SignedTree, unsigned: Worker
) -> None:
    assert tree.key is not None
    vetting, source = vetting_of(worker), source_of(worker)
    tree.write(FURTHER, tree.key.clearsign(b"any words\n"))
    document, names, signature = await vetting.fetch_of_any_kind(source, FURTHER, {})
    assert (document.format, names, signature) == (WHOLE, None, None)
    assert document.fingerprint == tree.key.fingerprint
    assert await text_of(worker, document) == b"any words\n"
    plain = "streams/v1/any.json"
    tree.write(plain, b"any words")
    with pytest.raises(DocumentRefused, match="it is not signed"):
        await vetting.fetch_of_any_kind(source, plain, {})
    tree.write(f"{plain}.gpg", tree.key.detach(b"other words"))
    with pytest.raises(DocumentRefused):
        await vetting.fetch_of_any_kind(source, plain, {})
    tree.write(f"{plain}.gpg", tree.key.detach(b"any words"))
    document, _, signature = await vetting.fetch_of_any_kind(source, plain, {})
    assert (document.fingerprint, document.format) == (tree.key.fingerprint, WHOLE)
    assert signature is not None
    assert (signature.path, signature.format) == (f"{plain}.gpg", SIBLING)
    # Where TLS is trusted it is passed on as it is.
    document, _, signature = await vetting_of(unsigned).fetch_of_any_kind(source_of(unsigned), FURTHER, {})
    assert (document.fingerprint, document.format, signature) == ("", WHOLE, None)
    tree.write(FURTHER, b"any words")
    with pytest.raises(DocumentRefused, match="not clear-signed, though it is called so"):
        await vetting.fetch_of_any_kind(source, FURTHER, {})


async def test_a_key_that_is_not_in_the_ring_proves_nothing(worker: Worker, tree: SignedTree) -> None:
    with SigningKey("Somebody Else <else@example.test>") as other:
        tree.write(SECOND_LIST, other.clearsign(on_disk(tree, "streams/v1/second.json")[0]))
        with pytest.raises(DocumentRefused) as caught:
            await vetting_of(worker).fetch(source_of(worker), SECOND_LIST, {})
    assert isinstance(caught.value.cause, SignatureError)


async def test_a_text_that_the_store_has_lost_is_told(worker: Worker) -> None:
    document = (await vetting_of(worker).fetch(source_of(worker), LIST, {})).document
    with pytest.raises(DocumentRefused, match="the store has lost its text"):
        await vetting_of(worker).text(replace(document, text=NO_DIGEST))


async def test_a_flavour_says_what_the_document_says(worker: Worker, tree: SignedTree) -> None:
    vetting = vetting_of(worker)
    document = (await vetting.fetch(source_of(worker), LIST, {})).document
    plain = on_disk(tree, LIST.replace(".sjson", ".json"))[0]
    assert await vetting.says_the_same(document, plain)
    assert await vetting.says_the_same(document, plain.replace(b"\n", b" "))
    assert not await vetting.says_the_same(document, plain.replace(b"squashfs", b"squashfx"))
