"""A tree of source code as items: every source file, but for what its rules leave out. What is left out is counted."""

# Plain strings: a tree may hold a million names, and ids are made of them.
# ruff: noqa: PTH118, PTH123

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from batchq.core.records import Item
from batchq.errors import Complaint, InputError
from batchq.formats.files import glob_pattern
from batchq.formats.items import BadRow, checked_id
from batchq.formats.places import is_under
from batchq.formats.template import Template
from batchq.formats.words import shown

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

OWN_RULES = ".batchqignore"  # like .gitignore, and after it
MOST_BYTES = 256_000  # of a source file: some 6,000 lines; larger ones are data, or made by a program
_HEAD = 8_192  # bytes in which a zero tells a binary file

_SUFFIXES = """\
ada adb ads asm astro awk bash bat bzl c cc cfg clj cljs cmake cob coffee cpp cr cs css csx cu cxx d dart dockerfile el elm
erl ex exs f f90 f95 for fs fsx gd gleam glsl go gradle graphql groovy h hbs hcl hh hpp hrl hs html hxx ipynb java jl js jsx
kt kts less lisp lua m make mjs mk ml mli mm nim nix pas php pl pm proto ps1 psm1 purs py pyi pyx r raku rb rkt rs s sass
scala scm scss sh sol sql sv svelte swift tcl tf tfvars toml ts tsx v vb vhd vhdl vue wgsl xsl yaml yml zig zsh"""
_NAMES = "makefile dockerfile containerfile jenkinsfile rakefile gemfile justfile cmakelists.txt build"
_USUAL = """\
node_modules/ bower_components/ __pycache__/ venv/ site-packages/ third_party/ vendor/ *.min.js *.min.css *.generated.*
*_pb2.py *_pb2_grpc.py *.pb.go package-lock.json pnpm-lock.yaml"""
SOURCES = frozenset(_SUFFIXES.split())
NAMES = frozenset(_NAMES.split())
_Rules: TypeAlias = "tuple[str, GitIgnoreSpec]"  # the folder, with its slash, and what its file says


@dataclass(slots=True)
class Skipped:
    """What was left out, by reason; counted as the tree is read."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # of each reason

    def add(self, why: str, name: str) -> None:
        self.counts[why] += 1
        self.first.setdefault(why, name)

    def told(self) -> list[str]:
        """A line a reason."""
        return [
            f"skipped {count:,}, {why}: {shown(self.first[why])}{' …' if count > 1 else ''}"
            for why, count in sorted(self.counts.items())
        ]


def read_tree(
    source: str, glob: str | None, template: Template | None, skipped: Skipped
) -> Iterator[Item | Complaint]:
    """An item a source file, its id the relative path, folder by folder, sorted.

    Left out: what .gitignore and .batchqignore say, hidden files and folders, links, binary files, those over
    MOST_BYTES, and what is no source code by its name; with `glob`, what does not match it instead of that.
    """
    if template is not None:
        template.check(("name", "path"), "a file")
    root = os.path.realpath(source)
    matches = glob_pattern(glob) if glob else None
    for row, (path, name) in enumerate(_sources(root, matches, skipped), 1):
        place = f"file {shown(name)[1:-1]}"
        try:
            item_id = checked_id(name, "the file's name")
        except BadRow as exc:
            yield Complaint(place, str(exc), row)
            continue
        input: dict[str, object] = {"file": {"path": path, "name": name}}
        if template is not None:
            input["prompt"] = template.render({"name": name.rpartition("/")[2], "path": name})
        yield Item(item_id, input, None, None, place)


def _sources(root: str, matches: re.Pattern[str] | None, skipped: Skipped) -> Iterator[tuple[str, str]]:
    todo: list[tuple[str, str, tuple[_Rules, ...]]] = [(root, "", (("", _usual()),))]
    while todo:
        folder, prefix, rules = todo.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as exc:
            if not prefix:
                raise InputError(f"{shown(folder)} cannot be read: {exc.strerror}") from None
            skipped.add("folders that cannot be read", prefix)
            continue
        for rules_file in (".gitignore", OWN_RULES):
            rules = (*rules, *_rules_in(folder, prefix, rules_file))
        inner = []
        for entry in entries:
            name = f"{prefix}{entry.name}"
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name.startswith("."):
                continue
            if _ignored(name, rules, is_folder=is_folder):
                skipped.add("ignored by .gitignore, .batchqignore or custom", name)
            elif is_folder:
                inner.append((entry.path, f"{name}/", rules))
            elif (why := _why_not(entry, root, name, matches)) is not None:
                skipped.add(why, name)
            else:
                yield os.path.realpath(entry.path), name
        todo.extend(reversed(inner))


@cache
def _usual() -> GitIgnoreSpec:
    """What nobody wrote by hand; a line "!name/" of one's own rules takes it back."""
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(_USUAL.split())


def _rules_in(folder: str, prefix: str, name: str) -> list[_Rules]:
    from pathspec import GitIgnoreSpec

    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return [(prefix, GitIgnoreSpec.from_lines(file))]
    except OSError:
        return []


def _ignored(name: str, rules: tuple[_Rules, ...], *, is_folder: bool) -> bool:
    for prefix, spec in reversed(rules):  # the deepest file of rules first
        verdict = spec.check_file(name.removeprefix(prefix) + ("/" if is_folder else "")).include
        if verdict is not None:
            return verdict
    return False


def _why_not(entry: os.DirEntry[str], root: str, name: str, matches: re.Pattern[str] | None) -> str | None:
    """Why a file is no item; None: it is one."""
    if entry.is_symlink() or not entry.is_file(follow_symlinks=False) or not is_under(entry.path, root):
        return "links or no regular files"
    lower = entry.name.lower()
    if matches is not None:
        if not matches.search(name):
            return "not picked by --glob"
    elif lower not in NAMES and lower.rpartition(".")[2] not in SOURCES:
        return "no source code by name (--glob picks others)"
    try:
        size = entry.stat(follow_symlinks=False).st_size
        if size == 0:
            return "empty"
        if size > MOST_BYTES:
            return f"over {MOST_BYTES // 1000} kB"
        with open(entry.path, "rb") as file:
            return "binary" if b"\0" in file.read(_HEAD) else None
    except OSError:
        return None  # told as an item, by name
