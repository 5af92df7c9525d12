"""Measurements behind `twin bench`; ratios come from one run, because machines differ and are shared."""
