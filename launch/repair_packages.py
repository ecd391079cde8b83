"""Removes what a killed pip left in this virtual environment, so that the next `pip install` puts it in again.

pip takes a package for installed as soon as its .dist-info folder holds METADATA, although it may have been killed before
the last file. Here a package counts only when its RECORD is there and every file that RECORD lists has the listed size;
otherwise its .dist-info folder is removed, which makes pip install it over the remains.

Prints the name of each package removed. Exit 0: pip can go on; exit 3: pip itself is damaged, make the environment anew.
"""

import csv
import shutil
import sys
import sysconfig
from pathlib import Path


def is_complete(info: Path) -> bool:
    record = info / "RECORD"
    if not record.is_file():
        return False
    with record.open(newline="", encoding="utf-8") as lines:
        for row in csv.reader(lines):
            if not row or row[0].endswith(".pyc"):
                continue
            try:
                size = (info.parent / row[0]).stat().st_size
            except OSError:
                return False
            if len(row) == 3 and row[2] and int(row[2]) != size:
                return False
    return True


def main() -> int:
    site = Path(sysconfig.get_path("purelib"))
    for leftover in site.glob("~*"):
        shutil.rmtree(leftover, ignore_errors=True)
    damaged = [info for info in site.glob("*.dist-info") if not is_complete(info)]
    if any(info.name.startswith("pip-") for info in damaged):
        print("pip")
        return 3
    for info in damaged:
        print(info.name.removesuffix(".dist-info"))
        shutil.rmtree(info)
    return 0


if __name__ == "__main__":
    sys.exit(main())
