"""Products with their metadata and stock: each change one unit of work, each page one story."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import MISSING, ValidationError
from pymongo.errors import PyMongoError
from sqlalchemy import Row

from inventory_api.kit import json
from inventory_api.kit.errors import Flaw
from inventory_api.kit.text import canonical, search_key
from inventory_api.metadata import documents
from inventory_api.metadata.relay import Relay
from inventory_api.metadata.schemas import EMPTY, ProductMetadataUpdate, merged, replaced
from inventory_api.metadata.sync_repository import SyncReads, SyncRepository
from inventory_api.models import Product, ProductStatus
from inventory_api.products.errors import (
    InvalidMetadata,
    MetadataUnavailable,
    SortNotPossible,
)
from inventory_api.products.repository import (
    SORTING,
    ProductReads,
    ProductRepository,
    StoredProduct,
)
from inventory_api.products.schemas import (
    ProductCreate,
    ProductInclude,
    ProductQuery,
    ProductReplace,
    ProductSort,
    ProductUpdate,
)
from inventory_api.stock.repository import StockRepository
from inventory_api.stores.mongo import Mongo, MongoUnavailableError
from inventory_api.stores.sql import WriteSession

_DEFAULTS: dict[str, Any] = {
    "barcode": None,
    "barcode_key": None,
    "description": None,
    "category_id": None,
    "supplier_id": None,
    "unit": "piece",
    "reorder_level": 0,
    "expiry_date": None,
    "status": ProductStatus.ACTIVE,
}


@dataclass(frozen=True, slots=True)
class ProductState:
    """A product as an answer shows it."""

    row: Any
    metadata: Any
    pending: bool
    """Whether MongoDB has yet to take this state."""


def _columns(body: ProductReplace | ProductUpdate) -> dict[str, Any]:
    """The row's columns for what the body gives."""
    values = body.model_dump(exclude={"metadata", "quantity_in_stock"})
    if "sku" in values:
        values["sku_key"] = canonical(values["sku"])
    if "name" in values:
        values["name_key"] = search_key(values["name"])
    if "barcode" in values:
        barcode = values["barcode"]
        values["barcode_key"] = None if barcode is None else canonical(barcode)
    return values


class ProductService:
    """Changes products within the request's transaction."""

    def __init__(self, session: WriteSession, relay: Relay) -> None:
        self._session = session
        self._relay = relay
        self._products = ProductRepository(session)
        self._sync = SyncRepository(session)
        self._stock = StockRepository(session)

    async def stored(self, product_id: int) -> StoredProduct | None:
        return await self._products.stored(product_id)

    async def create(self, body: ProductCreate, actor_id: int | None) -> ProductState:
        """Make a product, its metadata and its opening stock.

        Raises:
            SkuTaken, BarcodeTaken, UnknownCategory, UnknownSupplier
        """
        given = body.model_dump(include={"quantity_in_stock"})
        metadata = replaced(_given(body.metadata))
        product = await self._products.add(Product(**_DEFAULTS | _columns(body)))
        await self._sync.queue_new(product.id, product.name, metadata)
        await self._stock.open_product(product, given.get("quantity_in_stock", 0), actor_id)
        self._notify()
        return ProductState(product, metadata, pending=True)

    async def replace(self, stored: StoredProduct, body: ProductReplace) -> ProductState:
        """Make the product what the body says; absent members take their defaults."""
        return await self._save(stored, _DEFAULTS | _columns(body), replaced(_given(body.metadata)))

    async def update(self, stored: StoredProduct, body: ProductUpdate) -> ProductState:
        """Merge the given members; raises InvalidMetadata when the result is beyond a limit."""
        patch = _given(body.metadata, absent=ProductMetadataUpdate())
        metadata = EMPTY if patch is None else _merge(stored.metadata, patch, pointer="#/metadata")
        return await self._save(stored, _columns(body), metadata)

    async def replace_metadata(
        self, stored: StoredProduct, metadata: dict[str, Any]
    ) -> ProductState:
        return await self._save(stored, {}, metadata)

    async def update_metadata(
        self, stored: StoredProduct, patch: ProductMetadataUpdate
    ) -> ProductState:
        """Merge into the metadata; raises InvalidMetadata when the result is beyond a limit."""
        return await self._save(stored, {}, _merge(stored.metadata, patch, pointer="#"))

    async def delete(self, stored: StoredProduct, actor_id: int) -> None:
        """Remove the product; its stock is written off, its document becomes a tombstone."""
        product = stored.row
        await self._stock.close_product(product, actor_id)
        await self._sync.queue_delete(product.id, product.version + 1)
        await self._products.remove(product)
        self._notify()

    async def _save(
        self, stored: StoredProduct, columns: Mapping[str, Any], metadata: dict[str, Any]
    ) -> ProductState:
        product = stored.row
        # As text: Python holds 1, 1.0 and True for equal, and any two orders of members.
        metadata_changed = json.write(metadata) != json.write(stored.metadata)
        if not await self._products.change(product, columns, touch=metadata_changed):
            return ProductState(product, metadata, stored.pending)
        await self._sync.queue(product.id, product.version, product.name, stored.metadata, metadata)
        self._notify()
        return ProductState(product, metadata, pending=True)

    def _notify(self) -> None:
        self._session.after_commit.append(self._relay.wake)


