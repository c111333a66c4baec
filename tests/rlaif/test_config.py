from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rlaif.config import LATER_KEYS, OUTSIDE_HASH, Config, differing_keys, flat
from rlaif.config_file import apply_override, load_config, profile_names, to_toml, validate
from rlaif.run import unflat
from rlaif.types import UsageError, content_id

OUTSIDE = {"profile", "description", "judge.base_url", "judge.urls", "judge.require_licence", "judge.failure_limit"}
OUTSIDE |= {
    "judge.concurrency",
    "judge.retries",
    "judge.timeout",
    "judge.requests_per_second",
    "judge.price_in",
    "judge.price_out",
}
OUTSIDE |= {"judge.max_calls", "judge.max_tokens", "judge.max_cost", "evaluation.judge_base_url"}
OUTSIDE |= {"cluster.address", "cluster.workers", "sampling.urls", "train.report_to", "train.checkpoint_minutes"} | {
    key for key in flat(Config()) if key.startswith("recipe.")
}
SERVER = "http://127.0.0.1:8000/v1"
# A value that differs from the default and is allowed, for keys where default + 1 is not.
OTHER: dict[str, Any] = {
    "model.quantization": "nf4",
    "model.dtype": "float32",
    "model.device": "cpu",
    "sft.scheduler": "linear",
    "dpo.scheduler": "linear",
    "best_of.scheduler": "linear",
    "dpo.loss": "ipo",
    "dpo.label_smoothing": "judge",
    "dpo.earlier": "all",
    "pairs.max_length_ratio": 2.0,
    "pairs.against": "greedy",
    "gate.after_inconclusive": "challenger",
    "sampling.engine": "vllm",
    "sampling.urls": [SERVER],
    "judge.urls": [SERVER],
    "cluster.address": "local",
    "pairs.truncated": "cut",
    "gate.ledger": "spend",
    "gate.labels": 30,
    "model.target_modules": ["q_proj"],
    "data.leaks": "off",
    "monitors.length_high": 2.0,
    "monitors.blocking": [],
    "train.target_modules": ["q_proj"],
    "train.scheduler": "linear",
    "train.method": "sft",
    "train.precision": "fp16",
    "train.report_to": ["tensorboard"],
    "data.train_on": ["pubmedqa"],
    "evaluation.benchmarks": {"mine:plain": 0.1},
    "data.sets": [{"format": "csv", "path": "a.csv"}],
    "recipe.metrics": ["accuracy"],
    "recipe.published": ["accuracy 0.5"],
}


def refused(*overrides: str, profile: str = "embedded") -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(UsageError) as caught:
        load_config(profile, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def other_value(key: str, value: Any) -> Any:
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value / 2 + 0.001 if isinstance(value, float) else value + "x"


def tree_with(key: str, value: Any) -> dict[str, Any]:
    tree: Any = value
    for part in reversed(key.split(".")):
        tree = {part: tree}
    return tree


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_the_default_is_the_offline_one() -> None:
    config = load_config()
    assert (config.profile, config.model.path, config.data.pubmedqa, config.data.medquad) == (
        "embedded",
        *["embedded"] * 3,
    )
    assert (config.judge.model, config.evaluation.judge, config.judge.require_licence) == (
        "local:embedded",
        "reference",
        True,
    )
    assert (config.sampling.k, config.pairs.min_margin) == (4, 0.05)
    assert (config.gate.alpha_sft, config.gate.alpha_dpo, config.dpo.beta) == (0.01, 0.04, 0.05)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_loads(name: str) -> None:
    config = load_config(name)
    assert config.profile == name
    assert config.description


def test_the_promised_profiles_are_there() -> None:
    assert {"embedded", "real-small"} <= set(profile_names())


def test_a_profile_may_be_a_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "seed = 3\n[dpo]\nbeta = 0.5\n"))
    assert (config.profile, config.seed, config.dpo.beta) == ("mine", 3, 0.5)


def test_an_unknown_profile_suggests_the_nearest() -> None:
    message = refused(profile="embeded")
    assert "'embeded'" in message and "did you mean 'embedded'" in message and "real-small" in message


def test_a_missing_profile_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "no.toml") in refused(profile=str(tmp_path / "no.toml"))


