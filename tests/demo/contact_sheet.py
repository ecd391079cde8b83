"""Draws docs/pictures/demo-sheet.jpg: a row of pictures of each source of a demo corpus.

    build/release/cskd demo runs/demo/corpus && .venv/bin/python tests/demo/contact_sheet.py runs/demo/corpus \
        docs/pictures/demo-sheet.jpg
"""

import io
import json
import pathlib
import sys
import tarfile

from PIL import Image, ImageDraw

COLUMNS, WIDTH, HEIGHT, MARGIN = 7, 200, 160, 6


def pictures(folder, source):
    """The first pictures of a source that open, every fifth of them."""
    if source["kind"] == "webdataset":
        with tarfile.open(next(iter(sorted((folder / source["path"]).glob("*.tar"))))) as tar:
            names = [name for name in tar.getnames() if name.endswith(".jpg")][::5]
            yield from (Image.open(io.BytesIO(tar.extractfile(name).read())) for name in names)
        return
    files = sorted(path for path in (folder / source["path"]).rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
    for path in files[::5]:
        yield Image.open(path)


def draw(folder):
    sources = json.loads((folder / "corpus.json").read_text())["sources"]
    row_height = HEIGHT + MARGIN + 16
    sheet = Image.new("RGB", (COLUMNS * (WIDTH + MARGIN) + MARGIN, len(sources) * row_height + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for row, source in enumerate(sources):
        top = MARGIN + row * row_height
        pen.text((MARGIN, top), f"{source['name']}: {source['description']}", fill="black")
        for column, picture in zip(range(COLUMNS), pictures(folder, source)):
            picture.thumbnail((WIDTH, HEIGHT))
            left = MARGIN + column * (WIDTH + MARGIN) + (WIDTH - picture.width) // 2
            sheet.paste(picture, (left, top + 16 + (HEIGHT - picture.height) // 2))
    return sheet


if __name__ == "__main__":
    draw(pathlib.Path(sys.argv[1])).save(sys.argv[2], quality=82)
