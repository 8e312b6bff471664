"""What people and programs get from the running stack over HTTP."""

import json
import secrets
from datetime import datetime

from stack import PASSWORD, Visitor, eventually


def address() -> str:
    """An e-mail address that nobody has registered, however often the tests are run."""
    return f"smoke-{secrets.token_hex(6)}@example.org"


async def test_every_service_is_ready(visitor: Visitor) -> None:
    status, text = await visitor.get("/readyz")
    answer = json.loads(text)
    assert (status, answer["ready"]) == (200, True)
    assert set(answer["services"].values()) == {"SERVING"}
    assert (await visitor.get("/healthz"))[0] == 200


async def test_who_subscribes_gets_prices_and_forecasts(
    visitor: Visitor, symbols: list[str]
) -> None:
    await visitor.register(address())
    await visitor.subscribe(*symbols)

    async def complete() -> bool:
        rows = (await visitor.subscriptions())["subs"]
        return all(row["currentPrice"] and row["limit_up_down"] is not None for row in rows)

    await eventually(complete, "a price and a forecast of each symbol")
    answer = await visitor.subscriptions()
    assert [row["symbol"] for row in answer["subs"]] == symbols
    for row in answer["subs"]:
        assert row["band"]["low"] < row["expectedClose"] < row["band"]["high"]
        move = 100 * (row["expectedClose"] - row["referenceClose"]) / row["referenceClose"]
        assert row["limit_up_down"] == round(move, 2)
        assert row["asOfSession"] < row["forecastSession"]
        assert datetime.fromisoformat(row["priceAsOf"]).tzinfo
        assert {"predictScore", "predictScoreBasis"} <= row.keys()
    page = await visitor.page("/subscribeList")
    assert all(symbol in page for symbol in symbols)


async def test_bad_input_is_refused_and_not_stored(visitor: Visitor, symbols: list[str]) -> None:
    await visitor.register(address())
    token = await visitor.token("/subscribeList")
    for symbol, expected in {"NOT-THERE-0": 404, "not a symbol!": 400}.items():
        status, text, _ = await visitor.post(
            "/subscriptions", {"symbol": symbol, "csrf_token": token}
        )
        assert (status, json.loads(text)["error"]["field"]) == (expected, "symbol")
    forged = {"symbol": symbols[0], "csrf_token": "forged"}
    assert (await visitor.post("/subscriptions", forged))[0] == 403
    assert (await visitor.subscriptions())["subs"] == []


async def test_signing_out_and_in_again(visitor: Visitor, symbols: list[str]) -> None:
    email = address()
    await visitor.register(email)
    await visitor.subscribe(symbols[0])
    form = {"csrf_token": await visitor.token("/subscribeList")}
    assert (await visitor.post("/logout", form, json=False))[0] == 303
    status, text = await visitor.get("/subscribeList")
    assert (status, json.loads(text)["error"]["reason"]) == (401, "SIGN_IN_REQUIRED")
    for password, expected in (("not the password", 401), (PASSWORD, 200)):
        token = await visitor.token("/login")
        form = {"email": email, "password": password, "csrf_token": token}
        assert (await visitor.post("/login", form))[0] == expected
    assert [row["symbol"] for row in (await visitor.subscriptions())["subs"]] == [symbols[0]]
