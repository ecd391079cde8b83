"""Decoding and resizing against Pillow: every pixel equal."""

import io
import os
import random
import subprocess
import zlib

import numpy
import pytest
import scipy.fft
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "decode_tool")
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class DecodeTool:
    def __init__(self):
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, path, *words):
        """An array [height, width, 3], or the line of another answer."""
        self.process.stdin.write("\t".join([str(path), *map(str, words)]).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode().rstrip("\n")
        if not line.startswith("pixels "):
            return line
        width, height = map(int, line.split()[1:])
        pixels = self.process.stdout.read(width * height * 3)
        return numpy.frombuffer(pixels, numpy.uint8).reshape(height, width, 3)


@pytest.fixture(scope="module")
def tool():
    tool = DecodeTool()
    yield tool
    tool.process.stdin.close()
    assert tool.process.wait(60) == 0


def scene(width, height, seed=0):
    """Smooth colours, hard edges and noise."""
    random_numbers = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    waves = numpy.stack([numpy.sin(x / 9 + y / 31 + c) * numpy.cos(y / 13 - x / 57 * c) for c in range(3)], axis=2)
    pixels = 127 + 100 * waves + random_numbers.normal(0, 12, (height, width, 3))
    pixels[(x // 24 + y // 17) % 5 == 0] = random_numbers.integers(0, 256, 3)
    return numpy.clip(pixels, 0, 255).astype(numpy.uint8)


def reference(path):
    with Image.open(path) as image:
        return numpy.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def assert_equal(ours, theirs, what):
    assert not isinstance(ours, str), f"{what}: {ours}"
    assert ours.shape == theirs.shape, what
    differing = int((ours != theirs).any(axis=2).sum())
    largest = int(numpy.abs(ours.astype(int) - theirs).max())
    assert differing == 0, f"{what}: {differing} of {ours.shape[0] * ours.shape[1]} pixels differ by up to {largest}"


SIZES = [(1, 1), (7, 5), (16, 16), (17, 33), (130, 70), (301, 211)]
JPEG_OPTIONS = {
    "420": {"subsampling": "4:2:0"},
    "422": {"subsampling": "4:2:2"},
    "444": {"subsampling": "4:4:4"},
    "progressive": {"subsampling": "4:2:0", "progressive": True},
    "progressive 444": {"subsampling": "4:4:4", "progressive": True},
    "restart markers": {"restart_marker_blocks": 3},
    "low quality": {"quality": 5},
    "rgb": {"keep_rgb": True},
}


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {}</rdf:RDF></x:xmpmeta>'
)
PACKETS = {
    "attribute": 'tiff:Orientation="{}"/>',
    "element": "><tiff:Orientation>{}</tiff:Orientation></rdf:Description>",
}


def saved(path, image, kind, orientation, where):
    """A picture of this kind whose metadata holds the orientation there."""
    options = {"lossless": True} if kind == "webp" else {"quality": 95} if kind == "jpg" else {}
    exif = Image.Exif()
    exif[0x0112] = orientation
    if where == "exif":
        return image.save(path, exif=exif, **options)
    if where == "raw profile":
        data = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
        text = PngInfo()
        text.add_text("Raw profile type exif", f"\nexif\n    {len(data)}\n{data.hex()}\n", zip=True)
        return image.save(path, pnginfo=text)
    packet = XMP.format(PACKETS[where.removesuffix(" packed")].format(orientation))
    if kind == "png":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet, zip=where.endswith("packed"))
        return image.save(path, pnginfo=text)
    return image.save(path, xmp=packet.encode(), **options)


PLACES = [(kind, where) for kind in ("jpg", "png", "webp") for where in ("exif", "attribute", "element")]
PLACES += [("png", "attribute packed"), ("png", "raw profile")]


@pytest.mark.parametrize("kind, where", PLACES)
def test_every_orientation_of_every_format(tool, tmp_path, kind, where):
    image = Image.fromarray(scene(60, 40))
    turned = set()
    for orientation in range(10):
        path = tmp_path / f"{orientation}.{kind}"
        saved(path, image, kind, orientation, where)
        assert_equal(tool.ask(path), reference(path), f"{kind}, {where}, {orientation}")
        turned.add(reference(path).tobytes())
    assert len(turned) == 8


def test_exif_counts_before_xmp(tool, tmp_path):
    image = Image.fromarray(scene(60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    packet = XMP.format(PACKETS["attribute"].format(3)).encode()
    for kind in ("jpg", "webp"):
        image.save(tmp_path / f"a.{kind}", exif=exif, xmp=packet)
        assert_equal(tool.ask(tmp_path / f"a.{kind}"), reference(tmp_path / f"a.{kind}"), kind)


def jpeg_of(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def segment(data, marker):
    """Where the first segment with this marker begins."""
    at = 2
    while data[at + 1] != marker:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def odd_jpegs():
    """Files that every viewer shows whole, by what is odd about them."""
    data = jpeg_of(scene(130, 70), quality=90)
    revision = bytearray(data)
    revision[segment(data, 0xE0) + 9] = 9  # of the JFIF version
    parameters = bytearray(data)
    start = segment(data, 0xDA)
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    parameters[end - 3 : end] = b"\0\0\0"
    adobe = bytearray(data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x07" + data[2:])
    table = segment(data, 0xDB)
    return {
        "JFIF revision": bytes(revision),
        "SOS parameters": bytes(parameters),
        "Adobe transform": bytes(adobe),
        "stray bytes before a table": data[:table] + b"\x00\x17stray" + data[table:],
        "stray bytes before EOI": data[:-2] + b"\0\0\0" + data[-2:],
        "fill bytes": data[:table] + b"\xff\xff\xff" + data[table:],
        "bytes after EOI": data + b"more",
    }


@pytest.mark.parametrize("what", odd_jpegs())
def test_odd_files_that_viewers_show_whole_are_no_damage(tool, tmp_path, what):
    path = tmp_path / "odd.jpg"
    path.write_bytes(odd_jpegs()[what])
    expected = numpy.asarray(Image.open(io.BytesIO(jpeg_of(scene(130, 70), quality=90))))
    assert_equal(tool.ask(path), expected, what)


def test_lost_data_is_damage_all_the_same(tool, tmp_path):
    data = jpeg_of(scene(130, 70), quality=90, restart_marker_blocks=3)
    first = data.index(b"\xff\xd0")
    for what, damaged in {
        "no EOI": data[:-2],
        "half": data[: len(data) // 2],
        "stray bytes before a restart marker": data[:first] + 100 * b"\x12" + data[first:],
        "a restart marker lost": data[:first] + data[first + 2 :],
        "zeros": data[:first] + bytes(200) + data[first + 200 :],
    }.items():
        path = tmp_path / "damaged.jpg"
        path.write_bytes(damaged)
        assert isinstance(tool.ask(path), str), what


# 0 pixels differ although Pillow carries another version of libjpeg-turbo (3.1.2, ours is 2.1.5): inverse DCT,
# interpolation of chroma and conversion of colours are whole-number arithmetic that both share.
@pytest.mark.parametrize("options", JPEG_OPTIONS.values(), ids=JPEG_OPTIONS.keys())
def test_jpeg(tool, tmp_path, options):
    for width, height in SIZES:
        Image.fromarray(scene(width, height)).save(tmp_path / "a.jpg", **{"quality": 88, **options})
        assert_equal(tool.ask(tmp_path / "a.jpg"), reference(tmp_path / "a.jpg"), f"{width} x {height}")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_of_other_colours(tool, tmp_path, mode, progressive):
    for width, height in SIZES:
        picture = Image.fromarray(scene(width, height)).convert(mode)
        if mode == "CMYK":  # Pillow's own conversion leaves black ink out
            black = Image.fromarray(scene(width, height, 1)[:, :, 0])
            picture = Image.merge("CMYK", [*picture.split()[:3], black])
        picture.save(tmp_path / "a.jpg", progressive=progressive)
        assert_equal(tool.ask(tmp_path / "a.jpg"), reference(tmp_path / "a.jpg"), f"{width} x {height}")


def eighth_of(path):
    """As libjpeg scales it."""
    with Image.open(path) as image:
        image.draft(None, (1, 1))
        return numpy.asarray(image.convert("RGB"))


@pytest.mark.parametrize("options", [*JPEG_OPTIONS.values(), {"mode": "L"}], ids=[*JPEG_OPTIONS, "grey"])
def test_an_eighth_of_a_jpeg(tool, tmp_path, options):
    """Equal where no colour is halved; there it is interpolated, which differs by little."""
    saved_as = {"quality": 88, **options}
    mode = saved_as.pop("mode", "RGB")
    is_equal = mode == "L" or "progressive" in options or "keep_rgb" in options or options.get("subsampling") == "4:4:4"
    for width, height in [*SIZES[2:], (640, 489)]:
        for optimised in (False, True):
            if is_equal:
                image = Image.fromarray(scene(width, height)).convert(mode)
            else:
                small = Image.fromarray(scene(width // 32 + 3, height // 32 + 3))
                image = small.resize((width, height), Image.Resampling.BICUBIC)
            image.save(tmp_path / "a.jpg", optimize=optimised and "keep_rgb" not in options, **saved_as)
            ours, theirs = tool.ask(tmp_path / "a.jpg", "eighth"), eighth_of(tmp_path / "a.jpg")
            if is_equal:
                assert_equal(ours, theirs, f"{width} x {height}")
                continue
            assert ours.shape == theirs.shape
            assert numpy.abs(ours.astype(float) - theirs).mean() < 4, f"{width} x {height}"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tool, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for width, height in SIZES:
        Image.fromarray(scene(width, height)).save(tmp_path / "a.jpg", exif=exif)
        assert_equal(tool.ask(tmp_path / "a.jpg"), reference(tmp_path / "a.jpg"), f"{width} x {height}")


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, depth, colour, interlaced=False, palette=b""):
    """A PNG such as Pillow cannot write; `samples` is [height, width, channels]."""

    def chunk(name, content):
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    def rows(part):
        if 0 in part.shape:
            return b""
        bits = numpy.unpackbits(part.astype(">u2").view(numpy.uint8).reshape(*part.shape, 2), axis=3)[..., 16 - depth :]
        packed = numpy.packbits(bits.reshape(part.shape[0], -1), axis=1)
        return b"".join(b"\0" + row.tobytes() for row in packed)

    height, width, _ = samples.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, int(interlaced)])
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [samples]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"PLTE", palette) if palette else b"")
        + chunk(b"IDAT", zlib.compress(b"".join(map(rows, parts))))
        + chunk(b"IEND", b"")
    )


GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    "depth,colour",
    [
        (1, GREY),
        (2, GREY),
        (4, GREY),
        (8, GREY),
        (16, GREY),
        (8, RGB),
        (16, RGB),
        (1, PALETTE),
        (2, PALETTE),
        (4, PALETTE),
        (8, PALETTE),
        (8, GREY_ALPHA),
        (16, GREY_ALPHA),
        (8, RGB_ALPHA),
        (16, RGB_ALPHA),
    ],
)
def test_png_of_every_kind(tool, tmp_path, depth, colour, interlaced):
    for seed, (width, height) in enumerate(SIZES):
        random_numbers = numpy.random.default_rng(seed)
        samples = random_numbers.integers(0, 2**depth, (height, width, CHANNELS[colour]))
        palette = random_numbers.bytes(3 * 2**depth) if colour == PALETTE else b""
        (tmp_path / "a.png").write_bytes(png(samples, depth, colour, interlaced, palette))
        theirs = reference(tmp_path / "a.png")
        if (depth, colour) == (16, GREY):
            # Pillow clips where it reduces grey, but takes the high byte of colour; decode.h promises that for both.
            theirs = numpy.repeat(samples >> 8, 3, axis=2).astype(numpy.uint8)
        assert_equal(tool.ask(tmp_path / "a.png"), theirs, f"{width} x {height}")


@pytest.mark.parametrize("colours", [2, 4, 16, 200, 256])
@pytest.mark.parametrize("transparency", [None, 1])
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # Pillow advises RGBA, but alpha is dropped here
def test_png_palette(tool, tmp_path, colours, transparency):
    for width, height in SIZES:
        picture = Image.fromarray(scene(width, height)).quantize(colours)
        options = {} if transparency is None else {"transparency": transparency}
        picture.save(tmp_path / "a.png", **options)
        assert_equal(tool.ask(tmp_path / "a.png"), reference(tmp_path / "a.png"), f"{width} x {height}")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "1", "P"])
