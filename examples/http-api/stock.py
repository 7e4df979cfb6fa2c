"""An operation of one's own over an HTTP API: each order is checked against a shop's stock.

Input and output are Pydantic models: a bad order fails when it is submitted, and the output's fields are columns. How
fast the shop may be asked, and how often again, stands with the function; batchq.toml can say otherwise.
"""

import json
import os
from urllib.error import HTTPError
from urllib.request import urlopen

from pydantic import BaseModel, PositiveInt

from batchq import Rejected, Throttled, Unavailable, operation

API = os.environ.get("STOCK_API", "http://127.0.0.1:8099")


class Order(BaseModel):
    sku: str
    quantity: PositiveInt


class Delivery(BaseModel):
    sku: str
    can_deliver: bool
    missing: int
    price: float


@operation("stock", rpm=600, concurrency=20, timeout_s=15, max_attempts=4, backoff_s=0.5)
def stock(order: Order) -> Delivery:
    try:
        with urlopen(f"{API}/stock/{order.sku}", timeout=10) as answer:
            found = json.load(answer)
    except HTTPError as error:
        if error.code == 429:  # waits, and costs no attempt
            wait_ms = 1000 * int(error.headers.get("Retry-After", 1))
            raise Throttled("too fast", code=429, retry_after_ms=wait_ms) from error
        if error.code >= 500:  # tried again, later each time
            raise Unavailable(str(error), code=error.code, kind="UNAVAILABLE") from error
        raise Rejected(f"no such article: {order.sku}", code=error.code, kind="NOT_FOUND") from error
    missing = max(0, order.quantity - found["pieces"])
    return Delivery(
        sku=order.sku, can_deliver=missing == 0, missing=missing, price=found["price"] * order.quantity
    )
