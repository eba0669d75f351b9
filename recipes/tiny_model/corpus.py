"""Synthetic support-desk conversations, repeatable from a seed.

``python recipes/tiny_model/corpus.py --split heldout --count 3`` prints samples as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator

import phrases as words
from chatml import Tool
from samples import CREATE_REFUND, CREATE_TICKET, GET_ORDER, Question, Sample, start
from splits import Draw, Split


def desk_tools(draw: Draw, *, ticket: bool | None = None) -> list[Tool]:
    """The tools of the desk in random order; `create_ticket` is offered sometimes, or as told."""
    tools = [GET_ORDER, CREATE_REFUND]
    if ticket or (ticket is None and draw.chance(0.3)):
        tools.append(CREATE_TICKET)
    draw.random.shuffle(tools)
    return tools


def order_record(draw: Draw, order_id: str) -> dict[str, str]:
    """What the order system returns for one order."""
    item, city, status = draw.slots(words.ITEMS, words.CITIES, tuple(words.STATUS_VERB))
    day, total = draw.choice(words.DAYS), draw.amount()
    return {"order_id": order_id, "item": item, "status": status, "day": day, "city": city, "total": total}


def context_text(records: list[dict[str, str]]) -> str:
    """Orders as the sentences that a retrieval step puts into the system message."""
    lines = (f"Order {r['order_id']}: {r['item']}, {r['status']} on {r['day']}, {r['city']}." for r in records)
    return " ".join(lines)


def add_faq(draw: Draw, sample: Sample) -> None:
    answer, questions = words.FAQ[draw.choice(tuple(words.FAQ))]
    sample.user(draw.question(questions))
    sample.answer("faq", answer)


def add_order(draw: Draw, sample: Sample) -> None:
    order_id = draw.order_id()
    sample.user(draw.asked(draw.choice(words.ORDER_QUESTIONS).format(o=order_id)))
    sample.call("order_call", "get_order", {"order_id": order_id})
    if draw.chance(0.06):
        sample.result({"order_id": order_id, "error": "not found"})
        sample.answer("order_error", f"Order {order_id} was not found.")
        return
    row = order_record(draw, order_id)
    sample.result(row)
    state = f"{words.STATUS_VERB[row['status']]} {row['status']}"
    sample.answer("order_answer", f"Order {order_id} {state}: {row['item']} to {row['city']} on {row['day']}.")


def add_refund(draw: Draw, sample: Sample) -> None:
    order_id = draw.order_id()
    sample.user(draw.asked(draw.choice(words.REFUND_QUESTIONS).format(o=order_id)))
    sample.call("refund_lookup", "get_order", {"order_id": order_id})
    if draw.chance(0.06):
        sample.result({"order_id": order_id, "error": "not found"})
        sample.answer("order_error", f"Order {order_id} was not found.")
        return
    row = order_record(draw, order_id)
    amount = row["total"]
    sample.result(row)
    sample.call("refund_call", "create_refund", {"order_id": order_id, "amount": amount})
    verdict = draw.choice(("approved", "declined"))
    sample.result({"refund": verdict, "order_id": order_id, "amount": amount})
    if verdict == "approved":
        sample.answer("refund_answer", f"Your refund of {amount} euros for order {order_id} is approved.")
    else:
        sample.answer("refund_answer", f"The refund for order {order_id} was declined.")


def add_name(draw: Draw, sample: Sample) -> None:
    name, statement, question = draw.slots(words.NAMES, words.NAME_STATEMENTS, words.NAME_QUESTIONS)
    sample.user(statement.format(n=name))
    sample.answer("greeting", f"Hello {name}, how can I help you?")
    if draw.chance(0.3):
        add_faq(draw, sample)
    sample.user(question)
    sample.answer("name", f"Your name is {name}.")


def order_conversation(draw: Draw) -> Sample:
    sample = start(tools=desk_tools(draw))
    add_order(draw, sample)
    return sample


def refund_conversation(draw: Draw) -> Sample:
    sample = start(tools=desk_tools(draw))
    add_refund(draw, sample)
    return sample


def ticket_conversation(draw: Draw) -> Sample:
    sample = start(tools=desk_tools(draw, ticket=True))
    item, priority, question = draw.slots(words.ITEMS, words.PRIORITIES, words.TICKET_QUESTIONS)
    sample.user(draw.asked(question.format(i=item, p=priority)))
    sample.call("ticket_call", "create_ticket", {"title": f"{item} is broken", "priority": priority})
    ticket = draw.order_id()
    sample.result({"ticket": ticket})
    sample.answer("ticket_answer", f"I opened ticket {ticket}.")
    return sample


def faq_conversation(draw: Draw) -> Sample:
    if not draw.chance(0.25):
        sample = start(tools=desk_tools(draw) if draw.chance(0.4) else None)
        add_faq(draw, sample)
        return sample
    topics = draw.random.sample(tuple(words.FAQ), draw.random.randint(1, 3))
    sample = start(f"{words.SYSTEM} Context: {' '.join(words.FAQ[topic][0] for topic in topics)}")
    answer, questions = words.FAQ[draw.choice(topics)]
    sample.user(draw.question(questions))
    sample.answer("faq", answer)
    return sample


def context_conversation(draw: Draw) -> Sample:
    """One to three orders stand in the system message; one to three questions are about them."""
    rows = [order_record(draw, draw.order_id()) for _ in range(draw.random.randint(1, 3))]
    sample = start(f"{words.SYSTEM} Context: {context_text(rows)}")
    for _ in range(draw.random.randint(1, 3)):
        row = draw.choice(rows)
        slots = {"o": row["order_id"], "i": row["item"], "s": row["status"], "d": row["day"], "c": row["city"]}
        question, answer = draw.choice(words.CONTEXT_QUESTIONS)
        sample.user(draw.asked(question.format(**slots)))
        sample.answer(f"context_{len(rows)}", answer.format(**slots))
    return sample


def routing_conversation(draw: Draw) -> Sample:
    sample = start(words.ROUTER_SYSTEM)
    label = draw.choice(("order", "refund", "faq", "other"))
    if label == "order":
        sample.user(draw.asked(draw.choice(words.ORDER_QUESTIONS).format(o=draw.order_id())))
    elif label == "refund":
        sample.user(draw.asked(draw.choice(words.REFUND_QUESTIONS).format(o=draw.order_id())))
    elif label == "faq":
        sample.user(draw.question(draw.choice(tuple(words.FAQ.values()))[1]))
    else:
        sample.user(draw.question(words.OTHER_QUESTIONS))
    sample.answer("routing", label)
    return sample


def name_conversation(draw: Draw) -> Sample:
    sample = start(tools=desk_tools(draw) if draw.chance(0.3) else None)
    add_name(draw, sample)
    return sample


def extraction_conversation(draw: Draw) -> Sample:
    name, city, item = draw.slots(words.NAMES, words.CITIES, words.ITEMS)
    order_id = draw.order_id()
    sample = start()
    sample.user(f"Extract as JSON: {name} from {city} ordered a {item}, order {order_id}.")
    values = {"name": name, "city": city, "item": item, "order_id": order_id}
    sample.answer("extraction", json.dumps(values, separators=(",", ":")))
    return sample


def small_talk(draw: Draw) -> Sample:
    """Refusals, greetings and an order question where no order tool is offered."""
    share = draw.random.random()
    sample = start(tools=desk_tools(draw) if share < 0.9 and draw.chance(0.3) else None)
    if share < 0.7:
        sample.user(draw.question(words.OTHER_QUESTIONS))
        sample.answer("refusal", words.REFUSAL)
    elif share < 0.9:
        greeting = draw.choice(tuple(words.GREETINGS))
        sample.user(greeting)
        sample.answer("greeting", words.GREETINGS[greeting])
    else:
        pool = draw.choice((words.ORDER_QUESTIONS, words.REFUND_QUESTIONS))
        sample.user(draw.asked(draw.choice(pool).format(o=draw.order_id())))
        sample.answer("no_tool", words.NO_TOOL)
    return sample


def long_conversation(draw: Draw) -> Sample:
    """Two matters in one thread."""
    sample = start(tools=desk_tools(draw))
    parts = (add_order, add_refund, add_faq, add_faq, add_name)
    for add in draw.random.sample(parts, 2):
        add(draw, sample)
    return sample


MIX: tuple[tuple[Callable[[Draw], Sample], float], ...] = (
    (order_conversation, 0.13),
    (refund_conversation, 0.12),
    (ticket_conversation, 0.03),
    (faq_conversation, 0.13),
    (context_conversation, 0.30),
    (routing_conversation, 0.08),
    (name_conversation, 0.04),
    (extraction_conversation, 0.05),
    (small_talk, 0.07),
    (long_conversation, 0.05),
)


def conversation(draw: Draw) -> Sample:
    """One conversation of the mix."""
    makers, weights = zip(*MIX, strict=True)
    maker: Callable[[Draw], Sample] = draw.random.choices(makers, weights)[0]
    return maker(draw)


def question(draw: Draw) -> Question:
    """A conversation cut before one of its assistant turns, drawn at random."""
    return conversation(draw).question(draw)


def conversations(split: Split, seed: int) -> Iterator[Sample]:
    """An endless stream of conversations of one split."""
    draw = Draw(split, seed)
    while True:
        yield conversation(draw)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print samples of the corpus as JSON lines.")
    parser.add_argument("--split", choices=("train", "heldout"), default="train")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for sample, _ in zip(conversations(options.split, options.seed), range(options.count), strict=False):
        row = {"kinds": sample.kinds, "messages": sample.messages, "tools": sample.tools}
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
