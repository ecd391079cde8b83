"""The term that keeps a reference's attention distances: nothing to keep of itself, and what it changes."""

import pandas
import pytest
from cskd_program import mpirun, run
from small_run import TRAINING
from stage_runs import copied, result, result_folder, settings

pytestmark = pytest.mark.rotating(2)

KEEPER = """
[encoders.vit]
architecture = "ViT-demo-16"
image_size = 64

[align.vit]
encoder = "vit"
towers = ["clip"]

[distill.keeper]
from = "align.vit"
teachers = ["finetune.teacher"]
attention_of = "towers.clip"
"""
KEEPER += TRAINING.format(stage="align.vit", steps=2) + TRAINING.format(stage="distill.keeper", steps=8)
EVERY_STEP = settings("distill.keeper", log_every=1)


@pytest.fixture
def keeper(cached, config):
    """keeper(name, *words): metrics of the distillation, and what it made."""

    def make(name, *words):
        path, folder = copied(cached, config, name)
        path.write_text(path.read_text() + KEEPER)
        for stage in ("align", "finetune"):
            process = mpirun(2, stage, path, {"align": "vit", "finetune": "teacher"}[stage])
            assert process.returncode == 0, process.stderr
        process = mpirun(2, "distill", path, "keeper", *EVERY_STEP, *words)
        assert process.returncode == 0, process.stderr
        metrics = pandas.read_json(result_folder(folder, "distill.keeper") / "metrics.jsonl", lines=True)
        return metrics.set_index("step"), result(folder, "distill.keeper")

    return make


def test_its_own_attention_is_kept_until_it_learns(keeper):
    metrics, _ = keeper("own", "--set", "distill.keeper.attention_of=align.vit")
    # The reference is the average of the alignment's weights, from which the student starts. It is folded, which rounds.
    assert metrics["train/attention"][1] < 1e-5
    assert metrics["train/attention"][8] > 1e-4
    terms = metrics["train/supervised"] + metrics["train/pseudo_label"] + 0.1 * metrics["train/attention"]
    ramp = ((metrics.index - 1) / (0.35 * 8)).to_series(index=metrics.index).clip(upper=1)
    assert metrics["train/loss"].to_numpy() == pytest.approx(
        (terms + 0.5 * ramp * metrics["train/consistency"]).to_numpy(), rel=1e-5
    )


def test_its_weight_draws_the_student_to_the_towers_attention(keeper):
    weak, nearly_none = keeper("weak", "--set", "distill.keeper.attention_weight=1e-30")
    strong, _ = keeper("strong", "--set", "distill.keeper.attention_weight=1000")
    assert weak["train/attention"][1] == strong["train/attention"][1] > 1e-4
    assert strong["train/attention"][8] < 0.5 * weak["train/attention"][8]
    # What weighs nothing changes no bit.
    metrics, without = keeper("without", "--set", "distill.keeper.attention_of=")
    assert without == nearly_none and "train/attention" not in metrics


@pytest.mark.parametrize(
    "words, text",
    [
        (["distill.keeper.partner=align.student"], "of two models that learn from each other"),
        (
            ["encoders.vit.image_size=16"],
            "align.vit (ViT-demo-16, 16 pixels) has 1 a side: give it a larger image_size",
        ),
        (["distill.keeper.attention_of=towers.clipp"], 'did you mean "towers.clip"'),
        (["distill.keeper.attention_weight=0"], "distill.keeper.attention_weight"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_start(cached, config, words, text):
    path, folder = copied(cached, config, "refused")
    path.write_text(path.read_text() + KEEPER)
    process = run("run", path, *(part for word in words for part in ("--set", word)))
    assert process.returncode == 2 and text in process.stderr, process.stderr
    assert not (folder / "align").exists()
