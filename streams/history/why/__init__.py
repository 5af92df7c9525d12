"""Why an entity shows a value: what the topics, the record and history still have of it."""
