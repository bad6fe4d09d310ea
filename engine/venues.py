"""The venues that are traded at for real, or on paper accounts of theirs: from SYMBOLS to their
market data and brokers.

A symbol there is `VENUE:NAME`, as in alpaca:AAPL; in the engine it is NAME.
"""

from collections.abc import Callable, Mapping, Sequence

from engine.brokers.alpaca import AlpacaBroker, Login
from engine.brokers.base import BaseBroker
from engine.core.model import AssetClass, Instrument, Mode
from engine.core.text import clean
from engine.feeds.live import LiveFeed, Source
from engine.ops.errors import NotConnected, UserError
from engine.ops.settings import Settings

ALPACA = "alpaca"
VENUES = (ALPACA,)


def names_venues(settings: Settings) -> bool:
    """Whether SYMBOLS names venues. Raises UserError where some does not, or one is unknown."""
    named = [symbol for symbol in settings.symbols if ":" in symbol]
    if not named:
        return False
    for symbol in settings.symbols:
        venue, _, name = symbol.partition(":")
        if venue not in VENUES or not name:
            raise UserError(
                f"SYMBOLS has {clean(symbol)}, and some of it names venues",
                f"write each as VENUE:NAME; there is {', '.join(VENUES)}",
            )
    return True


def live_feed(settings: Settings) -> LiveFeed:
    """The market data of all symbols. Blocks while the venues are asked how they trade.

    Raises UserError where that needs a person, or a venue cannot be reached.
    """
    from engine.feeds import alpaca

    login = alpaca_login(settings)
    names = [symbol.partition(":")[2] for symbol in settings.symbols]
    try:
        traded = alpaca.instruments(login, names)
    except NotConnected as error:
        remedy = "check the connection; then start again"
        raise UserError(f"{ALPACA} does not say how it trades ({error})", remedy) from error
    sources: list[Source] = []
    for kind in AssetClass:  # a stream for the stocks, and one for the crypto
        own = [instrument for instrument in traded if instrument.asset_class is kind]
        if own:
            sources.append(alpaca.AlpacaSource(login, own, kind is AssetClass.CRYPTO))
    return LiveFeed(sources)


def live_brokers(
    settings: Settings, instruments: Sequence[Instrument], now: Callable[[], int]
) -> Mapping[str, BaseBroker]:
    """The brokers by the venue of the `instruments` that they trade; `now` is market time."""
    traded = [instrument for instrument in instruments if instrument.venue == ALPACA]
    extended = settings.extended_hours
    return {ALPACA: AlpacaBroker(traded, alpaca_login(settings), now, extended_hours=extended)}


def alpaca_login(settings: Settings) -> Login:
    """Raises UserError where there is none, or it is one of the other kind of account."""
    if not (settings.alpaca_api_key.get_secret_value() and settings.alpaca_api_secret):
        raise UserError(
            "Alpaca is to be traded at, and there is no key",
            "set ALPACA_API_KEY and ALPACA_API_SECRET, which Alpaca's dashboard shows",
        )
    if settings.mode is Mode.LIVE:
        raise UserError(
            "this version trades at Alpaca on paper accounts only",
            "set MODE=paper, and the key of a paper account",
        )
    login = Login(
        settings.alpaca_api_key,
        settings.alpaca_api_secret,
        url=settings.alpaca_url or None,
        stream_url=settings.alpaca_stream_url or None,
        data_url=settings.alpaca_data_url or None,
        data_stream_url=settings.alpaca_data_stream_url or None,
        read_s=settings.submit_timeout_s,
        feed=settings.alpaca_feed,
    )
    login.check()
    return login
