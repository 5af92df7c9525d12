"""Why an entity shows a value: its samples, their rule, the log and the faults, read backwards, in words."""
