"""The router that tutorials show: a FastAPI service that hashes the user and forwards the request with httpx."""

import hashlib
import os
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response

BASELINE, ENHANCED = "baseline-predictor", "enhanced-predictor"
UPSTREAM = os.environ["UPSTREAM"]


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with httpx.AsyncClient(base_url=UPSTREAM) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.api_route("/{path:path}", methods=["GET", "POST"])
async def route(path: str, request: Request) -> Response:
    user = request.headers.get("x-user-id", "")
    share = int(hashlib.sha256(f"financial-ab-test:{user}".encode()).hexdigest(), 16) % 100
    variant = ENHANCED if share < 30 else BASELINE
    told = {"x-ab-experiment": "financial-ab-test", "x-ab-variant": variant}
    headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")} | told
    answer = await app.state.client.request(
        request.method, f"/{path}", headers=headers, content=await request.body()
    )
    return Response(answer.content, answer.status_code, headers=told)
