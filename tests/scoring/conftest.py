"""Runs of a small corpus, and a model that was exported."""

import shutil

import pandas
import pytest
from cskd_program import run
from run_fixtures import cached, config, corpus, shared_runs, trained, weights  # noqa: F401  fixtures
from small_run import configuration
from stage_runs import EVERY_STEP

EXPORT = '\n[export.student]\nfrom = "distill.student"\n'


@pytest.fixture(scope="session")
def model(trained, corpus, weights, tmp_path_factory):  # noqa: F811
    """Folder of an export, and the scores of the test pictures by the name of their file."""
    path, folder = (tmp_path_factory.mktemp("model") / name for name in ("config.toml", "run"))
    shutil.copytree(trained, folder)
    path.write_text(configuration(corpus, weights, folder) + EXPORT)
    for words in (("export", path), ("evaluate", path, "--set", 'evaluate.models=["distill.student"]')):
        process = run(*words, *EVERY_STEP)
        assert process.returncode == 0, process.stderr
    scores = pandas.read_csv(folder / "evaluate/predictions.csv")
    names = scores["picture"].str.split("/", n=1).str[1]
    return folder / "export/student", dict(zip(names, scores["predicted_mean"], strict=True))
