"""Draws docs/pictures/trace.svg from the trace of a few steps: trains MobileNetV3-Large on a small demo corpus with two ranks, of one thread each.

cmake --build build/release --target cskd
.venv/bin/python tests/benchmarks/draw_trace.py [trace.json]
"""

import html
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 3
TRACKS = ["computing", "communication", "waiting for data", "loader", "checkpoint"]
COLOURS = {
    "data and forward": "#3367a6",
    "backward": "#8a4f9e",
    "waiting for buckets": "#c0392b",
    "statistics and figures": "#888888",
    "optimiser": "#3d8a55",
    "checkpoint": "#c2a11a",
    "start of a checkpoint": "#c2a11a",
    "bucket": "#c2571a",
    "batch": "#5d9aa8",
}
LEFT, WIDTH, LINE = 150, 1150, 22


def trace():
    """The events of a fresh training."""
    environment = {
        **os.environ,
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    program = ROOT / "build/release/cskd"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def start(*words):
            subprocess.run(list(map(str, words)), check=True, timeout=500, env=environment)

        start(program, "demo", folder / "corpus", "--images", 400)
        sources = "".join(
            f'[[sources]]\nname = "{source}"\nkind = "folder"\npath = "corpus/{source}"\n'
            for source in ("coast", "city", "studio")
        )
        (folder / "config.toml").write_text(
            f'[run]\nfolder = "run"\nmin_free = 0\n{sources}[packing]\nmax_fault_rate = 0.5\n'
            f'[towers.clip]\narchitecture = "ViT-demo-16"\nweights = "{ROOT / "configs/demo/teacher.safetensors"}"\nviews.count = 3\n'
            '[encoders.mobile]\narchitecture = "mobilenetv3_large_100"\nimage_size = 160\n'
            '[align.student]\nencoder = "mobile"\ntowers = ["clip"]\n'
            "[align.student.training]\nsteps = 16\nglobal_batch = 32\nmicro_batches = 2\nwarmup_steps = 2\ncheckpoint_every = 6\n"
            f"[compute]\nthreads = 1\nprefetch = 1\n[logging]\ntrace_steps = {STEPS}\ntrace_after = 5\n"
        )
        start(program, "shard", folder / "config.toml")
        start(program, "cache", folder / "config.toml")
        start("mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", program, "align", folder / "config.toml")
        return json.loads((folder / "run/align/student/trace.json").read_text())["traceEvents"]


def spans(events):
    """(rank, track, name, start, end), in milliseconds."""
    begun = {}
    for event in events:
        place = event.get("cat")
        if event["ph"] == "X":
            yield event["pid"], place, event["name"], event["ts"] / 1000, (event["ts"] + event["dur"]) / 1000
        elif event["ph"] == "b":
            begun[event["id"]] = event
        elif event["ph"] == "e":
            yield event["pid"], place, event["name"], begun[event["id"]]["ts"] / 1000, event["ts"] / 1000


def draw(events):
    found = list(spans(events))
    steps = [span for span in found if span[1] == "computing" and span[2].startswith("step ")]
    first, last = min(span[3] for span in steps), max(span[4] for span in steps)

    def x(time):
        return LEFT + WIDTH * (min(max(time, first), last) - first) / (last - first)

    parts, top = [], 40
    for rank in sorted({span[0] for span in found}):
        parts.append(f'<text x="10" y="{top - 8}" font-weight="bold">rank {rank}</text>')
        for step in (span for span in steps if span[0] == rank):
            parts.append(f'<text x="{x(step[3]) + 2:.1f}" y="{top - 8}" fill="#333">{step[2]}</text>')
        for track in TRACKS:
            mine = [
                span
                for span in found
                if span[0] == rank
                and span[1] == track
                and not span[2].startswith("step ")
                and span[4] > first
                and span[3] < last
            ]
            if track == "checkpoint" and not mine:
                continue
            # What overlaps lies one below the other.
            lanes = []
            for _, _, name, start, end in sorted(mine, key=lambda span: span[3]):
                lane = next((i for i, until in enumerate(lanes) if until <= start + 0.001), len(lanes))
                lanes[lane : lane + 1] = [end]
                colour = next((colour for key, colour in COLOURS.items() if name.startswith(key)), "#bbbbbb")
                width = max(x(end) - x(start), 0.8)
                y = top + lane * LINE
                parts.append(
                    f'<rect x="{x(start):.1f}" y="{y}" width="{width:.1f}" height="{LINE - 4}" rx="2" fill="{colour}"/>'
                )
                if width > 7.2 * len(name):
                    parts.append(
                        f'<text x="{x(start) + width / 2:.1f}" y="{y + 13}" fill="#fff" text-anchor="middle" font-size="12">{html.escape(name)}</text>'
                    )
            parts.append(f'<text x="10" y="{top + 13}" fill="#555">{track}</text>')
            top += LINE * max(1, len(lanes)) + 3
        top += 44
    for i in range(11):
        time = first + (last - first) * i / 10
        parts.append(
            f'<text x="{x(time):.1f}" y="{top - 8}" fill="#555" text-anchor="middle" font-size="12">{time - first:.0f} ms</text>'
        )
        parts.insert(0, f'<line x1="{x(time):.1f}" x2="{x(time):.1f}" y1="24" y2="{top - 24}" stroke="#e4e4e4"/>')
    legend = [
        name
        for name in (
            "data and forward",
            "backward",
            "waiting for buckets",
            "statistics and figures",
            "optimiser",
            "checkpoint",
        )
    ]
    for i, name in enumerate(legend):
        parts.append(f'<rect x="{LEFT + 190 * i}" y="{top + 8}" width="14" height="14" rx="2" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{LEFT + 190 * i + 20}" y="{top + 20}" fill="#333">{name}</text>')
    size = f'width="{LEFT + WIDTH + 40}" height="{top + 36}" viewBox="0 0 {LEFT + WIDTH + 40} {top + 36}"'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">{background}{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    given = json.loads(pathlib.Path(sys.argv[1]).read_text())["traceEvents"] if len(sys.argv) > 1 else trace()
    (ROOT / "docs/pictures/trace.svg").write_text(draw(given))
