"""The instruments of the demo market: made-up companies, and how their prices move."""

from dataclasses import dataclass
from enum import Enum, auto

from quote_svc.demo_time import PAST_SESSIONS

SUSPENDED = "RHZM"  # for a week each year, first in the third live session
_FIRST_SUSPENSION, _SUSPENDED_EVERY, _SUSPENDED_FOR = PAST_SESSIONS + 2, 250, 5
DELISTED = "DOZX"
LAST_OF_DELISTED = PAST_SESSIONS - 41


class Process(Enum):
    """What drives an instrument's daily log returns."""

    AUTOREGRESSIVE = auto()  # AR(1): tomorrow's direction can be learned
    STEADY = auto()  # random walk of constant volatility
    VARYING = auto()  # random walk whose log variance is AR(1): only its size can be learned


@dataclass(frozen=True)
class DemoStock:
    """One instrument.

    `first_price` is also what its price stays near, by splits; `volatility` is the standard
    deviation of its daily log returns in the long run, `market_share` the part of their
    innovations' variance that it has in common with all, `dividend_yield` what it pays a year
    as a part of its price.
    """

    symbol: str
    name: str
    process: Process
    first_price: float
    volatility: float
    market_share: float
    typical_volume: int
    dividend_yield: float

    def trades_in(self, session: int) -> bool:
        """Whether it is traded in the session with this index."""
        return not (self.delisted_by(session) or self.is_suspended_in(session))

    def is_suspended_in(self, session: int) -> bool:
        """Whether its trading is suspended all through the session."""
        into_the_year = (session - _FIRST_SUSPENSION) % _SUSPENDED_EVERY
        return self.symbol == SUSPENDED and into_the_year < _SUSPENDED_FOR

    def delisted_by(self, session: int) -> bool:
        """Whether its last session lies before this one."""
        return self.symbol == DELISTED and session > LAST_OF_DELISTED


def _stocks(process: Process, lines: str) -> list[DemoStock]:
    """One stock a line: its fields in their order, the yield in percent."""
    stocks = []
    for line in lines.strip().splitlines():
        symbol, name, *numbers = (part.strip() for part in line.split("|"))
        price, volatility, share, volume, percent = map(float, numbers)
        stocks.append(
            DemoStock(symbol, name, process, price, volatility, share, int(volume), percent / 100)
        )
    return stocks


