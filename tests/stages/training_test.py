"""Caches against PyTorch, resumes that are bitwise equal, damaged checkpoints, and whole runs that are killed in every stage."""

import json
import os
import re
import shutil
import subprocess

import h5py
import numpy
import pandas
import pytest
import torch
from cskd_program import CSKD, environment, mpirun, run
from open_clip.transformer import VisionTransformer
from PIL import Image
from safetensors.torch import load_file
from stage_runs import TRAININGS, copied, digest, result, result_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import small_run

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def tower(weights):
    model = VisionTransformer(image_size=128, patch_size=16, width=192, layers=6, heads=3, mlp_ratio=4, output_dim=128)
    model.load_state_dict({name.removeprefix("visual."): value.float() for name, value in load_file(weights).items()})
    return model.eval()


def test_cached_features_are_those_of_open_clip(cached, weights):
    """The stored crop, cut and resized by Pillow, through open_clip's own tower."""
    model = tower(weights)
    model.proj = None
    import io

    checked = 0
    for path in sorted((cached / "cache" / "clip").glob("*.h5"))[:6]:
        with h5py.File(path) as cache, h5py.File(cached / "shards" / path.name) as shard:
            assert cache["pooled"].dtype == numpy.float16
            blob, offsets = shard["bytes"][:].tobytes(), shard["offset"][:]
            for row in range(0, len(offsets) - 1, 9):
                if shard["orientation"][row] != 1:
                    continue
                image = Image.open(io.BytesIO(blob[offsets[row] : offsets[row + 1]])).convert("RGB")
                assert int(cache["image_hash"][row]) == int.from_bytes(shard["hash"][row].tobytes()[:8], "big")
                for view in range(cache["pooled"].shape[1]):
                    x, y, width, height = (int(number) for number in cache["crop"][row, view])
                    pixels = image.crop((x, y, x + width, y + height)).resize((128, 128), Image.BICUBIC)
                    if cache["flip"][row, view]:
                        pixels = pixels.transpose(Image.FLIP_LEFT_RIGHT)
                    tensor = torch.tensor(numpy.asarray(pixels)).permute(2, 0, 1).float() / 255
                    tensor = (tensor - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
                    with torch.no_grad():
                        expected = model(tensor[None])[0].numpy()
                    # One step of a pixel's value here or there: Pillow's JPEG decoder is another build.
                    numpy.testing.assert_allclose(cache["pooled"][row, view].astype(numpy.float32), expected, atol=2e-2)
                    checked += 1
    assert checked >= 10


@pytest.mark.rotating(2)
def test_caches_are_the_same_on_any_number_of_ranks_and_after_a_kill(cached, config):
    expected = {path.name: digest(path) for path in (cached / "cache" / "clip").glob("*.h5")}
    for name, first in [("one", None), ("killed", {"CSKD_FAIL_AT": "cache.next:3:kill"})]:
        path, folder = copied(cached, config, name)
        shutil.rmtree(folder / "cache")
        if first:
            assert run("cache", path, env=first).returncode == -9
        process = run("cache", path)
        assert process.returncode == 0, process.stderr
        # Another number of ranks and threads gives the same views; features may differ in the last bit of a sum.
        for file in (folder / "cache" / "clip").glob("*.h5"):
            with h5py.File(file) as one, h5py.File(cached / "cache" / "clip" / file.name) as two:
                assert (one["crop"][:] == two["crop"][:]).all() and (one["flip"][:] == two["flip"][:]).all()
                numpy.testing.assert_allclose(one["pooled"][:], two["pooled"][:], atol=4e-3)
            assert file.name in expected


@pytest.mark.rotating(2)
def test_views_are_added_to_those_that_are_there(cached, config):
    path, folder = copied(cached, config, "added")
    caches = folder / "cache" / "clip"
    before = {}
    for file in caches.glob("*.h5"):
        with h5py.File(file) as cache:
            before[file.name] = {name: cache[name][:] for name in ("pooled", "crop", "flip", "crc32c")}
    # A mark that computing again would wipe out.
    marked = sorted(before)[0]
    with h5py.File(caches / marked, "r+") as cache:
        cache["pooled"][0, 1] = numpy.float16(0.25)
        cache["crc32c"][0, 1] = crc32c(cache["pooled"][0, 1].tobytes())
    more = ["--set", "towers.clip.views.count=7"]
    process = run("cache", path, *more)
    assert process.returncode == 0, process.stderr
    fresh, other = config("fresh")
    shutil.copytree(cached / "shards", other / "shards")
    assert run("cache", fresh, *more).returncode == 0
    for name, old in before.items():
        with h5py.File(caches / name) as cache, h5py.File(other / "cache" / "clip" / name) as whole:
            assert cache["pooled"].shape[1] == 7
            for part in ("crop", "flip"):
                assert (cache[part][:, :4] == old[part]).all()
                assert (cache[part][:] == whole[part][:]).all()
            assert (cache["pooled"][1:, :4] == old["pooled"][1:]).all()
            numpy.testing.assert_allclose(cache["pooled"][1:], whole["pooled"][1:], atol=4e-3)
            if name == marked:
                assert (cache["pooled"][0, 1] == 0.25).all()
    # Fewer are a part of what is there.
    state = {file.name: digest(file) for file in caches.glob("*.h5")}
    process = run("cache", path, "--set", "towers.clip.views.count=5")
    assert process.returncode == 0, process.stderr
    assert state == {file.name: digest(file) for file in caches.glob("*.h5")}
    # How often the whole picture is shown decides about trainings, not about what is stored.
    shares = ["--set", "towers.clip.views.whole=0.5"]
    assert "cache.clip is complete already" in run("cache", path, "--set", "towers.clip.views.count=5", *shares).stderr


@pytest.mark.rotating(2)
@pytest.mark.parametrize("ranks", [1, 3])
def test_caches_are_described_and_checked(cached, config, ranks):
    _, folder = copied(cached, config, "described")
    (folder / "config.toml").unlink()
    caches = folder / "cache" / "clip"
    files = sorted(caches.glob("*.h5"))
    process = mpirun(ranks, "inspect", caches, "--json", "--verify")
    assert process.returncode == 0, process.stderr
    document = json.loads(process.stdout)
    (one,) = document["caches"]
    pictures = 0
    for file in files:
        with h5py.File(file) as cache:
            pictures += cache["status"].shape[0]
            for name, value in one["binding"].items():
                assert cache.attrs[name].decode() == value
    assert (one["files"], one["pictures"], document["faults"]) == (len(files), pictures, [])
    assert document["computed_again"]["views_that_agree"] == 0
    assert "config.toml" in document["computed_again"]["not_done_because"]
    text = mpirun(ranks, "inspect", files[0]).stdout
    assert "ViT-demo-16" in text and "--verify checks each checksum" in text and "0 faults" in text

    # One number more, found only by reading; a file that is cut off is found at once.
    with h5py.File(files[0], "r+") as cache:
        cache["pooled"][0, 2, 5] += numpy.float16(1)
    assert mpirun(ranks, "inspect", caches).returncode == 0
    process = mpirun(ranks, "inspect", caches, "--verify")
    assert process.returncode == 3 and f"{files[0].name} row 0, view 2 is damaged" in process.stdout
    files[1].write_bytes(files[1].read_bytes()[:3000])
    process = mpirun(ranks, "inspect", caches, "--json")
    assert process.returncode == 3 and [fault["file"] for fault in json.loads(process.stdout)["faults"]] == [
        str(files[1])
    ]


@pytest.mark.rotating(2)
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_sample_of_a_cache_is_computed_again(cached, config, ranks):
    path, folder = copied(cached, config, "again")
    caches = folder / "cache" / "clip"
    process = mpirun(ranks, "inspect", caches, "--json", "--verify")
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)["computed_again"]
    assert (found["views_that_agree"], found["not_done_because"]) == (16 * ranks, None)
    assert "views computed again with" in mpirun(ranks, "inspect", caches, "--verify").stdout

    # Features of something else, with the checksums that belong to them.
    for file in caches.glob("*.h5"):
        with h5py.File(file, "r+") as cache:
            cache["pooled"][:] = cache["pooled"][:][:, :, ::-1]
            cache["crc32c"][:] = [[crc32c(view.tobytes()) for view in picture] for picture in cache["pooled"][:]]
    assert mpirun(ranks, "inspect", caches).returncode == 0
    process = mpirun(ranks, "inspect", caches, "--verify")
    assert process.returncode == 3
    assert re.search(
        r"the features of view \d, computed again with .*, differ by \d+ % from the stored ones", process.stdout
    )


