"""Scores of Lin et al. 2020, by system and variant, that stand beside ours."""

TEST_BLEU = {
    ("teacher", "vanilla"): (34.4, 35.2),
    ("sru2", "vanilla"): (29.5, 30.6),
    ("sru2", "seqkd"): (32.0, 32.4),
    ("sru2", "imitkd"): (33.3, 33.7),
    ("sru2", "vanilla_full"): (33.0, 33.8),
    ("sru2", "seqkd_full"): (33.1, 33.7),
    ("sru2", "imitkd_full"): (33.7, 34.5),
    ("transformer2", "vanilla"): (32.8, 33.4),
    ("transformer2", "seqkd"): (34.0, 34.2),
    ("transformer2", "imitkd"): (34.3, 34.6),
    ("transformer2", "vanilla_full"): (33.8, 34.2),
    ("transformer2", "seqkd_full"): (34.0, 34.4),
    ("transformer2", "imitkd_full"): (34.4, 34.8),
    ("sru3", "imitkd_full"): (34.8, 35.4),
}
"""Table 3: test BLEU on IWSLT 2014 German to English, beam 1 and 5."""
VALID_BLEU = {
    "vanilla": {"sru2": (28.6, 32.1), "gru2": (28.6, 31.9), "lstm2": (27.7, 31.2), "transformer2": (32.4, 34.0)},
    "seqkd": {"sru2": (31.4, 32.2), "gru2": (31.2, 32.0), "lstm2": (30.5, 31.4), "transformer2": (33.3, 34.2)},
    "imitkd": {"sru2": (32.7, 33.5), "gru2": (32.7, 33.4), "lstm2": (32.4, 33.1), "transformer2": (33.7, 34.4)},
}
"""Tables 4 and 8: validation BLEU at beam 1, without and with SeqInter."""
ROUGE_SCORES = {
    ("teacher", "vanilla"): (39.0, 17.6, 35.7),
    ("sru2", "vanilla"): (36.1, 15.6, 32.8),
    ("sru2", "seqkd"): (36.4, 16.1, 33.1),
    ("sru2", "imitkd_full"): (38.4, 17.1, 34.9),
}
"""Table 6: ROUGE-1, 2 and L on CNN/DailyMail."""
MIXED_BLEU = (33.8, 28.6)
"""Table 1: Transformer and RNN alone; 31.4 when the RNN writes the first 12 tokens."""
