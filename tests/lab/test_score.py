"""Scores against values computed by hand, in both directions, and the reasons why there are none."""

from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import t

from mtl_gym import registration
from mtl_gym.core.measure import ACCURACY, Measure
from mtl_gym.lab.compare import summarise, table
from mtl_gym.lab.records import result_of
from mtl_gym.lab.run import RunResult, RunSettings
from mtl_gym.lab.score import NoScoreError, scale_of
from mtl_gym.registration import Card, Measured

BITS = Measure("bits per byte", higher=False)


@pytest.fixture
def benchmark(monkeypatch):
    """Put the card of a benchmark, and of a replication, under ids of their own."""
    seen = {"uniform": Measured(3.6, 0.1, 5, 100), "greedy": Measured(3.7, 0.1, 5, 100)}
    found = seen | {"oracle": Measured(3.2, 0.0, 5, 100), "qls": Measured(3.3, 0.1, 5, 100)}
    common = {"controls": ("uniform", "greedy"), "learners": ("qls",)}
    card = Card("What.", "Why.", oracle="oracle", steps=1, measured=found, **common)
    cards = {"Bits-v0": card, "Paper-v0": Card("What.", "Why.", **common)}
    monkeypatch.setattr(registration, "_cards", registration._cards | cards)
    return card


def run(agent, seed, figure, env_id="Bits-v0", measure=BITS, name="", **kwargs):
    settings = RunSettings(env_id, agent, 1, seed, env_kwargs=kwargs, name=name)
    return RunResult(settings, 0.5, {"a": 0.5}, None, None, 1.0, 1.0, figure=figure, measure=measure)


def runs(agent, *figures, **more):
    return [run(agent, seed, figure, **more) for seed, figure in enumerate(figures)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("figure", float("nan")),
        ("figure", 10**400),
        ("sampled", float("nan")),
        ("cpu_seconds", -1.0),
        ("cpu_seconds", float("nan")),
        ("epochs", 10**400),
        ("decimals", -1),
    ],
)
def test_a_figure_of_a_file_that_is_no_finite_number_is_told_and_not_replaced(field, value):
    fields = asdict(run("qls", 0, 3.4, "MTLRouting-Paths-v0"))
    fields |= {"measure": {"name": "x", field: value}} if field == "decimals" else {field: value}
    with pytest.raises(ValueError, match=rf"^{field}=.* is not possible"):
        result_of(fields)


def test_a_figure_in_another_unit_is_never_filled_in_by_the_accuracy():
    with pytest.raises(ValueError, match=r"^figure=nan is not possible; a result takes a finite bits per byte"):
        run("qls", 0, float("nan"))
    assert run("qls", 0, float("nan"), measure=ACCURACY).figure == 50.0


def test_the_best_control_is_0_and_the_oracle_1_also_where_lower_is_better(benchmark):
    results = [*runs("uniform", 4.0, 3.6), *runs("greedy", 3.9), *runs("oracle", 3.4, 3.4), *runs("qls", 3.5, 3.7)]
    scale = scale_of(results)
    assert (scale.control.name, scale.control.value, scale.optimum.value) == ("uniform", 3.8, 3.4)
    assert scale(3.6) == pytest.approx(0.5) and scale(3.9) == pytest.approx(-0.25) and scale(3.3) == pytest.approx(1.25)
    assert scale.sentence(BITS).endswith("uniform (3.800); score 1 is oracle (3.400), 0.400 better.")
    assert [row.agent for row in summarise(results)] == ["oracle", "qls", "uniform", "greedy"]


def test_the_interval_is_that_of_a_ratio_of_paired_means(benchmark):
    """Per seed: agent minus control, minus the score times (oracle minus control)."""
    control, oracle, agent = np.array([50.0, 54, 52]), np.array([90.0, 92, 94]), np.array([70.0, 75, 71])
    named = {"uniform": control, "oracle": oracle, "qls": agent}
    results = [one for name, figures in named.items() for one in runs(name, *figures.tolist(), measure=ACCURACY)]
    score = (agent.mean() - 52) / (92 - 52)
    rest = (agent - control) - score * (oracle - control)
    reach = t.ppf(0.975, 2) * rest.std(ddof=1) / np.sqrt(3) / 40
    found = scale_of(results).estimate(dict(enumerate(agent.tolist())))
    assert (found.value, found.low, found.high) == pytest.approx((score, score - reach, score + reach))
    cells = {line[0]: line[2] for line in table(summarise(results))}
    assert cells == {"agent": "score", "oracle": "1.00", "uniform": "0.00", "qls": str(found)}


