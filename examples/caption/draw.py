"""Draws the four pictures: `python examples/caption/draw.py`."""

from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent / "pictures"


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name, draw in {"boat": boat, "house": house, "night": night, "flag": flag}.items():
        picture = Image.new("RGB", (160, 120), "skyblue")
        draw(ImageDraw.Draw(picture))
        picture.save(HERE / f"{name}.png", optimize=True)


def boat(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((0, 80, 160, 120), fill="navy")
    pen.polygon((40, 75, 120, 75, 105, 95, 55, 95), fill="brown")
    pen.polygon((78, 20, 78, 72, 115, 72), fill="white")


def house(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((0, 90, 160, 120), fill="green")
    pen.rectangle((50, 55, 110, 100), fill="moccasin")
    pen.polygon((42, 55, 80, 25, 118, 55), fill="firebrick")
    pen.rectangle((74, 75, 88, 100), fill="saddlebrown")


def night(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((0, 0, 160, 120), fill="midnightblue")
    pen.ellipse((100, 15, 130, 45), fill="lightyellow")
    for x, y in ((20, 30), (45, 60), (70, 20), (85, 85), (140, 75)):
        pen.ellipse((x, y, x + 3, y + 3), fill="white")


def flag(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((38, 10, 42, 115), fill="dimgrey")
    for row, colour in enumerate(("red", "white", "red")):
        pen.rectangle((42, 12 + 16 * row, 125, 27 + 16 * row), fill=colour)


if __name__ == "__main__":
    main()
