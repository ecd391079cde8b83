"""Writes sound inputs for the fuzz targets to start from: seeds.py FOLDER."""

import io
import json
import pathlib
import sys
import tarfile
import zipfile

LABELS = [
    b"1 1 0 0 1 2 3 4 3 2 1 0 5 6 7\n",
    b"1.jpg 0.5\n2.jpg 0.25\n",
    b"image,score\n1.jpg,5.5\n2.jpg,7\n",
    b"sessionId,imageName,aestheticScore_mean,aestheticScore_std,"
    + b",".join(b"aestheticScore_%.1f" % (1 + i / 2) for i in range(9))
    + b"\nsession1,1.jpg,3,1,0,0,1,2,3,2,1,0,0\n",
    b'"image_name","c1","c2","c3","c4","c5","c_total","MOS","SD","set"\n"1.jpg",0,0.1,0.2,0.6,0.1,100,60,0.7,"training"\n',
    b"Image name,MOS,Brightness\n1.jpg,55.5,3\n",
    b" 1.jpg 0.5\n",
    b"image_id=user_id=score\n1=2=7\n1=3=8\n",
    b"path,score\n1.jpg,2.5\n",
    b'{"score": 2.5, "other": [1, {"a": null}]}',
]
WEIGHTS = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}'


def tensor(sizes):
    return {"dtype": 7, "sizes": sizes, "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}}


# Schema 8 of torch.export: images [N, 3, 4, 4] times a parameter of three numbers, and their mean.
PROGRAM = {
    "schema_version": {"major": 8, "minor": 17},
    "graph_module": {
        "graph": {
            "inputs": [{"as_tensor": {"name": "p"}}, {"as_tensor": {"name": "x"}}],
            "outputs": [{"as_tensor": {"name": "mean"}}],
            "nodes": [
                {
                    "target": "torch.ops.aten.view.default",
                    "inputs": [
                        {"name": "self", "arg": {"as_tensor": {"name": "p"}}},
                        {"name": "size", "arg": {"as_sym_ints": [{"as_int": 3}, {"as_int": 1}, {"as_int": 1}]}},
                    ],
                    "outputs": [{"as_tensor": {"name": "view"}}],
                },
                {
                    "target": "torch.ops.aten.mul.Tensor",
                    "inputs": [
                        {"name": "self", "arg": {"as_tensor": {"name": "x"}}},
                        {"name": "other", "arg": {"as_tensor": {"name": "view"}}},
                    ],
                    "outputs": [{"as_tensor": {"name": "mul"}}],
                },
                {
                    "target": "torch.ops.aten.mean.dim",
                    "inputs": [
                        {"name": "self", "arg": {"as_tensor": {"name": "mul"}}},
                        {"name": "dim", "arg": {"as_ints": [2, 3]}},
                        {"name": "keepdim", "arg": {"as_bool": False}},
                        {"name": "dtype", "arg": {"as_none": True}},
                    ],
                    "outputs": [{"as_tensor": {"name": "mean"}}],
                },
            ],
            "tensor_values": {
                "p": tensor([{"as_int": 3}]),
                "x": tensor([{"as_expr": {"expr_str": "s0"}}, {"as_int": 3}, {"as_int": 4}, {"as_int": 4}]),
                "mean": tensor([{"as_expr": {"expr_str": "s0"}}, {"as_int": 3}]),
            },
        },
        "signature": {
            "input_specs": [
                {"parameter": {"arg": {"name": "p"}, "parameter_name": "scale"}},
                {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
            ],
            "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "mean"}}}}],
        },
    },
}


def plugin():
    weights = {
        "config": {
            "scale": {
                "path_name": "weight_0",
                "is_param": True,
                "use_pickle": False,
                "tensor_meta": tensor([{"as_int": 3}]),
            }
        }
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/models/model.json", json.dumps(PROGRAM))
        archive.writestr("m/data/weights/weight_0", bytes(12))
        archive.writestr("m/data/weights/model_weights_config.json", json.dumps(weights))
        archive.writestr("m/data/constants/model_constants_config.json", '{"config": {}}')
        archive.writestr("m/byteorder", "little")
    return buffer.getvalue()


def tar(format, names):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
    return buffer.getvalue()


def main():
    root = pathlib.Path(sys.argv[1])
    seeds = {
        "labels": [bytes([kind]) + text for kind, text in enumerate(LABELS)],
        "tar": [
            tar(format, names)
            for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
            for names in (["a.jpg", "b/c.png"], ["n" * 150 + "/" + "m" * 90 + ".jpg"])
        ],
        # Field numbers and lengths of shards/manifest.proto: a source, a shard, the gate.
        "manifest": [
            b"\0" + bytes.fromhex("0a070a0161120166") + b"\x18\x01",
            b"\1CSKDMANI\2\0\0\0\0\0\0\0",
            b"\0\x0a\x03\x0a\x01a\x12\x0e\x0a\x04s.h5\x10\x64\x20\x01\x28\x05\x30\x01\x18\x01",
        ],
        "weights": [
            b"\0" + len(WEIGHTS).to_bytes(8, "little") + WEIGHTS + b"\1" * 9,
            b'\1{"metadata": {"total_size": 9}, "weight_map": {"a": "a.safetensors", "b": "a.safetensors"}}',
        ],
        "plugin": [b"\0" + plugin(), b"\1" + json.dumps(PROGRAM).encode()],
        "shard_index": [bytes([2, 4, 6, 2]) + bytes(2000), bytes([0, 0, 0, 0]) + bytes(600)],
    }
    for target, inputs in seeds.items():
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (folder / str(number)).write_bytes(data)


if __name__ == "__main__":
    main()
