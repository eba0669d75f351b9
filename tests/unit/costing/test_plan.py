"""Plans: the costing tables of the seeds from their inputs, and what is wrong with what was printed."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainops.costing.plan import compute, read_plan, shipped_plans
from chainops.costing.plan.number import exact, printed, shown
from chainops.errors import SetupError


def of(name):
    return compute(read_plan(name))


def line(result, name):
    return next(each for each in result.lines if each.name == name)


def written(tmp_path, text):
    file = tmp_path / "plan.toml"
    file.write_text(text, encoding="utf-8")
    return read_plan(file)


@pytest.mark.parametrize(
    ("plan", "name", "unit", "cost", "tokens"),
    [
        ("reports", "annual reports", "0.115625", "6729.375", 4_365_000_000 + 90_937_500),
        ("reports", "3 quarterly reports", "0.08671875", "5047.03125", 3_273_750_000 + 68_203_125),
        ("reports", "summaries of the transcripts", "0.02125", "1236.75", 776_000_000 + 36_375_000),
        ("reports", "sentiment of the transcripts", "0.02125", "1236.75", 776_000_000 + 36_375_000),
        ("rag", "vectors", None, "0.50", 5_000_000),
        ("rag-nightly", "vectors", None, "182.50", 365 * 5_000_000),
        ("finetune", "A100-80G", None, "85.92", 5_000_000),
        ("host", "two A100-80G", None, "31360.80", 0),
        ("legal-bot", "contracts", None, "26280", 0),
    ],
)
def test_every_line_of_the_seeds_comes_out_exactly_with_its_tokens(plan, name, unit, cost, tokens):
    found = line(of(plan), name)
    assert exact(found.cost) == Decimal(cost)
    assert found.tokens_in + found.tokens_out == tokens
    assert (None if found.unit is None else exact(found.unit)) == (None if unit is None else Decimal(unit))


@pytest.mark.parametrize(
    ("plan", "total"),
    [
        ("reports", "14249.90625"),
        ("reports-llama2", "3963.65"),
        ("reports-text", "12980"),
        ("rag", "8440.50"),
        ("rag-nightly", "182.50"),
        ("finetune", "85.92"),
        ("host", "31360.80"),
        ("legal-bot", "26280"),
    ],
)
def test_the_totals_of_the_seeds(plan, total):
    assert exact(of(plan).total) == Decimal(total)


def test_a_printed_total_that_contains_the_price_of_one_call_is_found():
    (finding,) = of("reports").findings
    assert "14,250.02 was printed" in finding
    assert "the lines make 14,249.90625" in finding
    assert "one call in 'annual reports' (0.115625) had been added" in finding
    (llama,) = of("reports-llama2").findings
    assert "one call in 'annual reports' (0.032175)" in llama


def test_a_line_that_is_in_a_printed_total_twice_is_found():
    (finding,) = of("reports-text").findings
    assert "'transcripts' (1,250.00) were in it twice" in finding


def test_a_rounded_price_of_one_call_must_not_be_multiplied():
    (finding,) = line(of("reports"), "annual reports").findings
    assert "0.12 for one call is rounded" in finding
    assert "6,984.00 instead of 6,729.375" in finding


def test_lines_that_imply_other_corpora_than_they_speak_of_are_found():
    vectors, model = (line(of("rag"), name).findings for name in ("vectors", "model"))
    assert "implies 5,000,000 tokens = 67 documents" in vectors[0]
    assert "873 times as many: for all of them it would be 436.50 USD" in vectors[0]
    assert "= 60,541 documents" in model[0]
    assert "159,322.50 USD" in line(of("rag-nightly"), "vectors").findings[0]
    assert "75,008.16 USD" in line(of("finetune"), "A100-80G").findings[0]


def test_figures_that_were_printed_rounded_are_no_findings():
    for plan in ("rag", "rag-nightly", "finetune", "host", "legal-bot"):
        assert of(plan).findings == (), plan


def test_mixtral_needs_two_gpus_and_hosting_pays_from_271229_reports_on():
    result = of("host")
    assert (exact(result.memory.gb), round(float(result.memory.gib), 2)) == (Decimal("93.4"), 86.99)
    assert (result.memory.fits, result.memory.needed, result.warnings) == (True, 2, [])
    assert (result.break_even.calls, exact(result.break_even.unit)) == (271_229, Decimal("0.115625"))
    assert result.lines[0].cost / result.break_even.unit > 271_228


def test_a_model_that_does_not_fit_is_found(tmp_path):
    text = shipped_plans()["host"].replace("gpus = 2", "gpus = 1").replace('"90GB"', '"40GB"')
    first, second = compute(written(tmp_path, text)).memory.findings
    assert "87.0 GiB do not fit into 1 x 80 GiB; 2 are needed" in first
    assert "40GB was printed, 93.4 GB is true" in second


def test_a_leap_year_costs_more(tmp_path):
    text = shipped_plans()["host"].replace("hours = 8760", "hours = 8784")
    assert exact(compute(written(tmp_path, text)).total) == Decimal("31446.72")


def test_thirds_of_tokens_stay_exact():
    found = line(of("reports"), "summaries of the transcripts")
    assert found.unit == Fraction(2125, 100_000)


def test_prices_may_come_from_the_price_books(tmp_path):
    made = written(tmp_path, 'title = "t"\n[prices.p]\nmodel = "m"\n[[lines]]\nname = "l"\nprice = "p"\ninput = 7\n')
    assert compute(made, lambda model: (Fraction(3), Fraction(0))).total == 21
    with pytest.raises(SetupError, match="asks the price books for 'm'"):
        compute(made)


HEAD = 'title = "t"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "title"),
        (HEAD, "lines"),
        (HEAD + '[[lines]]\nname = "a"', "a line is a price"),
        (HEAD + '[[lines]]\nname = "a"\namount = -1', "below 0"),
        (HEAD + '[[lines]]\nname = "a"\namount = "much"', "no number"),
        (HEAD + '[[lines]]\nname = "a"\namount = true', "no number"),
        (HEAD + '[[lines]]\nname = "a"\namount = "1/0"', "no number"),
        (HEAD + '[[lines]]\nname = "a"\namount = 1\nprinted = "?"', "has no number"),
        (HEAD + '[[lines]]\nname = "a"\namount = 1\nprise = 2', "prise"),
        (HEAD + '[[lines]]\nname = "a"\nhours = 1', "need a rate"),
        (HEAD + '[[lines]]\nname = "a"\nprice = "p"', "no price 'p'"),
        (HEAD + '[[lines]]\nname = "a"\namount = 1\ncorpus = "c"', "no corpus 'c'"),
        (HEAD + '[[lines]]\nname = "a"\nof = "b"', "no line 'b' before it"),
        (HEAD + '[[lines]]\nname = "a"\namount = 1\n[[lines]]\nname = "a"\namount = 1', "two lines"),
        (HEAD + '[corpora.c]\ndocuments = 1\n[[lines]]\nname = "a"\namount = 1', "tokens or words"),
        (HEAD + '[[lines]]\nname = "a"\namount = 1\n[break_even]\nhost = "x"\napi = "a"', "break_even"),
        ("[", "Cannot read"),
    ],
)
def test_a_wrong_plan_is_a_clear_error(tmp_path, text, problem):
    with pytest.raises(SetupError, match=problem) as caught:
        written(tmp_path, text)
    assert caught.value.code == "cost.plan"


def test_a_break_even_without_a_price_is_a_clear_error(tmp_path):
    text = HEAD + '[[lines]]\nname = "a"\namount = 1\n[break_even]\nhost = "a"\napi = "a"'
    with pytest.raises(SetupError, match="has no price"):
        compute(written(tmp_path, text))


def test_a_plan_that_is_not_there_is_a_clear_error():
    with pytest.raises(SetupError, match="Cannot read the plan none"):
        read_plan("none")


@pytest.mark.parametrize(
    ("text", "value", "slack"),
    [
        ("6,729.38", "6729.38", "0.005"),
        ("~8500", "8500", "100"),
        ("approx. 6730", "6730", "10"),
        ("$14K", "14000", "500"),
        ("90GB", "90", "5"),
        ("0", "0", "0.5"),
        ("1.5M", "1500000", "50000"),
    ],
)
def test_how_far_the_truth_may_be_from_what_is_printed(text, value, slack):
    found = printed(text)
    assert (found.value, found.slack) == (Fraction(value), Fraction(slack))


@given(st.fractions(min_value=0, max_value=10**12))
def test_decimals_are_exact_or_say_that_they_are_not(value):
    text = shown(value)
    rest = text.removesuffix("…").replace(",", "")
    assert abs(Fraction(rest) - value) <= Fraction(1, 2 * 10**12)
    assert (Fraction(rest) == value) == (not text.endswith("…"))
