"""A question that is asked again while somebody looks."""

from concurrent.futures import Future

from engine.ops.errors import UserError
from engine.view.questions import A, Bars, Chart, Question
from tui.asking import EVERY, ONCE, Asking

AAPL, SPY = Bars("AAPL", 5), Bars("SPY", 5)
CHART = Chart("AAPL", (), (), ())


class Engine:
    """Keeps what it is asked, with the answers to come."""

    def __init__(self) -> None:
        self.asked: list[Future[Chart]] = []
        self.asking = Asking[Chart](self.ask)

    def ask(self, question: Question[A]) -> "Future[A]":
        answer: Future[A] = Future()
        self.asked.append(answer)  # pyright: ignore[reportArgumentType]
        return answer


def test_the_answer_is_there_at_the_look_after_it_came() -> None:
    it = Engine()
    it.asking.look(AAPL, 0.0)
    assert (it.asking.answer, it.asking.waited(0.5)) == (None, 0.5)
    it.asked[0].set_result(CHART)
    it.asking.look(AAPL, 1.0)
    assert it.asking.answer is CHART
    assert it.asking.waited(1.0) is None


def test_it_is_asked_again_in_time_and_never_twice_at_once() -> None:
    it = Engine()
    it.asking.look(AAPL, 0.0)
    it.asking.look(AAPL, 10 * EVERY)
    assert len(it.asked) == 1
    it.asked[0].set_result(CHART)
    it.asking.look(AAPL, 10 * EVERY)
    assert len(it.asked) == 2
    it.asked[1].set_result(CHART)
    it.asking.look(AAPL, 10 * EVERY + 0.2)
    it.asking.look(AAPL, 11 * EVERY - 0.1)
    assert len(it.asked) == 2


def test_of_another_question_nothing_is_known() -> None:
    it = Engine()
    it.asking.look(AAPL, 0.0)
    it.asked[0].set_result(CHART)
    it.asking.look(AAPL, 0.1)
    it.asking.look(SPY, 0.2)
    assert it.asking.answer is None
    assert len(it.asked) == 2


def test_an_answer_to_what_is_no_longer_asked_is_not_taken() -> None:
    it = Engine()
    it.asking.look(AAPL, 0.0)
    it.asking.look(SPY, 0.1)
    it.asked[0].set_result(CHART)
    it.asking.look(SPY, 0.2)
    assert it.asking.answer is None


def test_a_failure_says_why_and_leaves_the_last_answer() -> None:
    it = Engine()
    it.asking.look(AAPL, 0.0)
    it.asked[0].set_result(CHART)
    it.asking.look(AAPL, 0.1)
    it.asking.look(AAPL, EVERY)
    it.asked[1].set_exception(UserError("the \u202eengine has ended", "start it again"))
    it.asking.look(AAPL, EVERY + 0.1)
    assert it.asking.answer is CHART
    assert it.asking.failure == "the  engine has ended"


def test_no_failure_escapes() -> None:
    for fail in (Future[Chart].cancel, lambda answer: answer.set_exception(ValueError("secret"))):
        it = Engine()
        it.asking.look(AAPL, 0.0)
        fail(it.asked[0])
        it.asking.look(AAPL, 0.1)
        assert it.asking.failure.startswith("no answer: ")
        assert "secret" not in it.asking.failure


def test_what_is_wanted_once_is_asked_once() -> None:
    it = Engine()
    once = Asking[Chart](it.ask, ONCE)
    once.look(AAPL, 0.0)
    it.asked[0].set_result(CHART)
    once.look(AAPL, 1e9)
    assert (once.answer, len(it.asked)) == (CHART, 1)
