"""The documents in MongoDB: guarded writes for the relay, reads for lists and searches.

Only what MongoDB and both stand-in servers do alike is used here (see docs/decisions).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import encode
from pymongo import ReplaceOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DocumentTooLarge

from inventory_api.kit import json
from inventory_api.kit.clock import utc_now
from inventory_api.metadata.schemas import EMPTY
from inventory_api.metadata.sync_repository import Claim
from inventory_api.models import SyncOperation
from inventory_api.stores.mongo import MongoDocument

_DUPLICATE_KEY = 11000
_PLACEHOLDER_VERSION = -1
_TERM_MAX = 200
_BYTES_MAX = 16 * 1024 * 1024


Write = UpdateOne | ReplaceOne[MongoDocument]


@dataclass(frozen=True, slots=True)
class StoredVersion:
    product_id: int
    version: int
    deleted: bool


def spec_term(key: str, value: Any) -> str:
    """`key=value` as it is indexed: a number and its text are the same term."""
    text = value if isinstance(value, str) else json.write_text(value)
    if len(text) > _TERM_MAX:
        text = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return f"{key}={text}"


def _spec_terms(specifications: Mapping[str, Any]) -> list[str]:
    """Scalars, and the scalars of lists, at the top level; objects are not searched."""
    terms: dict[str, None] = {}
    for key, value in specifications.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str | bool | int | float):
                terms[spec_term(key, item)] = None
    return list(terms)


def document_of(claim: Claim) -> MongoDocument:
    """The document that a claimed state stands for; a tombstone for a deleted product.

    Raises:
        Exception: of whatever class, the state can't be stored: it is at fault, not a store.
    """
    document = _document_of(claim)
    if len(encode(document)) > _BYTES_MAX:
        raise DocumentTooLarge(f"larger than {_BYTES_MAX} bytes")
    return document


def _document_of(claim: Claim) -> MongoDocument:
    if claim.operation is SyncOperation.DELETE:
        return {
            "_id": claim.product_id,
            "product_id": claim.product_id,
            "version": claim.version,
            "deleted": True,
            "deleted_at": utc_now(),
        }
    metadata = json.read(claim.payload.encode())
    return {
        "_id": claim.product_id,
        "product_id": claim.product_id,
        "name": claim.name,
        "version": claim.version,
        "deleted": False,
        **metadata_of(metadata),
        "spec_terms": _spec_terms(metadata["specifications"]),
    }


async def apply(
    collection: AsyncCollection[MongoDocument], documents: Sequence[MongoDocument]
) -> dict[int, str]:
    """Store each document unless its stored version is as new or newer.

    In two steps: a placeholder where there is none, then the guarded replacement. One guarded
    upsert would not do: it answers a newer document and a lost race alike with error 11000, and
    the embedded server reports neither.

    Returns:
        Index in `documents` → why the server refused it; the others are stored.
    """
    placeholders = [
        UpdateOne(
            {"_id": document["_id"]},
            {
                "$setOnInsert": {
                    "product_id": document["_id"],
                    "version": _PLACEHOLDER_VERSION,
                    "deleted": True,
                }
            },
            upsert=True,
        )
        for document in documents
    ]
    replacements = [
        ReplaceOne({"_id": document["_id"], "version": {"$lt": document["version"]}}, document)
        for document in documents
    ]
    refused = await _write(collection, placeholders)
    # Another relay made the same placeholder at the same moment: it is there, which is all.
    refused = {index: flaw for index, flaw in refused.items() if flaw["code"] != _DUPLICATE_KEY}
    refused |= await _write(collection, replacements)
    return {index: str(flaw["errmsg"]) for index, flaw in refused.items()}


async def _write(
    collection: AsyncCollection[MongoDocument], requests: Sequence[Write]
) -> dict[int, Mapping[str, Any]]:
    """Carry out each write whatever becomes of the others. Returns: index → the server's error."""
    try:
        await collection.bulk_write(requests, ordered=False)
    except BulkWriteError as error:
        if doubts := error.details.get("writeConcernErrors"):
            return dict.fromkeys(range(len(requests)), doubts[0])
        return {flaw["index"]: flaw for flaw in error.details["writeErrors"]}
    return {}


async def fetch(
    collection: AsyncCollection[MongoDocument], product_ids: Sequence[int]
) -> dict[int, MongoDocument]:
    """The documents of a page's products; tombstones and placeholders left out."""
    found = collection.find(
        {"_id": {"$in": list(product_ids)}, "deleted": False}, {"spec_terms": 0, "deleted": 0}
    )
    return {document["_id"]: document async for document in found}


def metadata_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata's members, and no others, with their defaults."""
    return {name: document.get(name, default) for name, default in EMPTY.items()}


async def find_by_specification(
    collection: AsyncCollection[MongoDocument], term: str, after_id: int, limit: int
) -> list[int]:
    """Ids of products with a specification, ascending, greater than `after_id`."""
    found = (
        collection.find(
            {"spec_terms": term, "product_id": {"$gt": after_id}, "deleted": False}, {"_id": 1}
        )
        .sort("product_id", 1)
        .limit(limit)
    )
    return [document["_id"] async for document in found]


def _stored_version(document: MongoDocument) -> StoredVersion:
    return StoredVersion(document["_id"], document["version"], document.get("deleted", False))


async def versions(
    collection: AsyncCollection[MongoDocument], product_ids: Sequence[int]
) -> dict[int, StoredVersion]:
    """What is stored for these products."""
    found = collection.find({"_id": {"$in": list(product_ids)}}, {"version": 1, "deleted": 1})
    return {document["_id"]: _stored_version(document) async for document in found}


async def scan(
    collection: AsyncCollection[MongoDocument], after_id: int, limit: int
) -> dict[int, StoredVersion]:
    """Stored versions in key order, greater than `after_id`."""
    found = (
        collection.find({"product_id": {"$gt": after_id}}, {"version": 1, "deleted": 1})
        .sort("product_id", 1)
        .limit(limit)
    )
    return {document["_id"]: _stored_version(document) async for document in found}


async def purge(
    collection: AsyncCollection[MongoDocument], product_ids: Sequence[int], before: datetime
) -> None:
    """Drop tombstones that are older than any write still under way can be."""
    await collection.delete_many(
        {"_id": {"$in": list(product_ids)}, "deleted": True, "deleted_at": {"$lt": before}}
    )
