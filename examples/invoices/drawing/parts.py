"""What every layout has: the block of facts, the table of lines, the totals."""

from __future__ import annotations

from dataclasses import dataclass

from drawing.bills import Bill, Line
from drawing.lettering import INK, Colour, Pen
from drawing.words import day, money, number, rate, words

GREY: Colour = (110, 112, 118)
PALE: Colour = (242, 243, 245)
WHITE: Colour = (255, 255, 255)


def tinted(colour: Colour, strength: float) -> Colour:
    """The colour on white paper, `strength` of it (1 is full)."""
    red, green, blue = (round(255 - (255 - part) * strength) for part in colour)
    return red, green, blue


def facts(bill: Bill) -> list[tuple[str, str]]:
    """Number, dates and the bill's own references, as label and value."""
    said = words(bill)
    found = [(said["number"], bill.number), (said["date"], day(bill.date, bill.language))]
    if bill.due_date:
        found.append((said["due"], day(bill.due_date, bill.language)))
    return [*found, *bill.extra]


def block(
    pen: Pen, x: float, y: float, lines: tuple[str, ...] | list[str], points: float = 9, step: float = 4.4
) -> float:
    """Lines one below the other; returns the baseline after the last."""
    for line in lines:
        pen.text(x, y, line, points)
        y += step
    return y


@dataclass(frozen=True, slots=True)
class Table:
    """Where the columns of a table of lines stand: the left edge of the text, right edges of the numbers."""

    left: float
    quantity: float
    price: float
    right: float
    points: float = 9
    step: float = 7.0
    grid: bool = False  # rules around all cells, else a hairline below each row
    striped: bool = False
    numbered: bool = False

    def head(self, pen: Pen, y: float, bill: Bill, fill: Colour | None, ink: Colour = INK) -> float:
        """The column heads; returns where the first row begins."""
        said = words(bill)
        if fill:
            pen.box(self.left - 2, y, self.right + 2, y + 7.4, fill)
        base, points = y + 5.1, self.points - 0.5
        if self.numbered:
            pen.text(self.left, base, "#", points, colour=ink, bold=True)
        pen.text(self.left + self._indent, base, said["description"], points, colour=ink, bold=True)
        for x, word in self._numbers(said["quantity"], said["price"], said["amount"]):
            pen.text(x, base, word, points, colour=ink, bold=True, align="r")
        if not fill:
            pen.line(self.left - 2, y + 7.4, self.right + 2, y + 7.4, 0.35)
        return y + 7.4

    def rows(self, pen: Pen, y: float, bill: Bill, lines: tuple[Line, ...], first: int = 1) -> float:
        """The rows, long descriptions wrapped; returns where the last one ends."""
        top = y
        for place, line in enumerate(lines, first):
            y = self._row(pen, y, bill, line, place)
        if self.grid:
            for x in (self.left - 2, self.quantity - 16, self.quantity + 2, self.price + 2, self.right + 2):
                pen.line(x, top - 7.4, x, y)
        return y

    @property
    def _indent(self) -> float:
        return 7.0 if self.numbered else 0.0

    def _row(self, pen: Pen, y: float, bill: Bill, line: Line, place: int) -> float:
        room = self.quantity - 18 - self.left - self._indent
        texts = pen.wrapped(line.description, self.points, room)
        height = self.step + (len(texts) - 1) * 4.1
        if self.striped and place % 2 == 0:
            pen.box(self.left - 2, y, self.right + 2, y + height, PALE)
        base = y + self.step * 0.68
        if self.numbered:
            pen.text(self.left, base, str(place), self.points, colour=GREY)
        for row, text in enumerate(texts):
            pen.text(self.left + self._indent, base + row * 4.1, text, self.points)
        figures = (
            number(line.quantity, bill.language),
            money(line.unit_price, bill),
            money(bill.amount(line), bill),
        )
        for x, figure in self._numbers(*figures):
            pen.text(x, base, figure, self.points, align="r")
        if not self.striped:
            shade = INK if self.grid else (214, 216, 220)
            pen.line(self.left - 2, y + height, self.right + 2, y + height, 0.15, shade)
        return y + height

    def _numbers(self, quantity: str, price: str, amount: str) -> list[tuple[float, str]]:
        return [(self.quantity, quantity), (self.price, price), (self.right, amount)]


def sums(bill: Bill) -> list[tuple[str, str]]:
    """Subtotal and taxes, as label and amount; the total stands apart in every layout."""
    said = words(bill)
    taxes = [
        (f"{bill.tax_word} {rate(percent, bill.language)}", money(tax, bill, symbol=True))
        for percent, tax in bill.taxes.items()
    ]
    return [(said["subtotal"], money(bill.subtotal, bill, symbol=True)), *taxes]


def totals(
    pen: Pen, y: float, bill: Bill, left: float, right: float, fill: Colour | None, ink: Colour = INK
) -> float:
    """The sums and, set off, the total; returns the baseline below."""
    y += 6.5
    for label, amount in sums(bill):
        pen.text(left, y, label, 9)
        pen.text(right, y, amount, 9, align="r")
        y += 5.6
    if fill:
        pen.box(left - 3, y - 3.2, right + 2, y + 6.4, fill)
    else:
        pen.line(left - 1, y - 2.6, right, y - 2.6, 0.3)
        pen.line(left - 1, y + 6.0, right, y + 6.0, 0.3)
        pen.line(left - 1, y + 6.8, right, y + 6.8, 0.3)
    pen.text(left, y + 3.4, words(bill)["total"], 11, colour=ink, bold=True)
    pen.text(right, y + 3.4, money(bill.total, bill, symbol=True), 11, colour=ink, bold=True, align="r")
    return y + 16
