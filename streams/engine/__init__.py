"""What the worker and the sink need of Faust, and what it takes to lose nothing with it."""