def test_png_of_pillow(tool, tmp_path, mode):
    """Other than png() above, it filters rows."""
    for width, height in SIZES:
        Image.fromarray(scene(width, height)).convert(mode).save(tmp_path / "a.png")
        assert_equal(tool.ask(tmp_path / "a.png"), reference(tmp_path / "a.png"), f"{width} x {height}")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"lossless": True}, {"lossless": True, "exact": True}, {"quality": 80}, {"quality": 10, "alpha_quality": 30}],
    ids=str,
)
def test_webp(tool, tmp_path, options, alpha):
    for width, height in SIZES:
        picture = Image.fromarray(scene(width, height))
        if alpha:
            picture.putalpha(Image.fromarray(scene(width, height, 1)[:, :, 0]))
        picture.save(tmp_path / "a.webp", **options)
        ours = tool.ask(tmp_path / "a.webp")
        assert_equal(ours, reference(tmp_path / "a.webp"), f"{width} x {height}")
        if options.get("exact") or (options.get("lossless") and not alpha):
            assert_equal(ours, scene(width, height), f"{width} x {height}")


def random_box(numbers, width, height):
    x, y = numbers.randrange(width), numbers.randrange(height)
    return x, y, numbers.randint(1, width - x), numbers.randint(1, height - y)


def test_resize(tool, tmp_path):
    numbers = random.Random(1)
    for case in range(400):
        width, height = (numbers.choice([numbers.randint(1, 12), numbers.randint(1, 700)]) for _ in range(2))
        source = numpy.random.default_rng(case).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
        if case % 2:  # only extremes: sums overshoot most
            source = source // 128 * 255
        Image.fromarray(source).save(tmp_path / "a.png", compress_level=0)
        for name, resample in FILTERS.items():
            box = (0, 0, width, height) if numbers.random() < 0.3 else random_box(numbers, width, height)
            x, y, box_width, box_height = box
            target = [numbers.choice([size, numbers.randint(1, 12), numbers.randint(1, 400)]) for size in box[2:]]
            ours = tool.ask(tmp_path / "a.png", "resize", name, *target, *box)
            theirs = Image.fromarray(source).resize(target, resample, box=(x, y, x + box_width, y + box_height))
            assert_equal(ours, numpy.asarray(theirs), f"{name}, {width} x {height}, box {box}, to {target}")


