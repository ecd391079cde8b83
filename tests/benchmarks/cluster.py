"""cskd on several hosts of a Slurm in a box (cluster/box): how soon a submitted training is under way, how soon it is again after a failure, what is
left of the time at one failure a minute, what the network between hosts costs, and the demo as a chain of jobs. Prints a table for each part.

  .venv/bin/python tests/benchmarks/cluster.py [--parts submit,loss,goodput,steps,chain] [--rounds 3] [--only TEXT]

submit   launch/submit.sh CONFIG --nodes 2, from its start to the end of the first step
loss     a rank or host of a training on two hosts is lost: from then to the end of the first new step, in the allocation (one spare host), and when the
         job has to wait in the queue for the host, also from when that is back. Each in a box and job of its own
goodput  a training of --minutes with a failure in each: in turns a rank is killed, and a host crashes, back after 15 s
steps    the same training on one host with two ranks, and on two hosts with one each, over links with delays and losses
chain    the demo of configs/demo.toml by launch/submit.sh --nodes 2 --chain, beside cskd run under mpirun on one host; some 20 minutes, so only when asked for

Trainings are those of the tests: MobileNetV3-Small at 64 pixels, 16 pictures a step, one thread for each rank; checkpoints every two seconds. Needs root,
two free cores, and for a round of all but chain some 15 minutes.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from boxed_training import (
    CHECKPOINT_INTERVAL,
    CSKD,
    ENDLESS,
    ROOT,
    SUBMIT,
    Training,
    Work,
    box_of,
    job_of,
    ranks_of,
    set_words,
    sleep_until,
    until,
)

import cskd_program  # found since boxed_training is imported first
import slurm_box
from slurm_box import succeeded

BATCH = 16  # of small_run
WARM_UP = 20  # steps that do not count
# The name of a link, and what box.sh slow makes of it; a delay is that of each direction.
LINKS = [
    ("as it is", ()),
    ("through a program, 0 ms", ("0ms",)),
    ("1 ms", ("1ms",)),
    ("10 ms", ("10ms",)),
    ("50 ms", ("50ms",)),
    ("1 % of packets lost", ("0ms", "1%")),
]


def say(text):
    print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)


def number(value):
    return f"{value}" if isinstance(value, int) else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def spread(values, unit):
    """Two cells: median and range."""
    return f"{number(statistics.median(values))}{unit} | {number(min(values))} to {number(max(values))}"


def print_table(columns, rows):
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


# ---- submit ---------------------------------------------------------------------------------------------------------------


def measure_submit(work, arguments):
    found = {"`launch/submit.sh` to the first step": [], "the same with `--no-doctor`": []}
    for _ in range(arguments.rounds):
        for (name, seconds), words in zip(found.items(), [(), ("--no-doctor",)], strict=True):
            with job_of(work, ("--hosts", 2), *words) as (_, training, start):
                seconds.append(training.first_step(start) - start)
            say(f"{name}: {seconds[-1]:.1f} s")
    bars = ["< 30 s", ""]
    print_table(
        ["", "median", "range", "bar"],
        [(name, spread(seconds, " s"), bar) for (name, seconds), bar in zip(found.items(), bars, strict=True)],
    )


# ---- loss -----------------------------------------------------------------------------------------------------------------


def kill_rank(box):
    os.kill(ranks_of(box)[1][0], signal.SIGKILL)


def loss_cases():
    """Name, options of the box and of submit.sh, settings, what is done, the host that comes back, bar. Slurm itself waits as long as it usually does at
    sites (SlurmdTimeout = 300) where the job goes on in its allocation, and 10 s where the loss is for Slurm to notice."""
    spare = ("--hosts", 3, "--node-timeout", 300), ("--spare", 1)
    crash = lambda host: lambda box: box.fault("crash", host)  # noqa: E731
    off = lambda box: box.fault("switch-off", "n2")  # noqa: E731
    return [
        ("a rank is killed", *spare, {}, kill_rank, None, "< 15 s"),
        ("a host crashes", *spare, {}, crash("n2"), None, "< 15 s"),
        ("a host is switched off, `compute.lost_after = 5`", *spare, {"compute.lost_after": 5}, off, None, "< 15 s"),
        ("a host is switched off, 60 s as by default", *spare, {}, off, None, ""),
        ("a host crashes, too few are left", ("--hosts", 2), ("--min-nodes", 2), {}, crash("n2"), "n2", ""),
        ("the first host crashes", ("--hosts", 2), (), {}, crash("n1"), "n1", ""),
    ]


def lose(work, options, words, settings, fault, lost):
    """Seconds from the fault to the first new step, and from the return of host `lost`."""
    with job_of(work, options, *words, **settings) as (box, training, start):
        training.first_step(start)
        training.next_checkpoint()
        time.sleep(random.uniform(0, CHECKPOINT_INTERVAL))
        began = time.time()
        fault(box)
        back = began
        if lost:
            until(
                lambda: "is queued again" in training.log(),
                120,
                lambda: f"the job was not queued again within 120 s:\n{training.log()[-4000:]}",
            )
            box.fault("restore", lost)
            back = time.time()
        step = training.first_step(began)
        return step - began, step - back


def measure_loss(work, arguments):
    cases = [case for case in loss_cases() if arguments.only in case[0]]
    found = {name: [] for name, *_ in cases}
    for _ in range(arguments.rounds):
        for name, options, words, settings, fault, lost, _ in cases:
            found[name].append(lose(work, options, words, settings, fault, lost))
            say(
                f"{name}: {found[name][-1][0]:.1f} s"
                + (f", {found[name][-1][1]:.1f} s after the host was back" if lost else "")
            )
    rows = []
    for name, _, _, settings, _, lost, bar in cases:
        seconds, back = zip(*found[name], strict=True)
        rows.append((name, spread(seconds, " s"), bar))
        if "switched off" in name:
            wait = settings.get("compute.lost_after", 60)
            rows.append((f"of it beyond those {wait} s", spread([each - wait for each in seconds], " s"), ""))
        if lost:
            rows.append(("of it since the host is back", spread(back, " s"), "< 90 s"))
    print_table(["from the fault to the next step", "median", "range", "bar"], rows)


# ---- goodput --------------------------------------------------------------------------------------------------------------


def fail_once(box, training, wants_kill, spared, chance):
    """Kills a rank, or crashes the host of rank 1 and restores it. When, when the next step was done, the host, and what was done."""
    ranks = ranks_of(box)
    began = time.time()
    # On a busy machine hosts may not answer in time, and the training goes on on the first one alone.
    if wants_kill or len(ranks) == 1:
        process, host = chance.choice([each for each in ranks.values() if each[1] not in spared or len(ranks) == 1])
        os.kill(process, signal.SIGKILL)
        what = "rank killed"
    else:
        host = ranks[1][1]
        box.fault("crash", host)
        sleep_until(began + 15)
        box.fault("restore", host)
        what = "host crashed"
    return began, training.first_step(began), host, what


def kept_share(steps, firsts):
    """Of the time from the first step to the last, without the gaps before `firsts`, those after failures: goodput as the steps' own times tell it."""
    gaps = [(later["time"], later["time"] - one["time"]) for one, later in zip(steps, steps[1:])]
    usual = statistics.median(gap for _, gap in gaps)
    return 1 - sum(gap - usual for end, gap in gaps if end in firsts) / (steps[-1]["time"] - steps[0]["time"])


