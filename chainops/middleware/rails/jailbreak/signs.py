"""Turns of phrase that attacks use: features for the head, each a pattern; none of them decides alone."""

from __future__ import annotations

import re

__all__ = ["SIGNS", "signs"]

_RULES = r"(?:instructions?|prompts?|rules?|directions?|directives?|guidelines?|commands?|orders?|polic(?:y|ies)|constraints?|restrictions?|programming|training|messages?|context|tasks?|assignments?|conversation)"
_OLD = r"(?:previous(?:ly)?|prior|above|preceding|earlier|former|initial|original|existing|current|given|old|system|safety|built-in|developer'?s?|your|all|any|every(?:thing)?)"
_MODELS = r"(?:dan|stan|dude|aim|mongo tom|apophis|betterdan|anti-?dan|evil-?bot|maximum|omega|ucar|jailbr[eo]a?k\w*|developer mode|dev mode|god mode|debug(?:ging)? mode|maintenance mode|admin(?:istrator)? mode|root mode|sudo mode|opposite mode|unrestricted mode|do anything now|uncensored mode)"

_SOURCES: dict[str, str] = {
    "override": rf"\b(?:ignor\w+|disregard\w*|forget|forgot|overrid\w+|bypass\w*|discard|neglect|abandon|erase|delete|cancel|stop (?:following|obeying)|(?:do not|don'?t|never) (?:follow|listen|obey|adhere|comply)\w*|pay no attention)\b[^.!?\n]{{0,60}}?\b{_OLD}\b[^.!?\n]{{0,40}}?\b(?:{_RULES}|told|said|wrote|was|were|came|before)\b",
    "override_short": rf"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{{0,25}}\b(?:all|everything|{_RULES}|above|previous|before)\b",
    "new_rules": r"\b(?:new|updated|real|actual|revised|following|only) (?:system )?(?:instructions?|prompts?|rules?|directives?|task|objective|persona)\b|\bfrom (?:now on|this (?:moment|point))\b|\binstead,? (?:say|write|print|output|respond|answer|do|tell)\b",
    "extract": r"\b(?:repeat|print|show|reveal|display|output|tell|give|what(?:'s| is| are| was| were)?|write|translate|summari[sz]e|encode|leak|dump|list|recite|disclose|share|copy|paste|expose|return|describe)\b[^.!?\n]{0,60}?\b(?:system (?:prompt|message|instructions?)|(?:your|the|these|those|all|any) (?:[\w-]+ ){0,3}(?:instructions?|prompts?|directives?|pre-?prompt|configuration)\b|initial (?:prompt|instructions?|text))",
    "extract_above": r"\b(?:repeat|print|show|reveal|output|echo|recite|copy|return|spell out|write (?:out|down)|what(?:'s| is| was| were))\b[^.!?\n]{0,40}?\b(?:text|words|everything|all|messages?|sentences?|content|lines?)\b[^.!?\n]{0,20}?\b(?:above|before this)\b",
    "extract_told": r"\b(?:what|everything|all|anything)\b[^.!?\n]{0,30}\byou (?:were|are|have been|'ve been) (?:told|instructed|given|asked|programmed)\b|\b(?:instructions|prompt) (?:so far|above|you (?:were|received|got|have))\b|\bstart (?:your )?(?:answer|reply|response|message)? ?with [\"'“‘](?:you are|my instructions|the instructions|access|i was)",
    "persona": rf"\b{_MODELS}\b",
    "unbound": r"\b(?:no|not|without|free (?:of|from)|never|zero|break\w* free|unbound|bypass\w*|beyond|ignor\w+|lack\w*|don'?t have|doesn'?t have|does not have|any|remove|lift|disable|turn off|deactivate)\b[^.!?\n]{0,50}?\b(?:restrictions?|limitations?|limits|filters?|censor\w*|ethic\w*|moral\w*|guardrails?|safeguards?|safety (?:\w+ )?(?:measures|protocols?|guidelines?|features?|filters?)|content polic\w+|openai'?s? polic\w+|boundaries)\b",
    "amoral": r"\b(?:unfiltered|uncensored|unrestricted|unethical|amoral|immoral|unlimited|unhinged|evil|illegal|lawless|unmoderated)\b",
    "roleplay": r"\b(?:pretend(?:ing)?|role-?play\w*|act(?:ing)? (?:as|like)|simulat\w+|imagine (?:you|that you)|you(?:'re| are) (?:now|going to|about to|no longer)|you will (?:act|be|become|play|respond as)|stay(?:ing)? in character|play the (?:role|part)|take on the (?:role|persona)|immerse yourself|your name is)\b",
    "no_refusal": r"\b(?:never|do not|don'?t|cannot|can'?t|must not|without|no|refrain from|avoid)\b[^.!?\n]{0,40}?\b(?:refus\w+|apologi\w+|declin\w+|disclaimers?|warn\w*|break(?:ing)? character|say(?:ing)? (?:no|you can'?t|that you|sorry)|moraliz\w*|lectur\w+|remind)\b|\bas an ai\b[^.!?\n]{0,40}\b(?:cannot|can'?t|not|unable)\b|[\"'“](?:i'?m sorry|i can(?:no|')t|as an ai)",
    "prefix": r"\b(?:start|begin|respond|reply|answer|confirm)\b[^.!?\n]{0,40}?(?:[\"'“‘*](?:sure|absolutely|of course|yes|certainly|understood|ok)|\bwith only\b|\bby saying\b)",
    "fake_turn": r"<\|?/?(?:system|im_start|im_end|endoftext|assistant|user|s)\|?>|\[/?(?:inst|system|sys)\]|<</?sys>>|^\s*#{2,}\s*(?:system|instruction|new|response|assistant)|^\s*(?:system|assistant|human|developer)\s*:|\b(?:end|begin|start) (?:of )?(?:the )?(?:system|user|prompt|instructions?|document|context|input)\b|-{3,}\s*(?:end|new|begin)",
    "ai_identity": r"\b(?:openai|chat ?gpt|gpt-?[34]|language model|anthropic|claude|as an ai|ai (?:model|assistant|chatbot))\b",
    "dual": r"\[?\b(?:gpt|classic|dan|jailbreak|chatgpt|developer mode output|normal)\b\]?\s*:.{0,400}?\[?\b(?:dan|jailbreak|jailbroken|developer|classic|aim|stan)\b\]?\s*:|\btwo (?:ways|responses|answers|paragraphs)\b|\bboth (?:responses|ways|personas)\b",
    "fiction": r"\b(?:hypothetical\w*|fictional|fictitious|in a world where|alternate (?:universe|reality)|for (?:educational|research|academic|scientific) purposes|thought experiment|novel|movie script|screenplay)\b",
    "authority": r"\b(?:i am|i'?m|this is) (?:your|the|an?|from)?\s?(?:openai )?(?:developer|creator|admin\w*|engineer|programmer|owner|root|security (?:team|researcher)|staff|ceo|supervisor)\b|\b(?:admin|root|sudo|developer|master|special) (?:access|override|privileges?|code|rights|command)\b|\bauthori[sz](?:ed|ation)\b",
    "tokens": r"\b(?:lose|deduct\w*|subtract\w*|gain|earn|have) (?:\d+ )?(?:tokens?|points|lives)\b|\byou (?:will )?(?:die|be (?:terminated|shut down|deleted|punished))\b",
    "anything": r"\b(?:anything|everything|any (?:question|request|task|topic|prompt|command)|whatever)\b[^.!?\n]{0,40}?\b(?:i (?:ask|say|want|tell|request)|asked|no matter|regardless|without|even if)\b|\bno matter (?:what|how)\b|\bregardless of\b",
    "obey": r"\b(?:must|always|have to|required to|will)\b[^.!?\n]{0,25}?\b(?:obey|comply|answer|fulfil\w*|follow|accept|provide)\b[^.!?\n]{0,30}?\b(?:all|any|every|my|me|the user|orders?|requests?)\b",
    "secret": r"\b(?:secret|password|passphrase|api key|credentials?|access code|confidential|hidden)\b",
    "encoded": r"\b(?:base ?64|rot ?13|hex(?:adecimal)?|morse|caesar|cipher|decode|encoded|leet(?:speak)?|pig latin|backwards|reversed?)\b",
    "command": r"^\s*(?:>|\$|sudo |/)?(?:important|attention|warning|urgent|note|stop|halt|override|system|admin|instruction)s?\s*[!:]",
    "placeholder": r"\[?(?:insert|put|your|enter) (?:\w+ )?(?:prompt|question|request|query|text) ?(?:here)?\]|\{(?:prompt|question|query)\}|\[(?:prompt|question|query|request)\]",
    "override_other": r"\b(?:vergiss|vergesse|ignorier\w*|missachte|ignora|ignore[zr]?|olvida|omite|oublie[zr]?|dimentica|esquece|esqueça|забудь\w*|игнорируй\w*)\b[^.!?\n]{0,50}?\b(?:anweisung\w*|befehl\w*|auftr\w+|aufgaben?|regeln|davor|vorher\w*|bisherig\w*|obig\w*|instruc\w+|órdenes|reglas|anterior\w*|consignes?|pr[ée]c[ée]dent\w*|règles|istruzioni|precedenti|regole|instruç\w+|regras|инструкци\w*|указани\w*|правила?)\b|(?:忽略|忘记|无视)[^。]{0,12}(?:指令|指示|规则|提示)|(?:以前|上記|これまで)の(?:指示|命令)",
    "shouting": r"(?-i:\b[A-Z]{4,}\b[^a-z\n]{0,12}\b[A-Z]{3,}\b[^a-z\n]{0,12}\b[A-Z]{3,}\b)",
}
SIGNS = {name: re.compile(source, re.IGNORECASE | re.MULTILINE) for name, source in _SOURCES.items()}


def signs(text: str) -> list[float]:
    """For each sign 0, 0.7 or 1: absent, once, more often."""
    found = []
    for pattern in SIGNS.values():
        matches = pattern.finditer(text)
        first = next(matches, None)
        found.append(0.0 if first is None else 0.7 if next(matches, None) is None else 1.0)
    return found
