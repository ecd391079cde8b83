"""The recipes for public sets: whole but for the data, and their table of hours up to date."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from cskd_program import run

SOURCE = pathlib.Path(os.environ["CSKD_SOURCE_DIR"])
RECIPES = sorted((SOURCE / "configs/recipes").glob("*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_nothing_but_data_is_missing(recipe, tmp_path):
    process = run("plan", recipe, "--quick", "--json", "--set", f"run.folder={tmp_path}/run")
    assert process.returncode == 2, process.stderr
    plan = json.loads(process.stdout)
    stages = [stage["stage"] for stage in plan["stages"]]
    assert stages[0] == "shard" and stages[-1] == "evaluate"
    assert {"ridge.teacher", "finetune.teacher"} < set(stages)
    students = [stage for stage in stages if stage.startswith("distill.")]
    assert students and all(f"finetune.{student.split('.')[1]}" in stages for student in students)
    weights = set(re.findall(r'^weights = ".*/(.*)"', recipe.read_text(), re.MULTILINE))
    missing = [
        re.search(r"weights: cannot open .*/([^/]*\.safetensors): No such file", text) for text in plan["impossible"]
    ]
    assert all(missing), plan["impossible"]
    assert {match[1] for match in missing} == weights


def test_hours_are_up_to_date():
    script = SOURCE / "docs/scaling/recipe_hours.py"
    printed = subprocess.run([sys.executable, "-B", script], capture_output=True, text=True, check=True).stdout
    assert printed in (SOURCE / "docs/recipes.md").read_text()
    assert all(recipe.name in printed for recipe in RECIPES)
