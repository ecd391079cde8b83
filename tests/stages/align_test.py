"""Stage I: its losses against PyTorch, stored features against computed ones, tokens, mixed pictures, several towers."""

import json
import shutil

import h5py
import numpy
import pandas
import pytest
import torch
from cskd_program import mpirun, run
from safetensors.torch import load_file
from small_run import configuration, random_tower
from stage_runs import checkpoints, copied, digest, result_folder, settings
from torch_tower import batch_of, transformer, whole_pictures

pytestmark = pytest.mark.rotating(2)

LONG = settings(log_every=1, checkpoint_every=1, determinism="elastic") + ["--set", "compute.threads=1"]


def losses(folder, stage="align.student"):
    return pandas.read_json(result_folder(folder, stage) / "metrics.jsonl", lines=True)


def distances(predicted, target):
    """Of features, after the target is whitened: smooth L1 with beta 2, and 1 - cosine."""
    target = torch.nn.functional.layer_norm(target, target.shape[-1:])
    smooth_l1 = torch.nn.functional.smooth_l1_loss(predicted, target, beta=2.0)
    return smooth_l1.item(), (1 - torch.nn.functional.cosine_similarity(predicted, target, dim=-1)).mean().item()


def test_losses_of_two_towers_and_their_tokens_are_those_of_pytorch(cached, corpus, weights, tmp_path):
    """One step over all pictures, each whole: the mean over them does not depend on their order."""
    second = tmp_path / "second.safetensors"
    random_tower(second, seed=2)
    folder = tmp_path / "run"
    path = tmp_path / "run.toml"
    text = configuration(corpus, weights, folder)
    text = text.replace(
        "[encoders.mobile]",
        f'[towers.second]\narchitecture = "ViT-demo-16"\nweights = "{second}"\nviews = {{count = 0, whole = 1}}\n\n'
        '[encoders.vit]\narchitecture = "ViT-demo-16"\nimage_size = 64\n\n[encoders.mobile]',
    ).replace("views.count = 4", "views = {count = 0, whole = 1}")
    text = text.replace(
        'encoder = "mobile"\ntowers = ["clip"]',
        'encoder = "vit"\ntowers = ["clip", "second"]\ntower_weights = [1, 0.25]\nsmooth_l1_weight = 0.5\n'
        "cosine_weight = 2\ntoken_smooth_l1_weight = 3\ntoken_cosine_weight = 0.75",
    )
    path.write_text(text)
    shutil.copytree(cached / "shards", folder / "shards")
    images = whole_pictures(folder)
    one_step = settings(
        steps=1, global_batch=len(images), micro_batches=1, learning_rate=1e-9, warmup_steps=0, ema_decay=0,
        log_every=1, validate_every=0,
    )  # fmt: skip
    process = run("align", path, *one_step)
    assert process.returncode == 0, process.stderr

    # So small a step changes nothing that is seen here.
    student = load_file(result_folder(folder, "align.student") / "model.safetensors")
    head = [student[f"projector.{part}"] for part in ("weight", "bias")]
    token_head = [student[f"token_projector.{part}"] for part in ("weight", "bias")]
    with torch.no_grad():
        pooled, tokens = transformer(student, 64)(batch_of(images, 64))
        pooled = torch.nn.functional.linear(pooled, *head).split(192, -1)
        tokens = torch.nn.functional.linear(tokens, *token_head).split(192, -1)
        expected = dict.fromkeys(("smooth_l1", "cosine", "token_smooth_l1", "token_cosine"), 0)
        for i, (weight, file) in enumerate(((1, weights), (0.25, second))):
            model = transformer(load_file(file), 128)
            features = [model(batch_of(images[at : at + 32], 128)) for at in range(0, len(images), 32)]
            target, grid = (torch.cat(part) for part in zip(*features, strict=True))
            grid = grid.transpose(1, 2).unflatten(2, (8, 8))
            grid = torch.nn.functional.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)
            for prefix, found in (("", distances(pooled[i], target)), ("token_", distances(tokens[i], grid))):
                expected[prefix + "smooth_l1"] += weight * found[0]
                expected[prefix + "cosine"] += weight * found[1]
    first = losses(folder).iloc[0]
    for name, value in expected.items():
        assert first[f"train/{name}"] == pytest.approx(value, rel=2e-3), name
    assert first["train/loss"] == pytest.approx(
        0.5 * expected["smooth_l1"]
        + 2 * expected["cosine"]
        + 3 * expected["token_smooth_l1"]
        + 0.75 * expected["token_cosine"],
        rel=2e-3,
    )


