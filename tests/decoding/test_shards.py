"""The decoded corpus on disk: the same bytes whatever the workers and the kills, nothing foreign or damaged in it."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fake_engine import FakeEngine, fake_sources

from seqdistill.decoding.shards import ShardStore, decode_to_shards
from seqdistill.errors import UserError
from seqdistill.options import DecodingOptions

OPTIONS = DecodingOptions(beam=3, n_best=2)


def decode(out: Path, sources: list[str], engine: FakeEngine | None = None, **more: Any) -> ShardStore:
    engine = engine or FakeEngine()
    settings: dict[str, Any] = {"options": OPTIONS, "shard_lines": 10} | more
    return decode_to_shards(
        sources, engine=partial(_itself, engine), engine_fingerprint=engine.fingerprint, out=out, **settings
    )


def _itself(engine: FakeEngine) -> FakeEngine:
    return engine


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Watcher:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, title: str, *, total: int | None, unit: str, done: int = 0) -> None:
        self.told.append((title, total, unit, done))

    def advance(self, amount: int = 1, **fields: float | str) -> None:
        self.told.append(amount)

    def finish(self) -> None:
        self.told.append("finished")


def test_every_line_comes_back_in_order(tmp_path: Path) -> None:
    sources = fake_sources(25)
    store = decode(tmp_path / "shards", sources)
    expected = FakeEngine().decode(sources, OPTIONS, line_numbers=range(25))
    for found in (store, ShardStore.open(tmp_path / "shards")):
        assert len(found) == 25
        lines = list(found)
        assert [line.line for line in lines] == list(range(25))
        assert [line.source for line in lines] == sources
        assert [line.hypotheses for line in lines] == expected


def test_a_shard_is_plain_parquet(tmp_path: Path) -> None:
    decode(tmp_path / "shards", fake_sources(12))
    rows = pq.read_table(tmp_path / "shards" / "000001.parquet").to_pylist()
    assert [row["line"] for row in rows] == [10, 11]
    assert rows[1]["source"] == "Wort11 größer 日本"
    assert rows[1]["hypotheses"][0] == {"text": "日本 größer Wort11", "log_prob": -0.1 * 11, "score": -1.0 / 3}


def test_progress_counts_lines(tmp_path: Path) -> None:
    watcher = Watcher()
    decode(tmp_path / "shards", fake_sources(45), progress=watcher)
    assert watcher.told == [("decoding (fake)", 45, "lines", 0), 10, 10, 10, 10, 5, "finished"]


def test_a_finished_store_is_not_decoded_again(tmp_path: Path) -> None:
    sources = [*fake_sources(15), "trouble"]
    decode(tmp_path / "shards", sources)
    watcher = Watcher()
    decode(tmp_path / "shards", sources, FakeEngine(trouble="fault"), progress=watcher)
    assert watcher.told == [("decoding (fake)", 16, "lines", 16), "finished"]


def test_a_missing_shard_alone_is_decoded_anew(tmp_path: Path) -> None:
    sources = fake_sources(45)
    out = tmp_path / "shards"
    decode(out, sources)
    before = content(out)
    (out / "000002.parquet").unlink()
    with pytest.raises(UserError, match=r"000002.parquet: no such shard; run the command that decodes again"):
        ShardStore.open(out)
    watcher = Watcher()
    decode(out, sources, progress=watcher)
    assert watcher.told[:2] == [("decoding (fake)", 45, "lines", 35), 10]
    assert content(out) == before


@pytest.mark.parametrize("damage", ["cut", "bit", "nothing", "other text"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str) -> None:
    sources = fake_sources(25)
    out = tmp_path / "shards"
    decode(out, sources)
    path = out / "000001.parquet"
    data = path.read_bytes()
    last_column = pq.read_metadata(path).row_group(0).column(4)
    place = last_column.data_page_offset + last_column.total_compressed_size - 3
    if damage == "other text":
        table = pq.read_table(path)
        texts = [[dict(h, text="forged") for h in row] for row in table.column("hypotheses").to_pylist()]
        forged = table.from_pydict(table.to_pydict() | {"hypotheses": texts}, schema=table.schema)
        pq.write_table(forged, path)
    else:
        flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        path.write_bytes({"cut": data[:-9], "bit": flipped, "nothing": b""}[damage])
    message = r"000001.parquet: .*(altered|cut).*delete this file and run the same command again"
    for read in (lambda: ShardStore.open(out), lambda: decode(out, sources)):
        with pytest.raises(UserError, match=message):
            read()
    path.unlink()
    assert decode(out, sources) is not None
    assert path.read_bytes() == data


def test_every_single_changed_byte_is_found_or_harmless(tmp_path: Path) -> None:
    out = tmp_path / "shards"
    decode(out, fake_sources(10))
    path = out / "000000.parquet"
    data = path.read_bytes()
    wanted = list(ShardStore.open(out))
    for place in range(0, len(data), 17):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            assert list(ShardStore.open(out)) == wanted, place
        except UserError as error:
            assert "000000.parquet" in str(error)


def test_shards_of_another_decoding_say_what_differs(tmp_path: Path) -> None:
    sources = fake_sources(25)
    out = tmp_path / "shards"
    decode(out, sources)
    for message, change in {
        r"engine\.engine: 'fake' there, 'other' now": {"engine": FakeEngine("other")},
        r"beam: 3 there, 4 now": {"options": DecodingOptions(beam=4, n_best=2)},
        r"shard_lines: 10 there, 5 now": {"shard_lines": 5},
        r"corpus: '\w+' there": {"sources": ["Another", *sources[1:]]},
    }.items():
        with pytest.raises(UserError, match=message):
            decode(out, **{"sources": sources, **change})


def test_a_shard_copied_from_another_decoding_is_refused(tmp_path: Path) -> None:
    sources = fake_sources(25)
    decode(tmp_path / "a", sources)
    decode(tmp_path / "b", sources, FakeEngine("other"))
    (tmp_path / "a/000001.parquet").write_bytes((tmp_path / "b/000001.parquet").read_bytes())
    for read in (lambda: ShardStore.open(tmp_path / "a"), lambda: decode(tmp_path / "a", sources)):
        with pytest.raises(UserError, match=r"(?s)000001.parquet: .*the shard asked for:\n  inputs\.engine\.engine"):
            read()


def test_a_shard_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    decode(tmp_path / "a", fake_sources(25))
    (tmp_path / "a/000001.parquet").write_bytes((tmp_path / "a/000000.parquet").read_bytes())
    with pytest.raises(UserError, match=r"(?s)000001.parquet: .*first_line: 0 there, 10 now"):
        ShardStore.open(tmp_path / "a")


def test_strange_files_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds note.txt, which is not part of this decoding"):
        decode(tmp_path, fake_sources(5))
    assert content(tmp_path) == {"note.txt": b"mine"}


def test_a_store_description_that_is_none(tmp_path: Path) -> None:
    decode(tmp_path / "a", fake_sources(5))
    (tmp_path / "a/store.json").write_text("[]")
    with pytest.raises(UserError, match=r"store.json: has no seal: altered, or written by an earlier edition"):
        ShardStore.open(tmp_path / "a")


@pytest.mark.parametrize(("change", "message"), [({"workers": 0}, "workers"), ({"shard_lines": 0}, "shard_lines")])
def test_counts_below_one(tmp_path: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=f"{message} must be 1 or more|and shard_lines must be 1 or more"):
        decode(tmp_path / "a", fake_sources(5), **change)


def test_an_empty_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to decode"):
        decode(tmp_path / "a", [])


def test_what_the_engine_raises_reaches_the_user(tmp_path: Path) -> None:
    sources = [*fake_sources(30), "big trouble", *fake_sources(15)]
    with pytest.raises(UserError, match=r"^the sentence is in trouble$"):
        decode(tmp_path / "a", sources, FakeEngine(trouble="mistake"))
    with pytest.raises(ZeroDivisionError, match="nobody thought of that"):
        decode(tmp_path / "a", sources, FakeEngine(trouble="fault"))
    decode(tmp_path / "a", sources)
    decode(tmp_path / "b", sources)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = fake_sources(45)
    out = tmp_path / "shards"
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "000002" in path.name:
            written(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match=r"000002.parquet: the disk is full"):
            decode(out, sources)
    assert sorted(content(out)) == ["000000.parquet", "000001.parquet", "store.json"]
    decode(out, sources)
    decode(tmp_path / "whole", sources)
    assert content(out) == content(tmp_path / "whole")


RUN = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
from fake_engine import FakeEngine, fake_sources
from seqdistill.decoding.shards import decode_to_shards
from seqdistill.options import DecodingOptions
if __name__ == "__main__":
    decode_to_shards(
        fake_sources(200), engine=partial(FakeEngine, seconds=0.004), engine_fingerprint=FakeEngine().fingerprint,
        options=DecodingOptions(beam=3, n_best=2), out=Path({out!r}), shard_lines=10, workers=int(sys.argv[1]),
    )
"""


