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

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from evidence.recipe import recipe_arguments, record_tables, run_recipe
from evidence.script import execute
from papers.lin2020.differences import differences
from papers.lin2020.published import MIXED_BLEU, ROUGE_SCORES, TEST_BLEU, VALID_BLEU
from papers.lin2020.runs import POOL, Run, grouped, mean, runs_of, title, variant_of
from seqdistill.files import read_json
from seqdistill.manifest import FINISHED
from seqdistill.verbs.systems import System, systems_in

ROUGE = ("rouge1", "rouge2", "rougeL")


def main() -> None:
    given = recipe_arguments(__doc__).parse_args()
    recipe, stages = run_recipe(given)
    systems = systems_in(recipe.out)
    runs = list(runs_of(systems))
    tables = {
        "": (recipe.description, [row_of(run) for run in runs], figures(runs)),
        "-table-3": ("Test scores, means over seeds, beside those of Lin et al. 2020 on IWSLT", table_3(runs), {}),
        "-table-6": ("ROUGE, means over seeds, beside that of Lin et al. 2020 on CNN/DailyMail", table_6(runs), {}),
        "-table-8": ("Validation BLEU, greedy, before and after SeqInter, beside Lin et al. 2020", table_8(stages), {}),
        "-table-1": ("Mixed decoding, greedy (Lin et al. 2020 with 12 tokens: 31.4)", mixed(systems, runs), {}),
        "-figure-1": ("BLEU at beam 5 by words of the source, means over seeds", by_length(runs), {}),
        "-pools": ("ImitKD + Full by the updates of a pool (M), one seed", pools(systems), {}),
        "-differences": ("Differences at beam 5 by paired bootstrap over sentences, all seeds", differences(runs), {}),
    }
    part = "" if len(stages) == len(recipe.steps) else f" ({len(stages)} of {len(recipe.steps)} stages so far)"
    record_tables(recipe.name, given, tables, part=part)


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
        for beam, published in zip((1, 5), TEST_BLEU.get((system, variant), (None, None)), strict=True):
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
            published = ROUGE_SCORES.get((system, variant)) if beam == 5 else None
            for number, name in enumerate(ROUGE):
                row[name] = round(mean(test.scores[name] for test in tests), 4)
                row[f"published_{name}"] = published[number] if published else None
            rows.append(row | {"rouge_signature": tests[0].scores["signatures"]["rouge1"]})
    return rows


def table_8(stages: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Validation BLEU of trainings that were fine-tuned, means over seeds; also the content of table 4."""
    rows = []
    tuned = {name: stage for name, stage in stages.items() if "-seqinter-" in name}
    for variant, published in VALID_BLEU.items():
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
    found = [("teacher alone", alone["teacher"], MIXED_BLEU[0])]
    found += [(f"student {tokens} tokens, then teacher", same, None) for tokens, same in sorted(scores.items())]
    found += [("student alone", alone["sru2"], MIXED_BLEU[1])]
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


if __name__ == "__main__":
    execute(main)
