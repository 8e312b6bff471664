"""The instruments of the demo market: made-up companies, and how their prices move."""

from dataclasses import dataclass
from enum import Enum, auto


class Process(Enum):
    """What drives an instrument's daily log returns."""

    AUTOREGRESSIVE = auto()  # AR(1): tomorrow's direction can be learned
    STEADY = auto()  # random walk of constant volatility
    VARYING = auto()  # random walk whose log variance is AR(1): only its size can be learned


@dataclass(frozen=True)
class DemoStock:
    """One instrument.

    `volatility` is the standard deviation of its daily log returns in the long run,
    `market_share` the part of their innovations' variance that it has in common with all.
    """

    symbol: str
    name: str
    process: Process
    first_price: float
    volatility: float
    market_share: float
    typical_volume: int


def _stocks(process: Process, lines: str) -> list[DemoStock]:
    stocks = []
    for line in lines.strip().splitlines():
        symbol, name, price, volatility, share, volume = (part.strip() for part in line.split("|"))
        stocks.append(
            DemoStock(
                symbol, name, process, float(price), float(volatility), float(share), int(volume)
            )
        )
    return stocks


STOCKS: tuple[DemoStock, ...] = (
    *_stocks(
        Process.AUTOREGRESSIVE,
        """
        ALVQ | Alverque Shipping    |  84 | .014 | .30 | 2100000
        BRZO | Brenzo Foods         |  47 | .011 | .20 | 3400000
        CYMX | Cymarix Laboratories | 212 | .019 | .25 |  900000
        DRUV | Druvane Energy       |  63 | .016 | .40 | 5200000
        ELQO | Elquora Media        | 129 | .018 | .35 | 1700000
        FJRQ | Fjorqual Fisheries   |  58 | .013 | .15 |  650000
        GLYZ | Glyzen Pharma        | 305 | .015 | .25 | 1200000
        HQEM | Hequem Hotels        |  91 | .017 | .45 |  800000
        IXZR | Ixozar Optics        | 176 | .020 | .35 | 1100000
        JUVK | Juvik Rail           | 118 | .012 | .30 | 1500000
        """,
    ),
    *_stocks(
        Process.STEADY,
        """
        KEZQ | Kezquar Cement       |  52 | .015 | .40 | 2800000
        LUQA | Luqara Water         |  74 | .009 | .15 |  700000
        MYVO | Myvolan Telecom      |  41 | .012 | .25 | 6100000
        NQRT | Norquart Insurance   | 143 | .013 | .45 | 1300000
        OBZU | Obzura Mining        |  67 | .021 | .35 | 4400000
        PWXE | Powexel Grid         |  95 | .010 | .20 | 1600000
        QVND | Quivand Paper        | 108 | .014 | .30 |  500000
        RHZM | Rhizomar Seeds       | 187 | .016 | .20 |  620000
        SYLQ | Sylquen Textiles     |  49 | .018 | .30 | 1900000
        TOVZ | Tovazar Motors       | 231 | .017 | .50 | 2600000
        """,
    ),
    *_stocks(
        Process.VARYING,
        """
        ULXQ | Ulexqa Chemicals     |  88 | .015 | .40 | 1400000
        VYRZ | Vyrzel Games         | 154 | .020 | .30 | 3900000
        WZLO | Wizelo Software      | 342 | .018 | .45 | 2400000
        XAVU | Xavuna Biotech       |  61 | .021 | .15 | 3100000
        YQEN | Yquen Vineyards      |  79 | .012 | .20 |  430000
        ZRBQ | Zorbequ Robotics     | 263 | .019 | .40 | 1800000
        AQVX | Aquivex Instruments  | 197 | .014 | .35 |  990000
        BOXJ | Boxjer Logistics     | 102 | .016 | .45 | 2200000
        CZRT | Crezart Steel        |  56 | .017 | .50 | 4700000
        DYVQ | Dyvorque Airlines    |  44 | .020 | .45 | 5800000
        """,
    ),
)
