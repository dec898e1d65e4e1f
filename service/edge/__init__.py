"""What a request must get past before any route sees it: host, origin, rate, body."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.edge.bodies import Bodies
from service.edge.headers import SafeHeaders
from service.edge.hosts import Hosts
from service.edge.origins import Origins
from service.edge.rates import Rates
from service.settings import Settings


def install(app: FastAPI, settings: Settings) -> None:
    """Put the guards around the app; what is added last is asked first."""
    app.add_middleware(Bodies, limit=settings.max_body, seconds=settings.body_seconds)
    app.add_middleware(Rates, rate=settings.rate, guesses=settings.guesses)
    app.add_middleware(Origins, settings=settings)
    app.add_middleware(Hosts, settings=settings)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "idempotency-key"],
            expose_headers=["retry-after", "x-request-id"],
        )
    app.add_middleware(SafeHeaders)
