"""The hook of a bare repository: real pushes start real factories, in the background."""

import json
import os
import shlex
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from lanner.core.errors import ConfigError, DatasetError, OutputError
from lanner.factory.hook import LOCK, MARK, find_factory, install, keep_release

ROOT = Path(__file__).resolve().parents[2]

ENV = {
    **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
}

BROKEN = "version: 1\nfactory: tanks\ndetector: tanks.yaml\nsorces: []\n"


def git(*words: object, cwd: Path) -> str:
    done = subprocess.run(
        ["git", *map(str, words)], cwd=cwd, capture_output=True, text=True, check=True, env=ENV
    )
    return done.stdout.strip() + done.stderr.strip()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    repo = tmp_path / "tanks of ours.git"
    git("init", "--quiet", "--bare", repo, cwd=tmp_path)
    return repo


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    tree = tmp_path / "clone"
    git("init", "--quiet", tree, cwd=tmp_path)
    return tree


def commit(tree: Path, **files: str) -> str:
    for name, text in files.items():
        (tree / name.replace("__", ".")).write_text(text)
    git("add", ".", cwd=tree)
    git("commit", "--quiet", "--allow-empty", "-m", "x", cwd=tree)
    return git("rev-parse", "HEAD", cwd=tree)


def ended(note: Path) -> dict[str, object]:
    for _ in range(600):
        if note.exists():
            facts = json.loads(note.read_text())
            if facts["state"] not in ("waiting", "running"):
                return facts
        time.sleep(0.1)
    raise AssertionError(f"{note} never ended")


def test_a_push_starts_its_factory_and_does_not_wait(bare, clone, tmp_path):
    work = tmp_path / "work"
    hook = install(bare, work)
    assert os.access(hook, os.X_OK)
    first = commit(clone, a__txt="no factory here")
    second = commit(clone, tanks__factory__yaml=BROKEN)
    started = time.monotonic()
    output = git("push", bare, f"{first}:refs/heads/train/none", "HEAD:train/tanks", cwd=clone)
    git(
        "push",
        bare,
        "HEAD:main",
        f"{first}:refs/heads/train/no+",
        cwd=clone,
    )
    pushed = time.monotonic() - started
    assert "train/tanks starts in the background" in output
    # Without a factory file: said, and the next one has its turn.
    assert ended(work / "none" / f"{first}.json") == {"state": "failed", "exit": 14}
    assert "*.factory.yaml" in (work / "none" / f"{first}.log").read_text()
    # The factory itself was started, by its exit code and its own words.
    assert ended(work / "tanks" / f"{second}.json") == {"state": "failed", "exit": 14}
    log = (work / "tanks" / f"{second}.log").read_text()
    assert "factory all" in log
    assert "sorces" in log
    assert "line 4" in log
    assert (work / "tanks" / "tree" / "tanks.factory.yaml").read_text() == BROKEN
    # main is no training, and a name that a shell might trip over is refused.
    assert sorted(path.name for path in work.iterdir()) == [".lock", "none", "tanks"]
    assert pushed < 20


def test_what_is_pushed_stands_in_for_no_library(bare, clone, tmp_path):
    work = tmp_path / "work"
    install(bare, work)
    (clone / "lanner").mkdir()
    (clone / "lanner" / "__init__.py").write_text("raise SystemExit(99)")
    sha = commit(clone, tanks__factory__yaml=BROKEN, yaml__py="raise SystemExit(99)")
    git("push", bare, "HEAD:train/tanks", cwd=clone)
    assert ended(work / "tanks" / f"{sha}.json") == {"state": "failed", "exit": 14}


def test_a_release_is_kept_when_its_checkout_goes(tmp_path):
    release = tmp_path / "tree" / "weights" / "tanks" / "0.1.0"
    release.mkdir(parents=True)
    (release / "card.yaml").write_text("card")
    step = tmp_path / "run" / "07_release"
    step.mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"step\.json cannot be read"):
        keep_release(tmp_path / "run", tmp_path / "kept")
    (step / "step.json").write_text(json.dumps({"summary": {"release": str(release)}}))
    for _ in range(2):  # a commit may be pushed again
        keep_release(tmp_path / "run", tmp_path / "kept")
        assert (tmp_path / "kept" / "card.yaml").read_text() == "card"
    shutil.rmtree(tmp_path / "tree")
    with pytest.raises(OutputError, match="cannot be copied"):
        keep_release(tmp_path / "run", tmp_path / "again")


def test_a_tree_that_cannot_be_made_is_noted(bare, clone, tmp_path):
    work = tmp_path / "work"
    install(bare, work)
    (work / "tanks").mkdir()
    (work / "tanks" / "tree").write_text("a file where the checkout goes")
    sha = commit(clone, tanks__factory__yaml=BROKEN)
    git("push", bare, "HEAD:train/tanks", cwd=clone)
    assert ended(work / "tanks" / f"{sha}.json") == {"state": "failed", "exit": 1}
    assert "tree" in (work / "tanks" / f"{sha}.log").read_text()


