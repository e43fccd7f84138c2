from __future__ import annotations

import errno
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from builder import command_line, console, unexpected_errors


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/a/x"), "runs/a/x could not be wri"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space is left"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), "look for a full disk"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "a/b: Not a directory; name"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "/root/x: Permission deni"),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
            "the variable TMPDIR",
        ),
    ],
)
def test_what_the_machine_lacks_is_said_with_what_to_do(error: Exception, told: str) -> None:
    message = unexpected_errors.message(error)
    assert told in message
    assert "fault of this software" not in message
    outer = ValueError("could not save")
    outer.__cause__ = error
    assert unexpected_errors.message(outer) == message


def test_a_fault_of_ours_goes_to_a_file_that_the_message_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["builder", "export", "--checkpoint", "a b"])
    message = unexpected_errors.message(KeyError("boom"))
    (report,) = tmp_path.iterdir()
    assert str(report) in message
    assert "python -m builder export --checkpoint 'a b'" in message
    assert "Traceback" not in message
    assert "KeyError: 'boom'" in report.read_text()


def test_a_command_that_ends_in_one_prints_a_line_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise RuntimeError("nobody expects this")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(command_line, "app", fails)
    monkeypatch.setattr(console, "set_up", lambda: None)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: a fault of this software")
    assert "Traceback" not in shown


def test_off_a_terminal_an_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    try:
        console.set_up()
        logging.getLogger("builder.x").info("a %s\nand another", "long " * 40)
        handler = root.handlers[0]
        record = logging.LogRecord("builder.x", logging.INFO, "", 0, "one\ntwo", None, None)
        assert handler.format(record).endswith("one | two")
    finally:
        root.handlers, root.level = kept, level
    assert capsys.readouterr().err.count("\n") <= 1


def test_the_base_install_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; import builder.__main__ as entry; entry.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("pip install 'tritonrec[builder]'\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["builder.command_line", "client._commands"])
def test_ctrl_c_while_modules_are_imported_is_no_traceback(command: str) -> None:
    code = f"""
import sys

class CtrlC:
    def find_spec(name, *_):
        if name == {command!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC)
from {command.partition(".")[0]}.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
