"""Compression and encodings: what the first bytes of a file say, whatever its name is."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from builder.data import DataConfig, read
from builder.data.problems import Problems
from builder.data.sources import Source
from builder.errors import ConfigError, DataError

Write = Callable[..., Path]

ITEMS = "item_id,title\n1,Löwe\n2,Zebra\n"
LOG = "user_id,item_id\nä,1\nä,2\n"


def zipped(members: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def stream_of_zstd(text: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text.encode())
    return bytes(sink.getvalue())


def problem_of(config: DataConfig) -> str:
    with pytest.raises(DataError) as caught:
        read(config)
    return str(caught.value).replace(f"{config.directory}/", "").splitlines()[-1]


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        (".gz", lambda text: gzip.compress(text.encode())),
        (
            ".gz",
            lambda text: b"".join(gzip.compress(part.encode()) for part in (text[:9], text[9:])),
        ),
        (".bz2", lambda text: bz2.compress(text.encode())),
        (".zst", stream_of_zstd),
        (".zip", lambda text: zipped({"any.csv": text, "__MACOSX/._any.csv": ""})),
        ("", lambda text: gzip.compress(text.encode())),
    ],
)
def test_compressed_files(tmp_path: Path, ending: str, pack: Callable[[str], bytes]) -> None:
    (tmp_path / f"interactions.csv{ending}").write_bytes(pack(LOG))
    (tmp_path / f"items.csv{ending}").write_bytes(pack(ITEMS))
    log, catalogue = read(DataConfig(tmp_path))
    assert log.user_ids == ["ä"]
    assert log.item.tolist() == [0, 1]
    assert catalogue.texts == ["Löwe", "Zebra"]


def test_compressed_files_of_every_kind(tmp_path: Path, write: Write) -> None:
    write(
        interactions__zip=zipped({"any.jsonl": '{"user_id": 1, "item_id": 2}'}),
        items__tsv__gz=gzip.compress(ITEMS.replace(",", "\t").encode()),
    )
    log, _ = read(DataConfig(tmp_path))
    assert log.item.tolist() == [1]


def test_places_in_compressed_files(write: Write) -> None:
    packed = gzip.compress(b"user_id,item_id\nu,1\nu,7\n")
    config = DataConfig(write(interactions__csv__gz=packed, items__csv=ITEMS))
    assert problem_of(config).startswith("interactions.csv.gz:3: item_id: item '7' is not in")


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (gzip.compress(LOG.encode() * 99)[:-30], "interactions.csv: cannot be read: "),
        (b"PK\x03\x04 and so on", "interactions.csv: cannot be read: File is not a zip file"),
        (
            zipped({"one.csv": LOG, "two.csv": LOG}),
            "interactions.csv: the archive holds 2 files (one.csv, two.csv); unpack it",
        ),
        (
            zipped({"[Content_Types].xml": "", "xl/workbook.xml": ""}),
            "interactions.csv: this is an Office file; save it as CSV",
        ),
    ],
    ids=["cut", "no archive", "several files", "Office"],  # packed bytes tell the time
)
def test_files_that_cannot_be_unpacked(write: Write, packed: bytes, message: str) -> None:
    config = DataConfig(write(interactions__csv=packed, items__csv=ITEMS))
    assert problem_of(config).startswith(message)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(write: Write, encoding: str) -> None:
    config = DataConfig(
        write(interactions__csv=LOG.encode(encoding), items__csv=ITEMS.encode(encoding))
    )
    log, catalogue = read(config)
    assert log.user_ids == ["ä"]
    assert catalogue.texts == ["Löwe", "Zebra"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_an_encoding_that_is_given(write: Write, encoding: str) -> None:
    directory = write(
        interactions__csv=LOG.encode(encoding),
        items__jsonl='{"item_id": 1, "title": "Löwe"}\n{"item_id": 2, "title": "x"}\n'.encode(
            encoding
        ),
    )
    log, catalogue = read(DataConfig(directory, encoding=encoding))
    assert log.user_ids == ["ä"]
    assert catalogue.texts == ["Löwe", "x"]
    message = problem_of(DataConfig(directory))
    assert message.endswith(f"--encoding {encoding}")


@pytest.mark.parametrize(
    ("title", "encoding"),
    [
        ("Löwe", "latin-1"),
        ("Löwe – 5 €".encode("cp1252"), "cp1252"),
        (b"L\xf6we \x81\x96", "latin-1"),  # 0x81 is nothing in cp1252
        ("Löwe".encode() + "ö".encode("latin-1"), "latin-1"),
    ],
)
def test_the_encoding_that_bytes_are_likely_of(
    write: Write, title: str | bytes, encoding: str
) -> None:
    data = title.encode("latin-1") if isinstance(title, str) else title
    items = b"item_id,title\n1," + data + b"\n2,x\n"
    directory = write(interactions__csv=LOG, items__csv=items)
    assert problem_of(DataConfig(directory)).endswith(f"--encoding {encoding}")
    assert len(read(DataConfig(directory, encoding=encoding))[1]) == 2


def test_bytes_that_are_not_of_the_encoding(write: Write) -> None:
    config = DataConfig(
        write(interactions__csv=LOG, items__csv=ITEMS.encode("latin-1")), encoding="ascii"
    )
    assert "not ASCII; name another encoding with --encoding" in problem_of(config)


@pytest.mark.parametrize("name", ["", "latin-17", "base64"])
def test_encodings_that_do_not_exist(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="there is no such encoding of text"):
        DataConfig(tmp_path, encoding=name)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("log.parquet", b"PAR1" + b"x" * 16),
        ("log.parquet", "half"),
        ("log.arrow", b"ARROW1" + b"x" * 16),
        ("log.arrow", b""),
        ("log.csv.gz", gzip.compress(LOG.encode() * 99)[:-30]),
    ],
    ids=["parquet", "half of parquet", "arrow", "empty arrow", "half of gzip"],
)
def test_a_damaged_log_is_named(write: Write, name: str, data: bytes | str, named: bool) -> None:
    if isinstance(data, str):
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pa.table({"user_id": ["u"], "item_id": ["1"]}), sink)
        data = sink.getvalue()[: len(sink.getvalue()) // 2]
    directory = write(**{name: data, "items.csv": "item_id,title\n1,one\n2,two\n"})
    with pytest.raises(DataError, match=rf"{name}: cannot be read: .*; repair or replace it$"):
        read(DataConfig(directory, interactions=name if named else None))


class ClosedSince:
    """A file that another thread closed after it was seen open."""

    closed = False

    def tell(self) -> int:
        raise pa.ArrowInvalid("Invalid operation on closed file")


def test_progress_of_a_file_that_is_closed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "interactions.csv"
    path.write_text(LOG, "utf-8")
    source = Source.of(path, Problems())
    assert source is not None
    assert source.share() == 0
    with source.open() as file:
        file.read(path.stat().st_size // 2)
        assert 0 < source.share() < 1
    assert source.share() == 1
    source.opened[:] = [ClosedSince()]
    assert source.share() == 1
