"""MarketControlService: the contract's messages to and from the market's own words."""

from collections.abc import Mapping
from functools import partial

from grpc import StatusCode

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import (
    MarketControlServiceServicer,
    add_MarketControlServiceServicer_to_server,
)
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError, invalid_argument
from foretick_rpc.server import RpcService
from foretick_rpc.symbols import parse_symbol
from quote_svc.control import ClockControl, ClockRefused
from quote_svc.faults import Fault, FaultKind, FaultyMarket
from quote_svc.market import Market, SymbolNotFound

CONTROL_SERVICE_NAME = pb.DESCRIPTOR.services_by_name["MarketControlService"].full_name
_KINDS: Mapping[int, FaultKind] = {
    pb.FAULT_KIND_SLOW: FaultKind.SLOW,
    pb.FAULT_KIND_DOWN: FaultKind.DOWN,
    pb.FAULT_KIND_MISSING_SESSION: FaultKind.MISSING_SESSION,
    pb.FAULT_KIND_LATE_BAR: FaultKind.LATE_BAR,
    pb.FAULT_KIND_REVISED_BAR: FaultKind.REVISED_BAR,
}
_OF_ALL_SYMBOLS = {FaultKind.SLOW, FaultKind.DOWN}
_TAKE_SECONDS = {FaultKind.SLOW, FaultKind.LATE_BAR}
_MOST_STEPS = 1000
_MOST_FAULTS = 100
_MOST_SECONDS = 3600


def control_service(market: Market, clock: ClockControl, faulty: FaultyMarket) -> RpcService:
    """MarketControlService of `market`, seen by others as `faulty`, for a server to serve."""
    servicer = MarketControlServicer(market, clock, faulty)
    return RpcService(
        CONTROL_SERVICE_NAME, partial(add_MarketControlServiceServicer_to_server, servicer)
    )


class MarketControlServicer(MarketControlServiceServicer):
    """Controls one market; its own answers are free of faults."""

    def __init__(self, market: Market, clock: ClockControl, faulty: FaultyMarket) -> None:
        self._market = market
        self._clock = clock
        self._faulty = faulty

    async def SetClock(self, request: pb.SetClockRequest, _context: object) -> pb.SetClockResponse:
        """See quote.proto."""
        action = request.WhichOneof("action")
        if action is None:
            raise invalid_argument("action", "set one of hold, step_sessions and run")
        if action != "step_sessions" and not getattr(request, action):
            raise invalid_argument(action, f"{action} must be true where it is set")
        try:
            if action == "hold":
                await self._clock.hold()
            elif action == "run":
                await self._clock.run()
            else:
                await self._clock.step(_steps(request.step_sessions))
        except ClockRefused as error:
            raise AppError(StatusCode.FAILED_PRECONDITION, error.reason, str(error)) from error
        return pb.SetClockResponse(market_time=timestamp((await self._market.clock()).market_time))

    async def SetFaults(
        self, request: pb.SetFaultsRequest, _context: object
    ) -> pb.SetFaultsResponse:
        """See quote.proto."""
        if len(request.faults) > _MOST_FAULTS:
            raise invalid_argument("faults", f"set at most {_MOST_FAULTS} faults")
        faults = [_fault(index, fault) for index, fault in enumerate(request.faults)]
        try:
            await self._faulty.set_faults(faults)
        except SymbolNotFound as error:
            places = (index for index, fault in enumerate(faults) if error.symbol in fault.symbols)
            raise invalid_argument(f"faults[{next(places)}].symbols", error.message) from error
        return pb.SetFaultsResponse()


def _steps(sessions: int) -> int:
    if not 1 <= sessions <= _MOST_STEPS:
        raise invalid_argument(
            "step_sessions", f"step_sessions must be 1 to {_MOST_STEPS}, not {sessions}"
        )
    return sessions


def _fault(index: int, fault: pb.Fault) -> Fault:
    field = f"faults[{index}]"
    if fault.kind not in _KINDS:
        raise invalid_argument(f"{field}.kind", f"{field}.kind must be one of the kinds of faults")
    kind = _KINDS[fault.kind]
    if kind in _OF_ALL_SYMBOLS and fault.symbols:
        raise invalid_argument(
            f"{field}.symbols", f"a market that is {kind.name} is so for all symbols: name none"
        )
    if kind in _TAKE_SECONDS:
        if not 0 < fault.seconds <= _MOST_SECONDS:
            raise invalid_argument(
                f"{field}.seconds", f"{field}.seconds must be above 0, up to {_MOST_SECONDS}"
            )
    elif fault.seconds != 0:
        raise invalid_argument(f"{field}.seconds", f"{kind.name} takes no seconds")
    try:
        symbols = frozenset(parse_symbol(symbol) for symbol in fault.symbols)
    except ValueError as error:
        raise invalid_argument(f"{field}.symbols", str(error)) from error
    return Fault(kind, symbols, fault.seconds)