def test_the_cache_of_another_teacher_is_refused(cached, config, tmp_path):
    other = tmp_path / "other.safetensors"
    small_run.random_tower(other, seed=2)
    path, folder = copied(cached, config, "other", weights=other)
    before = {file.name: digest(file) for file in (folder / "cache" / "clip").glob("*.h5")}
    process = run("align", path)
    assert process.returncode == 2
    assert (
        "align.student needs cache.clip, which was made with other settings or data: towers.clip.architecture and contents"
        in process.stderr
    )
    (folder / "cache" / "clip" / "complete.json").unlink()
    process = run("cache", path)
    assert process.returncode in (2, 3)
    assert "another weights" in process.stderr, process.stderr
    process = run("align", path)
    assert process.returncode == 2
    assert (
        "align.student needs cache.clip, which is not complete: run 'cskd cache CONFIG clip' first" in process.stderr
    ), process.stderr
    assert before == {file.name: digest(file) for file in (folder / "cache" / "clip").glob("*.h5")}


def test_the_cache_of_another_resize_is_refused(cached, config):
    path, _ = copied(cached, config, "fast")
    process = run("align", path, "--set", "data.resize=fast")
    assert process.returncode == 2 and "data.resize (was exact, is fast)" in process.stderr, process.stderr
    process = run("cache", path, "--set", "data.resize=fast")
    assert process.returncode in (2, 3)
    assert "another preprocessing" in process.stderr, process.stderr


