"""The smallest plugin of the documentation is real: at most 20 lines, installed, checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from chainops.plugin import find_plugin
from chainops.testing import check_plugin

PAGE = Path(__file__).resolve().parents[3] / "chainops" / "docs" / "howto" / "plugins.md"


async def test_the_smallest_plugin_has_at_most_twenty_lines_and_passes_every_check(install: Any) -> None:
    section = PAGE.read_text("utf-8").partition("## The smallest one")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    code = found[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    install("shout", code)
    findings = await check_plugin(find_plugin("shout"))
    assert [f for f in findings if not f.passed] == []
    assert any("conformance kit" in f.check for f in findings)