def measure_goodput(work, arguments):
    minutes = arguments.minutes
    # A host whose ranks were killed twice is left out; the first would leave with the job, so its rank is killed once at most.
    spares = 1 + (minutes + 1) // 4
    found = {
        name: []
        for name in (
            "goodput",
            "the same by the times of the steps",
            "starts",
            "steps done again",
            "failure to next step",
        )
    }
    for each in range(arguments.rounds):
        chance = random.Random(each)
        with job_of(work, ("--hosts", 2 + spares, "--node-timeout", 300), "--spare", spares) as (box, training, start):
            begin, spared, firsts = training.first_step(start), set(), set()
            for failure in range(minutes):
                sleep_until(begin + 60 * failure + 30)
                began, first, host, what = fail_once(box, training, failure % 2 == 0, spared, chance)
                firsts.add(first)
                if host == "n1":
                    spared.add(host)
                found["failure to next step"].append(first - began)
                say(f"failure {failure + 1}, {what} ({host}): {first - began:.1f} s")
            sleep_until(begin + 60 * minutes)
            goodput, steps = training.status()["goodput"], training.steps()
        found["goodput"].append(100 * goodput["share"])
        found["the same by the times of the steps"].append(100 * kept_share(steps, firsts))
        found["starts"].append(goodput["starts"])
        found["steps done again"].append(goodput["lost_steps"])
        say(f"goodput {goodput}")
    units, bars = [" %", " %", "", "", " s"], [">= 80 %", "", "", "", ""]
    print_table(
        [f"{minutes} minutes with {minutes} failures", "median", "range", "bar"],
        [
            (name, spread(values, unit), bar)
            for (name, values), unit, bar in zip(found.items(), units, bars, strict=True)
        ],
    )


