"""A graph of several towers, alignments, teachers and students: run, killed, planned and swept on 1, 2 and 4 ranks."""

import csv
import json
import shutil

import numpy
import pytest
from cskd_program import mpirun, run
from scipy.stats import pearsonr, spearmanr
from small_run import TRAINING, configuration, random_tower
from stage_runs import digest, result_folder

STAGES = [
    "shard",
    "cache.clip",
    "cache.second",
    "align.student",
    "align.teacher",
    "align.other",
    "finetune.teacher",
    "finetune.second",
    "distill.student",
    "distill.other",
    "evaluate",
]
TRAININGS = STAGES[3:-1]
# The same bits on any number of ranks.
SAME_BITS = [word for stage in TRAININGS for word in ("--set", f"{stage}.training.determinism=elastic")] + [
    "--set",
    "compute.threads=1",
]


def graph_text(corpus, weights, second, folder):
    """Two towers, three alignments, two teachers, two students."""
    head, rest = configuration(corpus, weights, folder).split("[towers.clip]")
    compute = rest[rest.index("[evaluate]") : rest.index("[align.student.training]")]
    text = (
        head
        + f"""
[towers.clip]
architecture = "ViT-demo-16"
weights = "{weights}"
views.count = 4

[towers.second]
architecture = "ViT-demo-16"
weights = "{second}"
views.count = 4

[encoders.mobile]
architecture = "mobilenetv3_small_100"
image_size = 64

[encoders.vit]
architecture = "ViT-demo-16"

[align.student]
encoder = "mobile"
towers = ["clip"]

[align.teacher]
encoder = "vit"
towers = ["second", "clip"]
tower_weights = [1, 0.5]

[align.other]
encoder = "mobile"
towers = ["second"]
token_smooth_l1_weight = 0.5
mixup = 0.4

[finetune.teacher]
from = "align.teacher"

[finetune.second]
from = "towers.clip"

[distill.student]
from = "align.student"
teachers = ["finetune.teacher"]

[distill.other]
from = "align.other"
teachers = ["finetune.second"]

"""
        + compute
    )
    return text + "".join(
        TRAINING.format(stage=stage, steps=4).replace("checkpoint_every = 4", "checkpoint_every = 2")
        for stage in TRAININGS
    )


@pytest.fixture
def graph(corpus, weights, tmp_path):
    second = tmp_path / "second.safetensors"
    random_tower(second, seed=2)

    def write(name):
        path = tmp_path / f"{name}.toml"
        path.write_text(graph_text(corpus, weights, second, tmp_path / name))
        return path, tmp_path / name

    return write


def models(folder):
    return {stage: digest(result_folder(folder, stage) / "model.safetensors") for stage in TRAININGS}


def verdicts(path, *words):
    process = run("plan", path, "--json", *words)
    plan = json.loads(process.stdout)
    return plan, {stage["stage"]: stage["verdict"] for stage in plan["stages"]}, process.returncode


