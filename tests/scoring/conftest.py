"""Runs of a small corpus at several stages."""

from run_fixtures import cached, config, corpus, shared_runs, trained, weights  # noqa: F401  fixtures
