"""The page while runs train, at their end, and when it cannot be written."""

import time

import pytest
from typer.testing import CliRunner

from mtl_gym.lab import cli
from mtl_gym.lab.watch import Watch, watch
from tests.lab.conftest import read_only
from tests.lab.report.conftest import write_comparison, write_failure, write_run

from .test_folder import plan, write_unfinished


def call(*arguments):
    return CliRunner().invoke(cli.app, ["watch", *map(str, arguments)])


def reloads(page):
    return "location.reload" in page and 'http-equiv="refresh"' in page


def test_one_page_shows_curves_states_errors_and_pictures(tmp_path):
    folder = write_comparison(tmp_path / "paths")
    write_unfinished(folder, "ppo", 0, [0.25, 0.5])
    write_failure(folder, "lrn", 7, "The training <diverged>.")
    result = call(folder, "--once")
    assert result.exit_code == 0 and "11 runs: 9 finished, 1 training, 1 failed; 100% of the decisions" in result.output
    page = (folder / "watch.html").read_text()
    assert not reloads(page)
    assert "data:image/svg+xml" in page and "The training &lt;diverged&gt;." in page
    assert page.index("<td>lrn</td><td>7</td><td>failed</td>") < page.index("<td>ppo</td><td>0</td><td>training</td>")
    assert 'src="wpl/seed-0/routing_map.png?' in page and str(tmp_path) not in page


def test_the_page_is_rewritten_until_all_runs_are_over(tmp_path, monkeypatch):
    plan(tmp_path, "wpl/seed-0", "wpl/seed-1")
    pages = []

    def sleep(seconds):
        assert seconds == 0.5
        pages.append((tmp_path / "watch.html").read_text())
        if len(pages) < 3:
            write_run(tmp_path, "wpl", len(pages) - 1, 0.5, [0.5])

    monkeypatch.setattr(time, "sleep", sleep)
    told = []
    runs = watch(Watch(tmp_path, every=0.5), told.append)
    assert [run.state for run in runs] == ["finished", "finished"]
    assert all(map(reloads, pages)) and not reloads((tmp_path / "watch.html").read_text())
    assert [sentence.partition(";")[0] for sentence in told] == [
        "2 runs: 2 waiting",
        "2 runs: 1 finished, 1 waiting",
        "2 runs: 2 finished",
        "2 runs: 2 finished",
    ]


def test_an_interrupted_watch_leaves_a_page_that_does_not_reload(tmp_path, monkeypatch):
    write_unfinished(tmp_path, "wpl", 0)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert call(tmp_path).exit_code == 130
    assert not reloads((tmp_path / "watch.html").read_text())


def test_a_page_elsewhere_links_the_pictures(tmp_path):
    folder = write_comparison(tmp_path / "paths")
    out = tmp_path / "pages" / "mine"
    with read_only(folder):
        refused = call(folder, "--once")
        assert refused.exit_code == 1 and "choose a folder with --out" in " ".join(refused.output.split())
        assert call(folder, "--once", "--out", out).exit_code == 0
    assert 'src="../../paths/wpl/seed-0/routing_map.png?' in (out / "watch.html").read_text()


def test_a_run_alone_is_watched(tmp_path, monkeypatch):
    out = write_run(tmp_path, "wpl", 0, 0.5, [0.25, 0.5], picture=True)
    monkeypatch.chdir(out)
    assert call(".", "--once").exit_code == 0
    page = (out / "watch.html").read_text()
    assert "Watching seed-0" in page and 'src="routing_map.png?' in page


def test_a_folder_without_runs_waits_for_them(tmp_path):
    assert call(tmp_path, "--once").exit_code == 0
    assert "There is no run here yet" in (tmp_path / "watch.html").read_text()


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    result = call(tmp_path / "nowhere")
    assert result.exit_code == 1 and "There is no folder" in result.output


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan"])
def test_impossible_seconds_are_named(tmp_path, seconds):
    result = call(tmp_path, "--every", seconds)
    assert result.exit_code == 1 and f"every={float(seconds)} is not possible" in result.output


def test_seeds_that_are_behind_are_drawn_as_far_as_they_are(tmp_path):
    write_run(tmp_path, "wpl", 0, 0.5, [0.25, 0.5, 0.5, 0.5])
    behind = write_unfinished(tmp_path, "wpl", 1) / "progress.csv"
    behind.write_text("steps,epoch,accuracy\n250,0,0.25\n")
    odd = write_unfinished(tmp_path, "wpl", 2) / "progress.csv"
    odd.write_text("steps,epoch,accuracy\n251,0,0.25\n")
    watch(Watch(tmp_path, once=True))
    page = (tmp_path / "watch.html").read_text()
    assert "wpl, seed 2 is not drawn" in page and "wpl, seed 1 is not drawn" not in page


def test_a_second_page_draws_nothing_anew(tmp_path, monkeypatch):
    from mtl_gym.lab.watch import page as pages
    from mtl_gym.lab.watch.folder import WatchedFolder

    write_unfinished(tmp_path, "wpl", 0, [0.25, 0.5])
    drawn = []
    draw = pages.learning_curves
    monkeypatch.setattr(pages, "learning_curves", lambda *given: drawn.append(given) or draw(*given))
    folder, page = WatchedFolder(tmp_path), pages.Page(tmp_path)
    for _ in range(2):
        page.sections(folder.look(), [], time.time())
    assert len(drawn) == 1
    (tmp_path / "wpl" / "seed-0" / "progress.csv").write_text("steps,epoch,accuracy\n250,0,0.25\n")
    page.sections(folder.look(), [], time.time())
    assert len(drawn) == 2
