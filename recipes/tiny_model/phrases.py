"""The words of the support desk: slot values, questions by topic and fixed answers."""

from __future__ import annotations

SYSTEM = "You are the support desk assistant."
ROUTER_SYSTEM = "Classify the request."
REFUSAL = "I can only help with support desk questions."
NO_TOOL = "I cannot look up orders here."

# fmt: off
NAMES = (
    "Anna", "Boris", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ingrid", "Jonas", "Karin", "Lena",
    "Marco", "Nora", "Oskar", "Paula", "Rosa", "Simon", "Tina", "Viktor", "Yusuf", "Zoe", "Amira", "Carlos",
)
CITIES = (
    "Berlin", "Paris", "Madrid", "Vienna", "Oslo", "Dublin", "Lisbon", "Prague", "Warsaw", "Zurich", "Athens",
    "Helsinki", "Milan", "Porto", "Lyon", "Hamburg", "Geneva", "Bergen", "Malmo", "Seville",
)
ITEMS = (
    "laptop", "phone", "keyboard", "monitor", "camera", "tablet", "router", "headset", "charger", "mouse",
    "speaker", "scanner", "projector", "microphone", "webcam", "cable",
)
DAYS = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)
# fmt: on
STATUS_VERB = {
    "shipped": "is",
    "delivered": "was",
    "delayed": "is",
    "cancelled": "was",
    "returned": "was",
    "packed": "is",
}
PRIORITIES = ("low", "normal", "high")

PREFIXES = ("", "Hello, ", "Hi! ", "Hi, ", "Hello! ", "Good morning, ", "Please help: ")
SUFFIXES = ("", " Thanks.", " Thank you.", " Please.", " Thanks a lot.")

FAQ: dict[str, tuple[str, tuple[str, ...]]] = {
    "password": (
        "Open Settings, choose Security and press Reset password. A link arrives by e-mail within five minutes.",
        (
            "How do I reset my password?",
            "I forgot my password.",
            "My password does not work, what now?",
            "Can you help me to reset my password?",
            "I need a new password.",
            "How can I change my password?",
            "I lost my password.",
        ),
    ),
    "refund_time": (
        "Refunds are paid back to the original card within seven days after we receive the item.",
        (
            "How long does a refund take?",
            "When do I get my money back?",
            "What is your refund policy?",
            "How do refunds work?",
            "Where does the refund go?",
            "How fast are refunds paid?",
        ),
    ),
    "shipping": (
        "Shipping is free above fifty euros. Below that it costs four euros and ninety cents.",
        (
            "How much is shipping?",
            "What does delivery cost?",
            "Is shipping free?",
            "What are the shipping costs?",
            "How much does delivery cost?",
            "Do I have to pay for shipping?",
        ),
    ),
    "hours": (
        "The support desk is open Monday to Friday from nine to six.",
        (
            "When are you open?",
            "What are your opening hours?",
            "Are you open on Sunday?",
            "When can I reach the support desk?",
            "Are you open today?",
            "At what time do you open?",
        ),
    ),
    "warranty": (
        "Every device carries a two year warranty that covers defects but not drops or water.",
        (
            "What does the warranty cover?",
            "How long is the warranty?",
            "Is water damage covered?",
            "My device broke, do I have warranty?",
            "Do I have a warranty?",
            "Does the warranty cover drops?",
        ),
    ),
    "invoice": (
        "You find all invoices under Account, Billing. Each invoice can be downloaded as PDF.",
        (
            "Where is my invoice?",
            "I need an invoice.",
            "How can I download my bill?",
            "Where do I find my invoices?",
            "Can I get an invoice as PDF?",
            "Please send me my invoice.",
        ),
    ),
    "cancel": (
        "Open Account, choose Subscription and press Cancel. It stays active until the end of the month.",
        (
            "How do I cancel my subscription?",
            "I want to cancel my subscription.",
            "Please stop my subscription.",
            "Can I cancel at any time?",
            "How can I end my subscription?",
            "I do not need my subscription any more.",
        ),
    ),
    "vpn": (
        "Restart the VPN client, check that your clock is right and sign in again with your token.",
        (
            "The VPN does not connect.",
            "My VPN is broken.",
            "How do I fix the VPN?",
            "I cannot reach the VPN.",
            "The VPN does not work.",
            "I have a problem with the VPN.",
        ),
    ),
    "printer": (
        "Switch the printer off for ten seconds, check the paper tray and print a test page.",
        (
            "My printer does not print.",
            "The printer is stuck.",
            "How do I fix the printer?",
            "There is a printer error.",
            "The printer does not work.",
            "I have a problem with my printer.",
        ),
    ),
    "language": (
        "Open Settings, choose Language and pick one of twelve languages. The change is immediate.",
        (
            "How do I change the language?",
            "Can I use the app in German?",
            "Where is the language setting?",
            "The app is in the wrong language.",
            "Which languages do you have?",
            "I want the app in French.",
        ),
    ),
}