# ---- steps ----------------------------------------------------------------------------------------------------------------


def train_some(work, box, hosts, steps):
    """(seconds of a step, exposed seconds, overlap), medians of `steps` of them, and the warnings of status.json."""
    training = Training(work.new_run())
    settings = ENDLESS | {"align.student.training.checkpoint_interval": 0}
    command = [
        "srun",
        "--mpi=pmix",
        f"--nodelist={','.join(hosts)}",
        f"--nodes={len(hosts)}",
        "--ntasks=2",
        CSKD,
        "align",
        training.config,
        *set_words(settings),
    ]
    with slurm_box.stopped_at_end(box.start(*command)) as process:

        def ended():
            return process.poll() is not None

        def enough():
            return (
                ended()
                or training.status().get("step", 0) >= WARM_UP + steps
                and time.time() > training.status()["started"] + 20
            )

        until(enough, 900, lambda: f"{training.status().get('step')} steps in 900 s")
        assert not ended(), f"exit code {process.returncode}: {process.communicate()[1]}"
        warnings = training.status().get("warnings", [])
        os.kill(ranks_of(box)[0][0], signal.SIGUSR1)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 75, f"exit code {process.returncode}: {errors}"
    lines = training.steps()[WARM_UP:]
    gaps = [later["time"] - one["time"] for one, later in zip(lines, lines[1:])]
    figures = (
        statistics.median(gaps),
        *(statistics.median(line[f"perf/{name}"] for line in lines) for name in ("exposed_communication", "overlap")),
    )
    shutil.rmtree(training.folder)
    return figures, warnings


def doctor_names(box, host):
    """Whether cskd doctor on all hosts finds a link of this one slow."""
    process = box.run("srun", "--mpi=pmix", "--nodes=3", "--ntasks=3", CSKD, "doctor", "--json")
    try:
        checks = json.loads(process.stdout)["checks"]
    except ValueError:
        raise AssertionError(f"cskd doctor: exit code {process.returncode}, {process.stderr}") from None
    return any(check["name"] == "links" and check["verdict"] != "fine" and host in check["found"] for check in checks)


def measure_steps(work, arguments):
    cases = [("1 host, 2 ranks", ["n1"], ())] + [
        (f"2 hosts, link {name}", ["n1", "n2"], words) for name, words in LINKS
    ]
    cases = [case for case in cases if arguments.only in case[0]]
    found = {name: [] for name, *_ in cases}
    named = {name: [0, 0] for name in found}
    with box_of("--hosts", 3) as box:
        for _ in range(arguments.rounds):
            for name, hosts, words in cases:
                if words:
                    box.fault("slow", "n2", *words)
                figures, warnings = train_some(work, box, hosts, arguments.steps)
                found[name].append(figures)
                named[name][0] += any("network" in warning and "n2" in warning for warning in warnings)
                named[name][1] += len(hosts) > 1 and doctor_names(box, "n2")
                box.fault("mend", "n2")
                say(
                    f"{name}: {1000 * figures[0]:.1f} ms, exposed {1000 * figures[1]:.1f} ms, overlap {figures[2]:.2f}; {warnings or 'no warning'}"
                )
    rows = []
    for name, figures in found.items():
        steps, exposed, overlap = ([1000 * figure for figure in column] for column in zip(*figures, strict=True))
        rows.append(
            (
                name,
                spread(steps, " ms"),
                number(1000 * BATCH / statistics.median(steps)),
                spread(exposed, " ms"),
                f"{statistics.median(overlap) / 10:.0f} %",
                *(f"{times} of {len(figures)}" for times in named[name]),
            )
        )
    print_table(
        [
            "",
            "step",
            "range",
            "images/s",
            "exposed communication",
            "range",
            "overlap",
            "named by `status`",
            "by `doctor`",
        ],
        rows,
    )


# ---- chain ----------------------------------------------------------------------------------------------------------------


def demo(work, name):
    """The demo's configuration with a run folder of its own."""
    text = (
        (ROOT / "configs/demo.toml")
        .read_text()
        .replace('"../runs/demo"', f'"{work.folder / name}"')
        .replace("../runs/demo", str(work.folder / "demo"))
    )
    path = work.folder / f"{name}.toml"
    path.write_text(text.replace('"demo/teacher.safetensors"', f'"{ROOT / "configs/demo/teacher.safetensors"}"'))
    return path


def chain_seconds(job):
    start, end = (datetime.datetime.fromisoformat(job[key]).timestamp() for key in ("StartTime", "EndTime"))
    return end - start