def test_the_score_of_an_agent_that_lost_seeds_is_paired_like_its_difference(benchmark):
    """On the seed that it finished, the control has 60 and the oracle 94: 50 is worse than the control."""
    control, oracle = runs("uniform", 20.0, 60, 20, measure=ACCURACY), runs("oracle", 95.0, 94, 95, measure=ACCURACY)
    lost = run("random", 1, 50.0, measure=ACCURACY)
    scale = scale_of([*control, *oracle, lost])
    assert scale.estimate({1: 50.0}).value == pytest.approx(-10 / 34)
    assert [row.agent for row in summarise([*control, *oracle, lost]) if row.score.value == 0] == ["uniform"]
    assert str(scale.estimate({7: 50.0})) == "-"  # no seed is shared


def test_a_control_that_finished_only_a_lucky_seed_is_not_the_best(benchmark):
    control, oracle = runs("uniform", 20.0, 60, 20, measure=ACCURACY), runs("oracle", 95.0, 94, 95, measure=ACCURACY)
    assert scale_of([*control, *oracle, run("greedy", 1, 50.0, measure=ACCURACY)]).control.name == "uniform"


def test_ends_of_the_scale_are_compared_on_shared_seeds(benchmark):
    control = runs("uniform", 20.0, 60, 20, measure=ACCURACY)
    with pytest.raises(NoScoreError, match="no better than the best control"):
        scale_of([*control, run("oracle", 1, 55.0, measure=ACCURACY)])
    with pytest.raises(NoScoreError, match="no seed was finished by both uniform and oracle"):
        scale_of([*control, run("oracle", 5, 55.0, measure=ACCURACY)])


def test_without_their_runs_the_figures_of_the_card_are_the_ends(benchmark):
    scale = scale_of(runs("qls", 3.4, 3.4))
    assert (scale.control.name, scale.control.value) == ("uniform", 3.6)
    assert scale(3.4) == pytest.approx(0.5) and "from the card" in scale.sentence(BITS)
    assert np.isnan(scale.estimate({0: 3.4}).low)


def test_a_stated_optimum_precedes_what_the_oracle_measured(benchmark, monkeypatch):
    stated = Card("What.", "Why.", ("uniform",), oracle="oracle", steps=1, optimum=3.0, measured=benchmark.measured)
    monkeypatch.setitem(registration._cards, "Bits-v0", stated)
    scale = scale_of(runs("qls", 3.3))
    assert (scale.optimum.value, scale(3.3)) == (3.0, pytest.approx(0.5))
    assert scale_of([*runs("qls", 3.3), *runs("oracle", 3.1)]).optimum.value == 3.1


def test_the_reason_for_no_score_is_a_sentence(benchmark):
    for results in ([], runs("qls", 3.3, env_id="Paper-v0"), runs("qls", 3.3, env_id="Unknown-v0")):
        with pytest.raises(NoScoreError, match="is unknown; compare figures"):
            scale_of(results)
    with pytest.raises(NoScoreError, match=r"no finished run of a control \(uniform, greedy\), .*default arguments"):
        scale_of(runs("qls", 3.3, noise=2))
    with pytest.raises(NoScoreError, match=r"of the oracle \(oracle\), .*default arguments"):
        scale_of([*runs("qls", 3.3, noise=2), *runs("uniform", 3.5, noise=2)])
    with pytest.raises(NoScoreError, match=r"optimum \(oracle\) is no better than the best control, greedy"):
        scale_of([*runs("greedy", 3.1), *runs("oracle", 3.2)])


def test_a_scale_whose_ends_do_not_differ_is_narrow(benchmark):
    wide = scale_of([*runs("uniform", 3.9, 3.8), *runs("oracle", 3.4, 3.3)])
    narrow = scale_of([*runs("uniform", 3.9, 3.2), *runs("oracle", 3.1, 3.8)])
    assert (wide.narrow, narrow.narrow) == (False, True)
    assert not scale_of(runs("qls", 3.4)).narrow  # ends from the card


def test_a_card_tells_its_best_control_and_learner(benchmark):
    assert (benchmark.best, benchmark.best_control, benchmark.best_learner) == (3.2, "uniform", "qls")
    bare = Card("What.", "Why.", ("uniform",))
    assert (bare.best, bare.best_control, bare.best_learner) == (None, None, None)
