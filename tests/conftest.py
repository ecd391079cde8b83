"""Tests that take turns: of a test marked `rotating(n)`, an n-th of its cases runs, others each day; all with CSKD_TEST_FULL=1.

CSKD_TEST_DAY chooses the day (a number); by default it is today's. What ran is told by the names of the cases.
"""

import datetime
import os
import zlib


def pytest_configure(config):
    config.addinivalue_line("markers", "rotating(n): each day another n-th of the cases; all with CSKD_TEST_FULL=1")


def pytest_collection_modifyitems(config, items):
    if os.environ.get("CSKD_TEST_FULL"):
        return
    day = int(os.environ.get("CSKD_TEST_DAY") or datetime.date.today().toordinal())
    seen = {}
    left_out = []
    for item in items:
        marker = item.get_closest_marker("rotating")
        if marker is None:
            continue
        # Tests of one case start at different days, or all would fall on the same one.
        number = seen.get(item.originalname, zlib.crc32(item.originalname.encode()))
        seen[item.originalname] = number + 1
        if (number + day) % marker.args[0] != 0:
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
