"""Six ways an invoice may look; each draws one bill and returns its pages."""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image

from drawing.bills import Bill
from drawing.lettering import INK, Pen, typewritten
from drawing.parts import GREY, WHITE, Table, block, facts, sums, tinted, totals
from drawing.words import day, money, number, words

DPI = 120
A4 = (210.0, 297.0)
LETTER = (215.9, 279.4)


def modern(bill: Bill) -> list[Image.Image]:
    """A logo, a large title, a coloured table head and a coloured total."""
    pen, said = Pen(*A4, DPI), words(bill)
    pen.disc(27, 25, 7, bill.colour)
    pen.disc(34, 25, 7, tinted(bill.colour, 0.45))
    pen.shape([(24, 25), (30.5, 18.5), (37, 25), (30.5, 31.5)], tinted(bill.colour, 0.8))
    pen.text(45, 24, bill.vendor.name, 13, bold=True, colour=bill.colour)
    block(pen, 45, 29.5, bill.vendor.address, 8, 3.9)
    pen.text(190, 62, said["title"].upper(), 26, align="r", colour=tinted(bill.colour, 0.85))
    pen.text(20, 68, said["to"], 8, colour=GREY)
    pen.text(20, 74, bill.customer.name, 10.5, bold=True)
    block(pen, 20, 79, bill.customer.address)
    y = 72.0
    for label, value in facts(bill):
        pen.text(152, y, label, 9, colour=GREY, align="r")
        pen.text(190, y, value, 9, align="r")
        y += 5.2
    table = Table(left=22, quantity=128, price=158, right=188, step=8.2, striped=True)
    y = table.head(pen, 106, bill, bill.colour, WHITE)
    y = table.rows(pen, y, bill, bill.lines)
    y = totals(pen, y, bill, 122, 188, bill.colour, WHITE)
    block(pen, 20, y + 6, bill.terms, 8.5)
    _footer(pen, bill, 278)
    return [pen.page()]


def letter(bill: Bill) -> list[Image.Image]:
    """A business letter with a window for the address, a salutation and rules instead of colour."""
    pen, said = Pen(*A4, DPI, (253, 252, 249)), words(bill)
    pen.shape([(168, 30), (178, 14), (188, 30)], bill.colour)
    pen.shape([(175, 30), (183, 19), (191, 30)], tinted(bill.colour, 0.55))
    pen.text(190, 37, bill.vendor.name, 12, bold=True, align="r")
    for row, line in enumerate((*bill.vendor.address, bill.vendor.tax_id)):
        pen.text(190, 42 + row * 4, line, 8, align="r", colour=GREY)
    sender = " · ".join((bill.vendor.name, *bill.vendor.address))
    pen.text(25, 52, sender, 6.2, colour=GREY)
    pen.line(25, 53.2, 25 + pen.length(sender, 6.2), 53.2, 0.1, GREY)
    block(pen, 25, 61, [bill.customer.name, *bill.customer.address], 10, 5)
    for mark in (105, 148.5, 210):  # where to fold and punch
        pen.line(3, mark, 8, mark, 0.1, GREY)
    pen.text(25, 101, f"{said['title']} {bill.number}", 15, bold=True)
    y = 78.0
    for label, value in facts(bill):
        pen.text(132, y, label, 8.5, colour=GREY)
        pen.text(190, y, value, 8.5, align="r")
        y += 4.6
    pen.text(25, 110, "Sehr geehrte Damen und Herren, wir erlauben uns, wie folgt zu berechnen:", 9)
    table = Table(left=27, quantity=128, price=158, right=188, step=7.4, numbered=True)
    y = table.rows(pen, table.head(pen, 115, bill, None), bill, bill.lines)
    y = totals(pen, y, bill, 120, 188, None)
    y = block(pen, 25, y + 4, bill.terms)
    pen.text(25, y + 4, "Mit freundlichen Grüssen", 9)
    _signature(pen, 26, y + 15, bill)
    _footer(pen, bill, 280)
    return [pen.page()]