@pytest.mark.parametrize("target", [(224, 224), (336, 336), (224, 298)])
def test_resize_of_photo_sizes(tool, tmp_path, target):
    for width, height in [(1920, 1080), (640, 480), (3000, 200)]:
        source = scene(width, height)
        Image.fromarray(source).save(tmp_path / "a.png", compress_level=0)
        for name, resample in FILTERS.items():
            ours = tool.ask(tmp_path / "a.png", "resize", name, *target, 0, 0, width, height)
            assert_equal(ours, numpy.asarray(Image.fromarray(source).resize(target, resample)), f"{name} {width}")


def test_crop_resize_and_flip_of_jpeg(tool, tmp_path):
    """The way of a view: the box is cut out first, so that no pixel around it counts."""
    numbers = random.Random(2)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(scene(411, 307)).save(tmp_path / "a.jpg", exif=exif)
        whole = Image.fromarray(reference(tmp_path / "a.jpg"))
        for _ in range(10):
            x, y, width, height = random_box(numbers, *whole.size)
            ours = tool.ask(
                tmp_path / "a.jpg",
                "region",
                x,
                y,
                width,
                height,
                "resize",
                "bicubic",
                64,
                48,
                0,
                0,
                width,
                height,
                "flip",
            )
            part = whole.crop((x, y, x + width, y + height)).resize((64, 48), Image.Resampling.BICUBIC)
            assert_equal(ours, numpy.asarray(ImageOps.mirror(part)), f"orientation {orientation}, {width} x {height}")


