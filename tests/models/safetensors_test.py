"""safetensors files exchanged in both directions with the reference implementation, the Python package."""

import json
import os
import pathlib
import random
import shlex
import struct
import subprocess
import sys

import pytest
import safetensors
import safetensors.torch
import torch
import torchvision

PROGRAM = pathlib.Path(os.environ["CSKD_BUILD_DIR"]) / "safetensors_copy"


def outcomes(pairs):
    """For each (source, target): "copied", or the reason for refusing it."""
    arguments = [str(path) for pair in pairs for path in pair]
    result = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def copy(source, target):
    assert outcomes([(source, target)]) == "copied\n"


def refusal(source):
    text = outcomes([(source, source.with_name("never.safetensors"))])
    assert text.startswith("refused: ")
    return text


def raw(tensor):
    return tensor.reshape(-1).view(torch.uint8)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        assert torch.equal(raw(found[name]), raw(tensor)), name


def every_type():
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        values = torch.randn(3, 5, generator=generator).to(dtype)
        info = torch.finfo(dtype)
        values[0] = torch.tensor([info.max, info.tiny, float("inf"), float("nan"), -0.0], dtype=dtype)
        tensors[f"float/{dtype}"] = values
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        info = torch.iinfo(dtype)
        tensors[f"whole/{dtype}"] = torch.tensor([info.min, info.max, 0, 1, 77], dtype=dtype)
    tensors["truth"] = torch.tensor([True, False, True])
    tensors["scalar"] = torch.tensor(-1.25, dtype=torch.bfloat16)
    tensors["empty"] = torch.empty(0, 7, dtype=torch.float16)
    tensors['názov "with" \\ signs\n'] = torch.arange(3)
    return tensors


def test_every_type_goes_there_and_back(tmp_path):
    metadata = {"format": "pt", "text": '€\n"\\'}
    safetensors.torch.save_file(every_type(), tmp_path / "python", metadata)
    copy(tmp_path / "python", tmp_path / "copy")
    assert_equal(safetensors.torch.load_file(tmp_path / "copy"), every_type())
    with safetensors.safe_open(tmp_path / "copy", framework="pt") as file:
        assert file.metadata() == metadata


def test_one_tensor_of_each_length_of_header(tmp_path):
    """Header lengths of all residues; some start with the bytes of a pickle."""
    pairs = []
    for length in range(1, 140):
        source = tmp_path / f"{length}"
        safetensors.torch.save_file({"n" * length: torch.tensor([length], dtype=torch.int16)}, source)
        pairs.append((source, tmp_path / f"{length}.copy"))
    assert any(source.read_bytes()[0] == 0x80 for source, _ in pairs)
    assert outcomes(pairs) == "copied\n" * len(pairs)
    for source, target in pairs:
        assert_equal(safetensors.torch.load_file(target), safetensors.torch.load_file(source))


def test_the_weights_of_a_network(tmp_path):
    weights = torchvision.models.mobilenet_v3_small(weights=None).state_dict()
    safetensors.torch.save_file(weights, tmp_path / "python")
    copy(tmp_path / "python", tmp_path / "copy")
    assert_equal(safetensors.torch.load_file(tmp_path / "copy"), weights)


def test_a_file_without_tensors(tmp_path):
    safetensors.torch.save_file({}, tmp_path / "python")
    copy(tmp_path / "python", tmp_path / "copy")
    assert safetensors.torch.load_file(tmp_path / "copy") == {}


def test_types_that_are_not_read_are_named(tmp_path):
    for dtype, name in ((torch.float8_e4m3fn, "F8_E4M3"), (torch.uint16, "U16"), (torch.complex64, "C64")):
        safetensors.torch.save_file({"a": torch.zeros(2).to(dtype)}, tmp_path / "python")
        assert f'tensor "a" has the type "{name}"' in refusal(tmp_path / "python")


WORDS = (b"{", b"}", b"[", b"]", b",", b'"', b" ", b"0", b"-", b"1e3", b"\0", b"\xff", b"\\u0061")


