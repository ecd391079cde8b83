"""A plug-in as encoder, student, tower and teacher: the losses of PyTorch, the same bits everywhere, one file to score with."""

import json
import pathlib
import shutil
import subprocess

import numpy
import pandas
import pytest
import torch
from cskd_program import CSKD, mpirun, run
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from small_plugin import SIDE, exporter, small_model, small_plugin
from small_run import configuration
from stage_runs import copied, result, result_folder, settings
from torch_tower import transformer, batch_of, whole_pictures


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    return small_plugin(tmp_path_factory.mktemp("plugin") / "small.pt2")


def with_plugin(text, plugin):
    """The small run with the plug-in as its student's encoder."""
    native = '[encoders.mobile]\narchitecture = "mobilenetv3_small_100"\nimage_size = 64'
    assert native in text
    return text.replace(native, f'[encoders.mobile]\nplugin = "{plugin}"')


def test_fifty_steps_follow_pytorch(cached, corpus, weights, plugin, tmp_path):
    """All pictures in each step, whole or mirrored: no order and no crop that PyTorch would have to repeat."""
    steps, rate = 50, 1e-3
    text = with_plugin(configuration(corpus, weights, tmp_path / "RUN"), plugin)
    text = text.replace("views.count = 4", "views = {count = 0, whole = 1}")
    folders = {}
    for name, changes in {"start": {"steps": 1, "learning_rate": 1e-30}, "run": {"steps": steps}}.items():
        folders[name] = tmp_path / name
        path = tmp_path / f"{name}.toml"
        path.write_text(text.replace(str(tmp_path / "RUN"), str(folders[name])))
        shutil.copytree(cached / "shards", folders[name] / "shards")
        pictures = [whole_pictures(folders[name], use) for use in (0, 1)]
        values = {
            "global_batch": len(pictures[0]), "micro_batches": 1, "learning_rate": rate, "warmup_steps": 0, "ema_decay": 0,
            "log_every": 1, "weight_decay": 0, "schedule": "constant", "clip_norm": 1e9, **changes,
        }  # fmt: skip
        process = run("align", path, *settings(**values), timeout=300)
        assert process.returncode == 0, process.stderr
    found = pandas.read_json(result_folder(folders["run"], "align.student") / "metrics.jsonl", lines=True)["train/loss"]

    start = load_file(result_folder(folders["start"], "align.student") / "model.safetensors")
    model = small_model().train()
    for name, parameter in model.named_parameters():
        assert torch.allclose(start[name], parameter, atol=1e-6), name
    projector = torch.nn.Linear(*reversed(start["projector.weight"].shape))
    projector.load_state_dict({part: start[f"projector.{part}"] for part in ("weight", "bias")})
    tower = transformer(load_file(weights), 128)
    mean, std = (torch.tensor(exporter().IMAGENET[name]).view(3, 1, 1) for name in ("mean", "std"))
    inputs, targets = [], []
    with torch.no_grad():
        for view in pictures:
            pixels = numpy.stack([numpy.asarray(image.resize((SIDE, SIDE), Image.BICUBIC)) for image in view])
            inputs.append((torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std)
            features = torch.cat([tower(batch_of(view[at : at + 32], 128))[0] for at in range(0, len(view), 32)])
            targets.append(torch.nn.functional.layer_norm(features, (features.shape[1],)))
    optimizer = torch.optim.AdamW([*model.parameters(), *projector.parameters()], lr=rate, weight_decay=0)
    expected = []
    for step in range(steps):
        predicted = projector(model(inputs[step % 2])[0])
        target = targets[step % 2]
        loss = (
            torch.nn.functional.smooth_l1_loss(predicted, target, beta=2.0)
            + (1 - torch.nn.functional.cosine_similarity(predicted, target, dim=-1)).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert expected[-1] < 0.9 * expected[0], "nothing was learnt"
    assert len(found) == steps
    numpy.testing.assert_allclose(found, expected, rtol=1e-3)


ELASTIC = settings(
    steps=20, determinism="elastic", log_every=1, micro_batches=8, feature_dropout=0.2, layer_decay=0.8
) + ["--set", "compute.threads=1"]


def plug(path, plugin):
    path.write_text(with_plugin(path.read_text(), plugin))


@pytest.mark.rotating(2)
def test_the_same_bits_on_any_number_of_ranks_and_after_stops(cached, config, plugin):
    found = {}
    for ranks in (1, 2, 4):
        path, folder = copied(cached, config, f"ranks{ranks}")
        plug(path, plugin)
        process = mpirun(ranks, "align", path, *ELASTIC)
        assert process.returncode == 0, process.stderr
        found[ranks] = result(folder, step=20)
    assert found[1] == found[2] == found[4]
    path, folder = copied(cached, config, "moved")
    plug(path, plugin)
    for ranks, stop in ((1, 3), (2, 9), (4, None)):
        env = {"CSKD_FAIL_AT": f"trainer.step:{stop}:term"} if stop else {}
        process = mpirun(ranks, "align", path, *ELASTIC, env=env)
        assert process.returncode == (75 if stop else 0), process.stderr
    assert result(folder, step=20) == found[1]


@pytest.mark.rotating(3)
def test_a_whole_run_and_its_file_need_no_plugin_afterwards(cached, config, plugin, corpus, tmp_path):
    """As student from start to score; then the .pt2 file is gone, and the exported model still scores."""
    path, folder = copied(cached, config, "run")
    moved = shutil.copy(plugin, tmp_path / "moved.pt2")
    plug(path, moved)
    with path.open("a") as file:
        file.write('\n[export.student]\nfrom = "distill.student"\ninput = "pixels"\n')
    process = mpirun(2, "run", path)
    assert process.returncode == 0, process.stderr
    with safe_open(folder / "export/student/model.safetensors", "pt") as file:
        assert file.metadata()["encoder"].startswith("small@")
    pathlib.Path(moved).unlink()
    photos = sorted((corpus / "coast").rglob("*.jpg"))[:5]
    process = subprocess.run(
        [CSKD, "score", folder / "export/student", *photos, "--format", "jsonl"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    ours = [json.loads(line)["score"] for line in process.stdout.splitlines()]
    assert len(ours) == 5 and max(ours) > min(ours)
    # The weights are a model's of timm.
    state = load_file(folder / "export/student/model.safetensors")
    model = small_model()
    missing = model.load_state_dict({name: state[name] for name in state if name in model.state_dict()}, strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    start = small_model().state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in model.state_dict().items())

    # A resumed run finds everything done, with the file under another name.
    back = shutil.copy(plugin, tmp_path / "back.pt2")
    path.write_text(path.read_text().replace(str(moved), str(back)))
    process = run("run", path)
    assert process.returncode == 0, process.stderr
    assert "already" in process.stderr or "complete" in process.stderr, process.stderr


@pytest.mark.rotating(3)
def test_as_tower_and_teacher(cached, config, plugin, tmp_path):
    path, folder = config("towers")
    shutil.copytree(cached / "shards", folder / "shards")
    text = path.read_text()
    start = text.index("[towers.clip]")
    text = (
        text[:start]
        + f'[towers.clip]\nplugin = "{plugin}"\nviews.count = 4\n\n'
        + text[text.index("[encoders.mobile]") :]
    )
    path.write_text(text)
    process = mpirun(2, "run", path)
    assert process.returncode == 0, process.stderr
    assert json.loads((folder / "finetune/teacher/complete.json").read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('plugin = "PLUGIN"\narchitecture = "resnet18"', ["encoders.mobile.architecture is 'resnet18'", "small@"]),
        ('plugin = "PLUGIN"\nimage_size = 96', ["exported for an image size of 64, not 96"]),
        ('plugin = "PLUGIN"\nplugin_facts = {mean = [0, 0]}', ["lists of three numbers"]),
        ('plugin = "PLUGIN"\nplugin_facts = {token_output = 0}', ["no tokens"]),
        ('architecture = "resnet18"\nplugin_facts = {pooled_output = 0}', ["encoders.mobile.plugin is not"]),
        ('plugin = "nowhere.pt2"', ["encoders.mobile.plugin: there is no file", "nowhere.pt2"]),
        ("image_size = 64", ["encoders.mobile.architecture is missing"]),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_once(config, plugin, change, words):
    path, _ = config("refused")
    text = with_plugin(path.read_text(), plugin)
    path.write_text(text.replace(f'plugin = "{plugin}"', change.replace("PLUGIN", str(plugin))))
    process = run("plan", path, "--quick")
    assert process.returncode in (2, 3) or "encoders.mobile" in process.stdout, process.stderr
    for word in words:
        assert word in process.stderr + process.stdout, process.stderr + process.stdout


def test_drop_path_is_refused(cached, config, plugin):
    path, _ = copied(cached, config, "drops")
    plug(path, plugin)
    process = run("align", path, *settings(drop_path=0.1))
    assert process.returncode == 2 and "exported without its branches' drops" in process.stderr, process.stderr
