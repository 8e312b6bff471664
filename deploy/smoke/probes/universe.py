"""Run inside quote-svc's container: prints the first symbols of the market's universe as JSON."""

import asyncio
import json
import sys
from pathlib import Path

from foretick.quote.v1 import quote_pb2, quote_pb2_grpc
from foretick_rpc.client import open_channel

TOKEN = Path("/run/secrets/FORETICK_SERVICE_TOKEN").read_text().strip()


async def main() -> None:
    """Ask the service beside this process."""
    contract = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"]
    async with open_channel("127.0.0.1:50051", service_token=TOKEN, service=contract) as channel:
        universe = await quote_pb2_grpc.QuoteServiceStub(channel).ListUniverse(
            quote_pb2.ListUniverseRequest(page_size=3)
        )
    json.dump([instrument.symbol for instrument in universe.instruments], sys.stdout)


asyncio.run(main())