@pytest.mark.parametrize("quality", [1, 50, 70, 75, 95, 100])
def test_pressing_a_picture_again(tool, tmp_path, quality):
    for width, height in SIZES:
        source = scene(width, height)
        Image.fromarray(source).save(tmp_path / "a.png")
        Image.fromarray(source).save(tmp_path / "a.jpg", quality=quality)
        assert_equal(
            tool.ask(tmp_path / "a.png", "jpeg", quality), reference(tmp_path / "a.jpg"), f"{width} x {height}"
        )


def test_perceptual_hash(tool, tmp_path):
    for seed in range(30):
        Image.fromarray(scene(90 + 7 * seed, 200 - 5 * seed, seed)).save(tmp_path / "a.png")
        answer = tool.ask(tmp_path / "a.png", "hash")
        grey = Image.open(tmp_path / "a.png").resize((32, 32), Image.Resampling.BILINEAR).convert("L")
        frequencies = scipy.fft.dctn(numpy.asarray(grey, float))[:8, :8].ravel()
        distance = frequencies - numpy.median(frequencies[1:])
        clear = (numpy.abs(distance) > 0.1) | (distance == 0)  # others are decided by rounding
        assert clear.sum() >= 62
        ours = numpy.array([int(answer.removeprefix("hash "), 16) >> i & 1 for i in range(64)])
        assert (ours == (distance > 0))[clear].all(), seed


@pytest.mark.parametrize("name,content", [("empty", b""), ("text", b"no picture"), ("gif", b"GIF89a" + bytes(60))])
def test_refusals_are_told_apart_from_pixels(tool, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert tool.ask(tmp_path / name) == "refused " + ("empty file" if name == "empty" else "not JPEG, PNG or WebP")
