"""The agent's exception tree, classed by what the operator is to do.

AgentError
├── ConfigError        the configuration is wrong: correct the file, nothing was started
└── EvidenceError      the evidence of a decision is missing or broken: fetch it elsewhere
"""

from __future__ import annotations


class AgentError(Exception):
    """Anything that the agent refuses to go on with."""


class ConfigError(AgentError):
    """The configuration cannot be used; the message lists every fault and what would be right."""


class EvidenceError(AgentError):
    """The evidence of a decision is missing, broken or past its retention."""
