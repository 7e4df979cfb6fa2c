"""What a scanner, a copier or a phone makes of a clean page. Same page and seed, same picture."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from drawing.lettering import Colour


@dataclass(frozen=True, slots=True)
class Look:
    angle: float = 0.0  # degrees, counter-clockwise
    grain: int = 0  # how many of 256 levels the paper's brightness varies
    blur: float = 0.0  # px
    shade: float = 0.0  # how much darker the corner away from the light is, 0 to 1
    desk: Colour = (255, 255, 255)  # what lies behind a page that is not straight
    margin: int = 0  # px of it around the page
    grey: bool = False
    quality: int = 72  # of a JPEG


LOOKS = {  # the others are files that nobody printed
    "pinecrest-48112.jpg": Look(angle=-0.9, grain=7, blur=0.5, grey=True, quality=60),
    "alpenblick-7720.jpg": Look(angle=0.6, grain=9, blur=0.4, shade=0.08),
    "fournil-0417.jpg": Look(angle=2.1, grain=12, blur=0.6, shade=0.25, desk=(94, 70, 52), margin=46),
    "gartenhof-R-3391.jpg": Look(angle=-2.4, grain=10, blur=0.6, shade=0.32, desk=(70, 74, 72), margin=40),
    "harrowgate-1162.jpg": Look(angle=-1.3, grain=14, blur=0.5, shade=0.12, desk=(150, 146, 138), margin=24),
    "meridian-90233.tiff": Look(angle=0.5, grain=22, blur=0.7, grey=True),
    "vallon-2611.png": Look(angle=0.35, grey=True),
}


def worn(page: Image.Image, look: Look, seed: int) -> Image.Image:
    if look.margin:
        wide = Image.new("RGB", (page.width + 2 * look.margin, page.height + 2 * look.margin), look.desk)
        wide.paste(page, (look.margin, look.margin))
        page = wide
    if look.angle:
        page = page.rotate(look.angle, Image.Resampling.BICUBIC, fillcolor=look.desk)
    if look.blur:
        page = page.filter(ImageFilter.GaussianBlur(look.blur))
    if look.shade:
        light = Image.radial_gradient("L").crop((0, 0, 160, 160)).resize(page.size, Image.Resampling.BICUBIC)
        light = light.transpose(Image.Transpose.ROTATE_180).point(lambda level: 255 - level * look.shade)
        page = ImageChops.multiply(page, Image.merge("RGB", (light, light, light)))
    if look.grain:
        page = _grained(page, look.grain, seed)
    return ImageEnhance.Contrast(page.convert("L")).enhance(1.08) if look.grey else page


def save(pages: list[Image.Image], file: Path, look: Look) -> None:
    """Write the pages in the form that the file's suffix names, as small as the form allows."""
    if file.suffix == ".tiff":  # a fax or an office scanner: black or white
        bits = [
            page.convert("L").point(lambda level: 255 * (level > 150)).convert("1", dither=Image.Dither.NONE)
            for page in pages
        ]
        bits[0].save(file, save_all=True, append_images=bits[1:], compression="group4", dpi=(150, 150))
    elif file.suffix == ".jpg":
        pages[0].save(file, quality=look.quality, optimize=True)
    else:
        page = pages[0]
        few = (
            page
            if page.mode == "L"
            else page.quantize(48, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        )
        few.save(file, optimize=True)


def _grained(page: Image.Image, grain: int, seed: int) -> Image.Image:
    width, height = page.width // 2 + 1, page.height // 2 + 1
    noise = Image.frombytes("L", (width, height), random.Random(seed).randbytes(width * height))
    noise = noise.resize(page.size, Image.Resampling.BILINEAR).point(lambda level: 255 - level * grain / 255)
    return ImageChops.multiply(page, Image.merge("RGB", (noise, noise, noise)))
