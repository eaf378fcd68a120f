"""What GitHub and pre-commit read: action.yml and .pre-commit-hooks.yaml, and the command that they run."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from zfviz.cli.audit import audit

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
BASH = shutil.which("bash")


def action() -> dict[str, Any]:
    return yaml.safe_load(ACTION.read_text())


def steps() -> list[dict[str, Any]]:
    return action()["runs"]["steps"]


def run_audit(given: dict[str, str], folder: Path) -> list[str]:
    """What the step that audits calls `zfviz` with, when the inputs are these."""
    inputs = {name: given.get(name, entry.get("default", "")) for name, entry in action()["inputs"].items()}
    command = folder / "zf viz"
    command.write_text(f'#!{BASH}\nprintf "%s\\n" "$@" > "{folder}/called"\nexit 3\n')
    command.chmod(0o755)
    values = {f"inputs.{name}": value for name, value in inputs.items()}
    values["steps.zfviz.outputs.command"] = str(command)
    step = steps()[-1]
    env = {name: EXPRESSION.sub(lambda found: values[found[1]], text) for name, text in step["env"].items()}
    env |= {"PATH": "/usr/bin:/bin", "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    # as GitHub starts `shell: bash`
    script = folder / "script.sh"
    script.write_text(step["run"])
    ended = subprocess.run([BASH, "--noprofile", "--norc", "-eo", "pipefail", script], env=env, cwd=folder, check=False)
    assert ended.returncode == 3, "the step ends as zfviz does"
    return (folder / "called").read_text().splitlines()


def test_every_input_is_described_and_used() -> None:
    used = set(EXPRESSION.findall(yaml.safe_dump(steps())))
    assert {name for name in used if name.startswith("inputs.")} == {f"inputs.{name}" for name in action()["inputs"]}
    assert all(entry["description"] for entry in action()["inputs"].values())
    assert [name for name, entry in action()["inputs"].items() if "default" not in entry] == ["model"]
    assert action()["inputs"]["model"]["required"] is True


def test_nothing_is_pasted_into_a_script() -> None:
    scripts = [step["run"] for step in steps() if "run" in step]
    assert len(scripts) == 2
    assert not EXPRESSION.findall("".join(scripts))
    for step in steps():
        if "run" in step:
            assert step["shell"] == "bash"
            # a script reads what the step's environment has, what GitHub sets, and its own
            read = set(re.findall(r"\$\{?([A-Z_]+)", step["run"]))
            assert {name for name in read if not name.startswith(("GITHUB_", "RUNNER_"))} == set(step["env"])


def test_outputs_come_from_steps_above() -> None:
    known: set[str] = set()
    for step in steps():
        for name in re.findall(r"steps\.(\w+)\.", yaml.safe_dump(step)):
            assert name in known
        known.add(step.get("id", ""))


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_a_model_alone_is_audited_with_a_summary(tmp_path: Path) -> None:
    found = run_audit({"model": "model.onnx"}, tmp_path)
    assert found == ["audit", f"--report=markdown={tmp_path / 'summary'}", "--", "model.onnx"]


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_inputs_reach_the_command_letter_by_letter(tmp_path: Path) -> None:
    evil = "a \"b' $(touch pwned) `touch pwned`; touch pwned #"
    names = {name: name for name in ("images", "baseline", "preprocess", "input-shape", "config", "fail-on")}
    given = {name: f"{name} {evil}" for name in [*names, "sarif", "html"]}
    called = run_audit({"model": f"--{evil}", **given}, tmp_path)
    assert called[-2:] == ["--", f"--{evil}"]
    expected = {f"--{option}={name} {evil}" for name, option in names.items()}
    expected |= {f"--report={name}={name} {evil}" for name in ("sarif", "html")}
    assert set(called[2:-2]) == expected
    assert not (tmp_path / "pwned").exists()


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_the_command_knows_these_options(tmp_path: Path) -> None:
    given = {"images": "photos", "baseline": "old.json", "config": "zfviz.toml", "fail-on": "never"}
    called = run_audit({"model": "none.onnx", **given, "sarif": "a.sarif", "html": "a.html"}, tmp_path)
    with audit.make_context("audit", called[1:]) as context:
        options = context.params
    assert options["models"] == ("none.onnx",)
    assert {name.replace("_", "-"): options[name.replace("-", "_")] for name in given} == given
    assert options["reports"] == [
        ("markdown", tmp_path / "summary"),
        ("sarif", Path("a.sarif")),
        ("html", Path("a.html")),
    ]


def test_the_hook_runs_a_command_that_takes_several_models() -> None:
    (hook,) = yaml.safe_load(HOOKS.read_text())
    assert hook.keys() == {"id", "name", "description", "entry", "language", "files", "require_serial"}
    assert (hook["id"], hook["language"], hook["require_serial"]) == ("zfviz-audit", "python", True)
    assert hook["entry"].split() == ["zfviz", "audit"]
    assert re.search(hook["files"], "models/a.onnx")
    assert not re.search(hook["files"], "a.onnx.json")
    # pre-commit appends the names of files to the entry and the user's arguments
    with audit.make_context("audit", ["--fail-on", "never", "a.onnx", "b.onnx"]) as context:
        assert context.params["models"] == ("a.onnx", "b.onnx")


def test_the_hook_fails_where_one_of_its_models_does(tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    for names in ([tiny_path, tmp_path / "broken.onnx"], [tmp_path / "broken.onnx", tiny_path]):
        assert CliRunner().invoke(audit, list(map(str, names))).exit_code == 2
