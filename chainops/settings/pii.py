"""``[pii]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from chainops.settings.section import Section

__all__ = ["PiiSettings"]


class PiiSettings(Section):
    """``[pii]``: personal data out of models and files; needs ``pii`` in ``[pipeline].middleware``."""

    vault: Path = Field(default=Path("chainops-vault.db"), description="The encrypted file with the values.")
    key: SecretStr | None = Field(default=None, description="The key of the vault; chainops pii key makes one.")
    persist: bool = Field(default=True, description="False: values in memory only, without vault and key.")
    kinds: tuple[str, ...] | None = Field(default=None, description="Which kinds are looked for; else all.")
    detectors: tuple[str, ...] = Field(
        default=(), description="Detectors that enabled plugins bring: plugin, or plugin/detector."
    )
    removed: tuple[str, ...] = Field(
        default=("SECRET", "API_KEY", "PRIVATE_KEY", "JWT"), description="Kinds that are never restored."
    )
    threshold: float = Field(default=0.5, ge=0, le=1, description="Findings with a lower score are ignored.")
    restore: bool = Field(default=True, description="Values stand again in what leaves a run.")
    plain_tools: tuple[str, ...] = Field(default=(), description="Globs on names of tools that get values.")
    names_model: Path | None = Field(
        default=None, description="A folder with a model of spaCy: names and places, by Presidio."
    )
    language: str = Field(default="en", description="Of names_model.")
    ttl_s: float = Field(default=2_592_000.0, gt=0, description="Seconds after which an unused value is forgotten.")
    tenant_key: str = Field(default="tenant", description="Where the metadata of a run has the tenant.")
    user_key: str = Field(default="user", description="Where the metadata of a run has the user.")