@pytest.mark.parametrize("text", [b"seed = \n", b"[dpo\n", b"seed = 1\nseed = 2\n", b"\xff\xfe"])
def test_broken_toml_names_the_file(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text)
    assert str(path) in refused(profile=str(path))


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("sed = 1\n", "'sed'", "'seed'"),
        ("[dpo]\nbetta = 1\n", "'dpo.betta'", "'dpo.beta'"),
    ],
)
def test_an_unknown_key_in_a_profile_suggests_the_nearest(tmp_path: Path, text: str, key: str, hint: str) -> None:
    message = refused(profile=written(tmp_path, text))
    assert key in message and hint in message and "mine.toml" in message


def test_an_unknown_key_in_set_suggests_the_nearest() -> None:
    message = refused("dpo.learningrate=1")
    assert "'dpo.learningrate'" in message and "did you mean 'dpo.learning_rate'" in message


def test_a_section_is_no_key() -> None:
    assert "'judge'" in refused("judge=5")


@pytest.mark.parametrize("text", ["seed", "=3", ""])
def test_set_needs_a_key_and_a_value(text: str) -> None:
    assert "key.sub=value" in refused(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seed=abc", "seed"),
        ("seed=-1", "seed"),
        ("sampling.k=1", "sampling.k"),
        ("sampling.k=2.5", "sampling.k"),
        ("sampling.temperature=0", "sampling.temperature"),
        ("sampling.engine=sglang", "sampling.engine"),
        ("sampling.urls=http://127.0.0.1:8000/v1", "sampling.urls"),
        ('sampling.urls=["127.0.0.1:8000"]', "sampling.urls"),
        ('judge.urls=["127.0.0.1:8000"]', "judge.urls"),
        ('sampling.urls=["http://127.0.0.1:x/v1"]', "sampling.urls"),
        ('judge.urls=["http://127.0.0.1:x/v1"]', "judge.urls"),
        ('sampling.urls=["http://me:secret@127.0.0.1/v1"]', "sampling.urls"),
        ('judge.urls=["http://me:secret@127.0.0.1/v1"]', "judge.urls"),
        ('sampling.urls=["http://a/v1", "http://a/v1/"]', "sampling.urls"),
        ('judge.urls=["http://a/v1", "http://a/v1/"]', "judge.urls"),
        ('judge.urls=["http://a/v1", "http://A:80/v1"]', "judge.urls"),
        ('judge.urls=["https://a:443/v1", "HTTPS://a/v1"]', "judge.urls"),
        ('sampling.urls=["http://a b/v1"]', "sampling.urls"),
        ('judge.urls=["http://a b/v1"]', "judge.urls"),
        ('sampling.urls=["http://a/v1#x"]', "sampling.urls"),
        ('judge.urls=["http://a/v1#x"]', "judge.urls"),
        ('sampling.urls=["http://a/v1?key=x"]', "sampling.urls"),
        ('judge.urls=["http://a/v1?key=x"]', "judge.urls"),
        ("cluster.address=here", "cluster.address"),
        ("cluster.address=http://10.0.0.1:6379", "cluster.address"),
        ("cluster.address=ray://10.0.0.1:10001", "cluster.address"),
        ("cluster.address=10.0.0.1:99999", "cluster.address"),
        ("cluster.workers=-1", "cluster.workers"),
        ("sampling.temperature=nan", "sampling.temperature"),
        ("model.target_modules=q_proj", "model.target_modules"),
        ("model.quantization=int3", "model.quantization"),
        ("judge.require_licence=perhaps", "judge.require_licence"),
        ("judge.concurrency=0", "judge.concurrency"),
        ("judge.max_cost=-1", "judge.max_cost"),
        ("judge.timeout=0", "judge.timeout"),
        ("pairs.min_margin=1.5", "pairs.min_margin"),
        ("seed=", "seed"),
    ],
)
def test_a_wrong_value_names_its_key(text: str, key: str) -> None:
    message = refused(text)
    assert f"{key} = " in message and "embedded" in message


