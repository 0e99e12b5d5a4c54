"""Other processes that buy from the same teacher: waiting for what they hold. They end it, or die and leave it to us."""

import asyncio

from tuition.ledger import calls
from tuition.purchase.account import Account
from tuition.purchase.text import say
from tuition.purchase.writer import Writer

POLL_SECONDS = 0.5


class Others:
    """Says once that, and for whom, a purchase waits."""

    def __init__(self, account: Account, writer: Writer):
        self.account, self.writer = account, writer
        self.waited = False

    async def wait(self, what: str) -> None:
        """Wait for `what` for a moment, and settle the calls of those who died."""
        if not self.waited:
            await self.writer.call(self._say, what)
        self.waited = True
        await asyncio.sleep(POLL_SECONDS)
        await self.writer.call(calls.settle, self.account.ledger, self.account.id)

    def _say(self, what: str) -> None:
        holders = ", ".join(calls.holders(self.account.ledger, self.account.id))
        say(f"waiting for {what} by {holders or 'another process'}")
