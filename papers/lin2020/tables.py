"""Runs a recipe of imitation learning (or continues it) and writes its results as the tables of Lin et al. 2020.

    python -m papers.lin2020.tables papers/lin2020/imitation-multi30k-de-en.toml --jobs 2

results/NAME.json, NAME being the recipe's: a row for each training, and the means over seeds as SYSTEM_VARIANT_METRIC
and the beam, such as sru2_imitkd_full_bleu5. A training is of SYSTEM by its stage's name up to the first hyphen, of
VARIANT by its objective and data. Beside it, where the recipe has what they show:

    NAME-table-3      perplexity and scores of every variant, ours beside the published (and table 4: GRU, LSTM)
    NAME-table-6      ROUGE of every variant, for a recipe that scores summaries
    NAME-table-8      validation scores before and after fine-tuning on interpolated data (SeqInter)
    NAME-table-1      mixed decoding: a student writes the first words, the teacher the rest
    NAME-figure-1     BLEU by sentence length
    NAME-pools        scores by the updates whose roll-outs are written at once
    NAME-differences  which variant is better than which: paired bootstrap over sentences, all seeds together
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence.results import write_result
from seqdistill import pipeline
from seqdistill.console import Terminal, lines
from seqdistill.errors import reported
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED, status
from seqdistill.metrics.scores import MetricOptions, create_metric
from seqdistill.metrics.significance import compare_runs
from seqdistill.recipe import read_recipe
from seqdistill.text.lines import read_lines
from seqdistill.verbs.systems import System, systems_in

VARIANTS = {
    ("nll", "real"): "vanilla",
    ("nll", "distilled"): "seqkd",
    ("imitkd", "real"): "imitkd",
    ("imitkd", "distilled"): "imitkdstar",
}
"""Table 2 of the paper, by objective and data; "+full" of each besides."""
TITLES = {"vanilla": "Vanilla", "seqkd": "SeqKD", "imitkd": "ImitKD", "imitkdstar": "ImitKD*"}
DIFFERENCES = [
    ("seqkd", "vanilla"),
    ("imitkd", "vanilla"),
    ("imitkd", "seqkd"),
    ("imitkdstar", "imitkd"),
    ("vanilla_full", "vanilla"),
    ("seqkd_full", "seqkd"),
    ("imitkd_full", "imitkd"),
    ("imitkd_full", "vanilla_full"),
    ("imitkd_full", "seqkd"),
]

ROUGE = ("rouge1", "rouge2", "rougeL")

POOL = "pool-"
"""Stages that differ from an ImitKD + Full of seed 1 in the size of the pool alone are called so."""

PUBLISHED = {
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
PUBLISHED_VALID = {
    "vanilla": {"sru2": (28.6, 32.1), "gru2": (28.6, 31.9), "lstm2": (27.7, 31.2), "transformer2": (32.4, 34.0)},
    "seqkd": {"sru2": (31.4, 32.2), "gru2": (31.2, 32.0), "lstm2": (30.5, 31.4), "transformer2": (33.3, 34.2)},
    "imitkd": {"sru2": (32.7, 33.5), "gru2": (32.7, 33.4), "lstm2": (32.4, 33.1), "transformer2": (33.7, 34.4)},
}
"""Tables 4 and 8: validation BLEU at beam 1, without and with SeqInter."""
PUBLISHED_SUMMARIES = {
    ("teacher", "vanilla"): (39.0, 17.6, 35.7),
    ("sru2", "vanilla"): (36.1, 15.6, 32.8),
    ("sru2", "seqkd"): (36.4, 16.1, 33.1),
    ("sru2", "imitkd_full"): (38.4, 17.1, 34.9),
}
"""Table 6: ROUGE-1, 2 and L on CNN/DailyMail."""
PUBLISHED_MIXED = (33.8, 28.6)
"""Table 1: Transformer and RNN alone; 31.4 when the RNN writes the first 12 tokens."""


@dataclass(frozen=True)
class Run:
    """A training and how it was evaluated."""

    system: str
    variant: str
    manifest: dict[str, Any]
    tests: dict[int, System]
    """By beam."""

    @property
    def seed(self) -> int:
        return int(self.manifest["options"]["seed"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, help="directory of all stages; default runs/NAME")
    parser.add_argument("--jobs", type=int, default=1, help="stages at a time, each on its share of the cores")
    parser.add_argument("--so-far", action="store_true", help="run nothing; the tables of the stages that are finished")
    given = parser.parse_args()
    recipe = read_recipe(given.recipe, out=given.out)
    if not given.so_far:
        pipeline.run(recipe, Terminal if given.jobs == 1 else lines, jobs=given.jobs)
    finished = [step for step in recipe.steps if status(step.directory) == "finished"]
    stages = {step.name: read_json(step.directory / FINISHED) for step in finished}
    started = time.time() - sum(stage["wall_seconds"] for stage in stages.values()) / given.jobs
    systems = systems_in(recipe.out)
    runs = list(runs_of(systems))
    tables = {
        "": (recipe.description, [row_of(run) for run in runs], figures(runs)),
        "-table-3": ("Test scores, means over seeds, beside those of Lin et al. 2020 on IWSLT", table_3(runs), {}),
        "-table-6": ("ROUGE, means over seeds, beside that of Lin et al. 2020 on CNN/DailyMail", table_6(runs), {}),
        "-table-8": ("Validation BLEU, greedy, before and after SeqInter, beside Lin et al. 2020", table_8(stages), {}),
        "-table-1": (
            "Mixed decoding, greedy (Lin et al. 2020 with 12 tokens: 31.4)",
            mixed(systems, runs),
            {},
        ),
        "-figure-1": ("BLEU at beam 5 by words of the source, means over seeds", by_length(runs), {}),
        "-pools": ("ImitKD + Full by the updates of a pool (M), one seed", pools(systems), {}),
        "-differences": (
            "Differences at beam 5 by paired bootstrap over sentences, seeds together",
            differences(runs),
            {},
        ),
    }
    part = "" if len(stages) == len(recipe.steps) else f" ({len(stages)} of {len(recipe.steps)} stages so far)"
    for suffix, (claim, rows, found) in tables.items():
        if rows:
            path = write_result(recipe.name + suffix, claim=claim + part, figures=found, rows=rows, started=started)
            print(f"wrote {path}")


def runs_of(systems: Iterable[System]) -> Iterator[Run]:
    """Trainings whose models were evaluated, in the order of their evaluation; fine-tuned ones are left out."""
    found: dict[Path, Run] = {}
    for system in systems:
        manifest = read_json(system.training / FINISHED) if system.training else {"inputs": {"init": ""}}
        asked = read_json(system.evaluation / FINISHED)
        if "init" in manifest["inputs"] or "first_model" in asked["inputs"] or system.name.startswith(POOL):
            continue
        assert system.training is not None
        variant = variant_of(manifest["options"]["objective"], system.data)
        name = system.name.partition("-")[0]
        run = found.setdefault(system.training, Run(name, variant, manifest, {}))
        run.tests[asked["options"]["beam"]] = system
    beams = {beam for run in found.values() for beam in run.tests}
    yield from (run for run in found.values() if run.tests.keys() == beams)


def variant_of(objective: str, data: str) -> str:
    """Name of a row of table 2, such as imitkd_full."""
    contexts, plus, _ = objective.partition("+")
    return VARIANTS[contexts, data] + ("_full" if plus else "")


def title(variant: str) -> str:
    """As the paper writes it: ImitKD + Full."""
    name, full, _ = variant.partition("_full")
    return TITLES[name] + (" + Full" if full else "")


def row_of(run: Run) -> dict[str, Any]:
    """A row of the result named as the recipe."""
    first, metric = next(iter(run.tests.values())), run.manifest["options"]["metric"]
    row: dict[str, Any] = {
        "system": run.system,
        "variant": title(run.variant),
        "seed": run.seed,
        "updates": run.manifest["results"]["updates"],
        "training_seconds": round(run.manifest["wall_seconds"]),
        "parameters": first.scores["parameters"],
        f"valid_{metric}": round(run.manifest["results"]["valid"][metric], 4),
        "perplexity": first.scores["perplexity"],
    }
    for beam, system in sorted(run.tests.items()):
        row |= {at_beam(name, beam): system.scores[name] for name in system.scores["signatures"]}
    row |= {f"{name}_signature": text for name, text in first.scores["signatures"].items()}
    return row


def at_beam(metric: str, beam: int) -> str:
    """bleu5, but rouge1_5."""
    return f"{metric}_{beam}" if metric in ROUGE else f"{metric}{beam}"


def grouped(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    """Runs that differ in their seed, by system, in the order of the recipe, and variant, hard labels first."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.system, run.variant), []).append(run)
    systems, variants = list(dict.fromkeys(system for system, _ in groups)), list(TITLES)

    def place(key: tuple[str, str]) -> tuple[int, bool, int]:
        name, full, _ = key[1].partition("_full")
        return systems.index(key[0]), bool(full), variants.index(name)

    return {key: groups[key] for key in sorted(groups, key=place)}


