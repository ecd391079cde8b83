"""Runs of a small corpus at several stages."""

from run_fixtures import cached, config, corpus, opinionated, shared_runs, trained, weights, whole  # noqa: F401  fixtures
