"""Runs of a small corpus."""

from run_fixtures import cached, config, corpus, weights  # noqa: F401  fixtures
