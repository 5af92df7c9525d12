"""The worker's table on the embedded broker: what reaches below Faust's public surface still works."""

from tests.table_cases import (  # noqa: F401  # pytest finds them here
    test_batch_that_could_not_be_written_is_applied_after_a_restart,
    test_batched_write_is_in_kafka_and_in_memory_and_its_offsets_are_noted,
    test_message_that_faust_left_out_ends_the_worker,
    test_partitions_that_go_are_dropped_and_come_back_whole,
    test_record_that_is_too_large_is_refused_and_changes_nothing,
    test_restore_reads_large_batches_to_their_ends,
    test_restored_table_holds_the_newest_of_each_key,
    test_worker_without_a_lease_writes_nothing_until_it_has_one,
)
