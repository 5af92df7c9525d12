"""Real Kafka, Prometheus, node_exporter and history stores on this machine, without a container engine.

`python3 tests/services/stack start` (or `make services`) gets, builds and starts them; `--help` lists the
other commands. What it writes is in the checkout's `.services`, ignored by git and open to its owner alone:

- `env`: `export TWIN_...` lines with the addresses, for a shell; there while the services are meant to run.
- `services.json`: the same and more, for tests: per service `port`, `pid` (null when ended), `log`, and `url`
  or `bootstrap_servers`; for influxdb `org`, `bucket`, `token`, `username`, `password`; for kafka `sasl_ssl`
  with `bootstrap_servers`, `port`, `mechanisms`, `username`, `password`, `ca_file`.
- `remembered.json`: ports and secrets, which stay the same until `stop --wipe`.
- `log`, `run` (pid files: pid and start time), `conf`, `data`, `tls`.

Builds lie in `${XDG_CACHE_HOME:-~/.cache}/twin-services/<name>-<version>` and are shared by all checkouts.
Only the standard library is used, because this runs before any virtual environment exists; only Linux is
served, for `/proc`.
"""
