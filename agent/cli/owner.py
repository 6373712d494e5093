"""`aml owner`: limits, signers, policy, guardian and ownership, as files for the owner's Safe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import PLACE, WRITTEN, CallsOption, ForOption, Place, Written, grouped

if TYPE_CHECKING:
    from agent.cli.setup import Prepared
    from agent.owner.acts import Calls
    from agent.owner.authority import Office

app = typer.Typer(
    name="owner",
    help="The owner's acts as Safe batches: files for its interface; signs and sends nothing.",
    no_args_is_help=True,
)
AddressArgument = Annotated[str, typer.Argument(help="An address.")]


@app.command("bounds")
@grouped
def bounds(
    written: Written,
) -> None:
    """Bring the classes' rules and bounds, and the engine's rules, to what the file says.

    Timelocked. Only what differs is in the batch; every message signed before dies with it.

    Example: aml owner bounds --network mine.toml
    """
    from agent.cli.batches import batches
    from agent.cli.market import planned
    from agent.owner import acts

    async def build(office: Office, prepared: Prepared) -> Calls:
        rules = await office.market_rules()
        return acts.bounds(office.owned, office.state, planned(prepared), rules)

    batches("bounds", written, build)


@app.command("signers")
@grouped
def signers(
    kind: Annotated[str, typer.Argument(help="price or risk.")],
    add: Annotated[list[str] | None, typer.Option("--add", help="Its address.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="Its address.")] = None,
    threshold: Annotated[
        int | None, typer.Option("--threshold", min=1, help="How many sign; stays if not given.")
    ] = None,
    written: Written = WRITTEN,
) -> None:
    """Add and remove signers and set how many must sign: add, threshold, remove, in this order.

    Timelocked, but for removing alone, which is at once. The daemon follows by itself.

    Example: aml owner signers price --add 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045 --threshold 3
    """
    from agent.cli.batches import batches
    from agent.owner import acts
    from agent.quoting.inputs import address, choice

    contract = choice("kind", kind, {"price": acts.FEED, "risk": acts.ORACLE})
    change = acts.SignerChange(
        contract=contract,
        add=tuple(address(each) for each in add or ()),
        remove=tuple(address(each) for each in remove or ()),
        threshold=threshold,
    )

    async def build(office: Office, _: Prepared) -> Calls:
        read = office.state.feed if contract == acts.FEED else office.state.oracle
        return acts.signers(office.owned, change, read.config)

    batches(f"signers-{kind.lower()}", written, build)


@app.command("policy")
@grouped
def policy(
    written: Written,
) -> None:
    """Set the hash of [rules] in both contracts, after the rules of the file have changed.

    Timelocked; every message signed before dies with it.

    Example: aml owner policy --network mine.toml
    """
    from agent.cli.batches import batches
    from agent.deploying import policy_hash
    from agent.owner import acts

    async def build(office: Office, prepared: Prepared) -> Calls:
        return acts.policy(office.owned, policy_hash(prepared.settings), office.policies)

    batches("policy", written, build)


@app.command("guardian")
@grouped
def guardian(
    address: AddressArgument,
    written: Written,
) -> None:
    """Replace the guardian. Timelocked; but the owner itself at once, where one has turned.

    Example: aml owner guardian 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045
    """
    from agent.cli.batches import batches
    from agent.owner import acts
    from agent.quoting.inputs import address as read

    wanted = read(address)

    async def build(office: Office, _: Prepared) -> Calls:
        standing = {name: each.guardian for name, each in office.authorities.items()}
        return acts.guardian(office.owned, wanted, standing)

    batches("guardian", written, build)


@app.command("pause")
@grouped
def pause(
    what: Annotated[str, typer.Argument(metavar="SCOPE|MARKET", help="What to stop.")],
    duration: ForOption = "7d",
    written: Written = WRITTEN,
) -> None:
    """Stop something for up to 30 days, where the guardian's day is too short. At once.

    Example: aml owner pause new-risk --for 7d
    """
    from agent.cli.batches import batches, symbols_of
    from agent.owner import acts, words
    from contracts.halts import DecisionKind

    async def build(office: Office, _: Prepared) -> Calls:
        meant = words.what(what, symbols_of(office), {**acts.SCOPES})
        assert not isinstance(meant, DecisionKind)
        return acts.pause(office.owned, meant, words.seconds(duration))

    batches(f"pause-{what.lower()}", written, build)


@app.command("propose")
@grouped
def propose(
    address: AddressArgument,
    written: Written,
) -> None:
    """Offer ownership to another; nothing changes until it accepts. At once.

    Example: aml owner propose 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045
    """
    from agent.cli.batches import batches
    from agent.quoting.inputs import address as read

    wanted = read(address)

    async def build(office: Office, _: Prepared) -> Calls:
        return office.owned.everywhere("propose_owner", wanted)

    batches("propose-owner", written, build)


@app.command("accept")
@grouped
def accept(
    written: Written,
) -> None:
    """Take the ownership that was offered: the batch is the proposed owner's. At once.

    Example: aml owner accept --network mine.toml
    """
    from agent.cli.batches import batches
    from agent.owner.acts import proposed_owner

    async def build(office: Office, _: Prepared) -> Calls:
        offered = {n: a for n, a in office.authorities.items() if int(a.pending_owner, 16)}
        return tuple(office.owned.call(name, "accept_ownership") for name in offered)

    def owner(office: Office) -> str:
        return proposed_owner(office.authorities)

    batches("accept-ownership", written, build, owner)


@app.command("cancel")
@grouped
def cancel(
    operation: Annotated[str, typer.Argument(help="As `schedule` was given it: 0x and 64 digits.")],
    written: Written,
) -> None:
    """Withdraw an announced call wherever it is announced. At once.

    Example: aml owner cancel 0x2f4d0b8c9a7e6f5d4c3b2a1908f7e6d5c4b3a29180f7e6d5c4b3a29180f7e6d5
    """
    from agent.cli.batches import batches
    from agent.owner import acts, words

    wanted = words.hash_of(operation)

    async def build(office: Office, _: Prepared) -> Calls:
        return acts.cancel(office.owned, wanted, await office.announced(wanted))

    batches("cancel", written, build)


@app.command("show")
@grouped
def show(
    file: Annotated[Path, typer.Argument(help="A batch that somebody hands you to sign.")],
    place: Place = PLACE,
    as_json: CallsOption = False,
) -> None:
    """Check a batch's sum and say what it calls: for whoever has to sign it.

    Example: aml owner show bounds.1-announce.json --network mine.toml
    """
    import json

    from agent.cli.setup import require_world
    from agent.owner.acts import Owned
    from agent.owner.safe import decode, read, tables
    from contracts.calls import TIMELOCKED
    from relayer.chain import deployments

    content = read(file)  # what was typed is judged before anybody is asked
    prepared = require_world(place.network, place.state, keys=False)
    deployment = deployments.read(prepared.network.deployment_file)
    names = {address: name for name, address in Owned(deployment).addresses.items()}
    batch = decode(content, names, deployment.chain_id)
    if as_json:
        typer.echo(json.dumps({"safe": batch.safe, "calls": tables(batch.calls)}, indent=1))
        return
    typer.echo(f"{batch.name}: chain {batch.chain_id}, of {batch.safe}")
    for call in batch.calls:
        typer.echo(f"  {call}")
        if call.function in TIMELOCKED:  # `schedule` names it by this
            typer.echo(f"    announced as 0x{call.operation.hex()}")