@pytest.mark.parametrize(
    "key", ["sampling.urls", "judge.urls", "model.target_modules", "train.report_to", "monitors.blocking"]
)
def test_a_single_value_where_several_may_stand_is_told_how_lists_are_written(key: str) -> None:
    assert 'input should be a list, like ["a", "b"]' in refused(f"{key}=x")


def test_vllm_needs_a_server_and_no_other_engine_takes_one() -> None:
    assert "sampling.urls names no server" in refused("sampling.engine=vllm")
    assert 'set sampling.engine = "vllm"' in refused(f'sampling.urls=["{SERVER}"]')


def test_a_judge_is_served_at_one_address_or_at_several_but_said_once() -> None:
    both = refused("judge.base_url=http://a/v1", f'judge.urls=["{SERVER}"]')
    assert "judge.base_url and judge.urls both say where" in both
    assert load_config("embedded", ["judge.base_url=http://a/v1"]).judge.addresses == ("http://a/v1",)
    config = load_config("embedded", ["judge.base_url=", f'judge.urls=["{SERVER}/", "http://b/v1"]'])
    assert config.judge.addresses == (SERVER, "http://b/v1")
    same = ["http://a/v1", "https://a/v1", "http://a:443/v1", "http://a/V1", "http://[::1]/v1"]
    assert load_config("embedded", [f"judge.urls={same}"]).judge.urls == tuple(same), "five servers, not fewer"
    assert config.config_hash == load_config("embedded").config_hash


def test_servers_are_named_in_a_profile_or_on_the_command_line(tmp_path: Path) -> None:
    other = "http://gpu:8001/v1"
    file = tmp_path / "mine.toml"
    file.write_text(f'[sampling]\nengine = "vllm"\nurls = ["{SERVER}/", "{other}"]\n', "utf-8")
    config = load_config(str(file))
    assert config.sampling.urls == (SERVER, other)
    moved = load_config(str(file), [f'sampling.urls=["{other}"]'])
    assert moved.sampling.urls == (other,) and moved.config_hash == config.config_hash
    file.write_text(to_toml(config), "utf-8")
    assert load_config(str(file)) == config


@pytest.mark.parametrize("address", ["", "local", "auto", "10.0.0.1:6379", "head.cluster-1:6379", "[::1]:6379"])
def test_where_a_cluster_is_may_be_said_in_these_ways(address: str) -> None:
    config = load_config("embedded", [f"cluster.address={address}", "cluster.workers=3"])
    assert (config.cluster.address, config.cluster.workers) == (address, 3)
    assert config.config_hash == load_config("embedded").config_hash


def test_infinity_is_no_value() -> None:
    # neither TOML (as written here) nor JSON in the database can hold it, so the run could not be opened again
    assert "dpo.beta" in refused("dpo.beta=inf")


def test_a_value_where_a_section_belongs_is_one_line(tmp_path: Path) -> None:
    profile = written(tmp_path, "dpo = 3\n")
    assert "dpo" in refused(profile=profile)
    assert "dpo" in refused("dpo.beta=0.2", profile=profile)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=3", 3),
        ("seed = 3", 3),
        ("dpo.learning_rate=5e-4", 5e-4),
        ("dpo.epochs=2", 2.0),
        ("judge.failure_limit=0.5", 0.5),
        ("judge.require_licence=false", False),
        ("model.trust_remote_code=true", True),
        ("model.path=Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("model.path=/a/b=c", "/a/b=c"),
        ('model.path="a b"', "a b"),
        ("model.path=7", "7"),
        ("model.path=1.50", "1.50"),
        ("judge.base_url=http://127.0.0.1:8000/v1#x", "http://127.0.0.1:8000/v1#x"),
        ("judge.base_url=", ""),
        ('model.target_modules=["q_proj", "v_proj"]', ["q_proj", "v_proj"]),
    ],
)
def test_set_reads_numbers_texts_lists_and_truth_values(text: str, value: Any) -> None:
    config = load_config("embedded", [text])
    assert flat(config)[text.partition("=")[0].strip()] == value


@pytest.mark.parametrize("text", ["true", "2024-01-01", "[a]"])
def test_a_text_key_takes_any_text(text: str) -> None:
    assert load_config("embedded", [f"model.path={text}"]).model.path == text


