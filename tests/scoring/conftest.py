"""Runs of a small corpus, and a model that was exported."""

import shutil

import pandas
import pytest
from cskd_program import run
from run_fixtures import cached, config, corpus, opinionated, shared_runs, weights  # noqa: F401  fixtures
from small_run import configuration
from stage_runs import OPINIONATED

EXPORT = '\n[export.student]\nfrom = "finetune.supervised"\n'


@pytest.fixture(scope="session")
def model(opinionated, corpus, weights, tmp_path_factory):  # noqa: F811
    """Folder of an export, and the scores of the test pictures by the name of their file."""
    path, folder = (tmp_path_factory.mktemp("model") / name for name in ("config.toml", "run"))
    shutil.copytree(opinionated, folder)
    path.write_text(configuration(corpus, weights, folder) + EXPORT)
    for words in (("export", path), ("evaluate", path, "--set", 'evaluate.models=["finetune.supervised"]')):
        process = run(*words, *OPINIONATED)
        assert process.returncode == 0, process.stderr
    scores = pandas.read_csv(folder / "evaluate/predictions.csv")
    names = scores["picture"].str.split("/", n=1).str[1]
    return folder / "export/student", dict(zip(names, scores["predicted_mean"], strict=True))
