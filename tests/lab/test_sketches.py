"""Pictures of runs while they train: when they are drawn, and that nothing else changes."""

from types import SimpleNamespace

import pytest

from mtl_gym.lab import sketches
from mtl_gym.lab.records import EVERYTHING
from mtl_gym.lab.run import RunSettings, train
from mtl_gym.lab.together import train_together

RUNS = {
    "MTLRouting-Digits-v0": ("wpl", 96, {"hidden": 4}),
    "MTLScheduling-Skills-v0": ("uniform", 96, {}),
    "MTLScheduling-Digits-v0": ("uniform", 12, {"updates": 6, "minibatch": 8, "reference": None}),
    "MTLAlignment-LinearDiscrete-v1": ("random-alignment", 96, {}),
    "MTLLimitless-Paths-v0": ("random", 96, {}),
    "MTLRecurrent-Switching-v0": ("random", 96, {}),
}
ROUTING = RunSettings("MTLRouting-Digits-v0", "wpl", 9000)


def pictures(out):
    return {path.name for path in out.glob("*.png")}


@pytest.fixture
def at_third_step(monkeypatch):
    """Draw at the third step alone."""
    clock = iter([False, False, True])
    monkeypatch.setattr(sketches.Pace, "due", property(lambda pace: next(clock, False)))


@pytest.mark.parametrize("family", RUNS)
def test_pictures_appear_while_a_run_trains_and_change_nothing_of_it(tmp_path, at_third_step, family):
    agent, steps, env_kwargs = RUNS[family]
    settings, seen = RunSettings(family, agent, steps, 0, min(steps // 6, 16), env_kwargs), set()
    sketched = train(settings, tmp_path / "sketched", lambda *_: seen.update(pictures(tmp_path / "sketched")))
    assert seen and seen <= pictures(tmp_path / "sketched")
    seen.clear()
    plain = train(settings, tmp_path / "plain", lambda *_: seen.update(pictures(tmp_path / "plain")))
    assert not seen
    for name in ("progress.csv", "environment.pt", "agent.pt", *pictures(tmp_path / "plain")):
        written, expected = ((tmp_path / of / name) for of in ("sketched", "plain"))
        assert written.exists() == expected.exists()
        assert not expected.exists() or written.read_bytes() == expected.read_bytes(), name
    assert (sketched.per_task, sketched.figure, sketched.sampled) == (plain.per_task, plain.figure, plain.sampled)


def test_runs_trained_together_are_all_drawn(tmp_path, at_third_step):
    runs = [RunSettings("MTLRouting-Digits-v0", "wpl", 96, seed, 16, {"hidden": 4}) for seed in (0, 1)]
    folders, seen = [tmp_path / f"seed-{run.seed}" for run in runs], set()
    train_together(runs, folders, lambda *_: seen.update(out.name for out in folders if pictures(out)), EVERYTHING)
    assert seen == {"seed-0", "seed-1"}


class Slow:
    """Pictures that take two seconds."""

    def __init__(self, monkeypatch):
        self.now, self.drawn = 0.0, []
        monkeypatch.setattr(sketches.time, "perf_counter", lambda: self.now)

    def draw(self, decisions):
        self.drawn.append(self.now)
        self.now += 2.0


def test_drawing_begins_after_ten_seconds_and_takes_a_twentieth_of_the_time(monkeypatch):
    slow, aside = Slow(monkeypatch), []
    callback = sketches.Sketches(slow, aside.append)
    callback.model = SimpleNamespace(num_timesteps=100)
    for slow.now in (9.0, 11.0, 30.0, 52.0, 54.0, 95.0, 97.0):
        callback.on_step()
    assert (slow.drawn, aside) == ([11.0, 54.0, 97.0], [2.0, 2.0, 2.0])


def test_pictures_that_cannot_be_drawn_do_not_end_a_run(tmp_path, caplog):
    class Broken:
        asked = 0

        def training_pictures(self, title):
            self.asked += 1
            raise IndexError("no episode yet")

    env = Broken()
    sketch = sketches.Sketch(env, ROUTING, tmp_path)
    sketch.draw(1000)
    sketch.draw(2000)
    assert env.asked == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "no episode yet" in caplog.text


def test_titles_tell_how_far_the_training_is(tmp_path):
    titles = []

    class Titled:
        def training_pictures(self, title):
            titles.append(title)
            return {}

    sketches.Sketch(Titled(), ROUTING, tmp_path).draw(1000)
    assert titles == ["wpl on MTLRouting-Digits-v0, seed 0, 9,000 decisions: training after 1,000"]