def test_the_last_set_wins_over_the_profile_and_over_earlier_ones(tmp_path: Path) -> None:
    profile = written(tmp_path, "seed = 1\n[dpo]\nbeta = 0.5\nepochs = 3\n")
    config = load_config(profile, ["seed=2", "dpo.beta=0.2", "seed=4"])
    assert (config.seed, config.dpo.beta, config.dpo.epochs) == (4, 0.2, 3)


def test_an_override_leaves_the_rest_of_the_tree() -> None:
    tree: dict[str, Any] = {"dpo": {"beta": 0.5}}
    apply_override(tree, "dpo.epochs=2")
    apply_override(tree, "judge.failure_limit=0.5")
    assert tree == {"dpo": {"beta": 0.5, "epochs": 2}, "judge": {"failure_limit": 0.5}}


@pytest.mark.parametrize("key", flat(Config()))
def test_the_hash_ignores_exactly_the_keys_a_run_may_go_on_after(key: str) -> None:
    # what a value needs beside it: the loss that reads it, the engine that asks servers, a server to ask
    vllm = {"sampling": {"engine": "vllm", "urls": ["http://127.0.0.1:8001/v1"]}}
    needs = {"dpo.label_smoothing": {"dpo": {"loss": "robust"}}, "sampling.urls": vllm}
    beside = {"sampling.urls": [SERVER]} if key == "sampling.engine" else {}  # itself outside the hash
    config = validate(needs.get(key, {}), "test")
    default = flat(config)
    tree = flat(config) | {key: other_value(key, default[key])} | beside
    changed = validate(unflat(tree), "test")
    assert differing_keys(flat(changed), default) == ([] if key in OUTSIDE else [key])
    assert flat(changed) != default
    assert (changed.config_hash == config.config_hash) == (key in OUTSIDE)


def test_a_key_that_came_later_leaves_the_hash_of_older_runs_as_it_was() -> None:
    assert LATER_KEYS.items() <= flat(Config()).items(), "at its default"
    older = {key: value for key, value in flat(Config()).items() if key not in LATER_KEYS and key not in OUTSIDE_HASH}
    assert Config().config_hash == content_id(older)
    changed = validate({"sampling": {"engine": "vllm", "urls": [SERVER]}}, "test")
    assert changed.config_hash == content_id(older | {"sampling.engine": "vllm"})


def test_the_keys_outside_the_hash_exist() -> None:
    assert set(flat(Config())) >= OUTSIDE


def test_the_toml_reads_back_as_the_same_configuration() -> None:
    texts = [
        "model.path=a \"b\" \\c 'd'\té\u2028",
        "seed=12",
        "dpo.learning_rate=1e-7",
        'model.target_modules=["x", "y"]',
        "judge.failure_limit=0.5",
    ]
    config = load_config("real-small", texts)
    assert Config.model_validate(tomllib.loads(to_toml(config))) == config


