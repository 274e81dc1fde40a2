"""Calls on their way: channels, tokens, attempts and pages, for blocking calls and for asyncio."""
