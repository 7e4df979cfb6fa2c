"""A tree of source code is read as git sees it, and what is left out is said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from batchq import InputError, Item
from batchq.formats import InputSpec, read
from batchq.formats.trees import MOST_BYTES


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    files = {
        "main.py": "print()\n",
        "Makefile": "all:\n",
        "notes.md": "# notes\n",
        "empty.py": "",
        "large.py": "#" * (MOST_BYTES + 1),
        "binary.py": "a\0b",
        ".hidden.py": "x = 1\n",
        ".git/config.py": "x = 1\n",
        "src/app.ts": "let a = 1\n",
        "src/made.ts": "let b = 2\n",
        "src/deep/kept.ts": "let c = 3\n",
        "src/deep/made.ts": "let d = 4\n",
        "build/out.js": "1\n",
        "node_modules/left/pad.js": "1\n",
        "vendor/lib.go": "package x\n",
        ".gitignore": "/build/\nmade.ts\n",
        "src/deep/.gitignore": "!made.ts\n",
        ".batchqignore": "Makefile\n!vendor/\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "link.py").symlink_to(root / "main.py")
    return root


def ids(root: Path, **more: str) -> tuple[list[str], list[str]]:
    with read(InputSpec(str(root), operation="review", **more)) as reading:  # type: ignore[arg-type]
        items = list(reading)
    assert all(isinstance(item, Item) and item.problem is None for item in items)
    return [item.id for item in items if isinstance(item, Item)], reading.skipped.told()


def test_every_source_file_is_an_item_but_for_what_rules_and_limits_leave_out(tree: Path) -> None:
    found, told = ids(tree)
    assert found == ["main.py", "src/app.ts", "src/deep/kept.ts", "src/deep/made.ts", "vendor/lib.go"]
    assert told == [
        "skipped 1, binary: 'binary.py'",
        "skipped 1, empty: 'empty.py'",
        "skipped 4, ignored by .gitignore, .batchqignore or custom: 'Makefile' …",
        "skipped 1, links or no regular files: 'link.py'",
        "skipped 1, no source code by name (--glob picks others): 'notes.md'",
        "skipped 1, over 256 kB: 'large.py'",
    ]


def test_a_glob_picks_what_its_name_does_not(tree: Path) -> None:
    assert ids(tree, glob="*.md")[0] == ["notes.md"]
    with pytest.raises(InputError, match="nothing in files of"):
        ids(tree, glob="*.nothing")


def test_another_operation_reads_the_folder_as_files(tree: Path) -> None:
    with read(InputSpec(str(tree))) as reading:
        assert "notes.md" in [item.id for item in reading if isinstance(item, Item)]


RULES = [
    "*.log",
    "!keep.log",
    "/top.txt",
    "docs/*.txt",
    "a/**/z.c",
    "cache/",
    "**/gen",
    "x[0-9].py",
    "\\#odd",
    "sp ace",
    "q?.c",
    "tail/**",
]
PATHS = [
    "a.log", "sub/b.log", "keep.log", "sub/keep.log", "top.txt", "sub/top.txt", "docs/a.txt", "docs/in/b.txt",
    "a/z.c", "a/b/c/z.c", "cache/f.c", "sub/cache/f.c", "gen/f.c", "sub/gen/f.c", "x1.py", "xa.py", "#odd", "sp ace",
    "q1.c", "q/1.c", "tail/f.c", "tail/in/g.c",
]  # fmt: skip


def test_rules_mean_what_they_mean_to_git(tmp_path: Path) -> None:
    git = ["git", "-c", "core.excludesFile=/dev/null", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / ".gitignore").write_text("\n".join(RULES) + "\n")
    for name in PATHS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    asked = subprocess.run(
        [*git, "check-ignore", "--stdin"], input="\n".join(PATHS), capture_output=True, text=True
    )
    ignored = {line.strip('"') for line in asked.stdout.splitlines()}
    assert ignored
    assert sorted(ids(tmp_path, glob="*")[0]) == sorted(set(PATHS) - ignored)
