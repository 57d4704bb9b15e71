"""Which plots a table gets."""

import re

from evidence.figures import figures_of
from seqdistill.reports.figures import cost_plots


def test_a_table_gets_the_plots_it_has_columns_for():
    row = {"system": "a", "bleu": 30.0}
    assert figures_of([row]) == figures_of([{"system": "a", "parameters": 5}]) == {}
    assert list(figures_of([row | {"parameters": 5e6}])) == ["size"]
    every = row | {"parameters": 5e6, "sentences_per_second": 9, "milliseconds_per_sentence": 3.0}
    assert list(figures_of([every, {"system": "b"}])) == ["latency", "speed", "size"]
    assert list(cost_plots([every])) == ["BLEU against latency", "BLEU against throughput", "BLEU against size"]
    assert list(figures_of([row | {"length": "0-9"}, row | {"length": "all"}])) == ["length"]
    assert list(figures_of([row | {"update": 5}, row | {"update": 9, "bleu": None}])) == ["curve"]


def test_students_are_drawn_over_the_texts_they_learned_from():
    whole = {"student": "nat", "bleu_real": 10.0, "bleu_tiny": 12.0, "bleu_small": 14.0, "bleu_big": 13.0}
    (svg,) = figures_of([whole, {"student": "inat", "bleu_real": 11.0, "bleu_base": 15.0}]).values()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [text for text in texts if text in ("real", "tiny", "small", "base", "big")] == [
        "real",
        "tiny",
        "small",
        "big",
    ]
    assert "nat" not in texts, "one line needs no legend"
    assert figures_of([{"student": "inat", "bleu_real": 11.0, "bleu_base": 15.0}]) == {}
