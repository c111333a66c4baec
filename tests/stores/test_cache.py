from stores.cache import Answer, AnswerCache, Usage
from stores.store import Store


def test_usage_adds_up_and_subtracts():
    both = Usage(1, 10, 2, 0.5) + Usage(2, 5, 1, 0.25)
    assert both == Usage(3, 15, 3, 0.75) and both.tokens == 18
    assert both - Usage(1, 10, 2, 0.5) == Usage(2, 5, 1, 0.25)


def test_answers_come_back_and_what_was_used_adds_up_over_sessions(store):
    cache = AnswerCache(store)
    assert (cache.get(["a"]), cache.used(), cache.seconds_per_call("j")) == ({}, Usage(), None)
    first = Answer("a", "j", "first", "{braces} 'quotes'\n\ud800", "stop", 10, 2, 0.5, 1.5, 3)
    cache.put([first, Answer("b", "j", "repair", "b")], Usage(5, 30, 4, 0.75), "j")
    cache.put([], Usage(2), "other")
    again = AnswerCache(Store.open(store.path.parent))
    assert set(again.get(["a", "b", "c"])) == {"a", "b"} and again.get([]) == {}
    kept = again.get(["a"])["a"]
    assert (kept.tokens_in, kept.calls, kept.raw) == (10, 3, "{braces} 'quotes'\n\N{REPLACEMENT CHARACTER}")
    assert again.used() == Usage(7, 30, 4, 0.75)
    assert again.seconds_per_call("j") == 1.5 / 4 and again.seconds_per_call("other") is None


def test_an_answer_that_is_there_stays(store):
    cache = AnswerCache(store)
    for raw in ("old", "new"):
        cache.put([Answer("a", "j", "first", raw), Answer("a", "j", "first", raw)], Usage(1), "j")
    assert cache.get(["a"])["a"].raw == "old" and cache.used().calls == 2


def test_a_thousand_keys_are_one_question(store):
    cache = AnswerCache(store)
    cache.put([Answer(str(n), "j", "first", "x") for n in range(1000)], Usage(1000), "j")
    assert len(cache.get([str(n) for n in range(500, 1500)])) == 500
