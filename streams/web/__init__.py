"""The read side over HTTP: REST over a replica of the state topic, schemas, health and metrics."""
