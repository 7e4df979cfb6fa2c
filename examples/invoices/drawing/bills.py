"""What the twelve invoices say. All companies, people, addresses and numbers are invented.

Sums are computed here, once; the drawings and labels.json both take them from these records.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

DECIMALS = {"EUR": 2, "USD": 2, "GBP": 2, "CHF": 2, "JPY": 0}


def rounded(value: Decimal, currency: str) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-DECIMALS[currency]), ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Line:
    description: str
    quantity: Decimal
    unit_price: Decimal  # net, in the bill's currency
    rate: Decimal  # of tax, in per cent


@dataclass(frozen=True, slots=True)
class Party:
    name: str
    address: tuple[str, ...]
    tax_id: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    file: str  # its suffix is its format
    layout: str
    language: str  # of its words and numbers: en, en-US, de, de-CH, fr, fr-CH
    colour: tuple[int, int, int]
    vendor: Party
    customer: Party
    number: str
    date: dt.date
    due_date: dt.date | None  # None: paid on the spot
    currency: str
    lines: tuple[Line, ...]
    extra: tuple[tuple[str, str], ...] = ()  # more lines of the block beside the number
    terms: tuple[str, ...] = ()
    bank: tuple[str, ...] = ()
    tax_word: str = "VAT"

    def amount(self, line: Line) -> Decimal:
        return rounded(line.quantity * line.unit_price, self.currency)

    @property
    def subtotal(self) -> Decimal:
        return sum((self.amount(line) for line in self.lines), Decimal(0))

    @property
    def taxes(self) -> dict[Decimal, Decimal]:
        """The tax of each rate, highest rate first."""
        bases: dict[Decimal, Decimal] = {}
        for line in self.lines:
            bases[line.rate] = bases.get(line.rate, Decimal(0)) + self.amount(line)
        return {
            rate: rounded(bases[rate] * rate / 100, self.currency) for rate in sorted(bases, reverse=True)
        }

    @property
    def tax(self) -> Decimal:
        return sum(self.taxes.values(), Decimal(0))

    @property
    def total(self) -> Decimal:
        return self.subtotal + self.tax

    def label(self) -> dict[str, Any]:
        """The answer that `extract` should give, in the form of schema.json."""
        return {
            "invoice_number": self.number,
            "vendor": self.vendor.name,
            "customer": self.customer.name,
            "date": self.date.isoformat(),
            "due_date": self.due_date.isoformat() if self.due_date else None,
            "currency": self.currency,
            "line_items": [
                {
                    "description": line.description,
                    "quantity": _number(line.quantity),
                    "unit_price": _number(line.unit_price),
                    "amount": _number(self.amount(line)),
                }
                for line in self.lines
            ],
            "subtotal": _number(self.subtotal),
            "tax": _number(self.tax),
            "total": _number(self.total),
        }


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _lines(rate: str, *rows: tuple[str, str, str] | tuple[str, str, str, str]) -> tuple[Line, ...]:
    """Rows of description, quantity and price; a fourth value is a rate of the row's own."""
    return tuple(
        Line(row[0], Decimal(row[1]), Decimal(row[2]), Decimal(row[3] if len(row) == 4 else rate))
        for row in rows
    )


