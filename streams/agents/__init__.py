"""The wiring of the stages: one attach(app, ...) for each."""
