"""The Python of shards/FORMAT.md reads a shard, as it stands there."""

import os
import pathlib
import re

from cskd_program import run

SOURCE = pathlib.Path(os.environ["CSKD_SOURCE_DIR"])


def test_the_reader_of_the_format_page_reads_a_shard(tmp_path, capsys):
    corpus = tmp_path / "corpus"
    assert run("demo", corpus, "--images", 60).returncode == 0
    config = tmp_path / "config.toml"
    config.write_text(
        f'[run]\nfolder = "{tmp_path}/run"\n[packing]\nmax_fault_rate = 0.5\n'
        f'[[sources]]\nname = "coast"\nkind = "folder"\npath = "{corpus}/coast"\n'
    )
    assert run("shard", config).returncode == 0
    code = re.search(r"```python\n(.*?)```", (SOURCE / "shards/FORMAT.md").read_text(), re.DOTALL).group(1)
    exec(code.replace("runs/demo/shards", f"{tmp_path}/run/shards"), {})  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(".jpg" in line and "JPEG" in line for line in lines), lines
