"""How the pipeline does: topics, lag, sources, asked of Kafka while somebody looks."""