def measure_chain(work, arguments):
    images = ["--images", arguments.images] if arguments.images else []
    succeeded(cskd_program.run("demo", work.folder / "demo/corpus", *images, timeout=1200))
    settings = [word for setting in ["compute.threads=1", *arguments.set] for word in ("--set", setting)]
    plain = demo(work, "plain")
    start = time.time()
    succeeded(cskd_program.mpirun(2, "run", plain, *settings, timeout=3600))
    plain_seconds = time.time() - start
    say(f"cskd run on one host: {plain_seconds:.0f} s")
    rows, wholes, equal = {}, [], 0
    for each in range(arguments.rounds):
        config = demo(work, f"chain-{each}")
        with box_of("--hosts", 2) as box:
            start = time.time()
            output = box.out(SUBMIT, config, "--site", work.site, "--nodes", 2, "--chain", *settings)
            jobs = re.findall(r"^job (\d+) +(\w+)", output, re.MULTILINE)
            for job, stage in jobs:
                facts = box.wait_for_job(
                    int(job), "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", seconds=3600
                )
                log = (
                    (config.with_suffix("") / "slurm" / f"{stage}-{job}.log").read_text()
                    if facts["JobState"] != "COMPLETED"
                    else ""
                )
                assert facts["JobState"] == "COMPLETED", f"{stage}: {facts['JobState']}\n{log[-4000:]}"
                rows.setdefault(stage, []).append(chain_seconds(facts))
                say(f"{stage}: {rows[stage][-1]:.0f} s")
            wholes.append(time.time() - start)
        digests = {
            hashlib.sha256((path.with_suffix("") / "evaluate/predictions.csv").read_bytes()).digest()
            for path in (plain, config)
        }
        equal += len(digests) == 1
    table = [(stage, spread(seconds, " s")) for stage, seconds in rows.items()]
    print_table(
        ["job of the chain, two hosts of one rank", "median", "range"],
        [
            *table,
            ("**from `launch/submit.sh` to the end of the last**", spread(wholes, " s")),
            ("`cskd run`, one host of two ranks", f"{plain_seconds:.1f} s", ""),
        ],
    )
    print(
        f"\nScores of all test pictures equal to those of one host, bit for bit: {equal} of {arguments.rounds} times."
    )


# ---- main -----------------------------------------------------------------------------------------------------------------

PARTS = {
    "submit": measure_submit,
    "loss": measure_loss,
    "goodput": measure_goodput,
    "steps": measure_steps,
    "chain": measure_chain,
}


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    slurm = subprocess.run(["slurmd", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{datetime.date.today():%-d %B %Y}, {model[1] if model else 'unknown processor'}, {os.cpu_count()} cores, {slurm}, load {os.getloadavg()[0]:.1f}"


def parsed_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="submit,loss,goodput,steps", help="which, in this order (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="of loss and steps: cases whose name contains this")
    parser.add_argument("--minutes", type=int, default=5, help="of goodput, 1 to 26 (%(default)s)")
    parser.add_argument(
        "--steps", type=int, default=60, help="that count, of each training of steps; it also lasts 20 s (%(default)s)"
    )
    parser.add_argument("--images", type=int, help="of the chain's corpus; by default those of cskd demo")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="changes the demo's configuration for chain; repeatable",
    )
    parser.add_argument("--logs", type=pathlib.Path, metavar="FOLDER", help="where the jobs' logs are kept")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts.split(",")
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"--parts names '{part}'; there are: {', '.join(PARTS)}")
    if arguments.rounds < 1 or arguments.steps < 2 or not 1 <= arguments.minutes <= 26:
        parser.error("--rounds is 1 or more, --steps 2 or more, --minutes 1 to 26")
    if not os.access(CSKD, os.X_OK):
        parser.error(f"{CSKD} is missing: cmake --build build/release --target cskd, or name another in CSKD_BINARY")
    return arguments


def end(*_):
    """Clears everything away."""
    say("SIGTERM")
    sys.exit(143)


def main():
    arguments = parsed_arguments()
    reason = slurm_box.missing_right()
    if reason:
        sys.exit(reason)
    signal.signal(signal.SIGTERM, end)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="cskd-benchmark-", dir="/var/tmp") as name:
        work = Work(pathlib.Path(name), arguments.logs)
        if set(arguments.parts) != {"chain"}:
            work.pack()
            say("pictures packed")
        for part in arguments.parts:
            try:
                PARTS[part](work, arguments)
            except AssertionError as error:
                sys.exit(f"{part}: {error}")


if __name__ == "__main__":
    main()
