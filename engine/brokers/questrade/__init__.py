"""Questrade: stocks of Canada and the United States, over REST and a WebSocket of notifications.

Written after https://www.questrade.com/api/documentation. Every call is signed with an access token
that lasts half an hour, and goes to the server that came with it.
"""

from engine.brokers.questrade.broker import QuestradeBroker
from engine.brokers.questrade.login import Login, open_session

__all__ = ["Login", "QuestradeBroker", "open_session"]
