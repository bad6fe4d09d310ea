"""What went wrong is one alert, a person acknowledges it, and it goes when its cause does."""

from engine.core.events import (
    AcknowledgeAlerts,
    BrokerChanged,
    Difference,
    RaiseAlert,
    Reconciled,
    StoreChanged,
)
from engine.core.model import OrderPurpose, OrderState, Side
from engine.view.alerting import MOST_ALERTS
from engine.view.snapshot import AlertRow
from tests.view.test_view import Picture


def acknowledge(picture: Picture, *names: str) -> None:
    picture.rig.send(AcknowledgeAlerts(names=names, author="ann"))


def only(picture: Picture) -> AlertRow:
    (row,) = picture.take().alerts
    return row


def test_a_rejected_order_is_an_alert_that_is_over_and_its_paused_symbol_one_that_lasts() -> None:
    picture = Picture()
    assert picture.take().alerts == ()
    picture.rig.signal(Side.BUY)
    order = picture.rig.last(OrderPurpose.ENTRY)
    picture.rig.report(order, OrderState.REJECTED, reason="no money")
    paused, rejected = picture.take().alerts
    assert (paused.name, paused.lasts) == ("paused ACME", True)
    assert (rejected.name, rejected.lasts) == ("rejected ACME", False)
    assert rejected.text.endswith("no money")
    acknowledge(picture, paused.name, rejected.name)
    assert [row.name for row in picture.take().alerts] == ["paused ACME"]


def test_a_broker_that_is_still_connecting_is_no_alert_and_one_that_cannot_is() -> None:
    picture = Picture()
    picture.rig.send(BrokerChanged("late", False, "connecting"))
    assert picture.take().alerts == ()
    picture.rig.send(BrokerChanged("late", False, "refused"))
    assert only(picture).name == "broker late"


def test_an_acknowledged_alert_stays_while_its_cause_lasts_and_then_goes() -> None:
    picture = Picture()
    picture.rig.send(BrokerChanged("paper", False, "no answer"))
    assert (only(picture).lasts, only(picture).acknowledged_by) == (True, "")
    acknowledge(picture, "broker paper")
    assert (only(picture).lasts, only(picture).acknowledged_by) == (True, "ann")
    assert picture.take().unread == ()
    picture.rig.send(BrokerChanged("paper", True))
    assert picture.take().alerts == ()


def test_one_that_nobody_acknowledged_stays_when_its_cause_is_gone() -> None:
    picture = Picture()
    picture.rig.send(StoreChanged(False, "disk full"))
    picture.rig.send(StoreChanged(True))
    first = only(picture)
    assert (first.lasts, first.count) == (False, 1)
    picture.rig.tick(5)
    picture.rig.send(StoreChanged(False, "disk full"))
    row = only(picture)
    assert (row.lasts, row.count, row.since_ts) == (True, 2, first.ts)
    assert row.ts > first.ts
    picture.rig.send(StoreChanged(True))
    acknowledge(picture, "store")
    assert picture.take().alerts == ()


def test_what_differed_at_the_start_is_over_once_all_agrees_and_still_waits_for_a_person() -> None:
    picture = Picture()
    picture.rig.send(RaiseAlert("reconciliation-paper", "position ACME: 5 here, 0 there"))
    gap = Difference("position", "ACME", "5", "0", "position ACME: 5 here, 0 there")
    picture.view.follow(Reconciled("paper", (gap,)))
    assert (only(picture).lasts, only(picture).over) == (True, False)
    picture.view.follow(Reconciled("paper", ()))
    row = only(picture)
    assert (row.lasts, row.over, row.holds) == (False, True, True)
    acknowledge(picture, row.name)
    assert picture.take().alerts == ()


def test_what_happens_again_is_to_be_acknowledged_again() -> None:
    picture = Picture()
    picture.rig.send(BrokerChanged("paper", False, "no answer"))
    acknowledge(picture, "broker paper")
    picture.rig.send(BrokerChanged("paper", False, "refused"))
    assert only(picture).acknowledged_by == "ann"
    picture.rig.send(BrokerChanged("paper", True))
    picture.rig.send(BrokerChanged("paper", False, "no answer"))
    assert only(picture).acknowledged_by == ""


def test_an_order_in_doubt_is_an_alert_until_it_is_known() -> None:
    picture = Picture()
    picture.rig.signal(Side.BUY)
    order = picture.rig.last(OrderPurpose.ENTRY)
    picture.rig.report(order, OrderState.IN_DOUBT, reason="no answer")
    row = only(picture)
    assert row.name == f"doubt {order.client_order_id}"
    acknowledge(picture, row.name)
    assert only(picture).lasts
    picture.rig.report(order, OrderState.ACCEPTED)
    assert picture.take().alerts == ()


def test_the_kill_switch_is_an_alert_until_it_is_rearmed() -> None:
    picture = Picture()
    picture.rig.kill()
    acknowledge(picture, "kill-switch")
    assert only(picture).lasts
    picture.rig.rearm()
    assert picture.take().alerts == ()


def test_what_live_trading_waits_for_says_so() -> None:
    picture = Picture()
    picture.rig.send(RaiseAlert("database", "an old one"))
    assert (only(picture).holds, only(picture).text) == (True, "alert database: an old one")
    acknowledge(picture, "database")
    assert picture.take().alerts == ()


def test_alerts_are_bounded_and_the_latest_come_first() -> None:
    picture = Picture()
    picture.rig.send(RaiseAlert("database", "an old one"))
    for number in range(MOST_ALERTS + 5):
        picture.rig.send(BrokerChanged(f"b{number}", False, "connecting"))
        picture.rig.send(BrokerChanged(f"b{number}", False, "no answer"))
    rows = picture.take().alerts
    assert len(rows) == MOST_ALERTS
    assert rows[0].name == f"broker b{MOST_ALERTS + 4}"
    assert rows[-1].name == "database"
