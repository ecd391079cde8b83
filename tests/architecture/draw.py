"""Draws docs/architecture.md's picture of the libraries from what the build declares: draw.py [--write].

Prints the drawing; with --write it goes into the page."""

import json
import os
import pathlib
import sys

SOURCE = pathlib.Path(os.environ.get("CSKD_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("CSKD_BUILD_DIR", SOURCE / "build" / "release"))
PAGE = SOURCE / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by tests/architecture/draw.py -->\n", "<!-- end -->\n"


def reachable(library, depends):
    found, todo = set(), list(depends[library])
    while todo:
        below = todo.pop()
        if below not in found:
            found.add(below)
            todo.extend(depends[below])
    return found


def drawing(depends):
    """Each library with what it needs and no other of these needs, in layers: a library lies above all that it needs."""
    everything = {below: reachable(below, depends) for below in depends}
    layer = {}
    for library in sorted(depends, key=lambda name: len(everything[name])):
        layer[library] = 1 + max((layer[below] for below in everything[library]), default=-1)
    lines = []
    for level in sorted(set(layer.values()), reverse=True):
        for library in sorted(name for name in layer if layer[name] == level):
            direct = sorted(
                below for below in depends[library] if not any(below in everything[other] for other in depends[library])
            )
            lines.append(f"{level:>3}  {library:<12}{'-> ' + ', '.join(direct) if direct else ''}".rstrip())
        lines.append("")
    return "```\n" + "\n".join(lines[:-1]) + "\n```\n"


def declared():
    depends = {
        entry["library"]: set(entry["depends"]) for entry in json.loads((BUILD / "dependencies.json").read_text())
    }
    return depends | {"launch": set(depends)}


def page_with(drawn):
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:begin] + "\n" + drawn + "\n" + text[end:]


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page_with(drawing(declared())))
    else:
        print(drawing(declared()), end="")
