"""Which calendar each of Yahoo's exchange codes trades by."""

from collections.abc import Mapping
from types import MappingProxyType

CRYPTO_CODE = "24/7"
FX_CODE = "24/5"

# Calendar of exchange_calendars (mostly the ISO 10383 code) and the codes of Yahoo that use it:
# exchanges, their segments, and the publishers of indices and funds that keep their days.
_CODES_BY_CALENDAR = {
    "XNYS": "NYQ NYS NMS NGM NCM NAS NIM PCX ASE BTS PNK OTC OBB OEM OGM OID OQB OQX NAE YHD SNP"
    " DJI WCB CXI CGI",
    "CMES": "CME CMX NYM CBT",
    "IEPA": "NYB",
    "XCBF": "CFE",
    "XTSE": "TOR VAN CNQ NEO",
    "XMEX": "MEX",
    "BVMF": "SAO",
    "XBUE": "BUE",
    "XSGO": "SGO",
    "XBOG": "BVC",
    "XLIM": "LIM",
    "XLON": "LSE IOB AQS CXE FGI FSI",
    "XDUB": "ISE",
    "XETR": "GER",
    "XEUR": "EUX",
    # Berlin, Munich and Hanover have no calendar of their own and keep the hours of these.
    "XFRA": "FRA BER MUN",
    "XHAM": "HAM HAN",
    "XSTU": "STU",
    "XDUS": "DUS",
    # Zurich is where Yahoo puts the STOXX indices, which keep the days of Euronext.
    "XPAR": "PAR ENX ZRH",
    "XAMS": "AMS DXE",
    "XBRU": "BRU",
    "XLIS": "LIS",
    "XMIL": "MIL TLO MDD",
    "XMAD": "MCE MAD BAR",
    "XSWX": "EBS VTX",
    "XWBO": "VIE",
    "XSTO": "STO",
    "XCSE": "CPH",
    "XHEL": "HEL",
    "XOSL": "OSL",
    "XICE": "ICE",
    "XTAL": "TAL",
    "XRIS": "RIS",
    "XLIT": "LIT",
    "XWAR": "WSE",
    "XPRA": "PRA",
    "XBUD": "BUD",
    "XBSE": "BVB",
    "ASEX": "ATH",
    "XIST": "IST",
    "XMOS": "MCX",
    "XTAE": "TLV",
    "XSAU": "SAU",
    "XJSE": "JNB",
    "XTKS": "JPX OSA FKA SAP",
    "XHKG": "HKG",
    "XSHG": "SHH SHZ",
    "XKRX": "KSC KOE",
    "XTAI": "TAI TWO",
    "XSES": "SES",
    "XKLS": "KLS",
    "XIDX": "JKT",
    "XBKK": "SET",
    "XPHS": "PHS PHP",
    "XBOM": "NSI BSE",
    "XKAR": "KAR",
    "XASX": "ASX CXA",
    "XNZE": "NZE",
    CRYPTO_CODE: "CCC",
    FX_CODE: "CCY",
}
CALENDARS: Mapping[str, str] = MappingProxyType(
    {
        code: calendar
        for calendar, codes in _CODES_BY_CALENDAR.items()
        # A calendar's own code means itself, so that what was looked up can be looked up again.
        for code in (calendar, *codes.split())
    }
)
# Exchanges without a calendar that trade from Sunday to Thursday: Cairo, Kuwait, Qatar.
SUNDAY_TO_THURSDAY = frozenset({"CAI", "KUW", "DOH"})
