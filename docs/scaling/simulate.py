"""Efficiency of a data-parallel training step on up to 4,096 GPUs, by an alpha-beta model: forward, backward that completes buckets of gradients,
one stream of all-reduces, optimiser. Prints the tables of docs/scaling.md, which names the source of every number here; nothing is measured.
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import statistics
import sys

GPUS = (8, 64, 256, 512, 1024, 2048, 4096)
NODE, MIB = 8, 1 << 20  # GPUs that NVLink connects, bytes
# Seconds to start, seconds of a hop inside a node and between nodes, share of the bus bandwidth: NCCL's own cost model (src/graph/tuning.cc).
NCCL = {
    ("ring", "LL128"): (14.0e-6, 1.9e-6, 4.0e-6, 0.92),
    ("ring", "Simple"): (8.4e-6, 3.4e-6, 14.0e-6, 1.0),
    ("tree", "LL128"): (14.0e-6, 1.25e-6, 8.5e-6, 0.92 * 120 / 128),
    ("tree", "Simple"): (8.4e-6, 4.0e-6, 14.0e-6, 0.92),
}
# Images/s in training with mixed precision: ratios of networks that were published for both GPUs.
A100_TO_3090 = {"transformer": 1030 / 392.99, "convolution": 2489 / 1751.72}
H100_TO_A100 = 1428 / 693
MEMORY = {"A100": 2.0e12, "H100": 3.35e12}  # bytes/s
ADAMW_BYTES = 28  # of a parameter: reads weight, gradient and two moments, writes weight and moments, 4 bytes each


@dataclasses.dataclass(frozen=True)
class Network:
    """Nodes of eight GPUs. Bandwidths: bus bandwidth inside and between nodes, bytes/s, as nccl-tests defines it."""

    name: str
    gpu: str
    inside: float
    between: float
    extra: float = 0  # seconds of each hop between nodes on top of NCCL's
    hop: float | None = None  # seconds of each hop between nodes instead of NCCL's


NETWORKS = [
    Network("H100, InfiniBand NDR", "H100", 365.6e9, 350e9),
    Network("A100, InfiniBand HDR", "A100", 235e9, 96e9),
    Network("H100, Ethernet 100", "H100", 365.6e9, 12.5e9, 15e-6),
    Network("H100, Ethernet 25", "H100", 365.6e9, 3.125e9, 15e-6),
]


@dataclasses.dataclass(frozen=True)
class Model:
    """Layers in the order of forward: (numbers of each parameter in the order of registration, multiplications for an image)."""

    name: str
    layers: list
    rates: dict  # images/s in training of each kind of GPU
    batches: tuple  # images of a GPU in a step; the middle one stands in most tables

    @property
    def batch(self):
        return self.batches[len(self.batches) // 2]

    @property
    def numbers(self):
        return sum(sum(parameters) for parameters, _ in self.layers)


def vit(width, depth, patch, hidden):
    patches, stem = (224 // patch) ** 2, 3 * patch * patch * width
    tokens, norm = patches + 1, ([width, width], 0)
    block = [
        norm,
        ([3 * width * width, 3 * width], 3 * width * width * tokens),
        ([], 2 * tokens * tokens * width),
        ([width * width, width], width * width * tokens),
        norm,
        ([hidden * width, hidden], hidden * width * tokens),
        ([hidden * width, width], hidden * width * tokens),
    ]
    return [
        ([width, tokens * width, stem, width], stem * patches),
        *block * depth,
        norm,
        ([768 * width, 768], 768 * width),
    ]


# Of timm's mobilenetv3_large_100 at 224 pixels; the parameters of a block as one.
MOBILENET_V3 = [
    *(
        ([numbers], macs)
        for numbers, macs in (
            (464, 5419008),
            (464, 5017600),
            (3440, 19468288),
            (4440, 12870144),
            (10328, 9091584),
            (20992, 9886080),
            (20992, 9886080),
            (32080, 11712960),
            (34760, 6624800),
            (31992, 6094816),
            (31992, 6094816),
            (214424, 19025280),
            (386120, 30914688),
            (429224, 21069216),
            (797360, 16689600),
            (797360, 16689600),
            (155520, 7526400),
        )
    ),
    ([1228800, 1280], 1228800),
    ([768 * 1280, 768], 768 * 1280),
]
MODELS = [
    Model(name, layers, {"A100": rate * A100_TO_3090[kind], "H100": rate * A100_TO_3090[kind] * H100_TO_A100}, batches)
    for name, layers, kind, rate, batches in (
        ("ViT-S/16", vit(384, 12, 16, 1536), "transformer", 1057.92, (32, 64, 128, 256, 512)),
        ("ViT-L/14", vit(1024, 24, 14, 4096), "transformer", 85.06, (8, 16, 32, 64, 128)),
        ("MobileNetV3-Large", MOBILENET_V3, "convolution", 2732.43, (64, 128, 256, 512, 1024)),
    )
]
VIT_B = Model("ViT-B/16", vit(768, 12, 16, 3072), {"A100": 1030}, (1024,))
VIT_G = Model("ViT-g/14", vit(1408, 40, 14, 6144), {"A100": 693 / 8, "H100": 1428 / 8}, (64,))
# All gradients in one bucket: no overlap, the least that the model can give.
B0, B4 = (
    Model("EfficientNet-B0", [([5_290_000], 1)], {"A100": 2489}, (256,)),
    Model("EfficientNet-B4", [([19_340_000], 1)], {"A100": 331}, (128,)),
)
# Measured by others: model, network, GPUs whose speed is 100 %, images/s of them, images/s of more GPUs.
PUBLISHED = [
    (VIT_B, NETWORKS[1], 1, 1, {8: 0.98 * 8}),
    (VIT_G, NETWORKS[1], 8, 693, {16: 1347, 32: 2642, 64: 5454, 128: 10644}),
    (VIT_G, NETWORKS[0], 8, 1428, {16: 2846, 32: 5737, 64: 11222, 128: 21561}),
    (B0, NETWORKS[1], 1, 2489, {8: 16652, 16: 29332}),
    (B4, NETWORKS[1], 1, 331, {8: 2570, 16: 4813, 32: 9425, 64: 18900}),
]
# All-reduces measured by others: where, network of the model, GPUs, bus bandwidth in GB/s of so many MiB.
MEASURED = [
    ("8 x A100", NETWORKS[1], 8, {1: 18.0, 32: 138.49, 512: 222.72}),
    ("8 x H200", NETWORKS[0], 8, {1: 39.93, 32: 275.84, 512: 450.29}),
    ("24 x A100, HDR", NETWORKS[1], 24, {127: 95.74}),
    ("32 x B200, EFA", NETWORKS[0], 32, {1: 5.37, 32: 91.19, 512: 326.9}),
    ("128 x H100, links not stated", NETWORKS[0], 128, {64: 150}),
    ("1,984 x H200, links not stated", NETWORKS[0], 1984, {512: 350}),
]


def all_reduce(size, gpus, network):
    """Seconds for `size` bytes on up to eight GPUs or a multiple of eight: the least of ring and double binary tree with either protocol."""
    if gpus == 1:
        return 0
    nodes = math.ceil(gpus / NODE)
    bandwidth = network.inside if nodes == 1 else min(network.inside, network.between)
    times = []
    for (algorithm, protocol), (start, near, far, share) in NCCL.items():
        share = (
            0.92 * 7 / 9 if (algorithm, protocol, nodes) == ("tree", "LL128", 1) else share
        )  # NCCL counts it lower inside one node
        far = (far if network.hop is None else network.hop) + network.extra
        if algorithm == "ring":
            hops, carried = 2 * (gpus - nodes) * near + 2 * (nodes - 1) * far, 2 * (gpus - 1) / gpus * size
        else:
            hops, carried = 2 * (gpus // nodes - 1) * near + 2 * math.ceil(math.log2(nodes)) * far, 2 * size
        times.append(start + hops + carried / (share * bandwidth))
    return min(times)


def buckets(layers, others=25 * MIB):
    """[bytes, layer whose backward completes it] in the order of sending: src/distributed/gradient_reducer.h, Note [Bucket order]."""
    filled, room = [], 0
    for layer in reversed(range(len(layers))):
        for size in (4 * numbers for numbers in reversed(layers[layer][0])):
            if size > room:
                room = others if filled else MIB
                filled.append([0, layer])
            room -= size
            filled[-1] = [filled[-1][0] + size, layer]
    return filled


@dataclasses.dataclass(frozen=True)
class Options:
    overlap: bool = True  # otherwise one all-reduce after backward
    compress: bool = False  # gradients travel as bfloat16
    bucket: float = 25 * MIB  # bytes of all buckets but the first
    variation: float = 0  # of the ranks' times for forward and backward: standard deviation over mean


@dataclasses.dataclass(frozen=True)
class Step:
    seconds: float
    communication: float  # seconds of all all-reduces
    exposed: float  # seconds from the end of backward to the last bucket
    buckets: int


def step(model, network, gpus, batch, options=Options()):
    """A step of the slowest rank, for which all others wait."""
    computing = batch / model.rates[network.gpu] * (1 + options.variation * slowest(gpus))
    forward, work, done, ready = computing / 3, sum(macs for _, macs in model.layers), 0, {}
    for layer in reversed(range(len(model.layers))):
        done += model.layers[layer][1]
        ready[layer] = forward + (computing - forward) * done / work
    sent = buckets(model.layers, options.bucket) if options.overlap else [[4 * model.numbers, 0]]
    free = communication = 0
    for size, layer in sent:
        seconds = all_reduce(size / 2 if options.compress else size, gpus, network)
        free = max(free, ready[layer]) + seconds
        communication += seconds
    exposed = max(0, free - computing) if gpus > 1 else 0
    return Step(
        computing + exposed + ADAMW_BYTES * model.numbers / MEMORY[network.gpu], communication, exposed, len(sent)
    )


def efficiency(model, network, gpus, batch=None, options=Options(), base=1):
    """The time of a step on `base` GPUs over that on `gpus`, with the same batch for each GPU."""
    times = (step(model, network, count, batch or model.batch, options).seconds for count in (base, gpus))
    return next(times) / next(times)


def slowest(ranks):
    """Expected greatest of `ranks` independent standard normal numbers: the integral of [x > 0] - F(x)^ranks."""
    width, normal = 1 / 200, statistics.NormalDist()
    return width * sum((x > 0) - normal.cdf(x) ** ranks for x in ((i + 0.5) * width for i in range(-1600, 1600)))


def fit(document):
    """(alpha, beta, [(bytes, seconds, relative error)]) of what `cskd bench all-reduce --json` printed: 2 (R - 1) (alpha + n / (R beta)) with the
    least sum of squared relative errors. Exits where larger sizes do not take longer."""
    ranks, points = document["ranks"], [(4 * case["numbers"], case["median"]) for case in document["cases"]]
    # Divided by its time each case is: start / t + slope n / t = 1.
    one, two, mixed = sum(1 / t for _, t in points), sum(n / t for n, t in points), sum(n / t**2 for n, t in points)
    starts, slopes = sum(1 / t**2 for _, t in points), sum((n / t) ** 2 for n, t in points)
    determinant = starts * slopes - mixed**2
    start, slope = (
        ((one * slopes - two * mixed) / determinant, (starts * two - mixed * one) / determinant)
        if determinant
        else (0, 0)
    )
    if start < 0:
        start, slope = 0, two / slopes
    if ranks < 2 or slope <= 0:
        sys.exit("a fit needs two ranks or more, and sizes of which the larger take longer")
    return (
        start / (2 * (ranks - 1)),
        2 * (ranks - 1) / ranks / slope,
        [(n, t, (start + slope * n) / t - 1) for n, t in points],
    )


def print_table(title, head, rows):
    print(f"{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    print(
        "\n".join(
            f"| {' | '.join(cell if isinstance(cell, str) else f'{100 * cell:.1f}' for cell in row)} |" for row in rows
        )
        + "\n"
    )


def print_tables(networks, gpus, variation, options):
    differ, largest, first = dataclasses.replace(options, variation=variation), gpus[-1], networks[0]
    kinds = [
        *((network.name, network, options) for network in networks),
        (f"{first.name}, ranks differ", first, differ),
    ]
    print_table(
        "Efficiency in % on this many GPUs",
        ["", *(f"{count:,}" for count in gpus)],
        [
            [f"{model.name}, {name}", *(efficiency(model, network, count, None, each) for count in gpus)]
            for model in MODELS
            for name, network, each in kinds
        ],
    )
    variants = (
        options,
        dataclasses.replace(options, overlap=False),
        dataclasses.replace(options, compress=True),
        differ,
    )
    rows = []
    for model, network in ((model, network) for model in MODELS for network in networks):
        alone, one = step(model, network, 1, model.batch), step(model, network, largest, model.batch, options)
        times = [f"{1000 * seconds:.2f}" for seconds in (alone.seconds, one.communication, one.exposed)]
        rows.append(
            [
                f"{model.name}, {network.name}",
                *times,
                str(one.buckets),
                *(efficiency(model, network, largest, None, variant) for variant in variants),
            ]
        )
    print_table(
        f"On {largest:,} GPUs",
        [
            "",
            "step of one GPU, ms",
            "all-reduces, ms",
            "exposed, ms",
            "buckets",
            "efficiency, %",
            "one all-reduce after backward",
            "bfloat16 gradients",
            "ranks differ",
        ],
        rows,
    )
    for model in MODELS:
        print_table(
            f"Efficiency in % with this many images of a GPU, {model.name}, {largest:,} GPUs",
            ["", *map(str, model.batches)],
            [
                [network.name, *(efficiency(model, network, largest, batch, options) for batch in model.batches)]
                for network in networks
            ],
        )
    # Factors of the bandwidth between nodes and of the GPU's speed, seconds more for a hop, MiB of a bucket.
    changes = {
        "as above": (1, 1, 0, None),
        "1/4 of the bandwidth": (0.25, 1, 0, None),
        "1/2": (0.5, 1, 0, None),
        "double": (2, 1, 0, None),
        "30 us more for a hop": (1, 1, 30e-6, None),
        "GPUs 1/2 as fast": (1, 0.5, 0, None),
        "twice as fast": (1, 2, 0, None),
        **{f"{size} MiB": (1, 1, 0, size) for size in (50, 5, 1)},
    }
    print_table(
        f"Efficiency in % with one thing changed, {largest:,} GPUs",
        ["", *changes],
        [
            [
                f"{model.name}, {network.name}",
                *(
                    efficiency(
                        dataclasses.replace(model, rates={gpu: speed * rate for gpu, rate in model.rates.items()}),
                        dataclasses.replace(network, between=width * network.between, extra=network.extra + extra),
                        largest,
                        None,
                        dataclasses.replace(options, bucket=size * MIB if size else options.bucket),
                    )
                    for width, speed, extra, size in changes.values()
                ),
            ]
            for model in MODELS
            for network in networks
        ],
    )
    if networks is NETWORKS:
        print_table(
            "Efficiency in % beside published training",
            ["", "of", "measured", "model", "ranks differ"],
            [
                [
                    f"{model.name}, {model.batch} images of a GPU, {gpus} x {network.gpu}",
                    f"{base} GPU{'s' if base > 1 else ''}",
                    rate / gpus * base / alone,
                    *(efficiency(model, network, gpus, None, Options(variation=each), base) for each in (0, variation)),
                ]
                for model, network, base, alone, rates in PUBLISHED
                for gpus, rate in rates.items()
            ],
        )
        print_table(
            "Bus bandwidth in GB/s beside published all-reduces",
            ["", "MiB", "measured", "model"],
            [
                [
                    name,
                    str(size),
                    f"{rate:.0f}",
                    f"{2 * (gpus - 1) / gpus * size * MIB / all_reduce(size * MIB, gpus, network) / 1e9:.0f}",
                ]
                for name, network, gpus, rates in MEASURED
                for size, rate in rates.items()
            ],
        )


def draw(variation):
    """docs/scaling/efficiency.svg: a column for each model, InfiniBand above Ethernet."""
    width, height, top, gap, grey = 255, 190, 66, 44, "#666"
    networks = dict(zip(NETWORKS, ("#3367a6", "#3d8a55", "#c2571a", "#8a4f9e"), strict=True))
    styles = [
        (network, colour, dashes, Options(overlap=dashes == "none"))
        for dashes in ("5 4", "none")
        for network, colour in networks.items()
    ]
    styles.append((NETWORKS[0], "#222", "2 3", Options(variation=variation)))
    parts = []

    def text(x, y, words, size=12, anchor="start", colour="#333", extra=""):
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{extra}>{words}</text>'
        )

    def line(points, colour, stroke=2.0, dashes="none"):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{stroke}" stroke-dasharray="{dashes}"/>'
        )

    for column, model in enumerate(MODELS):
        left = 62 + column * (width + gap)
        text(
            left + width / 2,
            24,
            f"{model.name}, {model.batch} images of a GPU",
            13,
            "middle",
            extra=' font-weight="bold"',
        )
        for row, (kind, shown, lowest, tick) in enumerate(
            (("InfiniBand, from 80 %", NETWORKS[:2], 80, 5), ("Ethernet, from 0 %", NETWORKS[2:], 0, 20))
        ):
            bottom = top + row * (height + 58) + height
            text(left, bottom - height - 10, kind, colour=grey)
            for share in range(lowest, 101, tick):
                y = bottom - height * (share - lowest) / (100 - lowest)
                line([(left, y), (left + width, y)], "#e2e2dd", 1)
                text(left - 6, y + 4, f"{share} %", 11, "end", grey)
            for power in (0, 3, 6, 9):
                line([(left + width * power / 9, bottom - height), (left + width * power / 9, bottom)], "#e2e2dd", 1)
                text(left + width * power / 9, bottom + 16, f"{8 << power:,}", 11, "middle", grey)
            for network, colour, dashes, options in styles:
                if network in shown:
                    shares = [100 * efficiency(model, network, 8 << power, None, options) for power in range(10)]
                    line(
                        [
                            (left + width * power / 9, bottom - height * (share - lowest) / (100 - lowest))
                            for power, share in enumerate(shares)
                        ],
                        colour,
                        dashes=dashes,
                    )
    legend = [(colour, "none", f"{network.name}, buckets during backward") for network, colour in networks.items()]
    legend += [
        (grey, "5 4", "same colours, dashed: one all-reduce after backward"),
        ("#222", "2 3", f"{NETWORKS[0].name}, ranks differ by {100 * variation:g} %"),
    ]
    text(62 + 3 * width + 2 * gap, bottom + 34, "GPUs →", anchor="end")
    for number, (colour, dashes, words) in enumerate(legend):
        x, y = 62 + number // 3 * 440, bottom + 56 + number % 3 * 20
        line([(x, y - 4), (x + 34, y - 4)], colour, dashes=dashes)
        text(x + 42, y, words)
    size = 86 + 3 * width + 2 * gap, bottom + 114
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}" '
        'font-family="Helvetica, Arial, sans-serif">\n<rect width="100%" height="100%" fill="#fff"/>'
    )
    (pathlib.Path(__file__).parent / "efficiency.svg").write_text("\n".join([head, *parts, "</svg>\n"]))


def check():
    """The claims about the model that do not hold."""
    claims, plain = {}, Network("plain", "H100", 100e9, 50e9)
    single = Model("single", [([1_000_000], 1)], {"H100": 100}, (50,))
    for gpus, seconds in (
        (8, 14.0e-6 + 14 * 1.9e-6 + 7e6 / 92e9),
        (64, 14.0e-6 + 14 * 1.25e-6 + 6 * 8.5e-6 + 8e6 / (0.8625 * 50e9)),
    ):
        for overlap in (True, False):
            found = step(single, plain, gpus, 50, Options(overlap)).seconds
            claims[f"closed form, {gpus} GPUs, overlap {overlap}"] = math.isclose(found, 0.5 + seconds + 28e6 / 3.35e12)
    small = 14.0e-6 + 14 * 1.25e-6 + 2000 / (0.92 * 7 / 9 * 100e9)
    claims["closed form of a small all-reduce in a node"] = math.isclose(all_reduce(1000, 8, plain), small)
    for model, parameters in zip(MODELS, (21_665_664, 303_178_752, 4_202_032), strict=True):
        filled = buckets(model.layers)
        claims[f"parameters of {model.name}"] = model.numbers == parameters + sum(model.layers[-1][0])
        claims[f"buckets of {model.name}"] = (
            sum(size for size, _ in filled) == 4 * model.numbers and filled[0][0] <= MIB and max(filled)[0] <= 25 * MIB
        )
        for network in NETWORKS:
            name = f"{model.name}, {network.name}"
            over_gpus = [efficiency(model, network, gpus) for gpus in (1, *GPUS)]
            over_batches = [efficiency(model, network, 4096, batch) for batch in model.batches]
            claims[f"{name}: falls with the GPUs"] = over_gpus[0] == 1 and over_gpus == sorted(over_gpus, reverse=True)
            claims[f"{name}: rises with the batch"] = over_batches == sorted(over_batches)
            for change in ({"between": network.between / 2}, {"extra": network.extra + 1e-5}):
                claims[f"{name}: falls with {change}"] = (
                    efficiency(model, dataclasses.replace(network, **change), 4096) < over_gpus[-1]
                )
            claims[f"{name}: rises with bfloat16"] = (
                efficiency(model, network, 4096, None, Options(compress=True)) > over_gpus[-1]
            )
            alone, one = step(model, network, 1, model.batch).seconds, step(model, network, 512, model.batch)
            after = step(model, network, 512, model.batch, Options(overlap=False)).seconds
            claims[f"{name}: bounds of overlap"] = (
                max(alone, one.communication) < one.seconds < alone + one.communication
            )
            claims[f"{name}: without overlap"] = math.isclose(
                after, alone + all_reduce(4 * model.numbers, 512, network)
            )
    for ranks, value in ((1, 0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi))):
        claims[f"slowest of {ranks}"] = abs(slowest(ranks) - value) < 1e-4
    alpha, beta, errors = fit(
        {"ranks": 4, "cases": [{"numbers": n, "median": 6 * (5e-6 + n / 10e9)} for n in (1, 1000, 1_000_000)]}
    )
    claims["fit"] = (
        math.isclose(alpha, 5e-6) and math.isclose(beta, 10e9) and max(abs(error) for *_, error in errors) < 1e-9
    )
    print(
        "\n".join(f"does not hold: {claim}" for claim, holds in claims.items() if not holds)
        or f"OK: {len(claims)} claims hold"
    )
    return all(claims.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=GPUS, help="up to eight, or multiples of eight")
    parser.add_argument(
        "--alpha", type=float, help="microseconds of a hop between nodes; the rest as H100, InfiniBand NDR"
    )
    parser.add_argument(
        "--beta", type=float, help="bus bandwidth between nodes, GB/s; the rest as H100, InfiniBand NDR"
    )
    parser.add_argument(
        "--measured",
        type=pathlib.Path,
        help="what cskd bench all-reduce --json printed: alpha and beta are fitted to it",
    )
    parser.add_argument(
        "--variation",
        type=float,
        default=0.01,
        help="by which ranks differ: standard deviation over mean of the time to compute",
    )
    parser.add_argument("--bucket", type=float, default=25, help="MiB of all buckets but the first")
    for name, words in {
        "compress": "gradients travel as bfloat16",
        "json": "print JSON instead of tables",
        "draw": "write the picture",
        "check": "test the model; exit code 1 if a claim does not hold",
    }.items():
        parser.add_argument(f"--{name}", action="store_true", help=words)
    given = parser.parse_args()
    if given.check:
        sys.exit(0 if check() else 1)
    options, networks = Options(compress=given.compress, bucket=given.bucket * MIB), NETWORKS
    fitted = fit(json.loads(given.measured.read_text())) if given.measured else (None, None, None)
    alpha, beta = (
        (fitted[0] if given.alpha is None else given.alpha * 1e-6),
        (fitted[1] if given.beta is None else given.beta * 1e9),
    )
    if alpha is not None or beta is not None:
        networks = [
            dataclasses.replace(NETWORKS[0], name="H100, as given", hop=alpha, between=beta or NETWORKS[0].between)
        ]
    if given.json:
        variants = {
            "": options,
            "_without_overlap": dataclasses.replace(options, overlap=False),
            "_ranks_differ": dataclasses.replace(options, variation=given.variation),
        }
        cases = [
            {
                "model": model.name,
                "network": network.name,
                "gpus": gpus,
                "batch": model.batch,
                **dataclasses.asdict(step(model, network, gpus, model.batch, options)),
                **{
                    f"efficiency{name}": efficiency(model, network, gpus, None, variant)
                    for name, variant in variants.items()
                },
            }
            for model in MODELS
            for network in networks
            for gpus in given.gpus
        ]
        print(json.dumps({"alpha": alpha, "beta": beta, "fit": fitted[2], "cases": cases}, indent=2))
        return
    if fitted[2]:
        print_table(
            f"Fitted: alpha {1e6 * fitted[0]:.2f} us, beta {fitted[1] / 1e9:.2f} GB/s",
            ["bytes", "measured, ms", "error of the fit, %"],
            [[f"{size:,}", f"{1000 * seconds:.4f}", error] for size, seconds, error in fitted[2]],
        )
    if given.draw:
        draw(given.variation)
    print_tables(networks, given.gpus, given.variation, options)


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except (
        BrokenPipeError
    ):  # whoever read, such as head, has left; a null device keeps the interpreter's last flush quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
