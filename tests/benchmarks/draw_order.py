"""Draws docs/pictures/order.svg: the order in which a small corpus is used, and which rank computes which micro-batch.

cmake --build build/release --target order_benchmark
.venv/bin/python tests/benchmarks/draw_order.py
"""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
WINDOW = 500
SHARDS = (12, 4)  # of 100 pictures, in two sources, the second of weight 2
COLOURS = ("#3367a6", "#c2571a")
RANKS = ("#3367a6", "#c2571a", "#3d8a55", "#8a4f9e")


def uses():
    """(position, row of the picture: shards from the top) of one epoch."""
    command = [
        ROOT / "build/release/order_benchmark",
        "--uses",
        str(WINDOW),
        "2",
        "3",
        *(f"{count}x100" for count in SHARDS),
    ]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
    rows = [tuple(map(int, line.split())) for line in lines]
    epoch = len(rows) // 3
    return epoch, [(position, group, block) for position, group, block, _ in rows[:epoch]]


def text(x, y, words, size=13, anchor="start", colour="#333", extra=""):
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{extra}>{words}</text>'


def order_panel(left, top, width):
    epoch, points = uses()
    line = 18
    height = line * sum(SHARDS) + 10
    parts = [text(left, top - 14, "One epoch: each dot is one use of a picture", 15, extra=' font-weight="bold"')]
    for window in range(epoch // WINDOW):
        x = left + width * window * WINDOW / epoch
        shade = "#f4f4f1" if window % 2 == 0 else "#fbfbf9"
        parts.append(
            f'<rect x="{x:.1f}" y="{top}" width="{width * WINDOW / epoch:.1f}" height="{height}" fill="{shade}"/>'
        )
        parts.append(text(x + width * WINDOW / epoch / 2, top + height + 18, f"window {window + 1}", anchor="middle"))
    offsets = (0, SHARDS[0] * line + 10)
    for position, group, block in points:
        x = left + width * (position + 0.5) / epoch
        # A little up and down, so that dots do not hide each other.
        y = top + offsets[group] + line * block + 3 + (position * 7 % 13)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.1" fill="{COLOURS[group]}"/>')
    for group, name in enumerate(("A, weight 1", "B, weight 2")):
        y = top + offsets[group]
        middle = y + line * SHARDS[group] / 2
        parts.append(
            f'<text x="{left - 34}" y="{middle}" font-size="12" text-anchor="middle" fill="{COLOURS[group]}" '
            f'transform="rotate(-90 {left - 34} {middle})">{name}</text>'
        )
        for block in range(SHARDS[group]):
            parts.append(text(left - 8, y + line * block + 13, str(block + 1), 10, "end", "#777"))
    parts.append(text(left + width, top + height + 36, "position in the epoch, that is time →", anchor="end"))
    parts.append(text(left - 22, top + height + 18, "shard", 10, "middle", "#777"))
    return parts, top + height + 40


def ranks_panel(left, top, width):
    parts = [
        text(
            left,
            top - 14,
            "A step: eight micro-batches, always the same, on whatever number of ranks",
            15,
            extra=' font-weight="bold"',
        )
    ]
    cell = width / 8
    for line, ranks in enumerate((1, 2, 4)):
        y = top + line * 40
        parts.append(text(left - 12, y + 21, f"{ranks} rank{'s' if ranks > 1 else ''}", anchor="end"))
        for micro_batch in range(8):
            rank = micro_batch * ranks // 8
            x = left + cell * micro_batch
            parts.append(
                f'<rect x="{x + 2:.1f}" y="{y}" width="{cell - 4:.1f}" height="32" rx="4" fill="{RANKS[rank]}"/>'
            )
            parts.append(text(f"{x + cell / 2:.1f}", y + 21, f"{micro_batch} · rank {rank}", 12, "middle", "#fff"))
    return parts, top + 3 * 40


def main():
    parts, bottom = order_panel(80, 50, 780)
    more, bottom = ranks_panel(80, bottom + 60, 780)
    size = f'width="900" height="{bottom + 10}" viewBox="0 0 900 {bottom + 10}"'
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="900" height="{bottom + 10}" fill="#fff"/>',
    ]
    (ROOT / "docs/pictures/order.svg").write_text("\n".join(svg + parts + more + ["</svg>\n"]))


if __name__ == "__main__":
    main()