def _given(member: Any, *, absent: Any = None) -> Any:
    """A member's value, or `absent` where the body does not have it."""
    return absent if member is MISSING else member


def _merge(
    current: dict[str, Any], patch: ProductMetadataUpdate, *, pointer: str
) -> dict[str, Any]:
    try:
        return merged(current, patch)
    except ValidationError as error:
        flaws = [
            Flaw(
                pointer + "".join(f"/{part}" for part in flaw["loc"]),
                flaw["msg"],
                flaw["type"],
            )
            for flaw in error.errors(include_input=False, include_context=False)
        ]
        raise InvalidMetadata(flaws=flaws) from error


class ProductCatalog:
    """Reads products: single ones, and pages with what `include` asks for."""

    def __init__(
        self, products: ProductReads, sync: SyncReads, mongo: Mongo, currency: str
    ) -> None:
        self._products = products
        self._sync = sync
        self._mongo = mongo
        self._currency = currency

    async def one(self, product_id: int, *, stock: bool) -> Row[Any] | None:
        return await self._products.one(product_id, stock=stock)

    def document(self, state: ProductState, *, stock: bool = False) -> dict[str, Any]:
        """The product as the contract has it, metadata included."""
        return self._summary(state.row, stock=stock) | {"metadata": state.metadata}

    async def page(
        self, query: ProductQuery, start: list[str | int] | None, limit: int
    ) -> Sequence[Row[Any]]:
        """Rows of a page.

        Raises:
            SortNotPossible: a search by specification with another sort than id.
            MetadataUnavailable: a search by specification while MongoDB is away.
        """
        if query.spec is None:
            return await self._products.page(query, start, limit)
        if query.sort is not ProductSort.ID:
            raise SortNotPossible
        return await self._search(query, start, limit)

    async def count(self, query: ProductQuery) -> int:
        if query.spec is None:
            return await self._products.count(query)
        total, start = 0, None
        while rows := await self._search(query, start, _SEARCH_STEP):
            total += len(rows)
            start = SORTING.position_of(query.sort, rows[-1])
        return total

    async def present(self, query: ProductQuery, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
        """The documents of a page."""
        stock = ProductInclude.STOCK in query.include
        items = [self._summary(row, stock=stock) for row in rows]
        if ProductInclude.METADATA in query.include:
            metadata = await self._metadata({row.id: row.version for row in rows})
            for item in items:
                item["metadata"] = metadata.get(item["id"], EMPTY)
        return items

    async def _search(
        self, query: ProductQuery, start: list[str | int] | None, limit: int
    ) -> list[Row[Any]]:
        """Walk MongoDB's matches by id and keep those that meet the other filters."""
        found: list[Row[Any]] = []
        after = int(start[0]) if start else 0
        step = max(limit, _SEARCH_STEP)
        while len(found) < limit:
            try:
                ids = await documents.find_by_specification(
                    self._mongo.collection(), query.spec_term or "", after, step
                )
            except (PyMongoError, MongoUnavailableError) as error:
                raise MetadataUnavailable from error
            if ids:
                found += await self._products.page(query, None, limit - len(found), among=ids)
                after = ids[-1]
            if len(ids) < step:
                break
        return found[:limit]

    async def _metadata(self, wanted: Mapping[int, int]) -> dict[int, Any]:
        """Metadata by product id: MongoDB's at the row's version, else the durable copy.

        Args:
            wanted: product id → version of its row.
        """
        found = await self._documents(list(wanted))
        current: dict[int, Any] = {
            product_id: documents.metadata_of(document)
            for product_id, document in found.items()
            if document["version"] == wanted[product_id]
        }
        if missing := [product_id for product_id in wanted if product_id not in current]:
            payloads = await self._sync.payloads(missing)
            current |= {key: raw_json(payload) for key, payload in payloads.items()}
        return current

    async def _documents(self, product_ids: list[int]) -> dict[int, dict[str, Any]]:
        if not product_ids:
            return {}
        try:
            return await documents.fetch(self._mongo.collection_for_lists(), product_ids)
        except PyMongoError as error:
            self._mongo.failed(error)
        except MongoUnavailableError:
            pass  # it failed a moment ago, and was logged then
        return {}

    def _summary(self, row: Any, *, stock: bool) -> dict[str, Any]:
        document = {name: getattr(row, name) for name in _ROW_MEMBERS}
        document["currency"] = self._currency
        if stock:
            available = row.on_hand - row.reserved
            is_low = 0 < row.reorder_level >= available and row.status is ProductStatus.ACTIVE
            document["stock"] = {
                "on_hand": row.on_hand,
                "reserved": row.reserved,
                "available": available,
                "is_low": is_low,
            }
        return document


_SEARCH_STEP = 200

_ROW_MEMBERS = (
    "id",
    "sku",
    "barcode",
    "name",
    "description",
    "category_id",
    "supplier_id",
    "cost_price",
    "selling_price",
    "unit",
    "reorder_level",
    "expiry_date",
    "status",
    "version",
    "created_at",
    "updated_at",
)


def raw_json(payload: str) -> msgspec.Raw:
    """JSON text that goes into an answer as it is, neither decoded nor encoded again."""
    return msgspec.Raw(payload.encode())
