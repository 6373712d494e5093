"""What stands on the chain beside what the file says: roles, limits, markets, signers."""

from __future__ import annotations

from collections.abc import Iterator

from agent.checks.chain import Place
from agent.checks.findings import Finding, fault, warning, well
from agent.deploying import guardian_address, owner_address, policy_hash
from agent.errors import AgentError
from agent.owner.acts import FEED, ORACLE, Calls, bounds, resume_everything
from agent.owner.authority import Office
from agent.signing import KINDS, peers_of
from contracts.envelope import Configuration
from contracts.fields import checksummed
from contracts.units import MarketId

SIGNED = {"price": FEED, "risk": ORACLE}


def roles(place: Place, office: Office) -> Iterator[Finding]:
    """Compare owner, guardian, launch and policy with the file."""
    settings, there = place.settings, place.here
    try:
        owner = checksummed(owner_address(place.network, settings))
        guardian = checksummed(guardian_address(place.network, settings))
    except AgentError as refused:
        yield warning("roles", str(refused), "write [deployment] owner and guardian")
        return
    before = list(_roles(office, owner, guardian, there))
    for name, standing in office.policies.items():
        if standing != policy_hash(settings):
            says = f"{name}: [rules] of the file are not those of its policy hash"
            before.append(fault("roles", says, f"aml owner policy {there}"))
    yield from before or [well("roles", "owner, guardian and policy are the file's")]


def _roles(office: Office, owner: str, guardian: str, there: str) -> Iterator[Finding]:
    for name, each in office.authorities.items():
        if not each.launched:
            yield fault("roles", f"{name}: is not launched, nothing waits", f"aml deploy {there}")
        if each.owner != owner and each.pending_owner == owner:
            says = f"{name}: its owner {owner} has not accepted yet"
            yield warning("roles", says, f"aml owner accept {there}")
        elif each.owner != owner:
            says = f"{name}: its owner is {each.owner}, the file's {owner}"
            yield fault("roles", says, f"aml owner propose {owner} {there}")
        if each.guardian != guardian:
            says = f"{name}: its guardian is {each.guardian}, the file's {guardian}"
            yield fault("roles", says, f"aml owner guardian {guardian} {there}")


async def limits(place: Place, office: Office) -> list[Finding]:
    """Compare markets and classes with the file, and say what stands still."""
    there = place.here
    findings = [*_markets(place, office), *_classes(place, office, await office.market_rules())]
    stopped = resume_everything(office.owned, office.state.oracle, office.now_s)
    findings += [
        warning("limits", f"stopped: {call} would end it", f"aml resume {there}")
        for call in stopped
    ]
    return findings or [well("limits", "markets, classes and bounds are the file's")]


def _classes(place: Place, office: Office, rules: dict[MarketId, int]) -> Iterator[Finding]:
    """Compare what classes and markets are bound by."""
    wanted = place.settings.deployment
    if wanted is None:
        return
    try:
        differing = _of_used(office, bounds(office.owned, office.state, wanted, rules))
    except AgentError as refused:
        yield fault("limits", str(refused), "correct [deployment.classes]")
        return
    for call in differing:
        says = f"{call.contract}: the file says {call}"
        yield fault("limits", says, f"aml owner bounds {place.here}")


def _of_used(office: Office, calls: Calls) -> Calls:
    """Leave out classes that no market has: what a contract holds of them is not read."""
    used = {market.class_id for market in office.state.oracle.markets}
    return tuple(c for c in calls if c.function != "set_class" or c.values[0] in used)


def _markets(place: Place, office: Office) -> Iterator[Finding]:
    ours = [(market.symbol, market.class_id) for market in place.network.markets]
    count = len(office.state.oracle.markets)
    for number, (symbol, class_id) in enumerate(ours):
        if number >= count:
            yield fault(
                "limits", f"{symbol} is not on the chain", f"aml market add {symbol} {place.here}"
            )
            continue
        found = {office.state.oracle.markets[number].class_id}
        if number < len(office.state.feed.markets):
            found.add(office.state.feed.markets[number].class_id)
        if found != {class_id}:
            says = f"{symbol}: class {class_id} in the file, {sorted(found)} on the chain"
            yield fault("limits", says, "correct class_id: a class is changed by the owner only")
    if len(ours) < count:
        says = f"the chain has {count} markets, the file {len(ours)}"
        yield fault("limits", says, "add the [[markets]] tables that are missing, in order")


def signers(place: Place, office: Office) -> Iterator[Finding]:
    """Compare the registered signers with the keys or peers of the file."""
    configs = {"price": office.state.feed.config, "risk": office.state.oracle.config}
    wanted = place.settings.deployment
    thresholds = {"price": wanted.price_threshold, "risk": wanted.risk_threshold} if wanted else {}
    for kind in KINDS:
        config, ours = configs[kind], _ours(place, kind)
        yield from _registered(place, kind, config, ours)
        planned = thresholds.get(kind, config.threshold)
        if config.threshold != planned:
            says = f"{SIGNED[kind]} asks {config.threshold} signatures, the file {planned}"
            mend = f"aml owner signers {kind} --threshold {planned} {place.here}"
            yield fault("signers", says, mend)


def _ours(place: Place, kind: str) -> tuple[str, ...]:
    """Give the addresses that are to sign, by the file."""
    if place.settings.signers is not None and place.settings.signers.peers:
        return tuple(p.address for p in peers_of(place.network, place.settings.signers, kind))
    return place.held.of(f"keys.{kind}_signers")


def _registered(
    place: Place, kind: str, config: Configuration, ours: tuple[str, ...]
) -> Iterator[Finding]:
    strangers = [address for address in ours if address not in config.signers]
    for address in strangers:
        mend = f"aml owner signers {kind} --add {address} {place.here}"
        yield fault("signers", f"{address} is no {kind} signer of {SIGNED[kind]}", mend)
    able = len(ours) - len(strangers)
    if ours and able < config.threshold:
        says = f"{able} of ours can sign {kind} messages, {SIGNED[kind]} asks {config.threshold}"
        yield fault("signers", says, "name the keys of registered signers, or register these")
    elif ours and not strangers:
        spare = able - config.threshold
        yield well("signers", f"{kind}: {config.threshold} of {able}, {spare} may be away")
