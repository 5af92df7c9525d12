"""The rules of the twin: pure functions, no I/O, no clock, no Faust."""
