from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from builder.errors import RepositoryError
from builder.repository import (
    activate,
    check_publishable,
    commands,
    from_text,
    read_manifest,
    stage,
    step_config,
    swap,
)
from tests.unit.builder.repository.repositories import SOLO, add_version, publish, snapshot

ROOT = Path(__file__).parents[4]


def beside(repository: Path) -> list[str]:
    return sorted(path.name for path in repository.parent.iterdir() if path != repository)


def served_version(repository: Path, model: str = "solo") -> list[int]:
    path = repository / model / "config.pbtxt"
    return list(from_text(path.read_text(), str(path)).version_policy.specific.versions)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "parent" / "models"
    publish(path, "one")
    return path


def test_first_version(repository: Path) -> None:
    assert sorted(snapshot(repository)) == [
        "manifest.json",
        "solo",
        "solo/1",
        "solo/1/config.pbtxt",
        "solo/1/model.py",
        "solo/config.pbtxt",
    ]
    assert served_version(repository) == [1]
    manifest = read_manifest(repository)
    assert manifest.active == 1
    assert manifest.versions[1].models == ("solo",)
    assert manifest.versions[1].checkpoint == "runs/one"
    assert beside(repository) == []


def test_second_version_leaves_the_first_as_it_was(repository: Path) -> None:
    first = snapshot(repository / "solo" / "1")
    inode = (repository / "solo" / "1" / "model.py").stat().st_ino
    publish(repository, "two")
    assert served_version(repository) == [2]
    assert (repository / "solo" / "2" / "model.py").read_text() == "two"
    assert snapshot(repository / "solo" / "1") == first
    assert (repository / "solo" / "1" / "model.py").stat().st_ino == inode
    assert sorted(read_manifest(repository).versions) == [1, 2]


def test_an_open_file_of_the_old_tree_stays_readable_and_unchanged(repository: Path) -> None:
    with (repository / "solo" / "config.pbtxt").open() as old:
        publish(repository, "two")
        assert "versions: 1" in old.read()


def test_activate_makes_an_earlier_version_the_served_one(repository: Path) -> None:
    publish(repository, "two")
    activate(repository, 1)
    assert served_version(repository) == [1]
    assert read_manifest(repository).active == 1
    publish(repository, "three")
    assert served_version(repository) == [3]
    assert sorted(read_manifest(repository).versions) == [1, 2, 3]


def test_a_model_that_the_active_version_lacks_is_out_of_sight(repository: Path) -> None:
    publish(repository, "two", "solo", "extra")
    activate(repository, 1)
    assert [path.name for path in repository.iterdir() if path.is_dir()] == ["solo"]
    activate(repository, 2)
    assert served_version(repository, "extra") == [2]
    publish(repository, "three", "other")
    assert [path.name for path in repository.iterdir() if path.is_dir()] == ["other"]
    activate(repository, 2)
    assert (repository / "extra" / "2" / "model.py").read_text() == "two"
    assert (repository / "solo" / "1" / "model.py").read_text() == "one"


