"""`aml models`: train, evaluate, read, promote and roll back models."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import JsonOption, grouped
from agent.cli.progress import count

if TYPE_CHECKING:
    from models.manifest import TrainedModel
    from models.registry import Step
    from models.samples import Recorded

app = typer.Typer(help="Train, judge and promote models.", no_args_is_help=True)

DEFAULT_FOLDER = Path(".aml/models")
HORIZONS = {"15m": 900, "1h": 3_600, "4h": 14_400, "24h": 86_400}

TAIL_HEADINGS = (
    f"{'breaches':>9}{'Kupiec':>9}{'Christ.':>9}{'green':>8}{'average':>9}{'pin. e-4':>9}"
    f"{'FZ0':>8}{'pk/tr':>8}{'5-day':>9}"
)

FolderOption = Annotated[
    Path, typer.Option("--models", help="Folder of models and of the journal of promotions.")
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="An artifact's folder; the champion if not given.")
]
HashArgument = Annotated[str, typer.Argument(help="Model hash, as `aml models list` shows it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is journalled.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """How the fits are done."""

    seed: Annotated[int, typer.Option("--seed", help="The same inputs give the same model.")] = 0
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Fits at a time, in processes.")] = 1


FITTING = Fitting()


@app.command(
    "train", epilog="Example: aml models train --data hours.parquet --data minutes.parquet"
)
@grouped
def train(
    data: Annotated[
        list[Path], typer.Option("--data", help="Candle file (parquet); give several.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the artifact's folder goes.")] = (
        DEFAULT_FOLDER
    ),
    before: Annotated[
        str, typer.Option("--before", help="Only bars that open before this are learned from.")
    ] = "2020-01-01",
    fitting: Fitting = FITTING,
    from_journal: Annotated[
        list[str] | None,
        typer.Option("--from-journal", help="URL of a daemon's journal: its outcomes join."),
    ] = None,
    walked: Annotated[
        Path | None,
        typer.Option("--walked", help="Report of benchmarks.models: its figures go on the card."),
    ] = None,
) -> None:
    """Train on candles and write a content-addressed artifact.

    At least one file with bars of at most five minutes is needed, for the short horizons.
    """
    from agent.cli.local import moment
    from models import train as training

    cutoff = moment(before)
    assert cutoff is not None
    model = training.train(
        data,
        before=cutoff,
        recipe=training.Recipe(seed=fitting.seed),
        recorded=_recorded(from_journal or (), int(cutoff.timestamp() * 1_000)),
        jobs=fitting.jobs,
        progress=count,
    )
    folder = _written(model, walked, out)
    typer.echo(f"model hash  0x{folder.name}")
    typer.echo(f"written to  {folder}")
    for name, value in sorted(model.manifest.metrics.items()):
        typer.echo(f"  {name:28} {value:.6g}")


def _recorded(urls: Sequence[str], before_ms: int) -> list[Recorded]:
    """Read journals up to the cutoff: forecasts, and what became of positions and accounts."""
    from agent.proof.outcomes import recorded_risks
    from agent.proof.recorded import recorded

    if not urls:
        return []
    seen = recorded_risks(urls, before_ms)
    if seen.risks is not None:
        for line in seen.risks.lines():
            typer.echo(f"journal: {line}", err=True)
    return [*(recorded(url) for url in urls), seen]


def _written(model: TrainedModel, walked: Path | None, out: Path) -> Path:
    """Write the artifact, with the figures of the recipe's walk where a report is named."""
    from models.artifact import save
    from models.walked import with_walked

    if walked is None:
        return save(model, out)
    return save(with_walked(model, json.loads(walked.read_text(encoding="utf-8"))), out)