def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    """A run of one process is killed; its continuation loses a worker, then is killed; a third finishes it, to the
    bytes of an uninterrupted run."""
    out, script = tmp_path / "shards", tmp_path / "run.py"
    script.write_text(RUN.format(tests=str(Path(__file__).parents[1]), out=str(out)))
    process = start(script, workers=1)
    wait_for(out, 3, process)
    process.kill()
    process.wait()
    assert 3 <= shards(out) < 10, "the kill came too late to test anything"

    process = start(script, workers=2)
    wait_for(out, shards(out) + 2, process)
    workers = children(process.pid)
    os.kill(random.choice(workers), signal.SIGKILL)
    wait_for(out, shards(out) + 1, process)
    process.kill()
    process.wait()
    assert shards(out) < 20, "the kill came too late to test anything"
    deadline = time.time() + 20
    while any(alive(worker) for worker in workers) and time.time() < deadline:
        time.sleep(0.01)
    assert not any(alive(worker) for worker in workers), "workers end with their parent"

    decode(out, fake_sources(200))
    decode(tmp_path / "whole", fake_sources(200))
    assert content(out) == content(tmp_path / "whole")


def start(script: Path, *, workers: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(script), str(workers)])


def shards(out: Path) -> int:
    return len(list(out.glob("*.parquet")))


def wait_for(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until `count` shards are there, and a random moment more."""
    deadline = time.time() + 60
    while shards(out) < count:
        assert process.poll() is None and time.time() < deadline, "the run ended before it was killed"
        time.sleep(0.005)
    time.sleep(random.random() * 0.05)


def children(pid: int) -> list[int]:
    """Processes whose parent it is (the resource tracker is none of the workers, but ends as they do)."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
