from streams.cursor import SMALL_ANSWER_BYTES, Cursor


def test_an_empty_partition_has_caught_up_at_once() -> None:
    cursor = Cursor(0, 0)

    cursor.observe(0, None, None, 0)

    assert cursor.caught_up


def test_caught_up_when_the_position_reaches_the_end() -> None:
    cursor = Cursor(0, 10)

    cursor.observe(9, 10, 1, 500)
    assert not cursor.caught_up

    cursor.observe(10, 10, 1, 600)
    assert cursor.caught_up


def test_the_first_high_watermark_corrects_an_end_that_was_named_too_low() -> None:
    cursor = Cursor(0, 1)

    cursor.observe(5, 9, 1, 500)
    assert not cursor.caught_up

    cursor.observe(9, 20, 2, 900)
    assert cursor.caught_up
    assert cursor.lag == 11


def test_a_compacted_tail_is_caught_up_by_answers_without_records() -> None:
    cursor = Cursor(0, 10)
    cursor.observe(7, 10, 1, 500)

    cursor.observe(7, 10, 2, 500)
    cursor.observe(7, 10, 3, 500)
    assert not cursor.caught_up
    cursor.observe(7, 10, 4, 500)

    assert cursor.caught_up


def test_polls_without_an_answer_prove_nothing() -> None:
    cursor = Cursor(0, 10)
    cursor.observe(7, 10, 1, 500)

    for _ in range(10):
        cursor.observe(7, 10, 1, 500)

    assert not cursor.caught_up


def test_answers_that_were_full_of_other_partitions_prove_nothing() -> None:
    cursor = Cursor(0, 10)

    for answer in range(10):
        cursor.observe(0, 10, answer, answer * SMALL_ANSWER_BYTES)

    assert not cursor.caught_up


def test_small_answers_prove_it_after_full_ones() -> None:
    cursor = Cursor(0, 10)
    for answer in range(10):
        cursor.observe(0, 10, answer, answer * SMALL_ANSWER_BYTES)

    for answer in range(10, 13):
        cursor.observe(0, 10, answer, 9 * SMALL_ANSWER_BYTES + answer)

    assert cursor.caught_up


def test_it_stays_caught_up_when_more_comes() -> None:
    cursor = Cursor(0, 1)
    cursor.observe(1, 1, 1, 10)

    cursor.observe(1, 50, 2, 10)

    assert cursor.caught_up
    assert cursor.lag == 49
