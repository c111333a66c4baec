"""From the name of a model to a LangChain chat model, and where it is. Imports LangChain only when a model is made."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from judges.faults import classify, describe
from judges.redact import looks_like_key
from judges.settings import JudgeSettings
from judges.wire import hooks
from rlaif.types import UsageError, content_id
from rlaif.wording import join

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


# Those that init_chat_model knows. A name before a colon that is not here belongs to the model, as in Ollama's
# "qwen3:8b".
PROVIDERS = tuple(
    "anthropic anthropic_bedrock azure_ai azure_openai baseten bedrock bedrock_converse cohere deepseek "
    "fireworks google_genai "
    "google_vertexai groq huggingface ibm litellm mistralai nvidia ollama openai openrouter perplexity "
    "together upstage xai".split()
)
PACKAGES = {  # of LangChain, where they are not called as the provider
    "anthropic_bedrock": "aws",
    "azure_openai": "openai",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "nvidia": "nvidia_ai_endpoints",
}
LASTING = ("id", "root", "parent", "owned_by", "max_model_len", "digest", "meta")  # what servers say of their models
HINT = (
    "use 'reference', 'support', 'provider:name' such as 'openai:gpt-4o-mini', the name of a served model with "
    "judge.base_url, or 'module:object' of your own"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is: what to call it in messages, and whether it is on this machine. `server` tells one address from
    another; "" for a provider's own service, which its name says.
    """

    host: str
    local: bool
    server: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """A chat model by its full name, and its endpoints with what asks there. `endpoint` is all of them in one."""

    model: str
    endpoint: Endpoint
    each: tuple[tuple[Endpoint, BaseChatModel], ...]


def served(model: str, settings: JudgeSettings, chat_model: BaseChatModel | None = None) -> Served:
    """The chat model called `model` at the addresses in `settings`, or `chat_model` in the place of that (tests).

    Raises UsageError for a name or an address that cannot be asked.
    """
    if chat_model is not None:
        here = Endpoint("a chat model in this process", True)
        return Served(model, here, ((here, chat_model),))
    for url in settings.urls:
        check_url(url, "judge.urls")
    places = [replace(settings, base_url=url, urls=()) for url in settings.urls] or [settings]
    provider, name = split_name(model, places[0].base_url)
    full = f"{provider}:{name}"
    each = tuple((endpoint(full, place.base_url), make_chat_model(full, place)) for place in places)
    if len(each) == 1:
        return Served(full, each[0][0], each)
    where = [one for one, _ in each]
    server = content_id("servers", *sorted(one.server for one in where))
    return Served(full, Endpoint(join([one.host for one in where]), all(one.local for one in where), server), each)


def split_name(model: str, base_url: str) -> tuple[str, str]:
    """Provider and name of `model`; without a provider it is any model at an OpenAI-compatible `base_url`.

    Raises UsageError for a name that says neither, and for a base URL that is none or that holds a password or key.
    """
    if looks_like_key(model):
        raise UsageError("judge.model holds a key, and would be recorded; put the key into the environment instead")
    provider, colon, name = model.partition(":")
    provider = provider.strip().replace("-", "_").lower()
    if base_url:
        check_url(base_url)
    if colon and provider in PROVIDERS and name.strip():
        return provider, name.strip()
    if base_url and model.strip():
        return "openai", model.strip()
    raise UsageError(f"judge.model = {model!r} names no judge; {HINT}")


