"""`python -m devtools.stand_ins`: the stand-ins in a separate process."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import uvicorn

from devtools.stand_ins import Delivery, Keys, Pace, StandIns
from devtools.stand_ins.issuers import IssuerKeys


def _choose(keys: type[Keys | IssuerKeys], given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the fields of a class of keys that are given."""
    return {each.name: value for each in fields(keys) if (value := given[each.name])}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devtools.stand_ins", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="where to listen, on 127.0.0.1")
    parser.add_argument("--webhook-url", help="receiver of events")
    parser.add_argument("--state", type=Path, help="a file that keeps what happened for the next start")
    parser.add_argument("--redirect-uri", help="the only address that authorizations return to; any where left out")
    parser.add_argument("--quiet", action="store_true", help="do not print the variables that were generated")
    parser.add_argument("--delayed-payment", type=float, default=5, help="seconds until a delayed payment succeeds")
    arguments = parser.parse_args()

    # Under the names that the product reads; those that are not set are generated, and printed below.
    given = {each.name: os.environ.get(each.name.upper()) for each in (*fields(Keys), *fields(IssuerKeys))}
    stand_ins = StandIns(
        f"http://127.0.0.1:{arguments.port}",
        webhook_url=arguments.webhook_url,
        path=arguments.state,
        keys=Keys(**_choose(Keys, given)),
        issuer_keys=IssuerKeys(**_choose(IssuerKeys, given)),
        # A person restarts the server meanwhile: gentler than in a test, and longer.
        delivery=Delivery(backoff=1, backoff_cap=30, attempts=200),
        pace=Pace(delayed_payment=arguments.delayed_payment),
    )
    if arguments.redirect_uri:
        for issuer in stand_ins.issuers.by_id.values():
            issuer.redirect_uris.add(arguments.redirect_uri)
    if not arguments.quiet and not all(given.values()):
        for name, value in (stand_ins.environment | stand_ins.issuers.environment).items():
            print(f"{name}={value}", flush=True)
    uvicorn.run(
        stand_ins.app(),
        host="127.0.0.1",
        port=arguments.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