def test_the_relational_term_is_that_of_pytorch(cached, corpus, weights, tmp_path):
    """In the second step over all pictures they are compared with those of the first, which a queue as long holds."""
    folder = tmp_path / "run"
    path = tmp_path / "run.toml"
    text = configuration(corpus, weights, folder)
    text = text.replace("[encoders.mobile]", '[encoders.vit]\narchitecture = "ViT-demo-16"\n\n[encoders.mobile]')
    text = text.replace("views.count = 4", "views = {count = 0, whole = 1}")
    text = text.replace(
        'encoder = "mobile"\ntowers = ["clip"]',
        'encoder = "vit"\ntowers = ["clip"]\nrelational = {weight = 0.5, queue = QUEUE, temperature = 0.2}',
    )
    shutil.copytree(cached / "shards", folder / "shards")
    views = [whole_pictures(folder, use) for use in (0, 1)]
    path.write_text(text.replace("QUEUE", str(len(views[0]))))
    two_steps = settings(
        steps=2, global_batch=len(views[0]), micro_batches=1, learning_rate=1e-9, warmup_steps=0, ema_decay=0,
        log_every=1, validate_every=0,
    )  # fmt: skip
    process = run("align", path, *two_steps)
    assert process.returncode == 0, process.stderr

    student = load_file(result_folder(folder, "align.student") / "model.safetensors")
    with torch.no_grad():
        others, target = (
            torch.cat(
                [
                    transformer(load_file(weights), 128)(batch_of(view[at : at + 32], 128))[0]
                    for at in range(0, len(view), 32)
                ]
            )
            for view in views
        )
        pooled, _ = transformer(student, 128)(batch_of(views[1], 128))
        predicted = torch.nn.functional.linear(pooled, student["projector.weight"], student["projector.bias"])
        others, target = (torch.nn.functional.layer_norm(features, (192,)) for features in (others, target))
        similarities = [
            torch.nn.functional.cosine_similarity(features[:, None], others[None], dim=2) / 0.2
            for features in (predicted, target)
        ]
        expected = torch.nn.functional.kl_div(
            similarities[0].log_softmax(1), similarities[1].log_softmax(1), reduction="batchmean", log_target=True
        ).item()
    first, second = losses(folder).iloc[0], losses(folder).iloc[1]
    assert first["train/relational"] == 0, "nothing to compare with"
    assert expected > 0.01
    assert second["train/relational"] == pytest.approx(expected, rel=2e-3)
    assert second["train/loss"] == pytest.approx(
        second["train/smooth_l1"] + second["train/cosine"] + 0.5 * second["train/relational"], rel=1e-5
    )


