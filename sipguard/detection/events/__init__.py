"""Recognises failures and successes in the events that SIP servers tell of themselves."""
