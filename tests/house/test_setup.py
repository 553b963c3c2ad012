"""scripts/bootstrap.sh: what it installs, when it does nothing, what it says when it cannot.

The interpreters here are small shell scripts that write down what they are asked to do: the
set-up itself downloads gigabytes and is what `make` does before any test can run.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PYTHON = f"""#!/bin/bash
case "$*" in
    "-m pip --version"|"-m uv --version") exit 0 ;;
    *"uv --no-config cache dir"*) echo "$FAKE_CACHE" ;;
    "-m "*) printf '%s\\n' "$*" >>"$FAKE_LOG"; env | grep -E '^(PIP|UV)_' >>"$FAKE_LOG" || true ;;
    *"import ensurepip"*) exit "${{FAKE_ENSUREPIP:-0}}" ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("scripts/bootstrap.sh", "requirements.lock", "pyproject.toml", "hatch_build.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


def bootstrap(root: Path, **env: str) -> tuple[int, str, list[str]]:
    log = root.parent / "log"
    log.unlink(missing_ok=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
    done = subprocess.run(
        [root / "scripts" / "bootstrap.sh"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "FAKE_LOG": str(log), "FAKE_CACHE": str(root.parent / "cache"), **env},
    )
    lines = log.read_text().splitlines() if log.exists() else []
    return done.returncode, done.stderr, lines


def test_installs_once_and_again_only_when_something_changed(checkout):
    script(checkout / ".venv" / "bin" / "python", PYTHON)
    code, _, lines = bootstrap(checkout)
    assert code == 0
    install = "-m uv --no-config pip install --quiet --compile-bytecode --python .venv/bin/python"
    assert [line for line in lines if "pip install" in line] == [
        f"{install} -r requirements.lock",
        f"{install} --no-deps --editable .",
    ]
    # Our own packages too: where nothing may be written, each run would compile them anew.
    compiled = [line for line in lines if line.startswith("-m compileall")]
    assert [line.split()[-5:] for line in compiled] == [
        ["lanner", "server", "postprocess", "detectors", "tiling"]
    ]
    assert bootstrap(checkout) == (0, "", [])
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("something==1\n")
    assert len(bootstrap(checkout)[2]) >= 2
    assert bootstrap(checkout) == (0, "", [])
    moved = checkout.rename(checkout.parent / "moved")
    assert len(bootstrap(moved)[2]) >= 2


def test_settings_of_the_machine_do_not_leak_in(checkout):
    script(checkout / ".venv" / "bin" / "python", PYTHON)
    _, _, lines = bootstrap(
        checkout,
        PIP_FIND_LINKS="/wheels",
        PIP_EXTRA_INDEX_URL="file:///x",
        UV_INDEX="file:///y",
        UV_FIND_LINKS="/wheels",
        UV_CONSTRAINT="/c",
        UV_HTTP_TIMEOUT="7",
    )
    assert {line for line in lines if not line.startswith("-m")} == {
        "PIP_CONFIG_FILE=/dev/null",
        "UV_HTTP_TIMEOUT=7",
    }


def test_a_mirror_is_used_when_asked_for(checkout):
    script(checkout / ".venv" / "bin" / "python", PYTHON)
    _, _, lines = bootstrap(checkout, LANNER_INDEX="https://mirror.example/simple")
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 2
    assert all("--default-index https://mirror.example/simple" in line for line in installs)


def test_a_failed_installation_is_tried_again(checkout):
    failing = PYTHON.replace('"-m "*) ', '"-m "*) [[ -z ${FAKE_FAIL:-} ]] || exit 3; ')
    script(checkout / ".venv" / "bin" / "python", failing)
    assert bootstrap(checkout, FAKE_FAIL="1")[0] == 3
    code, _, lines = bootstrap(checkout)
    assert code == 0
    assert len([line for line in lines if "pip install" in line]) == 2


def test_no_python_new_enough(checkout):
    old = script(checkout.parent / "old", "#!/bin/bash\nexit 1\n")
    code, output, lines = bootstrap(checkout, PYTHON=str(old))
    assert code == 1
    assert f"{old} is not Python 3.11 or newer" in output
    assert lines == []


@pytest.mark.parametrize("root", [True, False])
def test_without_venv_root_installs_it_and_others_are_told(checkout, root):
    tools, log = checkout.parent / "tools", checkout.parent / "apt"
    script(tools / "id", f"#!/bin/bash\necho {0 if root else 1000}\n")
    script(tools / "apt-get", f'#!/bin/bash\necho "$*" >>{log}\n')
    python = script(checkout.parent / "python", PYTHON)
    package = f"python3.{sys.version_info.minor}-venv"
    code, output, _ = bootstrap(
        checkout, PYTHON=str(python), FAKE_ENSUREPIP="1", PATH=f"{tools}:{os.environ['PATH']}"
    )
    if root:
        assert log.read_text().splitlines()[-1].endswith(f"install -y -qq {package}")
        assert f"installing {package}" in output
    else:
        assert code == 1
        assert f"sudo apt install {package}" in output
        assert not log.exists()