def test_a_batch_larger_than_an_epoch_is_refused(cached, config):
    path, folder = copied(cached, config, "large")
    process = run("align", path, "--set", "align.student.training.global_batch=65536")
    assert process.returncode == 2
    assert "align.student.training.global_batch is 65536, but an epoch of its pictures has" in process.stderr, (
        process.stderr
    )
    assert not (folder / "align/student" / "model.safetensors").exists()


def crc32c(data):
    """Castagnoli, bit by bit: RFC 3720, appendix B.4."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def forge_features(file):
    """Features of no network, with checksums that fit."""
    features = numpy.random.default_rng(0).normal(size=file["pooled"].shape).astype(numpy.float16)
    file["pooled"][:] = features
    file["crc32c"][:] = [[crc32c(view.tobytes()) for view in row] for row in features]


def forge_box(file):
    file["crop"][:, :] = (5, 0, 30_000, 10)


def forge_hash(file):
    file["image_hash"][:] = file["image_hash"][:] ^ 1


@pytest.mark.parametrize(
    "forge,message",
    [
        (forge_features, "computed again with"),
        (forge_box, "30000 x 10 pixels at (5, 0)"),
        (forge_hash, "belongs to another picture"),
    ],
)
def test_a_cache_that_only_claims_to_be_of_this_teacher_is_found_out(cached, config, forge, message):
    path, folder = copied(cached, config, "forged")
    for file in (folder / "cache" / "clip").glob("*.h5"):
        with h5py.File(file, "r+") as cache:
            forge(cache)
    process = run("align", path)
    assert process.returncode == 3, process.stderr
    assert message in process.stderr and ".h5 row " in process.stderr, process.stderr
    assert not (folder / "align/student" / "model.safetensors").exists()


def test_an_unknown_encoder_is_refused_with_the_nearest_names(cached, config):
    path, _ = copied(cached, config, "unknown")
    process = run("align", path, "--set", "encoders.mobile.architecture=mobilenetv3_smal_100")
    assert process.returncode == 2
    assert "mobilenetv3_small_100" in process.stderr


def test_ranks_that_do_not_divide_the_micro_batches_are_refused(cached, config):
    path, _ = copied(cached, config, "three")
    process = mpirun(3, "align", path)
    assert process.returncode == 2
    assert "1, 2, 4" in process.stderr


def test_a_labelled_batch_that_micro_batches_do_not_divide_is_refused(cached, config):
    path, folder = copied(cached, config, "labelled")
    process = run("distill", path, "--set", "distill.student.labelled_batch=6")
    assert process.returncode == 2
    assert "distill.student.labelled_batch is 6, which the 4 micro-batches do not divide" in process.stderr
    assert not (folder / "distill/student").exists()


@pytest.mark.rotating(2)
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("action", ["kill", "term"])
def test_align_interrupted_and_resumed_is_bitwise_equal(cached, config, ranks, action):
    plain_path, plain = copied(cached, config, f"plain{ranks}{action}")
    path, folder = copied(cached, config, f"stopped{ranks}{action}")
    assert mpirun(ranks, "align", plain_path).returncode == 0
    process = mpirun(ranks, "align", path, env={"CSKD_FAIL_AT": f"trainer.step:7:{action}"})
    assert process.returncode == (75 if action == "term" else 137), process.stderr
    assert not (folder / "align/student" / "model.safetensors").exists()
    process = mpirun(ranks, "align", path)
    assert process.returncode == 0, process.stderr
    assert result(folder) == result(plain)
    assert result(folder).steps == [2, 4, 6, 8]


def test_a_grace_of_mpirun_that_is_shorter_than_a_step_is_told(cached, config):
    for grace, warnings in [("0", 1), ("60", 0)]:
        path, _ = copied(cached, config, f"grace{grace}")
        process = mpirun(2, "align", path, env={"OMPI_MCA_odls_base_sigkill_timeout": grace})
        assert process.returncode == 0, process.stderr
        assert process.stderr.count(f"mpirun ends its ranks {grace} s after it passes on SIGTERM") == warnings, (
            process.stderr
        )


def test_half_a_cache_is_named_at_the_start(cached, config):
    path, folder = copied(cached, config, "half")
    caches = sorted((folder / "cache").glob("**/*.h5"))
    for cache in caches[1::2]:
        cache.unlink()
    process = run("align", path)
    assert process.returncode == 3
    assert (
        f"{len(caches[1::2])} of {len(caches)} feature caches are missing, the first is " in process.stderr
        and "run 'cskd cache'" in process.stderr
    )


@pytest.mark.rotating(2)
def test_a_checkpoint_cut_in_half_is_passed_over(cached, config):
    plain_path, plain = copied(cached, config, "plain")
    path, folder = copied(cached, config, "cut")
    assert run("align", plain_path, "--set", "align.student.training.checkpoint_every=2").returncode == 0
    assert (
        run(
            "align",
            path,
            "--set",
            "align.student.training.checkpoint_every=2",
            env={"CSKD_FAIL_AT": "trainer.step:7:kill"},
        ).returncode
        == -9
    )
    # The one of step 6 may have been in the making.
    newest = sorted(commit.parent for commit in (folder / "align/student" / "checkpoints").glob("*/commit.json"))[-1]
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    process = run("align", path, "--set", "align.student.training.checkpoint_every=2")
    assert process.returncode == 0, process.stderr
    assert f"checkpoint {newest} is skipped" in process.stderr
    assert digest(plain / "align/student" / "model.safetensors") == digest(
        folder / "align/student" / "model.safetensors"
    )


def test_another_configuration_is_refused(cached, config):
    path, folder = copied(cached, config, "changed")
    assert run("align", path).returncode == 0
    before = digest(folder / "align/student" / "model.safetensors")
    process = run("align", path, "--set", "align.student.training.learning_rate=0.5")
    assert process.returncode == 2
    assert "align.student.training.learning_rate (was 0.001, is 0.5)" in process.stderr
    assert digest(folder / "align/student" / "model.safetensors") == before


def test_a_step_is_the_same_on_any_number_of_ranks(cached, config):
    """The micro-batch, not the process, is the unit of computation. (Later steps drift: AdamW turns the sign of a tiny gradient into a whole
    step, so what a sum's last bit decides grows.)"""
    steps = []
    for ranks in (1, 2, 4):
        path, folder = copied(cached, config, f"ranks{ranks}", steps=3)
        # One thread each: how many share a convolution decides the last bits of it, which batch normalisation over four pictures magnifies.
        process = mpirun(
            ranks, "align", path, "--set", "align.student.training.log_every=1", "--set", "compute.threads=1"
        )
        assert process.returncode == 0, process.stderr
        steps.append(pandas.read_json(folder / "align/student" / "metrics.jsonl", lines=True))
    for other in steps[1:]:
        for figure in ("train/loss", "train/smooth_l1", "train/cosine", "train/gradient_norm"):
            assert other[figure][0] == pytest.approx(steps[0][figure][0], rel=2e-5), figure
        assert other["train/loss"][2] == pytest.approx(steps[0]["train/loss"][2], rel=2e-2)


def check_run(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert [stage["name"] for stage in summary["stages"]] == ["shard", "cache.clip", *TRAININGS, "evaluate"]
    assert set(summary["corpus"]) == {
        "packed",
        "duplicates",
        "near_duplicates",
        "leaked",
        "quarantined",
        "passed_over",
        "added",
        "changed",
        "gone",
        "relabelled",
        "bytes",
        "shards",
        "sources",
    }
    assert {result["model"] for result in summary["results"]} == set(TRAININGS[1:])
    for result in summary["results"]:
        assert set(result) == {
            "model",
            "label_fraction",
            "srcc",
            "srcc_low",
            "srcc_high",
            "plcc",
            "accuracy",
            "emd",
            "n",
        }
        assert result["n"] > 5
    for stage in TRAININGS:
        stage_folder = result_folder(folder, stage)
        assert load_file(stage_folder / "model.safetensors")
        events = EventAccumulator(str(stage_folder / "events"))
        events.Reload()
        frame = pandas.read_json(stage_folder / "metrics.jsonl", lines=True)
        assert [event.step for event in events.Scalars("train/loss")] == list(frame["step"])
    return summary


def check_json(path, folder, summary):
    """What is printed for programs is what lies in the files."""
    process = run("run", path, "--json")
    printed = json.loads(process.stdout)
    assert (
        process.returncode == 0 and printed["corpus"] == summary["corpus"] and printed["results"] == summary["results"]
    )
    process = run("finetune", path, "--json")
    printed = json.loads(process.stdout)
    assert process.returncode == 0 and [stage["stage"] for stage in printed] == [
        "finetune.teacher",
        "finetune.supervised",
    ]
    for stage in printed:
        assert stage["finished"] and stage["done_before"]
        assert (
            stage["images"]
            == json.loads((result_folder(folder, stage["stage"]) / "complete.json").read_text())["images"]
        )
    process = run("evaluate", path, "--json")
    printed = json.loads(process.stdout)
    assert process.returncode == 0 and printed["stage"] == "evaluate" and printed["finished"] and printed["done_before"]
    assert printed["images"] == json.loads((folder / "evaluate" / "complete.json").read_text())["images"]
    assert printed["result"] == json.loads((folder / "evaluate" / "results.json").read_text())
    # The configuration stands for its run folder.
    assert json.loads(run("status", path, "--json").stdout)["state"] == "finished"
    assert json.loads(run("inspect", path, "--json").stdout) == json.loads(run("inspect", folder, "--json").stdout)


@pytest.mark.rotating(3)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_whole_run(config, ranks):
    path, folder = config(f"whole{ranks}")
    process = mpirun(ranks, "run", path) if ranks > 1 else run("run", path)
    assert process.returncode == 0, process.stderr
    summary = check_run(folder)
    seen = [[result["srcc"] for result in summary["results"]]]
    # Everything is complete: nothing is done again, and the summary is the same.
    again = run("run", path)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("is complete already") == 7
    assert check_run(folder) == summary
    if ranks == 1:
        check_json(path, folder, summary)
    # What the evaluation depends on has changed: it alone is done again.
    changed = run("run", path, "--set", "evaluate.resamples=50")
    assert changed.returncode == 0, changed.stderr
    assert changed.stderr.count("is complete already") == 6
    assert [result["srcc"] for result in check_run(folder)["results"]] == [
        result["srcc"] for result in summary["results"]
    ]
    assert check_run(folder) != summary
    if ranks != 1:
        return
    # Other views of the test pictures: other scores of the same models.
    for views in ("mirrored", "centre", "ten_crop"):
        changed = run("run", path, "--set", f"evaluate.views={views}")
        assert changed.returncode == 0, changed.stderr
        assert changed.stderr.count("is complete already") == 6
        scores = [result["srcc"] for result in check_run(folder)["results"]]
        assert len(scores) == len(summary["results"]) and scores not in seen
        seen.append(scores)


@pytest.mark.rotating(2)
@pytest.mark.parametrize(
    "place",
    [
        "shard.next:2",
        "cache.next:2",
        "trainer.step@align.student:3",
        "trainer.step@finetune.teacher:3",
        "trainer.step@finetune.supervised:3",
        "trainer.step@distill.student:3",
        "evaluate.start",
    ],
)
def test_one_rank_is_killed_in_a_stage_and_the_run_goes_on(config, place):
    path, folder = config("killed")
    command = [
        "mpirun",
        "--oversubscribe",
        "--bind-to",
        "none",
        "-n",
        "1",
        CSKD,
        "run",
        path,
        ":",
        "-n",
        "1",
        "env",
        f"CSKD_FAIL_AT={place}:kill",
        CSKD,
        "run",
        path,
    ]
    killed = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        env=environment({"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}),
    )
    assert killed.returncode == 137, killed.stderr
    process = mpirun(2, "run", path)
    assert process.returncode == 0, process.stderr
    check_run(folder)
    leftovers = [file for file in folder.rglob("*.tmp")]
    assert not leftovers
    assert os.path.getsize(folder / "summary.json") > 0