def test_whatever_else_lies_in_the_repository_is_carried_along(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    (repository / "docs").mkdir(parents=True)
    (repository / "code.py").write_text("source")
    (repository / "docs" / "note").write_text("note")
    (repository / "link").symlink_to("code.py")
    (repository / "__pycache__").mkdir()
    repository.chmod(0o750)
    publish(repository, "one")
    (repository / "solo" / "labels.txt").write_text("labels")
    publish(repository, "two")
    assert (repository / "code.py").read_text() == "source"
    assert (repository / "docs" / "note").read_text() == "note"
    assert (repository / "link").is_symlink()
    assert (repository / "solo" / "labels.txt").read_text() == "labels"
    assert not (repository / "__pycache__").exists()
    assert repository.stat().st_mode & 0o777 == 0o750


def test_an_edit_made_while_an_export_runs_is_kept(repository: Path) -> None:
    with stage(repository) as staging:
        add_version(staging, "two")
        (repository / "code.py").write_text("edited meanwhile")
    assert (repository / "code.py").read_text() == "edited meanwhile"


def test_a_symlinked_repository_stays_a_symlink(repository: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(repository)
    publish(link, "two")
    assert link.is_symlink()
    assert served_version(repository) == [2]


def test_a_version_made_from_one_that_is_active_no_more_is_not_published(
    repository: Path,
) -> None:
    publish(repository, "two")
    activate(repository, 1)
    before = snapshot(repository)
    with (
        pytest.raises(
            RepositoryError,
            match=r"version 1 of .* became active .* from version 2.*; repeat the command",
        ),
        stage(repository, made_from=2),
    ):
        pytest.fail("nothing is built in vain")
    assert snapshot(repository) == before
    assert beside(repository) == []
    with stage(repository, made_from=1) as staging:
        add_version(staging, "three")
    assert read_manifest(repository).active == 3


def test_what_would_keep_a_version_from_being_published_is_told_before_it_is_made(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(repository)
    check_publishable(repository)
    with (
        swap.lock(repository),
        pytest.raises(RepositoryError, match="another process is publishing"),
    ):
        check_publishable(repository)
    assert snapshot(repository) == before
    assert beside(repository) == []
    monkeypatch.chdir(repository)
    with pytest.raises(RepositoryError, match="is the current directory"):
        check_publishable(repository)


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_leaves_everything_as_it_was(
    repository: Path, fault: type[BaseException]
) -> None:
    before = snapshot(repository)
    with pytest.raises(fault), stage(repository) as staging:  # noqa: PT012
        add_version(staging, "two")
        raise fault
    assert snapshot(repository) == before
    assert beside(repository) == []


def test_an_error_of_the_exporter_passes_unchanged(repository: Path) -> None:
    with pytest.raises(FileNotFoundError), stage(repository):
        Path("no such file").read_text()


@pytest.mark.parametrize("action", ["publish", "activate"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_complete_new_repository(
    repository: Path, action: str
) -> None:
    publish(repository, "two")
    found = kill_points(repository, action)
    swapped = found.index("new")
    assert swapped > 15
    assert found == ["old"] * swapped + ["new"] * (len(found) - swapped)


def test_a_kill_between_two_renames_is_repaired_by_the_next_publication(repository: Path) -> None:
    publish(repository, "two")
    found = kill_points(repository, "publish", "two-renames")
    assert found.count("missing") == 1
    assert found.index("missing") + 1 == found.index("new")


def kill_points(repository: Path, *arguments: str) -> list[str]:
    script = Path(__file__).with_name("kill_points.py")
    done = subprocess.run(
        [sys.executable, script, repository, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def test_two_renames_restore_the_old_one_on_failure(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_exchange", lambda _one, _other: False)
    before = snapshot(repository)
    with pytest.raises(FileNotFoundError):
        swap.swap_in(repository.with_name("not there"), repository)
    assert snapshot(repository) == before
    publish(repository, "two")
    assert served_version(repository) == [2]
    assert beside(repository) == []


def test_copies_stand_in_where_hard_links_are_refused(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    publish(repository, "two")
    assert (repository / "solo" / "1" / "model.py").read_text() == "one"


def test_one_publisher_at_a_time(repository: Path) -> None:
    before = snapshot(repository)
    with (repository.parent / ".models.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RepositoryError, match=r"another process is publishing to .*models"):
            publish(repository, "two")
        with pytest.raises(RepositoryError, match="another process is publishing"):
            activate(repository, 1)
    assert snapshot(repository) == before
    publish(repository, "two")


def test_leftovers_of_dead_publishers_are_cleared(repository: Path) -> None:
    (repository.parent / ".models.staging-1-dead" / "tree").mkdir(parents=True)
    (repository.parent / ".models.lock").touch()
    (repository.parent / ".models2.staging-1-other").mkdir()
    publish(repository, "two")
    assert beside(repository) == [".models2.staging-1-other"]


def test_read_only_directories_are_no_hindrance() -> None:
    script = Path(__file__).with_name("read_only.py")
    # Not below tmp_path, into which only its owner may go.
    with tempfile.TemporaryDirectory() as parent:
        done = subprocess.run(
            [sys.executable, str(script), parent],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "['models', 'scratch']"


def test_an_incomplete_version_is_not_published(repository: Path) -> None:
    before = snapshot(repository)
    with pytest.raises(RepositoryError) as caught, stage(repository) as staging:  # noqa: PT012
        add_version(staging, "two")
        (staging.model_dir("solo") / "model.py").unlink()
        staging.model_dir("forgotten")
    assert "'solo': its version directory holds no model.py" in str(caught.value)
    assert "'forgotten': a directory without a configuration" in str(caught.value)
    with pytest.raises(RepositoryError, match="holds no models"), stage(repository):
        pass
    assert snapshot(repository) == before


def test_a_configuration_of_another_version_is_refused(repository: Path) -> None:
    config = step_config(SOLO, backend="python", version=1, sizes={})
    with (
        pytest.raises(RepositoryError, match=r"pinned to \[1\], this is version 2"),
        stage(repository) as staging,
    ):
        staging.write_config(config)


def test_details_must_be_json(repository: Path) -> None:
    before = snapshot(repository)
    for value in (float("nan"), object()):
        with pytest.raises(RepositoryError, match="JSON"), stage(repository) as staging:  # noqa: PT012
            add_version(staging, "two")
            staging.details["figure"] = value
    assert snapshot(repository) == before


def test_models_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "models" / "theirs").mkdir(parents=True)
    (tmp_path / "models" / "theirs" / "config.pbtxt").write_text("")
    with pytest.raises(RepositoryError, match="not published by this software: theirs"):
        publish(tmp_path / "models", "one")


def test_a_file_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(RepositoryError, match="is a file"):
        publish(tmp_path / "models", "one")


@pytest.mark.skipif(
    shutil.which("unshare") is None or os.geteuid() != 0, reason="mounting needs root and unshare"
)
def test_a_mount_point_is_refused_before_the_work(repository: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from builder.repository import stage\n"
        f"with stage(Path({str(repository)!r})): print('entered')\n"
    )
    mounted = f'mount --bind "{repository}" "{repository}" && exec "{sys.executable}" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, "sh", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "is a mount point" in done.stderr
    assert f"mount its parent {repository.parent}" in done.stderr
    assert "entered" not in done.stdout


@pytest.mark.parametrize("inside", [".", "recommend/1"])
def test_the_current_directory_is_not_replaced(
    repository: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    (repository / inside).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(repository / inside)
    before = sorted(repository.parent.iterdir())
    for path in (repository, Path(os.path.relpath(repository))):
        with pytest.raises(RepositoryError, match="is the current directory, or holds it"):
            activate(path, 1)
    assert sorted(repository.parent.iterdir()) == before
    assert Path.cwd().exists()


def test_activating_what_is_not_there(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no version 7; it holds 1"):
        activate(repository, 7)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepositoryError, match="not a published model repository"):
        activate(tmp_path / "empty", 1)
    shutil.rmtree(repository / "solo" / "1")
    with pytest.raises(RepositoryError, match="version 1 of model 'solo' is no longer complete"):
        activate(repository, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "other", "active": 1, "versions": {}}',
        '{"format": "tritonrec-repository-1", "active": 2, "versions": {}}',
        '{"format": "tritonrec-repository-1", "active": 1, "versions": {"1": {}}}',
        '{"format": "tritonrec-repository-1", "active": 1, "versions": {"1": {"created": 3}}}',
    ],
)
def test_a_broken_manifest_is_named(repository: Path, text: str) -> None:
    (repository / "manifest.json").write_text(text)
    before = snapshot(repository)
    with pytest.raises(RepositoryError, match=r"manifest\.json is broken"):
        read_manifest(repository)
    with pytest.raises(RepositoryError, match="broken"):
        publish(repository, "two")
    assert snapshot(repository) == before


def test_a_repository_without_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="python -m builder export"):
        read_manifest(tmp_path)


def test_the_manifest_reads_back_as_written(repository: Path) -> None:
    with stage(repository) as staging:
        add_version(staging, "two")
        staging.details["parity"] = {"max": 1e-6, "shapes": [1, 2]}
    assert read_manifest(repository).versions[2].details == {
        "parity": {"max": 1e-6, "shapes": [1, 2]}
    }


def test_the_commands_list_and_activate(repository: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(commands.versions)
    app.command()(commands.activate)
    publish(repository, "two")
    option = ["--repository", str(repository)]
    done = CliRunner().invoke(app, ["activate", "1", *option])
    assert done.exit_code == 0
    assert "Version 1" in done.output
    rows = json.loads(CliRunner().invoke(app, ["versions", "--json", *option]).output)
    assert [(row["version"], row["active"]) for row in rows] == [(1, True), (2, False)]
    table = CliRunner().invoke(app, ["versions", *option]).output
    assert "runs/two" in table
    assert "* 1" in table


@pytest.mark.parametrize(
    ("free", "error", "told"),
    [
        (0, RuntimeError("could not save"), "parent is full, so models stays as it was; free some"),
        (0, RepositoryError("mine"), "^mine$"),
        (1 << 30, RuntimeError("could not save"), "^could not save$"),
    ],
)
def test_a_full_disk_is_named(
    repository: Path, monkeypatch: pytest.MonkeyPatch, free: int, error: Exception, told: str
) -> None:
    before = snapshot(repository)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(RuntimeError if free else RepositoryError, match=told), stage(repository):
        raise error
    assert snapshot(repository) == before
    assert beside(repository) == []
