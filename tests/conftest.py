"""Tests import their neighbours; without pytest's own folder tricks a file in tests/launch is found from anywhere."""

import pathlib
import sys

for folder in ("launch", "demo"):
    sys.path.insert(0, str(pathlib.Path(__file__).parent / folder))
