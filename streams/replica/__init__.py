"""The topic `state` as a dictionary: what schedulers and the web role use."""

from streams.replica.replica import TwinReplica

__all__ = ["TwinReplica"]
