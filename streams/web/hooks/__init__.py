"""Webhooks: what changes in a world is posted to who subscribed."""