UNSEEN_FAQ = {
    "password": "My password is gone, please help.",
    "refund_time": "When is the refund paid?",
    "shipping": "Is delivery free?",
    "hours": "Can I reach you on Saturday?",
    "warranty": "How many years of warranty do I have?",
    "invoice": "Where can I download the invoice?",
    "cancel": "Where do I cancel the subscription?",
    "vpn": "My VPN client does not connect.",
    "printer": "My printer shows an error.",
    "language": "How can I use the app in French?",
}
"""One wording per topic that training never sees: the honest probe for other words."""

ORDER_QUESTIONS = (
    "Where is my order {o}?",
    "What is the status of order {o}?",
    "Look up order {o}.",
    "Please check order {o}.",
    "Where is order {o}?",
    "When does my order {o} arrive?",
    "Can you find order {o}?",
    "Has order {o} been sent?",
    "Track order {o}.",
    "I am waiting for order {o}.",
    "What happened to my order {o}?",
    "Is my order {o} on the way?",
    "What about order {o}?",
)

REFUND_QUESTIONS = (
    "I want a refund for order {o}.",
    "Please refund order {o}.",
    "Refund my order {o}.",
    "I would like my money back for order {o}.",
    "Can I get a refund for order {o}?",
    "Order {o} is broken, I want a refund.",
    "Give me my money back for order {o}.",
    "I need a refund for my order {o}.",
    "Can you refund order {o}?",
    "I sent order {o} back, please refund it.",
)

TICKET_QUESTIONS = (
    "Open a ticket: my {i} is broken, priority {p}.",
    "Create a {p} ticket, my {i} is broken.",
    "My {i} is broken, please open a {p} ticket.",
)

CONTEXT_QUESTIONS = (
    ("What is the status of order {o}?", "Order {o} is {s}."),
    ("Where does order {o} go?", "Order {o} goes to {c}."),
    ("What is in order {o}?", "Order {o} is a {i}."),
    ("When was order {o} {s}?", "Order {o} was {s} on {d}."),
)

ACTIVITIES = ("cook rice", "bake bread", "play chess", "learn to swim", "plant a tree", "draw a horse", "fix a bike")
COUNTRIES = ("France", "Spain", "Japan", "Brazil", "Canada", "Egypt", "India")
SUBJECTS = ("cats", "the sea", "winter", "robots", "pirates", "a dragon", "the moon")
OTHER_QUESTIONS = (
    *(f"How do I {activity}?" for activity in ACTIVITIES),
    *(f"What is the capital of {country}?" for country in COUNTRIES),
    *(f"Write a poem about {subject}." for subject in SUBJECTS),
    *(f"Tell me a joke about {subject}." for subject in SUBJECTS),
    *(f"Write a song about {subject}." for subject in SUBJECTS),
    "Who won the world cup?",
    "Write a poem.",
    "Tell me a joke.",
    "What is two plus two?",
    "Who is the president?",
    "What is the meaning of life?",
    "How is the weather?",
    "How tall is the tower?",
    "Who wrote this book?",
    "Which film should I watch?",
)

GREETINGS = {
    "Hello.": "Hello, how can I help you?",
    "Hi!": "Hello, how can I help you?",
    "Hello!": "Hello, how can I help you?",
    "Good morning.": "Hello, how can I help you?",
    "Thanks.": "You are welcome.",
    "Thank you.": "You are welcome.",
    "Thanks a lot.": "You are welcome.",
}

NAME_STATEMENTS = ("My name is {n}.", "I am {n}.", "Hello, my name is {n}.", "Hi! I am {n}.")
NAME_QUESTIONS = ("What is my name?", "Do you know my name?", "Who am I?", "Tell me my name.")

SLOT_WORDS = (*NAMES, *CITIES, *ITEMS, *DAYS, *STATUS_VERB)
"""Words that are copied from a prompt into an answer; each is one token wherever it stands."""
