"""Teachers' answers to whole pictures: stored beside the teacher, as PyTorch gives them, and made once."""

import json
import shutil

import h5py
import numpy
import pytest
import torch
from cskd_program import mpirun
from PIL import Image
from safetensors.torch import load_file
from small_run import configuration
from stage_runs import copied, digest, settings
from torch_tower import batch_of, rows_of, transformer

TEACHER = settings("finetune.teacher", steps=40, learning_rate=0.003, ema_decay=0.5)
STUDENT = settings("distill.student", determinism="elastic") + ["--set", "compute.threads=1"]


@pytest.fixture(scope="module")
def taught(cached, corpus, weights, tmp_path_factory):
    """The folder of a run with an aligned encoder and a teacher that tells pictures apart."""
    work = tmp_path_factory.mktemp("taught")
    path, folder = work / "run.toml", work / "run"
    path.write_text(configuration(corpus, weights, folder))
    shutil.copytree(cached, folder)
    for words in (["align"], ["finetune", "teacher"]):
        process = mpirun(2, words[0], path, *words[1:], *TEACHER)
        assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture
def run_of(taught, config):
    """Copies of it: run_of(name) -> (configuration, run folder)."""

    def make(name):
        return copied(taught, config, name)

    return make


def answers_in(folder):
    return folder / "finetune/teacher/answers"


def digests(folder):
    return {path.name: digest(path) for path in sorted(answers_in(folder).glob("*.h5"))}


def distill(path, ranks=2, words=(), **options):
    return mpirun(ranks, "distill", path, *TEACHER, *STUDENT, *words, **options)


def test_they_are_those_of_pytorch_and_made_once(run_of):
    path, folder = run_of("values")
    process = distill(path)
    assert process.returncode == 0, process.stderr
    state = load_file(folder / "finetune/teacher/model.safetensors")
    tower, head = transformer(state, 128), [state[f"score_head.{part}"] for part in ("weight", "bias")]
    compared, spread = 0, []
    for image, shard, row in rows_of(folder, lambda file: "-unlabelled-" in file or "-train-" in file):
        if row > 2:
            continue
        views = [image, image.transpose(Image.FLIP_LEFT_RIGHT)]
        with torch.no_grad():
            logits = torch.nn.functional.linear(tower(batch_of(views, 128))[0], *head)
        with h5py.File(answers_in(folder) / shard.filename.rsplit("/", 1)[-1]) as answers:
            found = answers["pooled"][row].astype(numpy.float32)
            assert len(answers["pooled"]) == len(shard["hash"]), "an answer for each picture"
        numpy.testing.assert_allclose(found, torch.softmax(logits, 1).numpy(), atol=3e-3)
        spread.append(found)
        compared += 1
    assert compared > 10 and numpy.std(spread, axis=0).max() > 0.02, "the teacher answers the same to all"

    # Another student of the same teacher, another start: nothing is computed again.
    before = digests(folder)
    times = {file: (answers_in(folder) / file).stat().st_mtime_ns for file in before}
    shutil.rmtree(folder / "distill")
    process = distill(path, ranks=1, words=settings("distill.student", learning_rate=2e-3))
    assert process.returncode == 0, process.stderr
    assert digests(folder) == before
    assert times == {file: (answers_in(folder) / file).stat().st_mtime_ns for file in before}


@pytest.mark.rotating(2)
def test_they_go_on_after_a_kill_on_any_number_of_ranks(run_of):
    path, folder = run_of("whole")
    assert distill(path, ranks=1).returncode == 0
    expected = digests(folder), load_file(folder / "distill/student/model.safetensors")
    path, folder = run_of("killed")
    process = distill(path, env={"CSKD_FAIL_AT": "answers.next:2:kill"})
    assert process.returncode == 137, process.stderr
    assert len(digests(folder)) < len(expected[0]) and not (answers_in(folder) / "complete.json").exists()
    kept = digests(folder)
    process = distill(path)
    assert process.returncode == 0, process.stderr
    assert digests(folder) == expected[0]
    assert kept.items() <= expected[0].items()
    found = load_file(folder / "distill/student/model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected[1].items())


@pytest.mark.rotating(2)
def test_damage_is_mended_and_another_teacher_answers_anew(run_of):
    path, folder = run_of("other")
    assert distill(path).returncode == 0
    before = digests(folder)
    # Damaged files and lost ones are made again.
    damaged, lost, *_ = sorted(before)
    with h5py.File(answers_in(folder) / damaged, "r+") as answers:
        answers["pooled"][0, 0] = numpy.float16(0.25)
    (answers_in(folder) / lost).unlink()
    shutil.rmtree(folder / "distill")
    process = distill(path)
    assert process.returncode == 0, process.stderr
    assert digests(folder) == before

    shutil.rmtree(folder / "distill")
    shutil.rmtree(folder / "finetune/teacher/checkpoints")
    (folder / "finetune/teacher/complete.json").unlink()
    (folder / "finetune/teacher/model.safetensors").unlink()
    words = settings("finetune.teacher", steps=41)
    process = mpirun(2, "finetune", path, *TEACHER, *words)
    assert process.returncode == 0, process.stderr
    process = distill(path, words=words)
    assert process.returncode == 0, process.stderr
    after = digests(folder)
    assert after.keys() == before.keys() and all(after[name] != before[name] for name in after)
    record = json.loads((answers_in(folder) / "complete.json").read_text())
    assert record["facts"]["views"] == 2 and record["facts"]["width"] == 10