@pytest.mark.parametrize("name", profile_names())
def test_the_resolved_toml_is_a_profile_that_gives_the_same_run(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(to_toml(load_config(name)), "utf-8")
    assert load_config(str(path)).config_hash == load_config(name).config_hash


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3


def test_train_and_the_loops_sft_share_their_settings(tmp_path: Path) -> None:
    one = load_config(written(tmp_path, "[train]\nlearning_rate = 2e-4\nlora_r = 4\nprompt = 'p.md'\n"))
    assert (one.sft.learning_rate, one.model.lora_r, one.prompts.policy) == (2e-4, 4, "p.md")
    other = load_config("embedded", ["sft.epochs=3", "model.lora_alpha=8"])
    assert (other.train.epochs, other.train.lora_alpha, other.train.learning_rate) == (3, 8, other.sft.learning_rate)
    both = load_config(written(tmp_path, "[train]\nepochs = 2\n[sft]\nepochs = 5\n"))
    assert (both.train.epochs, both.sft.epochs) == (2, 5)


SETS = (
    "[[data.sets]]\nformat = 'csv'\npath = 'a.csv'\nwhere = {qtype = 'x'}\n[[data.sets]]\nformat = "
    "'wikidoc'\npath = 'b.json'\n"
)


def test_one_key_of_one_data_set_can_be_set(tmp_path: Path) -> None:
    config = load_config(
        written(tmp_path, SETS), ["data.sets.1.path=7", "data.sets.0.where={qtype = ['y', 'z']}", "data.sets.0.limit=5"]
    )
    assert [s.path for s in config.data.sets] == ["a.csv", "7"]
    assert config.data.sets[0].where == {"qtype": ("y", "z")} and config.data.sets[0].limit == 5
    assert validate(tomllib.loads(to_toml(config)), "test") == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data.sets.2.path=x", "has 2, counted from 0"),
        ("data.sets.x.path=x", "has 2, counted from 0"),
        ("data.sets.0.pth=x", "did you mean 'path'"),
        ("data.sets.0.limit=-1", "data.sets.0.limit"),
        ("data.sets.0.format=an excel", "data.sets.0.format"),
        ("data.sets.0.fractions=[0.5, 0.1, 0.1]", "must add up to 1"),
        ("data.sets.0.name=a b", "data.sets.0.name"),
    ],
)
def test_a_wrong_data_set_names_its_key(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(text, profile=written(tmp_path, SETS))


@pytest.mark.parametrize(
    "text",
    [
        "seed = " + "[" * 5000 + "]" * 5000,
        "model = " + "{a = " * 3000 + "1" + "}" * 3000,
        "seed = " + "9" * 5000,
        'seed = "\0"',
    ],
)
def test_a_profile_that_the_parser_cannot_hold_is_one_line(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    assert refused(profile=path).startswith(f"{path}: not a TOML file")


@pytest.mark.parametrize(
    "text",
    [
        "seed = " + "[" * 200 + "]" * 200,
        "seed = 1979-05-27",
        'seed = "' + "x" * 100_000 + '"',
        "[model]\npath = 1979-05-27T07:32:00Z",
        "[model]\n" + "a." * 3000 + "a = 1",
        "[data]\nsets = [[[]]]",
    ],
)
def test_a_value_of_any_size_or_depth_is_told_in_short(tmp_path: Path, text: str) -> None:
    assert len(refused(profile=written(tmp_path, text))) < 500


@pytest.mark.parametrize("value", ["[" * 5000, "{a=" * 3000, "9" * 5000])
def test_an_override_that_the_parser_cannot_hold_is_a_text(value: str) -> None:
    assert load_config("embedded", [f"model.path={value}"]).model.path == value
    assert len(refused(f"seed={value}")) < 500


def test_a_profile_that_is_no_file_or_begins_with_a_mark(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    assert "no profile file" in refused(profile=str(tmp_path / "pipe.toml"))
    assert load_config(written(tmp_path, "\ufeffseed = 3")).seed == 3


@pytest.mark.parametrize(
    "text",
    [
        "gate.resamples=1000000000000",
        "sampling.temperature=1e-300",
        "sampling.temperature=1e9",
        "model.lora_r=9223372036854775808",
        "train.lora_alpha=1000000000",
        "sft.epochs=1e300",
        "dpo.learning_rate=1e30",
        "dpo.beta=1e300",
        "sft.batch_size=1000000000000",
        "sampling.max_new_tokens=1000000000000",
        "sampling.k=1000000",
        "data.sft_medquad=1000000000000000000000",
        "judge.timeout=1e300",
        "pairs.max_length_ratio=1e300",
        "monitors.logps_chosen=-1e300",
        "model.target_modules=[]",
        'train.target_modules=[""]',
    ],
)
def test_a_number_that_nobody_can_mean_and_no_target_are_refused_at_the_start(text: str) -> None:
    leaf = text.split("=")[0].split(".")[1]  # the message may name the same key of the loop, or of `train`
    with pytest.raises(UsageError, match=leaf) as raised:
        load_config("embedded", [text])
    assert "\n" not in str(raised.value)


def test_every_number_has_both_bounds() -> None:
    """What can be given as a number is refused far beyond what anybody means, whichever key it is, on either side."""
    for key, value in flat(Config()).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            for far in ("1e300", "-1e300") if isinstance(value, float) else (str(10**30), str(-(10**30))):
                with pytest.raises(UsageError, match=key.split(".")[-1]):
                    load_config("embedded", [f"{key}={far}"])