STOCKS: tuple[DemoStock, ...] = (
    *_stocks(
        Process.AUTOREGRESSIVE,
        """
        ALVQ | Alverque Shipping     |  84 | .014 | .30 | 2100000 | 3
        BRZO | Brenzo Foods          |  47 | .011 | .20 | 3400000 | 2.4
        CYMX | Cymarix Laboratories  | 212 | .019 | .25 |  900000 | 0
        DRUV | Druvane Energy        |  63 | .016 | .40 | 5200000 | 4
        ELQO | Elquora Media         | 129 | .018 | .35 | 1700000 | 0
        FJRQ | Fjorqual Fisheries    |  58 | .013 | .15 |  650000 | 0
        GLYZ | Glyzen Pharma         | 305 | .015 | .25 | 1200000 | 1.6
        HQEM | Hequem Hotels         |  91 | .017 | .45 |  800000 | 1.2
        IXZR | Ixozar Optics         | 176 | .020 | .35 | 1100000 | 0
        JUVK | Juvik Rail            | 118 | .012 | .30 | 1500000 | 2
        ABQU | Abquell Dairies       |  38 | .010 | .20 | 2700000 | 2.8
        BELZ | Belzorin Ferries      |  72 | .015 | .35 |  940000 | 1.6
        COVQ | Covaquin Glass        |  55 | .014 | .30 | 1250000 | 2.0
        DUZE | Duzelle Cosmetics     | 149 | .017 | .25 | 1600000 | 0
        EVYX | Evyxa Networks        | 221 | .020 | .40 | 2900000 | 0
        FOQL | Foqualis Bakeries     |  43 | .011 | .15 |  780000 | 2.4
        GARX | Garxon Turbines       | 167 | .018 | .45 | 1450000 | 1.2
        HUVQ | Huvaquist Timber      |  59 | .013 | .30 |  560000 | 2.0
        IZOR | Izorane Diagnostics   | 198 | .019 | .20 | 1050000 | 0
        JYXA | Jyxara Studios        |  83 | .018 | .35 | 2350000 | 0
        """,
    ),
    *_stocks(
        Process.STEADY,
        """
        KEZQ | Kezquar Cement        |  52 | .015 | .40 | 2800000 | 2.8
        LUQA | Luqara Water          |  74 | .009 | .15 |  700000 | 3.2
        MYVO | Myvolan Telecom       |  41 | .012 | .25 | 6100000 | 0
        NQRT | Norquart Insurance    | 143 | .013 | .45 | 1300000 | 3.6
        OBZU | Obzura Mining         |  67 | .021 | .35 | 4400000 | 0
        PWXE | Powexel Grid          |  95 | .010 | .20 | 1600000 | 4
        QVND | Quivand Paper         | 108 | .014 | .30 |  500000 | 2
        RHZM | Rhizomar Seeds        | 187 | .016 | .20 |  620000 | 0
        SYLQ | Sylquen Textiles      |  49 | .018 | .30 | 1900000 | 0
        TOVZ | Tovazar Motors        | 231 | .017 | .50 | 2600000 | 2.4
        KUVE | Kuverin Bank          |  64 | .013 | .50 | 7200000 | 3.6
        LOZQ | Lozaquin Retail       |  97 | .014 | .35 | 3300000 | 1.6
        MIZX | Mizaxor Semiconductor | 284 | .020 | .45 | 4900000 | .4
        NUVQ | Nuvoqant Vaccines     | 126 | .019 | .15 | 2050000 | 0
        OQEL | Oqelion Gas           |  51 | .012 | .30 | 2600000 | 4.0
        PAZV | Pazvane Properties    |  36 | .011 | .30 | 1850000 | 4.0
        QERU | Qerulam Ceramics      |  78 | .015 | .25 |  410000 | 1.6
        RYVX | Ryvaxen Sensors       | 159 | .018 | .35 | 1350000 | 0
        SUQE | Suqera Beverages      | 112 | .010 | .20 | 2450000 | 2.8
        TEXQ | Texaquil Bearings     |  89 | .014 | .40 |  690000 | 2.0
        """,
    ),
    *_stocks(
        Process.VARYING,
        """
        ULXQ | Ulexqa Chemicals      |  88 | .015 | .40 | 1400000 | 2
        VYRZ | Vyrzel Games          | 154 | .020 | .30 | 3900000 | 0
        WZLO | Wizelo Software       | 342 | .018 | .45 | 2400000 | 0
        XAVU | Xavuna Biotech        |  61 | .021 | .15 | 3100000 | 0
        YQEN | Yquen Vineyards       |  79 | .012 | .20 |  430000 | 1.6
        ZRBQ | Zorbequ Robotics      | 263 | .019 | .40 | 1800000 | 0
        AQVX | Aquivex Instruments   | 197 | .014 | .35 |  990000 | 1
        BOXJ | Boxjer Logistics      | 102 | .016 | .45 | 2200000 | 1.2
        CZRT | Crezart Steel         |  56 | .017 | .50 | 4700000 | 3.2
        DYVQ | Dyvorque Airlines     |  44 | .020 | .45 | 5800000 | 0
        UVEZ | Uvezzo Apparel        |  66 | .017 | .35 | 1950000 | 1.2
        VOQA | Voqanta Minerals      |  48 | .021 | .30 | 5100000 | .8
        WYQE | Wyqeron Defence       | 236 | .014 | .25 | 1150000 | 1.6
        XELQ | Xelquant Systems      | 318 | .019 | .45 | 3600000 | 0
        YAZO | Yazorin Ports         |  74 | .013 | .30 |  870000 | 2.4
        ZUQI | Zuqisto Toys          |  92 | .018 | .25 | 1550000 | 1.2
        ARXU | Arxuna Solar          |  57 | .021 | .35 | 6400000 | 0
        BYVO | Byvonel Freight       | 134 | .015 | .45 | 1700000 | 2.0
        CUQA | Cuqarra Fintech       | 189 | .020 | .40 | 2800000 | 0
        DOZX | Dozaxim Outfitters    |  29 | .019 | .35 | 1300000 | 0
        """,
    ),
)