def test_stored_and_computed_features_teach_the_same(cached, config):
    path, stored = copied(cached, config, "stored")
    assert run("align", path, *LONG).returncode == 0
    path, computed = copied(cached, config, "computed")
    shutil.rmtree(computed / "cache")
    online = ["--set", 'align.student.targets="online"']
    assert run("align", path, *LONG, *online).returncode == 0
    # The first losses differ by the rounding of features to 16 bits: 2^-11 of each number. Later steps magnify it.
    one, two = losses(stored), losses(computed)
    numpy.testing.assert_allclose(one["train/loss"][:1], two["train/loss"][:1], rtol=2e-4)
    numpy.testing.assert_allclose(one["train/loss"], two["train/loss"], rtol=2e-2)
    assert (one["train/loss"] != two["train/loss"]).any()


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "align.student.token_cosine_weight=1", "--set", "align.student.relational={weight=1, queue=19}"],
        ["--set", "align.student.mixup=0.5", "--set", "towers.clip.views.count=0"],
    ],
    ids=["tokens and a queue", "mixed and new views"],
)
def test_towers_in_the_loop_give_the_same_bits_on_any_ranks_and_after_a_kill(cached, config, words):
    models = set()
    for name, ranks, kill in (("one", 1, False), ("two", 2, True), ("four", 4, False)):
        path, folder = copied(cached, config, name)
        shutil.rmtree(folder / "cache")
        if kill:
            process = mpirun(ranks, "align", path, *LONG, *words, env={"CSKD_FAIL_AT": "trainer.step:5:kill"})
            assert process.returncode != 0 and max(checkpoints(folder)) < 8
        process = mpirun(ranks, "align", path, *LONG, *words)
        assert process.returncode == 0, process.stderr
        models.add(digest(result_folder(folder, "align.student") / "model.safetensors"))
    assert len(models) == 1


@pytest.mark.parametrize(
    "words, is_cached, width",
    [
        ([], True, 192),
        (["--set", "align.student.token_cosine_weight=1"], False, 192 + 8 * 8 * 192),
        (["--set", "align.student.mixup=1"], False, None),
    ],
    ids=["stored", "tokens", "mixed"],
)
def test_plan_tells_what_stored_and_computed_features_take(cached, config, words, is_cached, width):
    path, folder = copied(cached, config, "plan")
    pictures = 0
    for shard in (folder / "shards").glob("*.h5"):
        if "test" not in shard.name and "validation" not in shard.name:
            with h5py.File(shard) as file:
                pictures += len(file["offset"]) - 1
    process = run("plan", path, "--json", *words)
    stages = {stage["stage"]: stage for stage in json.loads(process.stdout)["stages"]}
    (tower,) = stages["align.student"]["towers"]
    views = width and 4 * pictures
    assert (tower["tower"], tower["is_cached"], tower["views"]) == ("towers.clip", is_cached, views)
    assert tower["cache_bytes"] == (width and views * 2 * width)
    assert tower["step_seconds"] > 0 and (tower["cache_seconds"] is None) == (width is None)
    text = run("plan", path, *words).stdout
    said = "learns from the stored features of" if is_cached else "compute its features in each step"
    assert said in text and ("every use shows new pixels" in text) == (width is None)


@pytest.mark.parametrize(
    "words, text",
    [
        (["align.student.targets=cached", "align.student.mixup=1"], "a cache does not hold mixed pictures (mixup)"),
        (["align.student.targets=cached", "towers.clip.views.count=0"], "a cache does not hold new views at each use"),
        (['align.student.towers=["clip", "clip"]'], "align.student.towers names 'clip' twice"),
        (["align.student.tower_weights=[1, 2]"], "align.student.tower_weights has 2 weights for 1 towers"),
        (["align.student.smooth_l1_weight=0", "align.student.cosine_weight=0"], "it would learn nothing"),
        (["towers.clip.views.count=2"], "towers.clip.views.count is 2, expected 3 or more for a cache"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(cached, config, words, text):
    path, _ = copied(cached, config, "refused")
    sets = [part for word in words for part in ("--set", word)]
    for stage in ("align", "run"):
        process = run(stage, path, *sets)
        assert process.returncode == 2 and text in process.stderr, process.stderr


def test_towers_whose_views_differ_are_refused(cached, config, weights):
    path, _ = copied(cached, config, "views")
    path.write_text(
        path.read_text().replace('towers = ["clip"]', 'towers = ["clip", "other"]')
        + f'[towers.other]\narchitecture = "ViT-demo-16"\nweights = "{weights}"\nviews.count = 5\n'
    )
    process = run("align", path)
    assert process.returncode == 2 and "towers.other.views differ from towers.clip.views" in process.stderr