def figures(runs: Sequence[Run]) -> dict[str, float]:
    """Means over seeds; the teacher has no variant."""
    found = {}
    for (system, variant), same in grouped(runs).items():
        name = system if system.startswith("teacher") else f"{system}_{variant}"
        for beam, test in same[0].tests.items():
            for metric in test.scores["signatures"]:
                value = mean(run.tests[beam].scores[metric] for run in same)
                found[f"{name}_{at_beam(metric, beam)}"] = round(value, 4)
    return found


def table_3(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each system and variant, our means and deviations beside the paper's."""
    rows = []
    for (system, variant), same in grouped(run for run in runs if "bleu" in run.tests[1].scores).items():
        row: dict[str, Any] = {"system": system, "variant": title(variant), "seeds": len(same)}
        row["perplexity"] = round(mean(run.tests[1].scores["perplexity"] for run in same), 4)
        for beam, published in zip((1, 5), PUBLISHED.get((system, variant), (None, None)), strict=True):
            scores = [run.tests[beam].scores["bleu"] for run in same]
            row[f"bleu{beam}"] = round(mean(scores), 4)
            row[f"deviation{beam}"] = round(statistics.stdev(scores), 4) if len(scores) > 1 else None
            row[f"published_bleu{beam}"] = published
        row["bleu_signature"] = same[0].tests[5].scores["signatures"]["bleu"]
        rows.append(row)
    return rows


def table_6(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each system, variant and beam; the paper's beside beam 5."""
    rows = []
    for (system, variant), same in grouped(run for run in runs if "rouge1" in run.tests[1].scores).items():
        for beam in sorted(same[0].tests):
            tests = [run.tests[beam] for run in same]
            row: dict[str, Any] = {"system": system, "variant": title(variant), "seeds": len(same), "beam": beam}
            published = PUBLISHED_SUMMARIES.get((system, variant)) if beam == 5 else None
            for number, name in enumerate(ROUGE):
                row[name] = round(mean(test.scores[name] for test in tests), 4)
                row[f"published_{name}"] = published[number] if published else None
            rows.append(row | {"rouge_signature": tests[0].scores["signatures"]["rouge1"]})
    return rows


def table_8(stages: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Validation BLEU of trainings that were fine-tuned, means over seeds; also the content of table 4."""
    rows = []
    tuned = {name: stage for name, stage in stages.items() if "-seqinter-" in name}
    for variant, published in PUBLISHED_VALID.items():
        for system, pair in published.items():
            before: list[float] = []
            after: list[float] = []
            for name, stage in tuned.items():
                start = stages[name.partition("-seqinter-")[2]]
                kind = "distilled" if name.partition("-seqinter-")[2].partition("-")[2].startswith("seqkd") else "real"
                if name.startswith(f"{system}-") and variant_of(start["options"]["objective"], kind) == variant:
                    before.append(start["results"]["valid"]["bleu"])
                    after.append(stage["results"]["valid"]["bleu"])
            if before:
                rows.append(
                    {
                        "system": system,
                        "variant": title(variant),
                        "seeds": len(before),
                        "valid_bleu": round(mean(before), 4),
                        "with_seqinter": round(mean(after), 4),
                        "published_valid_bleu": pair[0],
                        "published_with_seqinter": pair[1],
                    }
                )
    return rows


def mixed(systems: Iterable[System], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Greedy BLEU, means over seeds, by the number of tokens that the student writes; none without mixed decoding."""
    scores: dict[int, list[System]] = {}
    for system in systems:
        asked = read_json(system.evaluation / FINISHED)
        if "first_model" in asked["inputs"]:
            scores.setdefault(asked["options"]["first_tokens"], []).append(system)
    groups = grouped(runs).items()
    alone = {name: [run.tests[1] for run in same] for (name, variant), same in groups if variant == "vanilla"}
    if not scores or not {"teacher", "sru2"} <= alone.keys():
        return []
    found = [("teacher alone", alone["teacher"], PUBLISHED_MIXED[0])]
    found += [(f"student {tokens} tokens, then teacher", same, None) for tokens, same in sorted(scores.items())]
    found += [("student alone", alone["sru2"], PUBLISHED_MIXED[1])]
    rows = []
    for name, same, published in found:
        rows.append({"system": name, "seeds": len(same), "bleu1": round(mean(one.scores["bleu"] for one in same), 4)})
        rows[-1] |= {"published_bleu1": published, "bleu_signature": same[0].scores["signatures"]["bleu"]}
    return rows


def pools(systems: Iterable[System]) -> list[dict[str, Any]]:
    """Test scores by pool, with the training of the same settings and seed and the default pool among them."""
    pooled = {system.name: system for system in systems if system.name.startswith(POOL)}
    if not pooled:
        return []
    trained = [system for system in systems if system.training is not None]
    manifests = {system.name: read_json(system.training / FINISHED) for system in trained if system.training}
    wanted = {**manifests[next(iter(pooled))]["options"], "pool": 0}
    rows: dict[str, dict[str, Any]] = {}
    for system in trained:
        manifest = manifests[system.name]
        if {**manifest["options"], "pool": 0} == wanted and system.data == "real":
            pool, beam = manifest["options"]["pool"], read_json(system.evaluation / FINISHED)["options"]["beam"]
            row = rows.setdefault(system.name, {"system": system.name, "pool": pool})
            row |= {f"bleu{beam}": system.scores["bleu"], "training_seconds": round(manifest["wall_seconds"])}
            row["bleu_signature"] = system.scores["signatures"]["bleu"]
    return sorted(rows.values(), key=lambda row: row["pool"])


def by_length(runs: Sequence[Run], *, beam: int = 5) -> list[dict[str, Any]]:
    """Corpus BLEU of the sentences of each length."""
    rows = []
    for (system, variant), same in grouped(runs).items():
        buckets = zip(*(run.tests[beam].scores.get("bleu_by_length", []) for run in same), strict=True)
        for seeds in buckets:
            rows.append({"system": system if system == "teacher" else f"{system} {title(variant)}"})
            rows[-1] |= {"length": seeds[0]["length"], "sentences": seeds[0]["sentences"]}
            rows[-1] |= {"bleu": round(mean(bucket["bleu"] for bucket in seeds), 4)}
    return rows


def differences(runs: Sequence[Run], *, beam: int = 5) -> list[dict[str, Any]]:
    """What each variant gains over another of the same system."""
    groups, rows = grouped(runs), []
    for system in dict.fromkeys(run.system for run in runs):
        for better, baseline in DIFFERENCES:
            pair = [
                {run.seed: run.tests[beam] for run in groups.get((system, name), [])} for name in (baseline, better)
            ]
            shared = sorted(pair[0].keys() & pair[1].keys())
            if not shared:
                continue
            tests = [[by_seed[seed] for seed in shared] for by_seed in pair]
            for name in sorted(tests[0][0].scores["signatures"].keys() - {"ter"}):  # of which less is better
                rows.append({"system": system, "difference": f"{title(better)} over {title(baseline)}"})
                rows[-1] |= _difference(name, tests)
    return rows


def _difference(name: str, tests: list[list[System]]) -> dict[str, Any]:
    signature = tests[0][0].scores["signatures"][name]
    language = "en" if "tok:rouge-score" in signature else ""
    metric = create_metric(name, MetricOptions(lowercase="case:lc" in signature, language=language))
    outputs = [[list(read_lines(each.evaluation / "hypotheses.txt")) for each in same] for same in tests]
    references = list(read_lines(tests[0][0].evaluation / "references.txt"))
    found = compare_runs(metric, outputs[0], outputs[1], references)
    by_seed = [one.scores[name] - other.scores[name] for other, one in zip(*tests, strict=True)]
    return {
        "metric": name,
        "gain": round(found.delta, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "p_value": round(found.p_value, 4),
        "seeds": len(by_seed),
        "seeds_that_gain": sum(gain > 0 for gain in by_seed),
        "signature": found.signature,
    }


def mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


if __name__ == "__main__":
    with reported():
        main()
