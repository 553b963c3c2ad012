"""A push to a branch `train/NAME` starts a factory: the hook of a bare repository, and its work.

The hook only starts this module in the background, so a push never waits. Trainings take turns:
one at a time, and of several pushes to a branch that wait only the newest is run.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lanner.core.errors import ConfigError, LannerError, OutputError, error_status
from lanner.factory.files import write_text

MARK = "# Written by: lanner factory hook install"
POINTER = ".lanner-train"
"""A file at the root of the pushed tree whose first line names the factory file."""

PATTERN = "*.factory.yaml"

LOCK = ".lock"
"""Who trains holds it, in the work folder; no branch that is trained has such a name."""


def install(repo: Path, work: Path | None = None, *, force: bool = False) -> Path:
    """Write the post-receive hook of a bare repository.

    Args:
        repo: the bare repository.
        work: where pushes are checked out, run and logged; `lanner-train` in the repository
            when None.
        force: replace a hook that somebody else wrote; it is kept as `post-receive.before`.

    Returns:
        The hook.

    Raises:
        ConfigError: not a bare repository, or one whose hooks git looks for elsewhere.
        OutputError: another hook is there, or it cannot be written.
    """
    repo = repo.resolve()
    where = ["--git-dir", str(repo)]
    # To git a folder with files checked out is no repository at all when it is named so.
    checked_out = (repo / ".git").exists()
    if checked_out or _git([*where, "rev-parse", "--is-bare-repository"]).strip() != "true":
        raise ConfigError("BARE_REPO", repo, "is not bare", "make one: git init --bare DIR")
    path = repo / "hooks" / "post-receive"
    hooks_path = Path(repo, _git([*where, "rev-parse", "--git-path", "hooks"]).strip())
    if hooks_path.resolve() != path.parent.resolve():
        raise ConfigError(
            "core.hooksPath",
            hooks_path,
            "is where git looks for hooks, and not in the repository",
            f"run: {shlex.join(['git', *where, 'config', 'core.hooksPath', str(path.parent)])}",
        )
    work = (work or repo / "lanner-train").resolve()
    try:
        if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
            if not force:
                raise OutputError(
                    "BARE_REPO", path, "is another's hook", "call it from yours, or use --force"
                )
            path.replace(path.with_name("post-receive.before"))
        path.parent.mkdir(exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)
        beside = path.with_name("post-receive.part")
        beside.write_text(hook_text(repo, work), encoding="utf-8")
        beside.chmod(0o755)
        beside.replace(path)
    except OSError as error:
        raise OutputError(
            "BARE_REPO", path, f"cannot be written ({error.strerror})", "check who owns the folder"
        ) from error
    return path


def hook_text(repo: Path, work: Path) -> str:
    """The hook: for each pushed branch `train/NAME` one background process."""
    python, repo_, work_ = (shlex.quote(str(p)) for p in (sys.executable, repo, work))
    return f"""#!/bin/sh
{MARK}
# Runs the factory of each pushed branch train/NAME, in the background, one at a time.
while read -r old new ref; do
    case "$new" in *[!0]*) ;; *) continue ;; esac
    case "$ref" in refs/heads/train/*) ;; *) continue ;; esac
    name=${{ref#refs/heads/train/}}
    case "$name" in
        [!A-Za-z0-9]*|*[!A-Za-z0-9._-]*)
            echo "lanner: train/$name is not trained; use letters, digits, dot, _ and - in names"
            continue ;;
    esac
    log={work_}/"$name/$new.log"
    mkdir -p {work_}/"$name"
    # In its own session and with no tie to the push: git waits for whoever holds its pipes.
    (
        unset $(git rev-parse --local-env-vars)
        {_detach()}{python} -P -m lanner.factory.hook {repo_} "$name" "$new" {work_} \\
            </dev/null >>"$log" 2>&1 &
    )
    echo "lanner: train/$name starts in the background; log: $log"
done
exit 0
"""


def serve_push(repo: Path, name: str, commit: str, work: Path) -> int:
    """Check a pushed commit out, wait for its turn, run its factory, and say how it went.

    Leaves `work/NAME/COMMIT.json` with the state (waiting, running, done, failed, superseded), and
    a copy of the release as `work/NAME/COMMIT.release`.

    Returns:
        The exit code of `lanner factory all`; 0 for a push that a newer one superseded, or
        whose branch was removed before its turn.
    """
    place = work / name
    place.mkdir(parents=True, exist_ok=True)
    note = place / f"{commit}.json"
    _note(note, "waiting")
    with _turn(work / LOCK):
        newest = _tip(repo, name)
        if newest != commit:
            print(f"superseded by {newest or 'the removal of its branch'}", flush=True)
            _note(note, "superseded", by=newest)
            return 0
        try:
            tree = check_out(repo, commit, place / "tree")
            factory = find_factory(tree)
        except (LannerError, OSError) as error:
            code = error_status(error).exit if isinstance(error, LannerError) else 1
            print(f"error: {error}", flush=True)
            _note(note, "failed", exit=code)
            return code
        words = ["factory", "all", str(factory), "--workdir", str(place / "run")]
        print("+ lanner", *words, flush=True)
        _note(note, "running")
        # -P: what is pushed must not stand in for a library, nor a folder of it for one of ours.
        program = [sys.executable, "-P", "-m", "lanner", *words]
        code = subprocess.run(program, cwd=tree, check=False).returncode
        if not code:
            try:
                keep_release(place / "run", place / f"{commit}.release")
            except LannerError as error:
                print(f"error: {error}", flush=True)
                code = error_status(error).exit
        _note(note, "failed" if code else "done", exit=code)
    return code


def keep_release(run: Path, copy: Path) -> None:
    """Copy what a run released: the checkout that it lies in goes away with the next push.

    Args:
        run: the work folder.
        copy: folder to copy the release to; a copy that is there is written over.

    Raises:
        DatasetError: nothing was released.
        OutputError: it cannot be copied.
    """
    from lanner.factory.project import STEPS
    from lanner.factory.step_status import read_record

    record = read_record(run / f"{STEPS.index('release') + 1:02d}_release")
    try:
        shutil.copytree(record["summary"]["release"], copy, dirs_exist_ok=True)
    except OSError as error:
        raise OutputError(
            "--work", copy, f"the release cannot be copied there ({error})", "free some space"
        ) from error


def check_out(repo: Path, commit: str, tree: Path) -> Path:
    """A fresh checkout of one commit; what was in the folder before goes away.

    Raises:
        ConfigError: git refuses.
    """
    if tree.exists():
        shutil.rmtree(tree)
    _git(["clone", "--quiet", "--shared", "--no-checkout", str(repo), str(tree)])
    _git(["-C", str(tree), "checkout", "--quiet", "--detach", commit])
    return tree


def find_factory(tree: Path) -> Path:
    """The factory file that a pushed tree asks for.

    Raises:
        ConfigError: `.lanner-train` names no file of the tree, or, without it, there is not
            exactly one `*.factory.yaml`.
    """
    pointer = tree / POINTER
    if pointer.is_file():
        lines = pointer.read_text(encoding="utf-8", errors="replace").split("\n")
        path = (tree / lines[0].strip()).resolve()
        if not path.is_file() or not path.is_relative_to(tree.resolve()):
            raise ConfigError(
                POINTER, lines[0], "is no file of the tree", "name the factory file, from the root"
            )
        return path
    found = sorted(p for p in tree.rglob(PATTERN) if ".git" not in p.relative_to(tree).parts)
    if len(found) != 1:
        names = ", ".join(str(p.relative_to(tree)) for p in found) or "none"
        raise ConfigError(
            PATTERN, names, f"the tree holds {len(found)} of them", f"name one in {POINTER}"
        )
    return found[0]


def _tip(repo: Path, name: str) -> str | None:
    """The newest commit of a branch `train/NAME`; None where there is no such branch any more."""
    words = ["--git-dir", str(repo), "for-each-ref", "--format=%(objectname)"]
    return _git([*words, f"refs/heads/train/{name}"]).strip() or None


def _detach() -> str:
    """What starts a process in a session of its own, where the machine has it."""
    return "setsid " if shutil.which("setsid") else "nohup "


def _note(path: Path, state: str, **facts: object) -> None:
    write_text(json.dumps({"state": state, **facts}, sort_keys=True), path, "--work")


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Wait until nobody else trains; the lock goes away with the process."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _git(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise ConfigError("git", "git", "is not installed", "install git") from error
    except subprocess.CalledProcessError as error:
        raise ConfigError(
            "git", " ".join(words), error.stderr or "failed", "mend what git says"
        ) from error
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    """What the hook starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repo", type=Path)
    parser.add_argument("name")
    parser.add_argument("commit")
    parser.add_argument("work", type=Path)
    args = parser.parse_args(argv)
    # The push is over; what git told its hook must not lead later commands astray.
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        del os.environ[key]
    return serve_push(args.repo, args.name, args.commit, args.work)


if __name__ == "__main__":
    raise SystemExit(main())