BILLS: tuple[Bill, ...] = (
    Bill(
        file="bergstrom-20418.png",
        layout="modern",
        language="en",
        colour=(22, 92, 125),
        vendor=Party(
            "Bergström & Vale Office Supply Ltd",
            ("Unit 6, Tannery Works", "Quayside Road", "Norwick NW9 4ZZ", "accounts@bergstrom-vale.example"),
            "GB 000 4417 29",
        ),
        customer=Party(
            "Harrow Mill Bakery Ltd", ("Att. Accounts Payable", "3 Millbank Lane", "Harrowgate HG0 1QQ")
        ),
        number="BV-INV-20418",
        date=dt.date(2026, 10, 14),
        due_date=dt.date(2026, 11, 13),
        currency="GBP",
        lines=_lines(
            "20",
            ("Copier paper A4, 80 g, box of 5 reams", "12", "21.40"),
            ('Desk chair "Lund", grey, assembled', "2", "189.00"),
            ("Label rolls 62 mm x 30 m", "24", "6.35"),
            ("Till roll thermal 80 mm, pack of 20", "6", "17.90"),
            ("Delivery, upper floor", "1", "14.50"),
        ),
        extra=(("Your order", "PO 7731"), ("Account", "HMB-004")),
        terms=("Payment within 30 days. Please quote the invoice number.",),
        bank=("Sort code 00-00-00", "Account 1234 5678", "Phone 01632 960 118"),
    ),
    Bill(
        file="kiefer-2026-1187.png",
        layout="letter",
        language="de",
        colour=(96, 62, 34),
        vendor=Party(
            "Schreinerei Kiefer & Söhne GmbH",
            ("Am Sägewerk 4", "24937 Flensburg"),
            "USt-IdNr. DE 000 118 204",
        ),
        customer=Party(
            "Praxis Dr. Annegret Soltau", ("Frau Dr. Soltau", "Lindenallee 27", "24939 Flensburg")
        ),
        number="2026-1187",
        date=dt.date(2026, 9, 28),
        due_date=dt.date(2026, 10, 12),
        currency="EUR",
        lines=_lines(
            "19",
            ("Empfangstresen Eiche massiv, geölt, nach Zeichnung vom 12.08.", "1", "3480.00"),
            ("Wandregal Eiche, 240 x 40 x 3 cm", "4", "215.50"),
            ("Montage vor Ort, Geselle", "11.5", "58.00"),
            ("Montage vor Ort, Meister", "3", "74.00"),
            ("Anfahrt", "2", "35.00"),
        ),
        extra=(("Kunden-Nr.", "10442"), ("Leistungszeit", "21.–24.09.2026")),
        terms=(
            "Zahlbar innerhalb von 14 Tagen ohne Abzug.",
            "Bis zur vollständigen Bezahlung bleibt die Ware unser Eigentum.",
        ),
        bank=("Förde Bank", "IBAN DE00 1234 0000 0005 6789 00", "BIC XXXXDE00XXX"),
        tax_word="MwSt.",
    ),
    Bill(
        file="atelier-lune-F26-0093.png",
        layout="band",
        language="fr",
        colour=(120, 44, 84),
        vendor=Party(
            "Atelier Lune d'Été",
            ("18, passage des Tisserands", "69099 Lyon", "SIRET 000 000 000 00093"),
            "TVA FR 00 000000093",
        ),
        customer=Party(
            "Hôtel du Vieux Phare", ("Service comptabilité", "2, quai des Brumes", "29999 Port-Clair")
        ),
        number="F26-0093",
        date=dt.date(2026, 11, 3),
        due_date=dt.date(2026, 12, 3),
        currency="EUR",
        lines=_lines(
            "20",
            ("Création d'une identité visuelle (logo, palette, typographie)", "1", "2400.00"),
            ("Déclinaison carterie : menus, cartes de chambre", "6", "145.00"),
            ("Retouche de photographies", "32", "12.50"),
            ("Réunion de suivi sur place, demi-journée", "2", "310.00"),
        ),
        extra=(("Devis", "D26-0051"),),
        terms=(
            "Règlement à 30 jours par virement.",
            "Pénalités de retard : trois fois le taux légal. Indemnité de recouvrement : 40 €.",
        ),
        bank=("IBAN FR00 0000 1234 5678 9000 0000 093", "BIC XXXXFR00"),
        tax_word="TVA",
    ),
    Bill(
        file="pinecrest-48112.jpg",
        layout="ledger",
        language="en-US",
        colour=(44, 84, 52),
        vendor=Party(
            "Pinecrest Landscape Services, Inc.",
            ("4810 Old Quarry Road", "Cedar Hollow, OR 97000", "(555) 010-0148"),
            "EIN 00-0048112",
        ),
        customer=Party(
            "Willow Creek HOA",
            ("c/o Brandt Property Mgmt.", "220 Commons Blvd, Suite 3", "Cedar Hollow, OR 97001"),
        ),
        number="48112",
        date=dt.date(2026, 8, 31),
        due_date=dt.date(2026, 9, 30),
        currency="USD",
        lines=_lines(
            "8.25",
            ("Weekly mowing & edging, August", "5", "425.00"),
            ("Irrigation repair, zone 4, labor (hrs)", "3.5", "85.00"),
            ("Rain Bell 1804 sprinkler heads", "14", "9.79"),
            ("Bark mulch, delivered (cu yd)", "12", "48.25"),
            ("Storm cleanup 8/19, crew of 3", "1", "640.00"),
        ),
        extra=(("Terms", "Net 30"), ("P.O.", "verbal / J. Brandt")),
        terms=("Thank you for your business! 1.5% per month on past due balances.",),
        tax_word="Sales tax",
    ),
    Bill(
        file="hoshino-4471.png",
        layout="modern",
        language="en",
        colour=(168, 44, 40),
        vendor=Party(
            "Hoshino Precision Tools K.K.",
            ("2-14-7 Minamicho, Kitaura-ku", "Osaka 000-0047, Japan", "export@hoshino-tools.example"),
            "Reg. no. T0000000004471",
        ),
        customer=Party("Vallon Mécanique SA", ("Zone industrielle 9", "2399 Les Verrières", "Switzerland")),
        number="HPT-4471",
        date=dt.date(2026, 7, 9),
        due_date=dt.date(2026, 8, 31),
        currency="JPY",
        lines=_lines(
            "10",
            ("End mill 4-flute carbide 6 mm", "40", "3850"),
            ("End mill 4-flute carbide 10 mm", "25", "5720"),
            ("Collet ER20, set of 12", "3", "21400"),
            ("Digital caliper 150 mm", "5", "9980"),
            ("Packing, tropical", "1", "6500"),
        ),
        extra=(("Incoterms", "FCA Osaka"), ("Your ref.", "VM/26/118")),
        terms=("By telegraphic transfer; all bank charges for the account of the buyer.",),
        bank=("Naniwa Harbor Bank, Branch 047", "Account 0004471 (ordinary)", "SWIFT XXXXJP00"),
        tax_word="Consumption tax",
    ),
    Bill(
        file="alpenblick-7720.jpg",
        layout="letter",
        language="de-CH",
        colour=(150, 30, 36),
        vendor=Party(
            "Alpenblick Käserei AG", ("Dorfstrasse 11", "3999 Oberwil im Tal"), "CHE-000.077.200 MWST"
        ),
        customer=Party("Gasthaus zum Hirschen", ("Herr Urs Zurbrügg", "Hauptgasse 2", "3998 Niederwil")),
        number="7720",
        date=dt.date(2026, 11, 5),
        due_date=dt.date(2026, 12, 5),
        currency="CHF",
        lines=_lines(
            "2.6",
            ("Bergkäse rezent, 12 Monate, Laib (kg)", "34.6", "24.80"),
            ("Raclette Kräuter, geschnitten (kg)", "18", "26.50"),
            ("Butter, 10 x 250 g", "6", "39.00"),
            ("Rahm 35 %, Kanne 5 l", "4", "41.75"),
            ("Kühltransport", "1", "65.00", "8.1"),
        ),
        extra=(("Kunde", "K-1180"), ("Lieferschein", "L-22915")),
        terms=("Zahlbar netto innert 30 Tagen. Besten Dank für Ihren Auftrag.",),
        bank=("Talbank Oberwil", "IBAN CH00 0000 0000 7720 0000 0", "Tel. 000 555 77 20"),
        tax_word="MWST",
    ),
    Bill(
        file="meridian-90233.tiff",
        layout="freight",
        language="en",
        colour=(28, 28, 32),
        vendor=Party(
            "Meridian Freight & Forwarding B.V.",
            ("Havenkade 212", "3199 XX Rotterdam", "The Netherlands"),
            "VAT NL 000090233B00",
        ),
        customer=Party("Castellano Import S.L.", ("Muelle Norte 14", "11999 Puerto Claro", "Spain")),
        number="MFF/26/90233",
        date=dt.date(2026, 10, 30),
        due_date=dt.date(2026, 11, 29),
        currency="EUR",
        lines=_lines(
            "21",
            ("Ocean freight 40' HC, Yokohama - Rotterdam", "2", "1875.00"),
            ("Bunker adjustment factor", "2", "312.00"),
            ("Low sulphur surcharge", "2", "64.00"),
            ("Terminal handling, port of loading", "2", "205.00"),
            ("Terminal handling, port of discharge", "2", "238.00"),
            ("Bill of lading fee", "1", "65.00"),
            ("Telex release", "1", "45.00"),
            ("ENS filing", "1", "30.00"),
            ("Import customs clearance, first line", "1", "89.00"),
            ("Import customs clearance, further lines", "17", "6.50"),
            ("Customs inspection, container MFFU 400118-2", "1", "340.00"),
            ("Scan fee", "1", "148.00"),
            ("Port security fee (ISPS)", "2", "14.00"),
            ("Demurrage, 3 days, MFFU 400118-2", "3", "95.00"),
            ("Storage at terminal (days)", "4", "38.50"),
            ("Devanning and sorting by marks", "2", "420.00"),
            ("Pallets EPAL, new", "44", "15.20"),
            ("Shrink wrap and labels", "44", "3.75"),
            ("Handling out, per pallet", "44", "5.10"),
            ("Road freight Rotterdam - Puerto Claro, full truck", "2", "2290.00"),
            ("Diesel surcharge 11.4 %", "2", "261.06"),
            ("Toll, Belgium and France", "2", "187.40"),
            ("Tail lift", "3", "45.00"),
            ("Waiting time at consignee (h)", "2.5", "60.00"),
            ("Delivery appointment", "2", "18.00"),
            ("Cargo insurance, 0.25 % of EUR 84,000", "1", "210.00"),
            ("Proof of delivery, scanned", "2", "7.50"),
            ("Administration", "1", "25.00"),
        ),
        extra=(
            ("Our file", "SI-26-4410"),
            ("Vessel", "Aurelia Star 044W"),
            ("Containers", "MFFU 400118-2, 400231-0"),
        ),
        terms=(
            "All business is done under our general conditions, which limit liability.",
            "Payment within 30 days.",
        ),
        bank=("Maasbank IBAN NL00 XXXX 0000 0902 33", "BIC XXXXNL00"),
    ),
    Bill(
        file="fournil-0417.jpg",
        layout="slip",
        language="fr",
        colour=(52, 48, 88),
        vendor=Party(
            "Le Fournil de Mireille", ("7 rue du Moulin", "21999 Montclair"), "SIRET 000 000 417 00017"
        ),
        customer=Party("École primaire Les Tilleuls", ("1 place de la Mairie", "21999 Montclair")),
        number="FA-0417",
        date=dt.date(2026, 10, 31),
        due_date=dt.date(2026, 11, 15),
        currency="EUR",
        lines=_lines(
            "5.5",
            ("Baguette tradition", "310", "0.98"),
            ("Pain de campagne 1 kg", "22", "4.10"),
            ("Brioche tranchée", "18", "5.35"),
            ("Croissant pur beurre", "64", "0.92"),
            ("Tarte aux pommes 8 parts", "5", "13.90"),
        ),
        extra=(("Période", "octobre 2026"),),
        terms=("Merci de votre fidélité !",),
        tax_word="TVA",
    ),
    Bill(
        file="cobalt-8802.png",
        layout="band",
        language="en-US",
        colour=(30, 58, 158),
        vendor=Party(
            "Cobalt Ridge Hosting LLC",
            ("1200 Data Lane, Floor 2", "Granite Falls, NV 89000", "billing@cobaltridge.example"),
            "",
        ),
        customer=Party(
            "Tern & Fjord Design Ltd", ("Owen Pryce", "9 Slipway Terrace", "Porthaven, United Kingdom")
        ),
        number="CRH-2026-008802",
        date=dt.date(2026, 11, 1),
        due_date=dt.date(2026, 11, 8),
        currency="USD",
        lines=_lines(
            "0",
            ("Virtual server M (4 vCPU, 16 GB), Oct 1 - Oct 31", "3", "48.00"),
            ("Block storage, GB-month", "750", "0.08"),
            ("Outbound traffic above 5 TB (GB)", "1284", "0.012"),
            ("Managed PostgreSQL, small", "1", "65.00"),
            ("Credit: incident 2026-10-12", "1", "-21.50"),
        ),
        extra=(("Customer ID", "C-55019"), ("Payment", "card ending 0027")),
        terms=(
            "No tax charged: service supplied outside the US.",
            "Your card will be charged on the due date.",
        ),
        tax_word="Tax",
    ),
    Bill(
        file="gartenhof-R-3391.jpg",
        layout="modern",
        language="de",
        colour=(66, 122, 44),
        vendor=Party(
            "Gartenhof Lohmühle",
            ("Inh. Katharina Brüggemann", "Lohmühle 1, 96999 Weidach", "hof@lohmuehle.example"),
            "St.-Nr. 000/339/10000",
        ),
        customer=Party(
            "Sportverein Weidach 1921 e. V.", ("Kassenwart Herr Öztürk", "Am Sportplatz 3", "96999 Weidach")
        ),
        number="R-3391",
        date=dt.date(2026, 4, 17),
        due_date=dt.date(2026, 5, 1),
        currency="EUR",
        lines=_lines(
            "19",
            ("Hainbuche 125–150 cm, wurzelnackt", "60", "4.90", "7"),
            ("Rasensamen Sport, Sack 10 kg", "8", "62.00"),
            ("Blumenkasten bepflanzt, 80 cm", "5", "34.50", "7"),
            ("Vertikutierer, Tagesmiete", "2", "55.00"),
            ("Anlieferung mit Kran", "1", "90.00"),
        ),
        extra=(("Kunde", "SV-21"),),
        terms=("Bitte überweisen Sie bis zum 01.05.2026. Herzlichen Dank!",),
        bank=("Weidacher Bank", "IBAN DE00 0000 3391 0000 0000 00", "Tel. 030 23125 339"),
        tax_word="MwSt.",
    ),
    Bill(
        file="harrowgate-1162.jpg",
        layout="slip",
        language="en",
        colour=(60, 60, 66),
        vendor=Party(
            "Harrowgate Builders Merchants",
            ("Trade Counter, Canal Street", "Harrowgate HG0 7TT"),
            "VAT GB 000 1162 00",
        ),
        customer=Party("CASH SALE - R. Subramaniam", ()),
        number="TC1162/26",
        date=dt.date(2026, 11, 12),
        due_date=None,
        currency="GBP",
        lines=_lines(
            "20",
            ("CLS timber 38x63 2.4m", "18", "3.42"),
            ("Plasterboard 12.5mm", "10", "8.95"),
            ("Drywall screws 42mm/1000", "2", "11.20"),
            ("Jointing compound 25kg", "1", "16.75"),
            ("Delivery to site", "1", "25.00"),
        ),
        extra=(("Served by", "Mick / till 2"),),
        terms=("PAID BY CARD - THANK YOU", "Goods remain ours until paid for."),
    ),
    Bill(
        file="vallon-2611.png",
        layout="ledger",
        language="fr-CH",
        colour=(70, 74, 84),
        vendor=Party(
            "Vallon Mécanique SA",
            ("Zone industrielle 9", "2399 Les Verrières", "compta@vallon.example"),
            "CHE-000.002.611 TVA",
        ),
        customer=Party("Téléphérique du Grand Creux", ("Case postale 40", "1999 Saint-Aubry")),
        number="2611",
        date=dt.date(2026, 6, 22),
        due_date=dt.date(2026, 7, 22),
        currency="CHF",
        lines=_lines(
            "8.1",
            ("Axe de poulie, acier 42CrMo4, rectifié", "4", "386.00"),
            ("Bague bronze, diamètre 60", "16", "47.30"),
            ("Heures d'atelier, tournage", "22.5", "112.00"),
            ("Contrôle par ultrasons, rapport inclus", "4", "95.00"),
            ("Rabais fidélité", "1", "-250.00"),
        ),
        extra=(("Commande", "TGC 26-071"), ("Livraison", "19.06.2026")),
        terms=("Payable à 30 jours net.",),
        tax_word="TVA",
    ),
)
