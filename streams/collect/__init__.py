"""The collect role: sources -> scrape. A module for each kind of source, a schedule, the way to Kafka."""
