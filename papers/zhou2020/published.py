"""BLEU that Zhou et al. 2020 published on WMT 2014 English to German, and that stands beside ours."""

REAL_TEXT_BLEU = {
    "vanilla": 11.4,
    "flowseq": 18.6,
    "inat": 19.3,
    "inst": 20.9,
    "cmlm": 23.5,
    "levt": 25.2,
    "levtbig": 26.5,
}
"""By student trained on real text."""
DECODING_BLEU = {"sampling": 6.6, "top10": 14.6, "greedy": 18.9, "base": 19.5}
INTERPOLATION_BLEU = {"base": 26.94, "interpolated": 27.32}