def band(bill: Bill) -> list[Image.Image]:
    """A coloured band down the left side with everything but the lines in it."""
    pen, said = Pen(*A4, DPI), words(bill)
    pen.box(0, 0, 62, 297, bill.colour)
    for ring, strength in enumerate((0.35, 0.55, 0.75)):
        pen.disc(20 + ring * 7, 26, 9 - ring * 1.5, tinted(bill.colour, strength))
    y = 46.0
    for text in pen.wrapped(bill.vendor.name, 12, 46):
        pen.text(9, y, text, 12, bold=True, colour=WHITE)
        y += 5.6
    pale = tinted(bill.colour, 0.22)
    for line in (*bill.vendor.address, bill.vendor.tax_id):
        pen.text(9, y + 2, line, 7.6, colour=pale)
        y += 4.2
    y += 12
    for label, value in facts(bill):
        pen.text(9, y, label, 7.6, colour=pale)
        pen.text(9, y + 5, value, 10, colour=WHITE)
        y += 13
    pen.text(72, 34, said["title"], 30, colour=bill.colour)
    pen.text(72, 52, said["to"], 8, colour=GREY)
    block(pen, 72, 58, [bill.customer.name, *bill.customer.address], 10, 5)
    table = Table(left=72, quantity=146, price=172, right=198, points=8.6, step=9.0)
    y = table.rows(pen, table.head(pen, 88, bill, tinted(bill.colour, 0.12)), bill, bill.lines)
    y = totals(pen, y, bill, 138, 198, tinted(bill.colour, 0.12), bill.colour)
    for term in bill.terms:
        y = block(pen, 72, y, pen.wrapped(term, 8.2, 124), 8.2) + 1
    block(pen, 72, y + 8, bill.bank, 8.2)
    return [pen.page()]


def ledger(bill: Bill) -> list[Image.Image]:
    """Boxes and rules everywhere, as accounting programs print them."""
    size = LETTER if bill.language == "en-US" else A4
    pen, said = Pen(*size, DPI), words(bill)
    right = size[0] - 18
    pen.box(18, 16, 36, 30, bill.colour, radius=2)
    pen.text(
        27,
        27,
        "".join(word[0] for word in bill.vendor.name.split()[:2]),
        22,
        colour=WHITE,
        align="m",
        bold=True,
    )
    pen.text(41, 22, bill.vendor.name, 13, bold=True)
    block(pen, 41, 27, [*bill.vendor.address, bill.vendor.tax_id], 8.4, 4)
    pen.text(right, 26, said["title"].upper(), 24, align="r", bold=True, colour=bill.colour)
    pen.box(18, 50, 105, 80, outline=INK)
    pen.box(18, 50, 105, 56.5, tinted(bill.colour, 0.18), INK)
    pen.text(20, 54.7, said["to"], 8.5, bold=True)
    block(pen, 21, 62, [bill.customer.name, *bill.customer.address], 9.5, 4.8)
    y = 50.0
    for label, value in facts(bill):
        pen.box(118, y, 153, y + 6.5, tinted(bill.colour, 0.18), INK)
        pen.box(153, y, right, y + 6.5, None, INK)
        pen.text(120, y + 4.6, label, 8.5)
        pen.text(right - 2, y + 4.6, value, 8.5, align="r")
        y += 6.5
    table = Table(left=20, quantity=122, price=156, right=right - 2, step=7.2, grid=True)
    y = table.head(pen, 92, bill, tinted(bill.colour, 0.3))
    pen.box(18, 92, right, y, outline=INK)
    y = table.rows(pen, y, bill, bill.lines)
    for _ in range(4):  # the form's empty rows
        pen.box(18, y, right, y + 7.2, outline=INK)
        y += 7.2
    y = totals(pen, y, bill, 124, right - 2, None)
    block(pen, 18, y + 4, bill.terms, 9)
    pen.text(18, size[1] - 14, f"{said['page']} 1/1", 7.5, colour=GREY)
    return [pen.page()]


def freight(bill: Bill) -> list[Image.Image]:
    """Two plain pages of many small lines, the sum of the first carried forward to the second."""
    said, half = words(bill), 17
    table = Table(left=20, quantity=130, price=160, right=188, points=8.2, step=6.6, numbered=True)
    pages: list[Image.Image] = []
    carried = sum((bill.amount(line) for line in bill.lines[:half]), start=bill.subtotal * 0)
    for page in (1, 2):
        pen = Pen(*A4, 150)
        pen.shape([(18, 26), (30, 14), (34, 18), (26, 26)], INK)
        pen.shape([(27, 26), (35, 18), (43, 26)], INK)
        pen.text(48, 21, bill.vendor.name.upper(), 12, bold=True)
        pen.text(48, 26, " - ".join((*bill.vendor.address, bill.vendor.tax_id)), 7.6)
        pen.line(18, 30, 190, 30, 0.5)
        if page == 1:
            pen.text(20, 42, said["title"].upper(), 18, bold=True)
            block(pen, 20, 52, [bill.customer.name, *bill.customer.address], 9.5, 4.8)
            y = 42.0
            for label, value in facts(bill):
                pen.text(112, y, label, 8.6)
                pen.text(140, y, f": {value}", 8.6)
                y += 5.2
            y = table.rows(pen, table.head(pen, 82, bill, None), bill, bill.lines[:half])
            _carried(pen, y + 5, bill, money(carried, bill))
        else:
            pen.text(
                20, 40, f"{said['title']} {bill.number}, {day(bill.date, bill.language)}", 9.5, bold=True
            )
            _carried(pen, 48, bill, money(carried, bill))
            y = table.rows(pen, table.head(pen, 52, bill, None), bill, bill.lines[half:], half + 1)
            y = totals(pen, y, bill, 122, 188, None)
            y = block(pen, 20, y + 2, bill.terms, 8.4)
            _signature(pen, 24, y + 14, bill)
            block(pen, 20, 270, bill.bank, 8, 4)
        pen.line(18, 284, 190, 284, 0.3)
        pen.text(190, 289, f"{said['page']} {page} / 2", 8, align="r")
        pages.append(pen.page())
    return pages


