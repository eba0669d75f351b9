"""Questions that any model answers, and questions that want a good one. Written for this file."""

from __future__ import annotations

__all__ = ["EASY", "HARD"]

EASY = (
    "How many days of holiday do I get?",
    "What are the opening hours of the support desk?",
    "Where do I find my payslip?",
    "Who is the contact for travel bookings?",
    "When is the next public holiday?",
    "What is the password policy?",
    "How do I reset my password?",
    "Is there parking at the office?",
    "Translate 'good morning' into French.",
    "What is the capital of Portugal?",
    "Thanks, that helps!",
    "Can I return shoes that I bought last week?",
    "List the documents I need for a visa.",
    "What does the abbreviation SLA stand for?",
    "How long does delivery take?",
    "Which floor is the canteen on?",
    "What time does the train leave?",
    "Spell the word 'necessary'.",
    "Is the shop open on Sunday?",
    "How much does the basic plan cost?",
)
HARD = (
    "Draft an indemnification clause that limits our liability to direct damages.",
    "Compare the tax implications of a share deal and an asset deal for the seller.",
    "Prove that the algorithm terminates and derive its worst-case complexity.",
    "Design a migration plan from a monolith to services with no downtime.",
    "Analyse why churn rose in the third quarter and propose three measures with their trade-offs.",
    "Rewrite this contract paragraph so that it complies with the data protection regulation.",
    "Debug this stack trace and explain the root cause of the deadlock.",
    "Write a proposal to the board that justifies the investment in a second data centre.",
    "Evaluate the statistical validity of this trial and list possible confounders.",
    "Outline a litigation strategy given that the supplier disputes jurisdiction.",
    "Refactor this class so that it can be tested without a database.",
    "Derive the optimal price given this demand curve and explain every step.",
    "Write a legal opinion on whether the warranty disclaimer is enforceable.",
    "Devise a schema for a multi-tenant ledger with audit requirements.",
    "Critique the argument of this essay and reconcile it with the opposing view.",
    "Plan a differential diagnosis for a patient with these five symptoms.",
    "Implement a concurrent rate limiter and argue that it has no race conditions.",
    "Interpret these regression results and their implications for policy.",
    "Estimate the valuation of the company with two methods and explain the difference.",
    "Draft a non-disclosure agreement between a university and a start-up.",
)
