"""Runs of a small corpus for reports."""

from run_fixtures import cached, config, corpus, shared_runs, weights, whole_run  # noqa: F401  fixtures
