import asyncio
import socket
import urllib.request

import pytest

from foretick_rpc.errors import StartupError
from foretick_rpc.settings import load_settings
from prediction_svc.metrics import Metrics, serving_metrics
from prediction_svc.settings import PredictionSettings


def scraped(port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        body: bytes = response.read()
    return body.decode()


async def test_prometheus_is_answered_until_the_service_stops() -> None:
    metrics = Metrics()
    metrics.issued.labels(1).inc(500)
    metrics.ledger_head.labels("demo:1").set(1234)
    metrics.training.observe(12.5)
    async with serving_metrics(metrics, "127.0.0.1:0") as port:
        lines = (await asyncio.to_thread(scraped, port)).splitlines()
    assert 'foretick_forecasts_issued_total{horizon="1"} 500.0' in lines
    assert 'foretick_ledger_head_number{market="demo:1"} 1234.0' in lines
    assert 'foretick_training_duration_seconds_bucket{le="30.0"} 1.0' in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(scraped, port)


async def test_without_an_address_there_is_no_server() -> None:
    async with serving_metrics(Metrics(), "") as port:
        assert port == 0


async def test_a_taken_port_is_a_clear_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartupError, match=f"cannot listen on {listen}"):
            async with serving_metrics(Metrics(), listen):
                pass


def test_an_address_without_a_port_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORETICK_SERVICE_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("PREDICTION_METRICS_LISTEN", "localhost")
    with pytest.raises(SystemExit):
        load_settings(PredictionSettings)
    assert "PREDICTION_METRICS_LISTEN: " in capsys.readouterr().err
