"""Runs of a small corpus."""

from run_fixtures import cached, config, corpus, shared_runs, weights  # noqa: F401  fixtures
