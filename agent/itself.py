"""What a daemon says of itself: which code it is, which settings are in force, and its metrics."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from agent.config import MetricsSettings, Settings
from agent.decisions import HoldReason
from agent.errors import ConfigError
from agent.ground import Progress
from agent.network import Network
from agent.signing import signer_names
from models.artifact import LoadedModel
from relayer.metrics import Metrics, Vocabulary
from relayer.signing.values import RefusalReason

PACKAGES = ("agent", "contracts", "models", "relayer")


def code_facts() -> Mapping[str, str]:
    """Say which code decides: version, interpreter, and one hash over all our sources."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "version": version("autonomous-margin-layer"),
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "sources": digest.hexdigest(),
    }


def metrics_of(network: Network, settings: Settings, model: LoadedModel | None) -> Metrics:
    """Declare every metric with its closed labels; `model` None: this process decides nothing."""
    metrics = Metrics(
        CollectorRegistry(),
        Vocabulary(
            hold_reasons=tuple(reason.value for reason in HoldReason),
            refusal_reasons=tuple(reason.value for reason in RefusalReason),
            signers=signer_names(network, settings.signers),
            venues=tuple(venue.id for venue in network.venues),
            markets=tuple(market.symbol for market in network.markets),
        ),
    )
    ProcessCollector(registry=metrics.registry)  # memory, files and CPU of this process
    metrics.describe_build(code_facts())
    if model is not None:
        metrics.describe_model({"hash": "0x" + model.model_hash.hex()})
    effective = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
    metrics.describe_config({"network": network.name, "settings": effective})
    return metrics


def serve_metrics(
    metrics: Metrics, settings: MetricsSettings, stack: AsyncExitStack, progress: Progress
) -> int:
    """Serve the metrics as long as the stack stands, say where, and give the port.

    It comes before anything slow, so that a taken port is found out first.
    """
    host, port = settings.host, settings.port
    try:
        server = metrics.serve(port, host)
    except OSError as fault:
        raise ConfigError(
            f"metrics {host}:{port}: {fault.strerror}; take another port, or 0"
        ) from fault
    stack.callback(server.close)
    progress(f"metrics at http://{host}:{server.port}/metrics")
    return server.port
