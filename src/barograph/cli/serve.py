"""``barograph serve``: the server of a data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from barograph.cli.options import DEFAULT_DIRECTORY, DataDir


def serve(
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    host: Annotated[
        str | None, typer.Option("--host", help="The address to listen on (127.0.0.1); any but loopback needs a key.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", help="The port (4318, OpenTelemetry's own); 0 takes a free one.")
    ] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option("--grpc-port", help="A port for OTLP/gRPC too, usually 4317; needs the extra grpc. 0 for none."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="TLS: the certificate chain, PEM.", dir_okay=False)
    ] = None,
    private_key: Annotated[
        Path | None, typer.Option("--private-key", help="TLS: the private key, PEM.", dir_okay=False)
    ] = None,
    root_path: Annotated[
        str | None, typer.Option("--root-path", help="The path that a proxy puts in front, such as /barograph.")
    ] = None,
) -> None:
    """Serve a data directory over HTTP: OpenTelemetry, a JSON API, health and metrics.

    \b
    barograph serve                                  # http://127.0.0.1:4318
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 python your_app.py
    barograph show overview                          # asks the server while it runs

    The first Ctrl-C or SIGTERM stops it well, a second one at once; nothing acknowledged is lost either way.
    Settings: [server] in barograph.toml, or BAROGRAPH_SERVER__PORT and so on.
    """
    from barograph.server.serve import serve as run

    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
        "certificate": str(certificate) if certificate else None,
        "private_key": str(private_key) if private_key else None,
        "root_path": root_path.rstrip("/") if root_path else None,
    }
    server = {name: value for name, value in given.items() if value is not None}
    run(data_dir, os.environ, lambda text: print(text, flush=True), server)