def slip(bill: Bill) -> list[Image.Image]:
    """A strip from a dot-matrix printer: one type, one size, columns made of spaces."""
    said, wide = words(bill), 46
    rule = "-" * wide
    rows = [
        line.center(wide) for line in (bill.vendor.name.upper(), *bill.vendor.address, bill.vendor.tax_id)
    ]
    rows += ["", *(f"{label + ' ':.<18} {value}" for label, value in facts(bill)), ""]
    rows += [f"{said['to']}: {bill.customer.name}", *(f"    {line}" for line in bill.customer.address), rule]
    rows += [_columns(said["description"], said["quantity"], said["each"], said["amount"].split()[0]), rule]
    for line in bill.lines:
        figures = (
            number(line.quantity, bill.language),
            money(line.unit_price, bill),
            money(bill.amount(line), bill),
        )
        rows.append(_columns(line.description, *figures))
    rows.append(rule)
    for label, amount in (*sums(bill), (said["total"].upper(), money(bill.total, bill, symbol=True))):
        rows.append(f"{label:>32}{amount.replace('€', 'EUR'):>14}")
    rows += ["=" * wide, "", *(term.center(wide) for term in bill.terms), ""]
    margin, letters = 7.0, typewritten(rows)
    width = 112.0
    height = letters.height * (width - 2 * margin) / letters.width
    pen = Pen(width, height + 24, 160, (252, 251, 246))
    for hole in range(6, int(height + 24), 9):  # the holes of continuous paper
        for side in (2.6, width - 2.6):
            pen.disc(side, hole, 1.2, (196, 196, 190))
    pen.paste(margin, 12, letters, width - 2 * margin, bill.colour)
    return [pen.page()]


LAYOUTS: dict[str, Callable[[Bill], list[Image.Image]]] = {
    "modern": modern,
    "letter": letter,
    "band": band,
    "ledger": ledger,
    "freight": freight,
    "slip": slip,
}


def _columns(description: str, quantity: str, price: str, amount: str) -> str:
    return f"{description[:24]:<24}{quantity:>4}{price:>9}{amount:>9}"


def _carried(pen: Pen, y: float, bill: Bill, amount: str) -> None:
    pen.text(160, y, words(bill)["carried"], 8.2, align="r", bold=True)
    pen.text(188, y, amount, 8.2, align="r", bold=True)


def _footer(pen: Pen, bill: Bill, y: float) -> None:
    """Bank and tax details side by side at the foot of the page."""
    pen.line(20, y - 5, 190, y - 5, 0.2, tinted(bill.colour, 0.6))
    for place, line in enumerate((*bill.bank, bill.vendor.tax_id)):
        pen.text(20 + place % 2 * 85, y + place // 2 * 4, line, 7.2, colour=GREY)


def _signature(pen: Pen, x: float, y: float, bill: Bill) -> None:
    """A scribble in blue ink, its own for each vendor."""
    ways = [1 + sum(map(ord, bill.vendor.name[place::3])) % 7 / 6 for place in range(3)]
    points = []
    for step in range(160):
        t = step / 8
        right = t * 1.25 + 1.6 * math.sin(t * 2.1 * ways[0])
        up = (2.6 - t / 10) * math.sin(t * 2.1 * ways[0] + 1.3) + 1.2 * math.sin(t * ways[1])
        points.append((x + right, y - up))
    pen.curve(points, 0.35, (38, 52, 120))
    pen.curve([(x - 2, y + 4), (x + 14 * ways[2], y + 2.6), (x + 24, y + 3.4)], 0.3, (38, 52, 120))
