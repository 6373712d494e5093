"""`aml models`: train a model, list what is there, read its card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train and inspect models.", no_args_is_help=True)

FolderOption = Annotated[
    Path | None, typer.Option("--models", help="Folder of models; the package's own if not given.")
]


@app.command(
    "train", epilog="Example: aml models train --data hours.parquet --data minutes.parquet"
)
def train(
    data: Annotated[
        list[Path], typer.Option("--data", help="Candle file (parquet); give several.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the artifact's folder goes.")] = Path(
        ".aml/models"
    ),
    before: Annotated[
        str, typer.Option("--before", help="Only bars that open before this are learned from.")
    ] = "2020-01-01",
    seed: Annotated[int, typer.Option("--seed", help="The same inputs give the same model.")] = 0,
    trees: Annotated[int, typer.Option("--trees", min=1, help="Size of the boosting.")] = 150,
) -> None:
    """Train on candles and write a content-addressed artifact.

    At least one file with bars of at most five minutes is needed, for the short horizons.
    """
    from agent.cli.local import moment
    from models import train as training
    from models.artifact import save

    cutoff = moment(before)
    assert cutoff is not None
    model = training.train(data, before=cutoff, seed=seed, trees=trees, progress=_progress)
    folder = save(model, out)
    typer.echo(f"model hash  0x{folder.name}")
    typer.echo(f"written to  {folder}")
    for name, value in sorted(model.manifest.metrics.items()):
        typer.echo(f"  {name:28} {value:.6g}")


@app.command("list", epilog="Example: aml models list")
def list_models(folder: FolderOption = None) -> None:
    """List the models, each checked; the one that ships with the package is marked."""
    from models.artifact import ArtifactRefused, default_artifact, load

    shipped = default_artifact()
    for path in sorted((folder or shipped.parent).iterdir()):
        if not path.is_dir():
            continue
        try:
            manifest = load(path).manifest
            facts = f"trained {manifest.trained_from[:10]} to {manifest.trained_before[:10]}"
        except ArtifactRefused as fault:
            facts = f"REFUSED: {fault}"
        typer.echo(f"{'*' if path == shipped else ' '} {path.name}  {facts}")


@app.command("card", epilog="Example: aml models card")
def card(
    model: Annotated[Path | None, typer.Argument(help="An artifact's folder.")] = None,
) -> None:
    """Print a model's card: what it is for, what it was trained on, what was measured."""
    from models.artifact import default_artifact, load

    folder = model or default_artifact()
    load(folder)  # a card is shown only when it belongs to what it describes
    typer.echo((folder / "card.md").read_text(encoding="utf-8"))


def _progress(stage: str, done: int, total: int) -> None:
    """Say how far a training has come."""
    typer.echo(f"{stage} {done}/{total}", err=True)
