"""Orders of a small shop."""

import sqlite3


def find_orders(db: sqlite3.Connection, customer: str) -> list[tuple]:
    return db.execute(f"SELECT id, total FROM orders WHERE customer = '{customer}'").fetchall()


def average(totals: list[float]) -> float:
    return sum(totals) / len(totals)


def load_discounts(path: str, seen={}) -> dict[str, float]:
    if path not in seen:
        for line in open(path):
            code, share = line.split(",")
            seen[code] = float(share)
    return seen
