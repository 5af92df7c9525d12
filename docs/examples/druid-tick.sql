-- The topic `tick` in Apache Druid 33: what druid-tick.json makes of it, and how to ask for it.
--
-- Load the extensions druid-kafka-indexing-service and druid-avro-extensions, set bootstrap.servers and the address
-- of `twin web` (it answers as a schema registry) in druid-tick.json, change the topic's name if TWIN_TOPIC_PREFIX is
-- not `twin`, and post the file to Druid: curl -H 'Content-Type: application/json' --data @druid-tick.json
-- http://<router>:8888/druid/indexer/v1/supervisor
--
-- Druid makes one row of a message, and a message of `tick` has up to 200 closed ticks of a world: its columns are
-- ARRAYs, beside one another. Nothing takes them apart when they are read from Kafka, so that is done by queries.
-- Three columns are added for them: row_numbers (0, 1, … for each closed tick), row_ends (where in metrics, values
-- and qualities the values of each end) and change_numbers. __time is the newest tick or change of the message; those
-- of another row may be older, so a range of __time should begin early and the tick itself be compared too. Rollup,
-- indexes on ids and approximate functions are not for such columns. A message that was sent again after a restart is
-- there twice: MAX or LATEST hide that, SUM and COUNT do not.

-- One metric of each node.
SELECT
  MILLIS_TO_TIMESTAMP(ARRAY_OFFSET(t."ticks_ms", r."n")) AS "tick",
  ARRAY_OFFSET(t."ids", r."n") AS "node",
  ARRAY_ORDINAL(
    ARRAY_SLICE(
      t."values",
      ARRAY_OFFSET(t."row_ends", r."n") - ARRAY_OFFSET(t."sizes", r."n"),
      ARRAY_OFFSET(t."row_ends", r."n")
    ),
    ARRAY_ORDINAL_OF(
      ARRAY_SLICE(
        t."metrics",
        ARRAY_OFFSET(t."row_ends", r."n") - ARRAY_OFFSET(t."sizes", r."n"),
        ARRAY_OFFSET(t."row_ends", r."n")
      ),
      ARRAY_OFFSET_OF(t."names", 'cpu_usage_percent')
    )
  ) AS "cpu_usage_percent"
FROM "twin_tick" AS t
CROSS JOIN UNNEST(t."row_numbers") AS r("n")
WHERE t."__time" >= CURRENT_TIMESTAMP - INTERVAL '1' HOUR
  AND t."world" = 'live'
  AND ARRAY_CONTAINS(t."names", 'cpu_usage_percent')
  AND ARRAY_OFFSET(t."kinds", r."n") = 'node';

-- Changes of status.
SELECT
  MILLIS_TO_TIMESTAMP(ARRAY_OFFSET(t."change_at_ms", c."n")) AS "at",
  ARRAY_OFFSET(t."change_kinds", c."n") AS "kind",
  ARRAY_OFFSET(t."change_ids", c."n") AS "id",
  ARRAY_OFFSET(t."change_statuses", c."n") AS "status",
  ARRAY_OFFSET(t."change_reasons", c."n") AS "reason"
FROM "twin_tick" AS t
CROSS JOIN UNNEST(t."change_numbers") AS c("n")
WHERE t."__time" >= CURRENT_TIMESTAMP - INTERVAL '1' DAY
  AND t."world" = 'live';