def check_provider(model: str, base_url: str) -> None:
    """UsageError where `model` cannot be asked for want of a known name, its provider's package or OpenAI's key. Asks
    nobody, and imports no LangChain.
    """
    provider, _ = split_name(model, base_url)
    package = f"langchain_{PACKAGES.get(provider, provider)}"
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"judge.model = {model!r} cannot be used: it needs the package {package.replace('_', '-')}; "
            "install it with pip"
        )
    key = any(os.environ.get(name) for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"))
    if provider == "openai" and not key and not is_loopback(base_url):
        raise UsageError(
            f"judge.model = {model!r} cannot be used: there is no key; keys are read from the environment only, e.g. "
            "OPENAI_API_KEY"
        )


def check_url(base_url: str, key: str = "judge.base_url") -> None:
    """UsageError, naming the setting `key`, unless it is a plain http or https URL: it is recorded with the run, so no
    secret may stand in it.
    """
    try:
        parts = urlsplit(base_url)
        host, secret = parts.hostname, parts.username or parts.password or parts.query
    except ValueError:
        parts, host, secret = None, None, None
    if secret or looks_like_key(base_url):
        raise UsageError(
            f"{key} holds a user, password, query or key, and would be recorded; put the key into the "
            "environment instead"
        )
    if parts is None or parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{key} = {base_url!r} is no URL; write it like http://127.0.0.1:8000/v1")


def make_chat_model(model: str, settings: JudgeSettings) -> BaseChatModel:
    """The chat model. Keys are read from the environment only; one on this machine may do without.

    Raises UsageError when the provider's package or key is missing, or it refuses its arguments.
    """
    provider, name = split_name(model, settings.base_url)
    options: dict[str, Any] = {"temperature": settings.temperature, "timeout": settings.timeout, "max_retries": 0}
    options["num_predict" if provider == "ollama" else "max_tokens"] = settings.max_new_tokens
    if settings.base_url:
        options["base_url"] = settings.base_url
    here = provider == "openai" and is_loopback(settings.base_url)
    if here and not os.environ.get("OPENAI_API_KEY"):
        options["api_key"] = "none"  # servers on this machine ask for none, but the client wants one
    if provider == "openai":
        import openai

        proxy = None if here else os.environ.get("OPENAI_PROXY") or None
        options["openai_proxy"] = ""  # LangChain takes no proxy of its own beside an http_client
        options["http_client"] = openai.DefaultHttpxClient(
            trust_env=not here,  # what is meant for this machine must not go through a proxy
            timeout=settings.timeout,
            event_hooks=hooks(settings.timeout),
            proxy=proxy,
        )
    if provider == "ollama":
        options["client_kwargs"] = {"event_hooks": hooks(settings.timeout)}
    try:
        from langchain.chat_models import init_chat_model

        return init_chat_model(name, model_provider=provider, **options)
    except Exception as error:  # each provider has its own errors for a missing key or a wrong argument
        raise UsageError(
            f"judge.model = {model!r} cannot be used: {describe(error)}; keys are read from the "
            "environment only, e.g. OPENAI_API_KEY"
        ) from None


def with_old_limit(chat: BaseChatModel) -> BaseChatModel | None:
    """`chat` with its limit under OpenAI's older name `max_tokens`, which is the only one some servers know; None where
    a model is not asked in OpenAI's way.
    """
    limit = getattr(chat, "max_tokens", None)
    if not limit or not hasattr(chat, "extra_body"):
        return None
    return chat.model_copy(update={"max_tokens": None, "extra_body": {**(chat.extra_body or {}), "max_tokens": limit}})


def model_entry(chat: BaseChatModel) -> str:
    """A hash of what the server's list of models says about this one, without what changes by itself (times, load); ""
    where there is no such list. Raises what the library raises when nobody answers.
    """
    client: Any = getattr(chat, "root_client", None)
    if client is None:
        return ""
    try:
        listed = client.get("/models", cast_to=object)
    except Exception as error:
        if classify(error).status:
            return ""
        raise
    entries = listed.get("data") if isinstance(listed, dict) else None
    name = getattr(chat, "model_name", "")
    mine = [e for e in entries if isinstance(e, dict) and e.get("id") == name] if isinstance(entries, list) else []
    kept = [{key: entry[key] for key in LASTING if key in entry} for entry in mine]
    return content_id("model", json.dumps(kept, sort_keys=True, default=str)) if kept else ""


def endpoint(model: str, base_url: str) -> Endpoint:
    """Where `model` is asked, from the base URL, the provider's variables in the environment, or the provider's
    name.
    """
    provider, _ = split_name(model, base_url)
    names = {"openai": ("OPENAI_API_BASE", "OPENAI_BASE_URL"), "ollama": ("OLLAMA_HOST",)}.get(provider, ())
    url = base_url or next((value for name in names if (value := os.environ.get(name))), "")
    if url:
        url = url if "://" in url else f"http://{url}"
        return Endpoint(urlsplit(url).netloc, is_loopback(url), content_id("server", url.rstrip("/").lower()))
    if provider == "ollama":
        return Endpoint("127.0.0.1:11434", True)
    return Endpoint("api.openai.com" if provider == "openai" else f"the service of {provider}", False)


def is_loopback(url: str) -> bool:
    host = urlsplit(url if "://" in url else f"http://{url}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