def test_a_whole_graph_on_1_2_and_4_ranks_killed_and_planned(graph):
    path, folder = graph("one")
    plan, verdict, code = verdicts(path, "--quick")
    assert code == 0 and list(verdict) == STAGES and set(verdict.values()) == {"runs"}
    needs = {stage["stage"]: stage["needs"] for stage in plan["stages"]}
    assert needs["distill.other"] == ["shard", "align.other", "finetune.second"] and needs["finetune.second"] == [
        "shard"
    ]

    # What a stage needs is named before it does anything.
    process = run("distill", path, "other")
    assert process.returncode == 2 and "problems prevent this run" in process.stderr
    for need, command in (
        ("shard", "shard"),
        ("align.other", "align CONFIG other"),
        ("finetune.second", "finetune CONFIG second"),
    ):
        assert f"distill.other needs {need}, which is not complete: run 'cskd {command}' first" in process.stderr

    process = mpirun(2, "run", path, *SAME_BITS, env={"CSKD_FAIL_AT": "trainer.step@finetune.teacher:3:term"})
    assert process.returncode == 75, process.stderr
    plan, verdict, _ = verdicts(path, "--quick", *SAME_BITS)
    assert (
        verdict["align.other"] == "complete"
        and verdict["finetune.teacher"] == "goes on"
        and verdict["finetune.second"] == "runs"
    ), verdict
    assert plan["stages"][STAGES.index("finetune.teacher")]["reason"] == "after step 3 of 4"
    for ranks, env, code in (4, {"CSKD_FAIL_AT": "trainer.step@distill.student:kill"}, 137), (1, {}, 0):
        process = mpirun(ranks, "run", path, *SAME_BITS, env=env)
        assert process.returncode == code, process.stderr

    for ranks in (2, 4):
        other_path, other = graph(f"other{ranks}")
        process = mpirun(ranks, "run", other_path, *SAME_BITS)
        assert process.returncode == 0, process.stderr
        assert models(other) == models(folder)
        assert digest(other / "evaluate/predictions.csv") == digest(folder / "evaluate/predictions.csv")
        shutil.rmtree(other)
    # Different towers and teachers make different models; the name alone does not.
    assert len(set(models(folder).values())) == len(TRAININGS)

    plan, verdict, code = verdicts(path, *SAME_BITS)
    assert (
        code == 0
        and set(verdict.values()) == {"complete"}
        and plan["left_to_do"] == {"seconds": 0.0, "disk_bytes": 0, "is_whole": True}
    )
    # What a change of one stage reaches, by name.
    plan, verdict, code = verdicts(path, *SAME_BITS, "--set", "align.other.cosine_weight=0.5")
    assert code == 2 and {stage for stage, each in verdict.items() if each == "refused"} == {
        "align.other",
        "distill.other",
    }
    assert plan["stages"][STAGES.index("distill.other")]["reason"] == "align.other.cosine_weight (was 1.0, is 0.5)"
    process = run("distill", path, "other", *SAME_BITS, "--set", "align.other.cosine_weight=0.5")
    assert (
        process.returncode == 2
        and "distill.other needs align.other, which was made with other settings or data" in process.stderr
    )
    # A model that is lost is trained again, the others are kept.
    (folder / "distill/other/model.safetensors").unlink()
    plan, verdict, _ = verdicts(path, *SAME_BITS)
    assert verdict["distill.other"] == "runs again" and "model.safetensors is missing" in plan["stages"][-2]["reason"]
    lost = plan["stages"][-2]
    assert lost["seconds"] > 0 and lost["memory_bytes"] > lost["disk_bytes"] / 10 > 0
    assert run("distill", path, "other", *SAME_BITS).returncode == 0
    assert run("distill", path, "othr").returncode == 2


def test_the_old_layout_of_a_run_folder_is_named(graph):
    path, folder = graph("old")
    (folder / "align").mkdir(parents=True)
    (folder / "align/complete.json").write_text("{}")
    process = run("run", path)
    assert process.returncode == 2 and f"{folder} holds results from before stages had names" in process.stderr
    assert f"remove {folder}/align" in process.stderr
    plan, _, code = verdicts(path, "--quick")
    assert code == 2 and "before stages had names" in plan["impossible"][0]


def test_every_model_has_a_card_of_all_that_it_was_made_from(graph):
    path, folder = graph("cards")
    assert run("run", path, *SAME_BITS).returncode == 0
    for stage in TRAININGS:
        card = (result_folder(folder, stage) / "model_card.md").read_text()
        head, front, text = card.split("---\n", 2)
        assert head == "" and "library_name: cskd" in front.splitlines()
        assert f"# {stage}\n" in text and "{" not in text
        assert "| coast | folder |" in text and "| rated | ava |" in text and "1 to 10, splits: official" in text
        scores = stage.startswith(("finetune", "distill"))
        assert ("distribution over the scores 1, 2, 3, 4, 5, 6, 7, 8, 9, 10" in text) == scores
        assert ("75 % of the ratings" in text) == scores
    # The student's teacher came from an encoder and two towers.
    card = (result_folder(folder, "distill.student") / "model_card.md").read_text()
    for line in (
        "| encoders.mobile | mobilenetv3_small_100 | random at first |",
        "| encoders.vit | ViT-demo-16 | random at first |",
        "| towers.clip | ViT-demo-16 |",
        "| towers.second | ViT-demo-16 |",
    ):
        assert line in card


# ---- sweeps -----------------------------------------------------------------------------------------------------------------

OVER = ["--over", "run.seed=1,2", "--over", "labels.fraction=0.75,1"]


def files(folder):
    return {
        str(path.relative_to(folder)): digest(path)
        for pattern in ("results/*/model.safetensors", "results/*/predictions.csv")
        for path in folder.glob(pattern)
    }


def predictions(folder):
    found = {}
    with open(folder / "predictions.csv") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["model"], []).append(
                (row["picture"], float(row["rated_mean"]), float(row["predicted_mean"]))
            )
    return found