def mutant(original, header_end, seed):
    """`original` with one to three changes of its header, whose length field stays true."""
    choose = random.Random(seed)
    header = bytearray(original[8:header_end])
    for _ in range(choose.choice((1, 1, 2, 3))):
        place = choose.randrange(len(header))
        digits = [i for i, byte in enumerate(header) if chr(byte).isdigit()]
        commas = [i for i, byte in enumerate(header) if byte == ord(",")]
        action = choose.randrange(7)
        if action == 0:
            header[place] = choose.randrange(256)
        elif action == 1:
            header[place : place + choose.randrange(1, 12)] = b""
        elif action == 2:
            header[place:place] = choose.choice(WORDS)
        elif action == 3 and digits:
            header[choose.choice(digits)] = ord(choose.choice("0123456789"))
        elif action == 4:
            start = choose.randrange(len(header))
            header[place:place] = header[start : start + choose.randrange(1, 60)]
        elif action == 5 and len(commas) > 1:
            start, end = sorted(choose.sample(commas, 2))
            header[end:end] = header[start:end]
        elif commas:
            place = choose.choice(commas)
            header[place:place] = choose.choice((b" ", b"\n", b"\t", b"\v"))
    return struct.pack("<Q", len(header)) + bytes(header) + original[header_end:]


def breaks_a_stricter_rule(content):
    """What the reference reads and cskd refuses: a key twice, a field of a tensor that the format does not have, a type
    that cskd has not."""
    twice = []

    def collect(pairs):
        names = [name for name, _ in pairs]
        twice.append(len(set(names)) < len(names))
        return dict(pairs)

    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length], object_pairs_hook=collect)
    header.pop("__metadata__", None)
    known = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}
    return any(twice) or any(len(entry) != 3 or entry["dtype"] not in known for entry in header.values())


def test_a_damaged_file_is_read_only_where_the_reference_reads_the_same(tmp_path):
    tensors = {
        "a": torch.arange(6.0).reshape(2, 3),
        "b": torch.tensor([1, 0, 1], dtype=torch.uint8),
        "c": torch.tensor(7),
        "e": torch.empty(0, 4),
    }
    original = safetensors.torch.save(tensors, {"k": "v"})
    header_end = 8 + struct.unpack("<Q", original[:8])[0]
    pairs = []
    for seed in range(3000):
        source = tmp_path / f"{seed}"
        source.write_bytes(mutant(original, header_end, seed))
        pairs.append((source, tmp_path / f"{seed}.copy"))
    lines = outcomes(pairs).splitlines()
    assert len(lines) == len(pairs)
    read = stricter = 0
    for (source, target), line in zip(pairs, lines, strict=True):
        try:
            expected = safetensors.torch.load(source.read_bytes())
        except Exception as error:  # the reference raises several unrelated classes
            expected, reason = None, error
        if line == "copied":
            assert expected is not None, f"{source.read_bytes()}: {reason}"
            assert_equal(safetensors.torch.load_file(target), expected)
            read += 1
        elif expected is not None:
            assert breaks_a_stricter_rule(source.read_bytes()), f"{source.read_bytes()}: {line}"
            stricter += 1
    assert read > 100 and len(pairs) - read > 1000
    print(f"{read} read, {stricter} refused that the reference reads, of {len(pairs)}")


def remedy(message):
    """The command in a refusal, for this Python."""
    (command,) = [line.strip() for line in message.splitlines() if line.strip().startswith("python3 -c")]
    return [sys.executable, *shlex.split(command)[1:]]


@pytest.mark.parametrize("zipped", [True, False])
def test_the_remedy_for_a_pickle_works(tmp_path, zipped):
    weights = {"w": torch.randn(4, 3).t(), "tied": torch.ones(2), "n": torch.tensor(3)}
    weights["tied too"] = weights["tied"]
    path = tmp_path / "my weights.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    subprocess.run(remedy(refusal(path)), check=True, timeout=120)
    copy(tmp_path / "my weights.safetensors", tmp_path / "copy")
    assert_equal(safetensors.torch.load_file(tmp_path / "copy"), {name: t.contiguous() for name, t in weights.items()})


def test_the_remedy_for_a_torchscript_archive_works(tmp_path):
    module = torch.nn.Linear(2, 3)
    path = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(module), path)
    message = refusal(path)
    assert "torch.jit.load(..., map_location='cpu').state_dict()" in message
    command = [
        part.replace("torch.load(", "torch.jit.load(").replace(", weights_only=True)", ").state_dict()")
        for part in remedy(message)
    ]
    subprocess.run(command, check=True, timeout=120)
    assert_equal(safetensors.torch.load_file(tmp_path / "scripted.safetensors"), module.state_dict())