@app.command(
    "evaluate", epilog="Example: aml models evaluate --candles c.parquet --horizon 24h --json OUT"
)
def evaluate(
    candles: Annotated[Path, typer.Option("--candles", help="Candle file (parquet).")],
    horizon: Annotated[str, typer.Option("--horizon", help="15m, 1h, 4h or 24h.")] = "24h",
    out: Annotated[Path | None, typer.Option("--json", help="Write the report here.")] = None,
    tiers: Annotated[
        Path | None, typer.Option("--tiers", help="An exchange's dated leverage tiers (parquet).")
    ] = None,
    model: ModelOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Judge a model, as it is, on any candle file, beside baselines that walk inside the file."""
    from agent.crisis import crisis_caps
    from agent.files import write_whole
    from models.artifact import load
    from models.judging import judge
    from models.registry import Registry
    from models.side_by_side import writable

    if horizon not in HORIZONS:
        raise typer.BadParameter(f"give one of {', '.join(HORIZONS)}", param_hint="--horizon")
    chosen = load(model or Registry(folder).champion())
    report = judge(chosen, candles, HORIZONS[horizon], count, tiers)
    report["caps"] = crisis_caps(chosen.scorer, candles, report, tiers)
    if out is not None:
        text = json.dumps(writable(report), indent=1, allow_nan=False)
        write_whole(out, text + "\n")
    _print_report(report)


@app.command("list", epilog="Example: aml models list")
def list_models(folder: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """List the models, each checked (* the champion), and the steps that led there."""
    from models.artifact import SCRATCH, default_artifact
    from models.registry import Registry

    registry = Registry(folder)
    champion, shipped = registry.champion(), default_artifact()
    own = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    own = [path for path in own if path.name != shipped.name and SCRATCH not in path.name]
    found = [
        {"model": path.name, "champion": path.name == champion.name, "says": _trained(path)}
        for path in [shipped, *own]
    ]
    steps = [_step_line(step) for step in registry.steps()]
    if as_json:
        typer.echo(json.dumps({"models": found, "steps": steps}, indent=1))
        return
    for each in found:
        typer.echo(f"{'*' if each['champion'] else ' '} {each['model']}  {each['says']}")
    for line in steps:
        typer.echo(line)


def _trained(path: Path) -> str:
    """Check an artifact and say what it was trained on."""
    from models.artifact import ArtifactRefused, load

    try:
        manifest = load(path).manifest
    except ArtifactRefused as fault:
        return f"REFUSED: {fault}"
    return f"trained {manifest.trained_from[:10]} to {manifest.trained_before[:10]}"


@app.command("card", epilog="Example: aml models card --report report.json --out card.html")
def card(
    model: Annotated[Path | None, typer.Argument(help="An artifact's folder.")] = None,
    report: Annotated[
        list[Path] | None, typer.Option("--report", help="Report of `evaluate`; give several.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write one HTML page here; else print text.")
    ] = None,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Show a model's card: what it is for, what it was trained on, how it was judged."""
    from agent.files import write_whole
    from models.artifact import load
    from models.html_card import html_card
    from models.registry import Registry, reports_of

    chosen = model or Registry(folder).champion()
    loaded = load(chosen)  # a card is shown only when it belongs to what it describes
    if out is None:
        typer.echo((chosen / "card.md").read_text(encoding="utf-8"))
        return
    found = reports_of(loaded.model_hash.hex(), report or [])
    write_whole(out, html_card(loaded, found))
    typer.echo(f"written to  {out}")


@app.command("promote", epilog="Example: aml models promote HASH --report r.json --reason WHY")
def promote(
    model: HashArgument,
    reason: ReasonOption,
    report: Annotated[
        Path | None, typer.Option("--report", help="Report of `evaluate` on this model.")
    ] = None,
    champion_report: Annotated[
        Path | None,
        typer.Option("--champion-report", help="The champion's report on the same candles."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote although a gate fails; journalled as forced.")
    ] = False,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Put a model in charge, if it passes every gate; the registry's champion changes at once."""
    from models.registry import Evidence, Registry

    shown = None if report is None else Evidence(report=report, champion_report=champion_report)
    now = time.time_ns() // 1_000_000
    name = model.removeprefix("0x")
    step = Registry(folder).promote(name, shown, reason=reason, at_ms=now, force=force)
    for gate in step.gates:
        mark = "ok  " if gate.passed else "FAIL"
        typer.echo(f"{mark} {gate.name}: {gate.measured:.4g} ({gate.limit})")
    typer.echo(_step_line(step))


@app.command("rollback", epilog="Example: aml models rollback --reason WHY")
def rollback(reason: ReasonOption, folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Put the model before the champion in charge again."""
    from models.registry import Registry

    step = Registry(folder).rollback(reason=reason, at_ms=time.time_ns() // 1_000_000)
    typer.echo(_step_line(step))


@app.command("challenge", epilog="Example: aml models challenge HASH --reason WHY")
def challenge(
    reason: ReasonOption,
    model: Annotated[
        str, typer.Argument(help="Model hash; none ends the challenge that is on.")
    ] = "",
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Let a model run in the champion's shadow: scored on live outcomes, it decides nothing."""
    from models.registry import Registry

    now = time.time_ns() // 1_000_000
    step = Registry(folder).challenge(model.removeprefix("0x"), reason=reason, at_ms=now)
    typer.echo(_step_line(step))


@app.command("shadow", epilog="Example: aml models shadow --database sqlite:////srv/aml/aml.db")
def shadow(
    database: Annotated[str, typer.Option("--database", help="URL of the daemon's journal.")],
    as_json: JsonOption = False,
) -> None:
    """Compare the models of the journal on the live outcomes that all of them forecast."""
    from dataclasses import asdict

    from agent.proof.recorded import read_outcomes, side_by_side

    lines = side_by_side(read_outcomes(database))
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=1))
        return
    if not lines:
        typer.echo("no outcomes yet: the first come fifteen minutes after the daemon's start")
    for line in lines:
        typer.echo(
            f"{line.horizon_s // 60:5} min  {line.model[:12]}  {line.outcomes:7} outcomes  "
            f"QLIKE {line.qlike:.4f}  breaches 99 % long {line.long:.2%} short {line.short:.2%}  "
            f"pinball {1e4 * line.pinball:.2f}e-4"
        )


def _print_report(report: dict[str, Any]) -> None:
    """Print ours beside the baselines; each of these on the rows that it forecasts."""
    typer.echo(
        f"model {report['modelHash'][:12]} on {report['candles']['name']}: {report['rows']} rows, "
        f"{report['markets']} markets, {report['refused_share']:.2%} out of domain"
    )
    losses = "  ".join(f"{name} {value:.4f}" for name, value in report["qlike"].items())
    typer.echo(f"QLIKE {losses}")
    for side, line in report["sides"].items():
        typer.echo(f"\n{side}, {report['level']:.1%} promised; (ours) is of the same rows")
        typer.echo(f"{'':28}{'rows':>7}{'QLIKE':>8} {TAIL_HEADINGS}")
        typer.echo(_tail_words("ours, online factor", report["rows"], None, line))
        before = line["before_factor"]
        typer.echo(f"  before the factor: breaches {before['breach_share']:.2%}")
        for other in report["baselines"]:
            if not other["rows"]:
                typer.echo(f"{other['model']:28}{'0':>7} no forecast in this file")
                continue
            rows, loss = other["rows"], other.get("qlike")
            typer.echo(_tail_words(other["model"], rows, loss, other[side]))
            ours = other[f"{side}_ours"]
            typer.echo(_tail_words("  (ours)", rows, other.get("qlike_ours"), ours))


def _tail_words(name: str, rows: int, loss: float | None, line: dict[str, Any]) -> str:
    """Write one model's line of the table."""
    passed = f"{line['kupiec_passed']}/{line['symbols']}"
    clusters = f"{line['christoffersen_passed']}/{line['symbols']}"
    qlike = "" if loss is None else f"{loss:.4f}"
    return (
        f"{name:28}{rows:7}{qlike:>8} {line['breach_share']:9.2%}{passed:>9}{clusters:>9}"
        f"{line['basel_green']:8.0%}{line['average']:9.2%}{1e4 * line['pinball']:9.2f}"
        f"{line['fz0']:8.3f}{line['peak_to_trough']:8.1f}{line['five_day_rise']:+9.0%}"
    )


def _step_line(step: Step) -> str:
    """Say what a step of the journal did."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(step.at_ms / 1_000))
    nobody = "nobody" if step.kind == "challenge" else "shipped"
    to, before = step.model[:12] or nobody, step.previous[:12] or nobody
    return f"{when} {step.kind} {to} (before: {before}): {step.reason}"