@pytest.mark.rotating(2)
def test_a_sweep_shares_what_does_not_differ_and_is_killed_and_resumed(graph):
    path, folder = graph("swept")
    for ranks, env, code in (
        (2, {"CSKD_FAIL_AT": "trainer.step:30:kill"}, 137),
        (4, {"CSKD_FAIL_AT": "trainer.step:50:term"}, 75),
        (1, {}, 0),
    ):
        process = mpirun(ranks, "sweep", path, *OVER, *SAME_BITS, env=env)
        assert process.returncode == code, process.stderr
    kinds = sorted(entry.name.rsplit("-", 1)[0] for entry in (folder / "results").iterdir())
    # Seeds share shards and caches; a seed has its own alignments, whatever the fraction of labels.
    assert {stage: kinds.count(stage) for stage in STAGES} == {
        stage: 1 if stage.startswith(("shard", "cache")) else 2 if stage.startswith("align") else 4 for stage in STAGES
    }
    document = json.loads((folder / "sweep.json").read_text())
    assert [member["values"] for member in document["members"]] == [
        {"run.seed": seed, "labels.fraction": share} for seed in "12" for share in ("0.75", "1")
    ]
    one, two = document["members"][:2]
    assert (
        one["results"]["align.other"] == two["results"]["align.other"]
        and one["results"]["distill.other"] != two["results"]["distill.other"]
    )

    # Figures are scipy's, over the two seeds.
    first = "distill.other"
    for row in document["rows"]:
        share = row["point"].removeprefix("labels.fraction=")
        seeds = [
            predictions(folder / member["results"]["evaluate"])[row["model"]]
            for member in document["members"]
            if member["values"]["labels.fraction"] == share
        ]
        srcc = [spearmanr(*numpy.array([each[1:] for each in seed]).T).statistic for seed in seeds]
        plcc = [pearsonr(*numpy.array([each[1:] for each in seed]).T).statistic for seed in seeds]
        assert row["srcc_by_seed"] == pytest.approx(srcc, abs=1e-4) and row["srcc"]["value"] == pytest.approx(
            numpy.mean(srcc), abs=1e-4
        )
        assert row["plcc"]["value"] == pytest.approx(numpy.mean(plcc), abs=1e-4)
        assert row["srcc"]["low"] <= row["srcc"]["value"] <= row["srcc"]["high"]
    value = {(row["point"], row["model"]): row["srcc"]["value"] for row in document["rows"]}
    assert len(value) == 8 and document["seeds"] == ["1", "2"]
    label = {f"{model} at {point}": figure for (point, model), figure in value.items()}
    assert len(document["differences"]) == 7
    for each in document["differences"]:
        assert each["srcc"]["value"] == pytest.approx(label[each["first"]] - label[each["second"]]) and each[
            "first"
        ].startswith(first)
    with open(folder / "sweep.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["figure"] * 8 + ["difference"] * 7

    # Complete, it does nothing again, and prints the same.
    before = files(folder)
    process = mpirun(2, "sweep", path, *OVER, *SAME_BITS, "--json")
    assert process.returncode == 0 and json.loads(process.stdout) == document and " took " not in process.stderr
    # A smaller sweep, and one from the file, find what is there.
    path.write_text(path.read_text() + '[sweep]\nover = ["run.seed=2", "labels.fraction=1"]\n')
    process = run("sweep", path, *SAME_BITS)
    assert process.returncode == 0 and " took " not in process.stderr and "distill.student" in process.stdout
    assert files(folder) == before
    # A member alone, in a run folder of its own, has the same bits.
    alone, alone_folder = graph("alone")
    process = mpirun(2, "run", alone, *SAME_BITS, "--set", "run.seed=2", "--set", "labels.fraction=1")
    assert process.returncode == 0
    last = document["members"][-1]["results"]
    assert models(alone_folder) == {stage: digest(folder / last[stage] / "model.safetensors") for stage in TRAININGS}


@pytest.mark.parametrize(
    "over, words",
    [
        ([], "there is nothing to sweep over"),
        (["run.seed"], "expected KEY=VALUE,VALUE,... such as run.seed=1,2,3"),
        (["run.seed=1,1"], "run.seed = 1 twice"),
        (["run.seed=1,,2"], "lacks a value"),
        (["run.seed=1", "run.seed=2"], "goes over run.seed twice"),
        (["run.folder=a,b"], "cannot go over run.folder"),
        (["run.sede=1,2"], "did you mean run.seed?"),
        (["labels.fraction=0.75,2"], "labels.fraction is 2"),
        (
            ["distill.other.training.global_batch=16,18"],
            "with distill.other.training.global_batch=18: distill.other.training.global_batch is 18, which",
        ),
    ],
)
def test_sweeps_that_are_refused(graph, over, words):
    path, folder = graph("refused")
    process = run("sweep", path, *(word for each in over for word in ("--over", each)))
    assert process.returncode == 2 and words in process.stderr, process.stderr
    assert not folder.exists()
