"""Runs of a small corpus at several stages."""

from run_fixtures import cached, config, corpus, opinionated, shared_runs, trained, weights, whole, whole_run  # noqa: F401  fixtures
