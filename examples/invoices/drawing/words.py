"""Words, numbers and dates as the invoices' languages write them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from drawing.bills import DECIMALS, Bill

_EN = {
    "title": "Invoice", "number": "Invoice no.", "date": "Date", "due": "Due date", "to": "Bill to",
    "description": "Description", "quantity": "Qty", "price": "Unit price", "amount": "Amount", "each": "Each",
    "subtotal": "Subtotal", "total": "Total", "page": "Page", "carried": "Carried forward",
}  # fmt: skip
_DE = {
    "title": "Rechnung", "number": "Rechnungs-Nr.", "date": "Datum", "due": "Zahlbar bis", "to": "An",
    "description": "Bezeichnung", "quantity": "Menge", "price": "Einzelpreis", "amount": "Betrag", "each": "Preis",
    "subtotal": "Nettobetrag", "total": "Gesamtbetrag", "page": "Seite", "carried": "Übertrag",
}  # fmt: skip
_FR = {
    "title": "Facture", "number": "Facture n°", "date": "Date", "due": "Échéance", "to": "Facturé à",
    "description": "Désignation", "quantity": "Qté", "price": "Prix unit. HT", "amount": "Montant HT", "each": "P.U. HT",
    "subtotal": "Total HT", "total": "Total TTC", "page": "Page", "carried": "Report",
}  # fmt: skip
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip


def words(bill: Bill) -> dict[str, str]:
    return {"en": _EN, "de": _DE, "fr": _FR}[bill.language[:2]]


def number(value: Decimal, language: str, decimals: int | None = None) -> str:
    """Grouped as the language does it; `decimals` None: as many as the value needs."""
    text = f"{value:,.{decimals}f}" if decimals is not None else f"{value.normalize():,f}"
    group, point = {"de": (".", ","), "fr": (" ", ","), "de-CH": ("'", "."), "fr-CH": ("'", ".")}.get(
        language, (",", ".")
    )
    return text.translate({ord(","): group, ord("."): point})


def money(value: Decimal, bill: Bill, symbol: bool = False) -> str:
    """An amount or a price; prices below a cent keep their digits."""
    exponent = value.normalize().as_tuple().exponent
    decimals = max(DECIMALS[bill.currency], -exponent if isinstance(exponent, int) else 0)
    text = number(value, bill.language, decimals)
    if not symbol:
        return text
    if bill.currency == "CHF":
        return f"CHF {text}"
    if bill.currency == "EUR" and bill.language != "en":
        return f"{text} €"
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    return f"{sign}{_SYMBOLS[bill.currency]}{text}"


def day(value: date, language: str) -> str:
    if language == "en-US":
        return f"{value.month:02}/{value.day:02}/{value.year}"
    if language == "en":
        return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"
    mark = "/" if language == "fr" else "."
    return f"{value.day:02}{mark}{value.month:02}{mark}{value.year}"


def rate(value: Decimal, language: str) -> str:
    text = number(value, language)
    return f"{text}%" if language.startswith("en") else f"{text} %"
