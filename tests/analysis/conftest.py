"""Runs of a small corpus at several stages, and an analysis of one."""

import shutil

import pytest
from analysis_runs import ONE_THREAD, PROBED, analysed
from run_fixtures import cached, config, corpus, shared_runs, trained, weights  # noqa: F401  fixtures
from small_run import configuration


@pytest.fixture(scope="session")
def whole(trained, corpus, weights, tmp_path_factory):
    """An analysis of all models of a trained run: its configuration, its run folder, what the command printed."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "config.toml"
    path.write_text(configuration(corpus, weights, folder / "run"))
    shutil.copytree(trained, folder / "run")
    process = analysed(path, *PROBED, *ONE_THREAD)
    return path, folder / "run", process
