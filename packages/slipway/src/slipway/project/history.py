"""The chain of revisions, and what git says of them; the files are read and never imported."""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from slipway.project.configuration import Configuration, ProjectError
from slipway.project.source import Source, parse, read, same_code


@dataclass(frozen=True)
class History:
    """All revisions, in the order of their files."""

    sources: tuple[Source, ...]

    @cached_property
    def by_id(self) -> dict[str, Source]:
        return {source.revision: source for source in reversed(self.sources) if source.revision}

    @cached_property
    def heads(self) -> list[Source]:
        parents = {parent for source in self.sources for parent in source.parents}
        return [source for source in self.by_id.values() if source.revision not in parents]

    def up_to(self, wanted: Iterable[Source]) -> list[Source]:
        """These and all that come before them, parents first; a circle is cut."""
        done: dict[Path, Source] = {}
        begun: set[Path] = set()
        stack = [(source, False) for source in reversed(list(wanted))]
        while stack:
            source, parents_done = stack.pop()
            if parents_done:
                done.setdefault(source.file, source)
            elif source.file not in begun:
                begun.add(source.file)
                stack.append((source, True))
                parents = [self.by_id[p] for p in reversed(source.parents) if p in self.by_id]
                stack += [(parent, False) for parent in parents]
        return list(done.values())

    def breaks(self) -> list[tuple[Source, str]]:
        """Where the chain is no chain, and why."""
        found = []
        for source in self.sources:
            if not source.revision and not source.error:
                found.append((source, "the file names no revision"))
            found += [
                (source, f"{other.file.name} has the same revision id")
                for other in self._same_id[source.revision]
                if other is not source and source.revision
            ]
            found += [
                (source, f"its parent {parent} is not there")
                for parent in source.parents
                if parent not in self.by_id
            ]
        circle = "it comes before itself, or after a revision that does"
        return found + [(source, circle) for source in self._never_reached()]

    @cached_property
    def _same_id(self) -> dict[str, list[Source]]:
        found: dict[str, list[Source]] = {}
        for source in self.sources:
            found.setdefault(source.revision, []).append(source)
        return found

    def _never_reached(self) -> list[Source]:
        """The revisions that cannot be run after all of their parents."""
        waiting = {s.revision: {p for p in s.parents if p in self.by_id} for s in self.sources}
        children: dict[str, list[str]] = {}
        for revision, parents in waiting.items():
            for parent in parents:
                children.setdefault(parent, []).append(revision)
        ready = [revision for revision, parents in waiting.items() if not parents]
        while ready:
            done = ready.pop()
            del waiting[done]
            for child in children.get(done, ()):
                waiting[child].discard(done)
                if not waiting[child]:
                    ready.append(child)
        return [self.by_id[revision] for revision in waiting if revision]


def load(configuration: Configuration, files: Sequence[Path] = ()) -> History:
    """Read all revisions; with `files`, those beside them if they are in no folder of the project.

    Raises:
        ProjectError: a folder is not there, or a file cannot be read.
    """
    outside = {file.parent for file in files if not _contains(configuration.folders, file)}
    folders = tuple(sorted(outside)) or configuration.folders
    pattern = "**/*.py" if configuration.recursive else "*.py"
    sources = []
    for folder in folders:
        if not folder.is_dir():
            raise ProjectError(f"{folder}: no such folder, and Alembic's configuration names it")
        sources += [file for file in sorted(folder.glob(pattern)) if file.name != "__init__.py"]
    try:
        return History(tuple(read(file) for file in sources))
    except OSError as error:
        raise ProjectError(f"{error.filename}: {error.strerror}") from error


def _contains(folders: Iterable[Path], file: Path) -> bool:
    return any(file.is_relative_to(folder) for folder in folders)


# ---- What git says


@dataclass(frozen=True)
class Difference:
    """Which files are not in the base branch, and which are and were `edited` or `deleted` here."""

    new: frozenset[Path]
    edited: tuple[Source, ...] = ()
    deleted: tuple[Source, ...] = ()


def compare(configuration: Configuration, history: History, branch: str = "") -> Difference:
    """Compare the working tree with where it left the base branch.

    Without a repository or a commit, nothing was merged and all is new.

    Raises:
        ProjectError: there is no such branch.
    """
    folders = [folder for folder in configuration.folders if folder.is_dir()]
    top = Path(_git(configuration.root, "rev-parse", "--show-toplevel", check=False).strip())
    if _git(top, "rev-parse", "--verify", "--quiet", "HEAD", check=False) == "":
        return Difference(new=frozenset(source.file for source in history.sources))
    base = base_commit(top, branch or configuration.base_branch)
    changed = _git(
        top, "diff", "--name-status", "--no-renames", "-z", base, "--", *map(str, folders)
    ).split("\0")
    status = dict(zip(changed[1::2], changed[::2], strict=False))
    others = ("ls-files", "--others", "--exclude-standard", "-z", "--")
    untracked = _git(top, *others, *map(str, folders)).split("\0")
    here = {source.file.resolve(): source for source in history.sources}
    new = {top / name for name in untracked if name}
    edited, deleted, merged = [], [], set()
    for name, what in status.items():
        if Path(name).suffix != ".py" or what == "A":
            new.add(top / name)
            continue
        before = parse(top / name, _git(top, "show", f"{base}:{name}").encode())
        merged.add(before.revision)
        after = history.by_id.get(before.revision) if what == "D" else here.get(top / name)
        if after is None:
            deleted.append(before)
        elif not same_code(before, after):
            edited.append(after)
    found = (source for path, source in here.items() if path in new)
    return Difference(
        new=frozenset(source.file for source in found if source.revision not in merged),
        edited=tuple(edited),
        deleted=tuple(source for source in deleted if source.revision),
    )


def base_commit(top: Path, branch: str = "") -> str:
    """The newest commit that the working tree and the base branch have in common.

    Raises:
        ProjectError: there is no such branch, or nothing in common.
    """
    names = ["origin/HEAD", "origin/main", "origin/master", "main", "master"]
    for name in [branch, f"origin/{branch}"] if branch else names:
        if _git(top, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False):
            if base := _git(top, "merge-base", name, "HEAD", check=False).strip():
                return base
            raise ProjectError(f"{name} and HEAD have no commit in common: is the clone shallow?")
    wanted = branch or "main or master"
    raise ProjectError(f"git knows no branch {wanted}: fetch it, or name another")


def _git(folder: Path, *arguments: str, check: bool = True) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except OSError as error:
        raise ProjectError(f"git: {error.strerror}; name files, or use --all") from error
    if done.returncode and check:
        reason = (done.stderr.strip().splitlines() or ["failed"])[-1]
        raise ProjectError(f"git: {reason}; name files, or use --all")
    return done.stdout if done.returncode == 0 else ""
