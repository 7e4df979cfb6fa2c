"""Files as items: what a folder gives, what `inspect` sees at submit and what `load` hands to a worker."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from formats_helpers import only_items, problem_of

from batchq.core.records import ErrorInfo, FileRef, Item
from batchq.errors import Complaint, InputError, Rejected
from batchq.formats import InputSpec, inspect, load, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "scans"
    (root / "b" / "deep").mkdir(parents=True)
    for name in ("c.png", "a.jpg", "b/2.png", "b/10.png", "b/deep/x.PNG", ".hidden", "b.txt"):
        (root / name).write_bytes(name.encode())
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(b"x")
    return root


def ids(source: Path, **options: Any) -> list[str]:
    return [item.id for item in only_items(list(read(InputSpec(str(source), **options))))]


def test_a_folder_gives_its_files_sorted_with_relative_paths_as_ids(folder: Path) -> None:
    with read(InputSpec(str(folder))) as reading:
        items = only_items(list(reading))

    assert [item.id for item in items] == ["a.jpg", "b/10.png", "b/2.png", "b/deep/x.PNG", "b.txt", "c.png"]
    assert items[1].input == {"file": {"path": str(folder / "b/10.png"), "name": "b/10.png"}}
    assert (reading.format, reading.folder) == ("files", str(folder))
    assert not [item.problem for item in items if item.problem]


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("*.png", ["b/10.png", "b/2.png", "c.png"]),
        ("./*.png", ["b/10.png", "b/2.png", "c.png"]),
        ("b/*.png", ["b/10.png", "b/2.png"]),
        ("b/**/*", ["b/10.png", "b/2.png", "b/deep/x.PNG"]),
        ("**/x.*", ["b/deep/x.PNG"]),
        ("**/*.jpg", ["a.jpg"]),
        ("?.png", ["b/2.png", "c.png"]),
        ("[ac].*", ["a.jpg", "c.png"]),
        ("[!a].???", ["b/2.png", "b/deep/x.PNG", "b.txt", "c.png"]),
        ("[a", []),
    ],
)
def test_a_glob_picks_files(folder: Path, glob: str, found: list[str]) -> None:
    if found:
        assert ids(folder, glob=glob) == found
    else:
        with pytest.raises(InputError, match="nothing in files of"):
            ids(folder, glob=glob)


def test_one_file_is_an_item_by_its_suffix_or_by_request(folder: Path) -> None:
    assert ids(folder / "c.png") == ["c.png"]
    assert ids(folder / "b.txt", format="files") == ["b.txt"]


def test_the_prompt_goes_along_with_each_file(folder: Path) -> None:
    items = only_items(list(read(InputSpec(str(folder), prompt="Read {name} of {path}", glob="b/*.png"))))

    assert items[0].input["prompt"] == "Read 10.png of b/10.png"
    assert only_items(list(read(InputSpec(str(folder), prompt="Same"))))[0].input["prompt"] == "Same"
    with pytest.raises(InputError, match="did you mean 'name'"):
        read(InputSpec(str(folder), prompt="{nme}"))


@pytest.mark.parametrize("options", [{"format": "csv"}, {"id_field": "id"}])
def test_options_of_lists_do_not_go_with_a_folder(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        read(InputSpec(str(folder), **options))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "also").mkdir(parents=True)
    (tmp_path / "empty" / ".hidden").write_bytes(b"x")
    with pytest.raises(InputError, match="nothing in"):
        read(InputSpec(str(tmp_path / "empty")))


def test_what_is_no_regular_file_or_leads_out_is_told_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    os.mkfifo(folder / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(folder)  # a socket's path is limited to about a hundred bytes
    listener.bind("socket")
    (folder / "link-out").symlink_to(outside / "secret")
    (folder / "folder-out").symlink_to(outside)
    (folder / "folder-in").symlink_to(folder / "b")
    (folder / "gone").symlink_to(folder / "nothing")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "link-in").symlink_to(folder / "c.png")
    items = {item.id: item for item in only_items(list(read(InputSpec(str(folder)))))}
    listener.close()

    wanted = {
        "fifo": "FILE_NOT_REGULAR",
        "socket": "FILE_NOT_REGULAR",
        "folder-in": "FILE_NOT_REGULAR",
        "link-out": "FILE_OUTSIDE_ROOTS",
        "folder-out": "FILE_OUTSIDE_ROOTS",
        "gone": "FILE_UNREADABLE",
        "loop": "FILE_UNREADABLE",
    }
    for name, status in wanted.items():
        problem = problem_of(items[name])
        assert problem.status == status, name
        assert name in problem.message
    assert items["link-in"].problem is None
    assert items["link-in"].input["file"]["path"] == str(folder / "c.png")


@pytest.mark.parametrize("name", [b"new\nline.png", b"bytes\xff.png", b"n" * 200 + b"\x1b.png"])
def test_a_name_that_can_be_no_id_is_a_complaint_on_one_line(folder: Path, name: bytes) -> None:
    (Path(os.fsdecode(bytes(folder) + b"/" + name))).write_bytes(b"x")
    [complaint] = [row for row in read(InputSpec(str(folder))) if isinstance(row, Complaint)]

    assert str(complaint).isprintable()


def test_inspect_gives_digest_and_size(folder: Path) -> None:
    path = str(folder / "c.png")

    assert inspect(path, "c.png") == FileRef("c.png", hashlib.sha256(b"c.png").hexdigest(), 5, path)


def test_inspect_says_what_is_wrong_and_never_waits(folder: Path) -> None:
    (folder / "empty").write_bytes(b"")
    (folder / "large").write_bytes(b"x" * 1001)
    (folder / "link").symlink_to(folder / "c.png")
    os.mkfifo(folder / "fifo")
    wanted = {
        str(folder / "empty"): "FILE_EMPTY",
        str(folder / "large"): "FILE_TOO_LARGE",
        str(folder / "link"): "FILE_UNREADABLE",
        str(folder / "fifo"): "FILE_NOT_REGULAR",
        str(folder): "FILE_NOT_REGULAR",
        "/dev/zero": "FILE_NOT_REGULAR",
        str(folder / "nowhere"): "FILE_UNREADABLE",
        str(folder / "c.png" / "below"): "FILE_UNREADABLE",
        "nul\0byte": "FILE_UNREADABLE",
        "/proc/self/mem": "FILE_EMPTY",
    }
    for path, status in wanted.items():
        found = inspect(path, "named", max_bytes=1000)
        assert isinstance(found, ErrorInfo), path
        assert (found.code, found.status) == (0, status), path
        assert "named" in found.message


def test_inspect_names_a_socket_for_what_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        found = inspect("socket", "socket")
    assert isinstance(found, ErrorInfo)
    assert (found.status, "a socket" in found.message) == ("FILE_NOT_REGULAR", True)


def test_inspect_takes_a_file_of_just_the_limit(folder: Path) -> None:
    (folder / "just").write_bytes(b"x" * 1000)
    assert isinstance(inspect(str(folder / "just"), "just", max_bytes=1000), FileRef)


def ref_of(path: Path) -> FileRef:
    ref = inspect(str(path), path.name)
    assert isinstance(ref, FileRef)
    return ref


def refused(ref: FileRef, *roots: Path) -> str:
    with pytest.raises(Rejected) as caught:
        load(ref, [str(root) for root in roots])
    assert pickle.loads(pickle.dumps(caught.value)).kind == caught.value.kind
    return caught.value.kind


def test_load_gives_the_bytes_that_were_submitted(folder: Path) -> None:
    assert load(ref_of(folder / "b/2.png"), [str(folder)]) == b"b/2.png"
    assert load(ref_of(folder / "b/2.png"), ["/nowhere", "/"]) == b"b/2.png"


def test_load_keeps_to_the_file_roots(folder: Path) -> None:
    ref = ref_of(folder / "c.png")
    (folder.parent / "scans-other").mkdir()

    assert refused(ref) == "FILE_OUTSIDE_ROOTS"
    assert refused(ref, folder / "b") == "FILE_OUTSIDE_ROOTS"
    other = folder.parent / "scans-other" / "x"
    other.write_bytes(b"c.png")
    # A root is a folder, not a prefix of names; `..` and links are resolved first.
    assert refused(ref_of(other), folder) == "FILE_OUTSIDE_ROOTS"
    assert refused(FileRef("x", ref.sha256, 5, f"{folder}/../scans-other/x"), folder) == "FILE_OUTSIDE_ROOTS"
    (folder / "link").symlink_to(other)
    assert refused(FileRef("x", ref.sha256, 5, str(folder / "link")), folder) == "FILE_OUTSIDE_ROOTS"


def test_load_notices_every_change_since_submit(folder: Path) -> None:
    path = folder / "c.png"
    ref = ref_of(path)
    for content in (b"C.png", b"c.pn", b"c.pngg", b""):
        path.write_bytes(content)
        assert refused(ref, folder) == "FILE_CHANGED", content
    path.unlink()
    assert refused(ref, folder) == "FILE_UNREADABLE"
    os.mkfifo(path)
    assert refused(ref, folder) == "FILE_UNREADABLE"


def test_load_never_gives_other_bytes_while_the_file_is_swapped(folder: Path) -> None:
    path, good = folder / "c.png", b"good" * 5000
    path.write_bytes(good)
    ref = ref_of(path)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for content in (b"evil" * 5000, good):
                (folder / "new").write_bytes(content)
                (folder / "new").replace(path)

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[bytes | str] = set()
    try:
        for _ in range(300):
            try:
                seen.add(load(ref, [str(folder)]))
            except Rejected as exc:
                seen.add(exc.kind)
    finally:
        stop.set()
        thread.join()
    assert seen <= {good, "FILE_CHANGED"}


def test_a_file_stored_with_the_job_is_not_looked_for_by_path() -> None:
    assert refused(FileRef("x", "0" * 64, 1, None), Path("/")) == "FILE_UNREADABLE"


def test_items_of_files_are_given_without_opening_them(folder: Path) -> None:
    (folder / "c.png").chmod(0)
    rows = list(read(InputSpec(str(folder), glob="c.png")))
    assert isinstance(rows[0], Item)
