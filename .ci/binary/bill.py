"""What is inside, as a CycloneDX bill of materials, and the licences of all of it."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from inputs import pinned
from tree import EMBEDDER, PACKAGES

GPL_WITH_EXCEPTION = ("libgcc-s1", "libstdc++6", "libgomp1", "gcc-12-base")
"""GPL-3.0 with the GCC Runtime Library Exception: may be shipped with programs of any licence."""

DEBIAN_LICENCES = {
    "libpython3.11-minimal": "PSF-2.0", "libpython3.11-stdlib": "PSF-2.0", "python3.11-minimal": "PSF-2.0",
    "libc6": "LGPL-2.1-or-later", "libssl3": "Apache-2.0", "zlib1g": "Zlib", "libbz2-1.0": "bzip2-1.0.6",
    "liblzma5": "0BSD", "libffi8": "MIT", "libsqlite3-0": "blessing", "libuuid1": "BSD-3-Clause", "libexpat1": "MIT",
    "libzstd-dev": "BSD-3-Clause", **dict.fromkeys(GPL_WITH_EXCEPTION, "GPL-3.0-or-later WITH GCC-exception-3.1"),
}  # fmt: skip
GPL = re.compile(r"(?<![AL])GPL|GNU General Public", re.IGNORECASE)


def bill(tree: Path, version: str, llama_version: str, mtime: int) -> dict[str, Any]:
    """The bill of materials, CycloneDX 1.6."""
    parts = [_package(path) for path in sorted((tree / PACKAGES).glob("*.dist-info"))]
    parts = [part for part in parts if part["name"] != "chainops"]
    for name, deb_version, digest in pinned():
        licence = DEBIAN_LICENCES[name]
        purl = f"pkg:deb/debian/{name}@{deb_version}?arch=amd64&distro=bookworm"
        hashes = [{"alg": "SHA-256", "content": digest}]
        part = {"type": "library", "bom-ref": purl, "name": name, "version": deb_version, "purl": purl}
        parts.append({**part, "hashes": hashes, "licenses": [{"expression": licence}]})
    parts.append(_plain("library", "llama.cpp", llama_version, "MIT"))
    card = json.loads((tree / EMBEDDER / "card.json").read_text(encoding="utf-8"))
    parts.append(_plain("machine-learning-model", card["name"], card["precision"], "Apache-2.0"))
    product = _plain("application", "chainops", version, "Apache-2.0")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(parts, sort_keys=True))}",
        "version": 1,
        "metadata": {"timestamp": datetime.fromtimestamp(mtime, UTC).isoformat(), "component": product},
        "components": parts,
        "dependencies": [{"ref": product["bom-ref"], "dependsOn": sorted(part["bom-ref"] for part in parts)}],
    }


def _plain(kind: str, name: str, version: str, licence: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": f"{name}@{version}", "name": name, "version": version,
            "licenses": [{"expression": licence}]}  # fmt: skip


def _package(info: Path) -> dict[str, Any]:
    about = HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    name, version = about["Name"], about["Version"]
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    part = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if about["License-Expression"]:
        return {**part, "licenses": [{"expression": about["License-Expression"]}]}
    return {**part, "licenses": [{"license": {"name": _licence_name(about)}}]}


def _licence_name(about: Any) -> str:
    classes = [c.split("::")[-1].strip() for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    named = (about["License"] or "").strip().splitlines()
    return " OR ".join(classes) or (named[0][:100] if named else "see its licence file")


def unwelcome(found: dict[str, Any]) -> list[str]:
    """Parts whose licence would bind who ships this file: GPL, but for GCC's runtime and a free choice of another."""
    wrong = []
    for part in found["components"]:
        for entry in part["licenses"]:
            text = entry.get("expression") or entry["license"]["name"]
            if GPL.search(text) and part["name"] not in GPL_WITH_EXCEPTION and " OR " not in text:
                wrong.append(f"{part['name']} {part['version']}: {text}")
    return wrong


def licences(tree: Path, debian: Path, llama: Path, weights: Path, out: Path) -> None:
    """Copy the licence texts of everything into the folder ``out``."""
    for info in sorted((tree / PACKAGES).glob("*.dist-info")):
        for file in sorted(info.rglob("*")):
            if file.is_file() and re.match(r"(licen[cs]e|copying|notice|copyright|authors)", file.name, re.IGNORECASE):
                _copy(file, out / "python" / info.name.removesuffix(".dist-info") / file.name)
    for name, _, _ in pinned():
        _copy(debian / "usr" / "share" / "doc" / name / "copyright", out / "debian" / name / "copyright")
    _copy(llama / "vendor" / "llama.cpp" / "LICENSE", out / "llama.cpp" / "LICENSE")
    for file in weights.rglob("*"):
        if re.match(r"licen[cs]e", file.name, re.IGNORECASE):
            _copy(file, out / "all-MiniLM-L6-v2" / file.name)


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(source.read_bytes())


def validate(found: dict[str, Any]) -> None:
    """Check it against the schema of CycloneDX."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)):
        raise SystemExit(f"The bill of materials is not valid: {error}")
