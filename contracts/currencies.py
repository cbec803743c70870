"""Currency codes of ISO 4217."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

ISO_4217 = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
    CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN
    PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD
    TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD
    XPF XPT XSU XUA YER ZAR ZMW ZWG
    """.split()
)
"""All active codes except XTS (testing) and XXX (no currency)."""


def _known(code: str) -> str:
    if code in ISO_4217:
        return code
    expected = "Input should be a currency code of ISO 4217"
    meant = code.strip().upper()
    if meant in ISO_4217:  # not taken as it is meant: the same payment would have two forms
        raise PydanticCustomError("unknown_currency", f'{expected}, in capitals; did you mean "{meant}"?')
    raise PydanticCustomError("unknown_currency", f"{expected}, such as USD")


Currency = Annotated[
    str,
    Field(json_schema_extra={"enum": sorted(ISO_4217)}),
    AfterValidator(_known),
]
"""A currency code in capitals; amounts are in its minor unit (USD 1999 is $19.99, JPY 1999 is 1,999 yen)."""
