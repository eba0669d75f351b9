"""Where NeMo would let everything pass without a word: each is an error before the first call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chainops.errors import SetupError
from chainops.middleware.rails.patterns import PATIENCE, PatternRail

__all__ = ["clean", "flow", "settings", "wrong"]

log = logging.getLogger("chainops")
SELF_CHECKS = {"self check input": "self_check_input", "self check output": "self_check_output"}
NEVER = {
    "jailbreak detection model": "passes everything where its model cannot be loaded",
    "jailbreak detection heuristics": "loads gpt2-large from a model hub",
    "detect sensitive data on input": "needs a spaCy model that cannot be chosen",
    "detect sensitive data on output": "needs a spaCy model that cannot be chosen",
    "mask sensitive data on input": "needs a spaCy model that cannot be chosen",
    "mask sensitive data on output": "needs a spaCy model that cannot be chosen",
}
OURS = "Use a rail of chainops in its place; the page on rails has the list."
SHORT = 16  # tokens: a self-check answers yes or no


def wrong(path: Path, problem: str, hint: str = "Mend its config.yml.") -> SetupError:
    """The error for a folder."""
    return SetupError(f"The rails folder {path} {problem}", hint=hint, code="setup.nemo")


def settings(config: Any, path: Path) -> None:
    """What does not depend on a flow: code in the folder is named and not run; self-checks answer in one word."""
    folder = path if path.is_dir() else path.parent
    code = [p.name for p in (folder / "config.py", folder / "actions.py", folder / "actions") if p.exists()]
    if code:
        log.warning("%s: %s is not run; rails of your own are Python classes (Rail)", path, ", ".join(code))
    if config.rails.dialog is not None and (config.user_messages or config.bot_messages):
        log.info(
            "%s has dialog rails, which run at the boundary of a graph: Rails(dialog=Dialog(folder, embedder))", path
        )
    for prompt in config.prompts or []:
        if prompt.task.startswith(tuple(SELF_CHECKS.values())) and prompt.max_tokens is None:
            prompt.max_tokens = SHORT


def flow(nemo: Any, rail: Any, output: bool, dependencies: Any, path: Path) -> bool:
    """Refuse a compiled flow that could not judge; True when it asks a model."""
    name, config = rail.surface_name, dependencies.config
    if name in NEVER:
        raise wrong(path, f"has the flow {name!r}, which {NEVER[name]}", OURS)
    manifest = next(m for m in nemo.catalog.manifests.values() if rail.surface in m.surfaces)
    if name.startswith("hf classifier"):
        _classifier(rail, config, path)
    elif manifest.spec.privacy.remote_services:
        service = manifest.spec.privacy.remote_services[0]
        raise wrong(path, f"has the flow {name!r}, which sends texts to {service}", "Take it out: rails run offline.")
    if name.startswith("regex check"):
        _patterns(config, "output" if output else "input", path)
    if name == "injection detection":
        _yara(config, path)
    if name in SELF_CHECKS:
        _self_check(rail.flow, SELF_CHECKS[name], dependencies, path)
        return True
    named = [bound.value for bound in rail._bound if bound.resource == "model"]
    return bool(named) or "guard" in name or "safety" in name or name.startswith("hf classifier")


def _patterns(config: Any, source: str, path: Path) -> None:
    section = config.rails.config.regex_detection
    options = getattr(section, source, None) if section is not None else None
    if options is None or not options.patterns:
        raise wrong(path, f"checks {source} by patterns and has none under rails.config.regex_detection.{source}")
    try:
        rail = PatternRail("regex check", options.patterns, ignore_case=options.case_insensitive)
    except SetupError as error:
        raise wrong(path, f"has a pattern that cannot be used: {error.message}") from None
    # NeMo matches on the event loop with patterns that may backtrack for minutes; these give up, and so block
    object.__setattr__(options, "_compiled_patterns", [_Bounded(pattern) for _, pattern in rail.patterns])


def clean(nemo: Any, rail: Any, output: bool, config: Any) -> Callable[[str], bool] | None:
    """For a flow of patterns: that none of them is in a text, which is what it allows, without its machinery."""
    if not rail.surface_name.startswith("regex check"):
        return None
    options = getattr(config.rails.config.regex_detection, "output" if output else "input")
    found = [pattern.search for pattern in options.compiled_patterns]
    return lambda text: not any(search(text) for search in found)


class _Bounded:
    def __init__(self, pattern: Any) -> None:
        self.pattern = pattern

    def search(self, text: str) -> Any:
        return self.pattern.search(text, timeout=PATIENCE)


def _self_check(flow: str, task: str, dependencies: Any, path: Path) -> None:
    from nemoguardrails.utils import _get_flow_params

    variant = _get_flow_params(flow).get("variant")
    if not {variant or task, task, "main"} & dependencies.llms.keys():
        raise wrong(path, f"has the flow {flow!r}, and there is no model", "Give it one: model=...")
    prompts = {prompt.task for prompt in dependencies.config.prompts or []}
    if not {f"{task} $variant={variant}" if variant else task, variant} & prompts:
        raise wrong(path, f"has the flow {flow!r} without a prompt for the task {task!r}", "Add it under prompts.")


def _classifier(rail: Any, config: Any, path: Path) -> None:
    for name, options in (config.rails.config.hf_classifier or {}).items():
        if getattr(options, "engine", "local") != "local" or not Path(str(options.model)).is_dir():
            raise wrong(path, f"has the classifier {name!r}, which is no folder on this machine")


def _yara(config: Any, path: Path) -> None:
    from nemoguardrails.library.injection_detection import actions

    try:
        actions._validate_injection_config(config)
        _, where, names, sources = actions._extract_injection_config(config)
        rules = actions._load_rules(where, names, sources)
    except Exception as error:  # noqa: BLE001 - whatever its settings or YARA say
        raise wrong(path, f"has injection rules that cannot be used: {error}") from None
    if rules is None:
        raise wrong(
            path, "has injection rules that YARA does not take, or none", "Mend rails.config.injection_detection."
        )
