"""A raw file as cameras write them (DNG 1.4): a JPEG preview, and a few pixels of a sensor."""

import struct

import numpy

BYTE, ASCII, SHORT, LONG, RATIONAL = 1, 2, 3, 4, 5
SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8}


def packed(kind, values):
    if kind == RATIONAL:
        return b"".join(struct.pack("<II", *value) for value in values)
    return b"".join(struct.pack("<" + {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I"}[kind], value) for value in values)


def directory(entries, offset):
    """A TIFF directory that begins at `offset`, and what does not fit into its entries behind it."""
    behind = offset + 2 + 12 * len(entries) + 4
    head, tail = struct.pack("<H", len(entries)), b""
    for tag, kind, values in sorted(entries):
        data = packed(kind, values)
        assert len(data) == SIZES[kind] * len(values)
        if len(data) > 4:
            field = struct.pack("<I", behind + len(tail))
            tail += data + b"\0" * (len(data) % 2)
        else:
            field = data.ljust(4, b"\0")
        head += struct.pack("<HHI", tag, kind, len(values)) + field
    return head + b"\0" * 4 + tail


def dng(preview, width, height, orientation=1, side=64):
    """`preview`: a JPEG of that size, as the sensor saw it."""
    rows = numpy.arange(side)
    sensor = ((rows[:, None] * 11 + rows * 37) % 4096).astype("<u2").tobytes()
    jpeg_at = 8
    sensor_at = jpeg_at + len(preview) + len(preview) % 2
    raw_at = sensor_at + len(sensor)
    raw = directory(
        [
            (254, LONG, [0]),
            (256, LONG, [side]),
            (257, LONG, [side]),
            (258, SHORT, [16]),
            (259, SHORT, [1]),
            (262, SHORT, [32803]),  # colour filter array
            (273, LONG, [sensor_at]),
            (277, SHORT, [1]),
            (278, LONG, [side]),
            (279, LONG, [len(sensor)]),
            (33421, SHORT, [2, 2]),
            (33422, BYTE, [0, 1, 1, 2]),
            (50714, LONG, [0]),  # black and white level
            (50717, LONG, [4095]),
        ],
        raw_at,
    )
    first_at = raw_at + len(raw)
    text = lambda value: list(value.encode() + b"\0")  # noqa: E731
    first = directory(
        [
            (254, LONG, [1]),
            (256, LONG, [width]),
            (257, LONG, [height]),
            (258, SHORT, [8, 8, 8]),
            (259, SHORT, [7]),
            (262, SHORT, [6]),
            (271, ASCII, text("Test")),
            (272, ASCII, text("Test 1")),
            (273, LONG, [jpeg_at]),
            (274, SHORT, [orientation]),
            (277, SHORT, [3]),
            (278, LONG, [height]),
            (279, LONG, [len(preview)]),
            (330, LONG, [raw_at]),
            (50706, BYTE, [1, 4, 0, 0]),
            (50708, ASCII, text("Test 1")),
        ],
        first_at,
    )
    return struct.pack("<2sHI", b"II", 42, first_at) + preview + b"\0" * (len(preview) % 2) + sensor + raw + first
