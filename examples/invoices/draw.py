"""Draw the example invoices and write their labels: python examples/invoices/draw.py [FOLDER]

FOLDER (default: this one) gets scans/ and labels.json. The same Pillow draws the same pictures every time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from drawing.bills import BILLS
from drawing.layouts import LAYOUTS
from drawing.paper import LOOKS, Look, save, worn


def main(folder: Path) -> None:
    scans = folder / "scans"
    scans.mkdir(parents=True, exist_ok=True)
    for seed, bill in enumerate(BILLS):
        look = LOOKS.get(bill.file, Look())
        pages = LAYOUTS[bill.layout](bill)
        save(
            [worn(page, look, seed * 10 + place) for place, page in enumerate(pages)], scans / bill.file, look
        )
    labels = {bill.file: bill.label() for bill in sorted(BILLS, key=lambda bill: bill.file)}
    (folder / "labels.json").write_text(
        json.dumps(labels, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
