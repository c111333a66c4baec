import pytest

from rlaif.types import RlaifError

SCHEMA = {
    "migrations": "name applied_at",
    "runs": "run_id created_at profile config config_hash seed sealed_opened_at_round",
    "sessions": "session_id started_at ended_at pid argv versions commit overrides exit_code",
    "rounds": "round champion_in challenger champion_out decision",
    "stages": "round stage status started_at finished_at seconds model_seconds peak_memory_mb detail",
    "policies": "policy_id parent_id reference_id kind round path sha256 base_sha256 created_at recipe settings",
    "policy_items": "policy_id item_id role",
    "questions": "question_id dataset split source_id group_id focus qtype question context "
    "reference key_points label flags turns",
    "rubrics": "question_id place criterion weight category source",
    "prompts": "prompt_sha256 kind name text",
    "candidates": "candidate_id round question_id policy_id prompt_sha256 sample_index batch seed text n_tokens "
    "finish_reason logprob sampling thoughts thought_tokens",
    "judges": "judge_id model weights_sha256 prompt_name prompt_sha256 decoding",
    "verdicts": "candidate_id judge_id replicate status score factual_accuracy completeness "
    "key_point_coverage rationale "
    "raw reason flags attempts tokens_in tokens_out cost seconds created_at judged_weight",
    "criterion_verdicts": "candidate_id judge_id replicate place criterion weight category source status value reason",
    "criteria_met": "policy_id round answers judge_id criterion category weight n unjudged met mean_value failed",
    "pairwise_verdicts": "judge_id candidate_a candidate_b order winner status reason",
    "judge_cache": "key judge_id attempt raw finish tokens_in tokens_out cost seconds calls created_at",
    "judge_servers": "judge_id server host model_sha256 probe created_at",
    "judge_usage": "usage_id judge_id calls tokens_in tokens_out cost created_at",
    "preferences": "pair_id round question_id judge_id chosen_id rejected_id chosen_score rejected_score margin status "
    "reason kind origin",
    "imported_answers": "candidate_id question_id text",
    "consensus": "candidate_id token_f1",
    "gate_labels": "champion challenger item_id judge_id shown champion_mark challenger_mark status reason created_at",
    "cut_answers": "candidate_id text n_tokens",
    "pair_outcomes": "round question_id pairs_kept outcome",
    "answers": "candidate_id question_id text policy_id prompt_sha256 n_tokens",
    "eval_items": "policy_id benchmark split item_id metric prediction target value status reason judge_id "
    "protocol_hash data_sha256",
    "gates": "round look champion challenger condition benchmark metric test n n_clusters b c champion_mean "
    "challenger_mean delta ci_low ci_high p_value p_adjusted alpha threshold mde passed detail",
    "monitors": "round name value threshold red",
    "decisions": "seq round kind action reason evidence created_at",
    "sealed_tests": "session_id round opened_at policies",
    "train_log": "policy_id step name value",
    "leaks": "question_id kind matched similarity question matched_question dropped",
    "exam_items": "exam judge_id item_type pair outcome good_score bad_score reason question good bad",
    "licences": "exam judge_id passed n pair_accuracy lower_bound kappa reasons bounds exam_sha256 created_at "
    "data_sha256 limits",
    "exam_sittings": "exam_sha256 judge_id number exam family passed limits created_at",
    "preference_pairs": "round pair_id question_id question chosen rejected chosen_score rejected_score margin "
    "judge_model "
    "prompt_name chosen_id rejected_id judge_id kind",
    "round_summary": "round candidates scored_verdicts unscored_verdicts mean_score pairs_kept "
    "pairs_dropped pair_yield "
    "champion_in challenger champion_out decision",
    "leaderboard": "policy_id kind round benchmark split metric mean n n_unscored judge_id protocol_hash data_sha256",
    "judge_agreement": "judge_a judge_b model_a model_b prompt_a prompt_b n mean_difference pearson "
    "spearman n_ordered same_order",
}


def test_exact_schema(store):
    found = store.query(
        "SELECT table_name, string_agg(column_name, ' ' ORDER BY column_index) AS columns FROM duckdb_columns() "
        "WHERE schema_name = 'main' AND NOT internal GROUP BY table_name"
    )
    assert {row["table_name"]: row["columns"] for row in found} == SCHEMA


def test_times_lists_and_dicts_have_the_promised_types(store):
    found = store.query(
        "SELECT DISTINCT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal"
    )
    types = {(row["column_name"], row["data_type"]) for row in found}
    times = {"applied_at", "created_at", "started_at", "ended_at", "finished_at", "opened_at"}
    assert {kind for name, kind in types if name in times} == {"TIMESTAMP"}
    assert {kind for name, kind in types if name in {"key_points", "flags", "argv", "policies"}} == {"VARCHAR[]"}
    json_columns = {"config", "recipe", "sampling", "decoding", "evidence", "versions", "overrides", "bounds", "origin"}
    assert {kind for name, kind in types if name in json_columns} == {"JSON"}


@pytest.mark.parametrize(
    "change",
    [
        {"status": "unsure"},
        {"score": None},
        {"score": 1.2},
        {"score": float("nan")},
        {"completeness": -0.1},
        {"status": "failed", "reason": "timeout", "score": 0.0},
        {"status": "failed", "reason": "timeout", "factual_accuracy": 0.0},
        {"replicate": None},
    ],
)
def test_verdicts_that_make_no_sense_are_refused(store, rows, change):
    with pytest.raises(RlaifError, match="CHECK constraint|NOT NULL constraint"):
        store.write({"verdicts": [rows.verdict("c1", **change)]})
    assert store.query("SELECT * FROM verdicts") == []


def test_an_unscored_verdict_needs_a_reason(store, rows):
    with pytest.raises(RlaifError, match="reason"):
        store.write({"verdicts": [rows.verdict("c1", status="refused")]})
    store.write({"verdicts": [rows.verdict("c1", status="refused", reason="asked for a doctor")]})
    assert store.query("SELECT score, reason FROM verdicts") == [{"score": None, "reason": "asked for a doctor"}]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "dropped", "reason": ""},
        {"status": "kept", "rejected_id": None},
        {"status": "kept", "rejected_id": "a"},
        {"status": "perhaps"},
    ],
)
def test_preferences_that_make_no_sense_are_refused(store, rows, change):
    with pytest.raises(RlaifError, match="CHECK"):
        store.write({"preferences": [rows.preference("x", "a", "b") | change]})


def test_a_dropped_preference_may_lack_its_candidates(store, rows):
    store.write({"preferences": [rows.preference("x", None, None, "dropped", reason="fewer than two scored")]})
    assert len(store.query("SELECT * FROM preferences")) == 1


def test_an_eval_item_without_a_value_needs_a_reason(store, rows):
    with pytest.raises(RlaifError, match="CHECK"):
        store.write({"eval_items": [rows.eval_item("i", "accuracy", None, reason="")]})
    with pytest.raises(RlaifError, match="CHECK"):
        store.write({"eval_items": [rows.eval_item("i", "accuracy", None, status="scored")]})


def test_a_pairwise_winner_belongs_to_a_scored_comparison(store):
    row = {"judge_id": "j", "candidate_a": "a", "candidate_b": "b", "order": "ab", "winner": "a", "status": "scored"}
    store.write({"pairwise_verdicts": [row]})
    with pytest.raises(RlaifError, match="CHECK"):
        store.write({"pairwise_verdicts": [row | {"order": "ba", "status": "failed", "reason": "x"}]})