@contextmanager
def somebody_trains(work):
    import fcntl

    with (work / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_only_the_newest_of_waiting_pushes_is_run(bare, clone, tmp_path):
    work = tmp_path / "work"
    install(bare, work)
    with somebody_trains(work):
        old = commit(clone, tanks__factory__yaml=BROKEN)
        git("push", bare, "HEAD:train/tanks", cwd=clone)
        new = commit(clone, b__txt="newer")
        git("push", bare, "HEAD:train/tanks", cwd=clone)
    assert ended(work / "tanks" / f"{old}.json") == {"state": "superseded", "by": new}
    assert ended(work / "tanks" / f"{new}.json")["state"] == "failed"


def test_a_branch_that_goes_before_its_turn_is_not_run(bare, clone, tmp_path):
    work = tmp_path / "work"
    install(bare, work)
    with somebody_trains(work):
        old = commit(clone, tanks__factory__yaml=BROKEN)
        git("push", bare, "HEAD:train/tanks", cwd=clone)
        git("push", bare, ":train/tanks", cwd=clone)
    assert ended(work / "tanks" / f"{old}.json") == {"state": "superseded", "by": None}
    assert "removal" in (work / "tanks" / f"{old}.log").read_text()


def test_a_branch_may_be_called_as_anything_in_the_work_folder(bare, clone, tmp_path):
    work = tmp_path / "work"
    install(bare, work)
    first = commit(clone, a__txt="no factory here")
    git("push", bare, "HEAD:train/lock", cwd=clone)
    assert ended(work / "lock" / f"{first}.json")["state"] == "failed"
    # And others have their turn after it.
    git("push", bare, "HEAD:train/other", cwd=clone)
    assert ended(work / "other" / f"{first}.json")["state"] == "failed"


def test_install_leaves_the_hooks_of_others_alone(bare, tmp_path):
    hook = bare / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho mine\n")
    with pytest.raises(OutputError, match="another's hook"):
        install(bare)
    assert hook.read_text() == "#!/bin/sh\necho mine\n"
    install(bare, force=True)
    assert MARK in hook.read_text()
    assert (hook.parent / "post-receive.before").read_text() == "#!/bin/sh\necho mine\n"
    assert install(bare) == hook  # ours may be written again
    assert subprocess.run(["sh", "-n", hook], check=False).returncode == 0


def test_only_bare_repositories_get_a_hook(clone, tmp_path):
    with pytest.raises(ConfigError, match="is not bare"):
        install(clone / ".git")
    with pytest.raises(ConfigError, match="is not bare; make one"):
        install(clone)
    with pytest.raises(ConfigError, match="not a git repository"):
        install(tmp_path / "nowhere")


def test_a_hook_that_git_would_not_find_is_not_written(bare, tmp_path):
    git("--git-dir", bare, "config", "core.hooksPath", tmp_path / "ours", cwd=tmp_path)
    with pytest.raises(
        ConfigError, match=r"core\.hooksPath '.*ours'.*run: git --git-dir "
    ) as caught:
        install(bare)
    assert not (bare / "hooks" / "post-receive").exists()
    remedy = shlex.split(caught.value.remedy.removeprefix("run: "))
    git(*remedy[1:], cwd=tmp_path)
    assert install(bare).exists()


def test_the_factory_file_of_a_tree(tmp_path):
    with pytest.raises(ConfigError, match="holds 0 of them"):
        find_factory(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.factory.yaml").touch()
    assert find_factory(tmp_path) == tmp_path / "deep" / "a.factory.yaml"
    (tmp_path / "b.factory.yaml").touch()
    with pytest.raises(ConfigError, match="holds 2 of them"):
        find_factory(tmp_path)
    pointer = tmp_path / ".lanner-train"
    pointer.write_text("b.factory.yaml\n")
    assert find_factory(tmp_path) == tmp_path / "b.factory.yaml"
    for wrong in ("../b.yaml", "c.factory.yaml", "", "/etc/passwd"):
        pointer.write_text(wrong)
        with pytest.raises(ConfigError, match="is no file of the tree"):
            find_factory(tmp_path)


def hosted(tree: Path) -> tuple[int, str, str]:
    """Exit code, words and chosen file of the example for hosted git, as a runner runs it."""
    facts = yaml.safe_load((ROOT / "docs" / "ci-train.example.yml").read_text())
    (step,) = (one for one in facts["jobs"]["factory"]["steps"] if one.get("id") == "file")
    output = tree.parent / "output"
    output.write_text("")
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={**ENV, "GITHUB_OUTPUT": str(output)},
    )
    return done.returncode, done.stdout, output.read_text()


def test_the_example_for_hosted_git_finds_what_the_hook_finds(clone):
    code, output, chosen = hosted(clone)
    assert (code, chosen) == (1, "")
    assert "name one factory file" in output
    (clone / "o\u00f9 #1").mkdir()
    odd = clone / "o\u00f9 #1" / "a.factory.yaml"
    odd.write_text(BROKEN)
    commit(clone)
    assert hosted(clone) == (0, "", "path=o\u00f9 #1/a.factory.yaml\n")
    assert find_factory(clone) == odd
    commit(clone, b__factory__yaml=BROKEN)
    code, output, chosen = hosted(clone)
    assert (code, chosen) == (1, "")
    assert "a.factory.yaml" in output and "b.factory.yaml" in output
    for pointer in ("b.factory.yaml", "b.factory.yaml\r\nmore\n"):
        (clone / ".lanner-train").write_text(pointer, newline="")
        assert hosted(clone) == (0, "", "path=b.factory.yaml\n")
        assert find_factory(clone) == clone / "b.factory.yaml"
