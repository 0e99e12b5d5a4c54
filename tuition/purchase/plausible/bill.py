"""What a server charged for without listing it. Nothing to stop for: what is counted is the larger figure."""

from tuition.purchase.plausible.evidence import Finding

NAME = "bill"


def check(calls: int, tokens: int) -> Finding:
    """Tell of `tokens` that only a server's totals count, and of how many `calls`."""
    if not calls:
        return Finding(NAME, "passed", "no total of tokens is larger than the sum of its parts")
    found = (
        f"of {calls} calls the total of tokens is larger than the sum of question and answer, by {tokens} tokens in all, such as those of "
        "a model that thinks. The total counts, at the price of answers"
    )
    return Finding(NAME, "noted", found)
